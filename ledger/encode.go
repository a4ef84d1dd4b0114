package ledger

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// recordVersion is the version of an encoded record. Another is not read: a replica that cannot read a snapshot drops
// its copy of the ledger, and never guesses.
const recordVersion = 1

// ErrRecord is the error, under errors.Is, of bytes that are no record of the job.
var ErrRecord = errors.New("no record of the job")

// encoded is a record as it stands in a snapshot of the log. All fields of Record are in it, by their names: one that
// is added to Record is in the next snapshot.
type encoded struct {
	Version int                `msgpack:"v"`
	Parts   []merge.Partial    `msgpack:"p"` // Record.Done, whose cover and canary are their sums
	Record  *recordWithoutDone `msgpack:"r"`
}

// recordWithoutDone is Record in all but Done, which encodes itself as nothing.
type recordWithoutDone Record

// Encode is the record in bytes: equal records give equal ones.
func (r *Record) Encode() ([]byte, error) {
	all := recordWithoutDone(*r)
	v := reflect.ValueOf(&all).Elem()
	for i := range v.NumField() { // nothing is nothing, whether it was never there or went
		if f := v.Field(i); f.Kind() == reflect.Slice && f.Len() == 0 {
			f.SetZero()
		}
	}
	b, err := wire.Marshal(&encoded{Version: recordVersion, Parts: all.Done.Parts(), Record: &all})
	if err != nil {
		return nil, fmt.Errorf("could not encode the job's record: %w", err)
	}
	return b, nil
}

// DecodeRecord reads what Encode wrote for a job that wants these units. The error wraps ErrRecord.
func DecodeRecord(b []byte, want tasks.Range) (*Record, error) {
	var e encoded
	if err := wire.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	switch {
	case e.Version != recordVersion || e.Record == nil:
		return nil, fmt.Errorf("%w: version %d, and %d is known", ErrRecord, e.Version, recordVersion)
	case e.Record.Want != want:
		return nil, fmt.Errorf("%w: it is of units %v, and the job of %v", ErrRecord, e.Record.Want, want)
	}
	r := Record(*e.Record)
	done, err := merge.Recommit(e.Parts, want)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	r.Done = done
	return &r, r.check()
}

// check holds a record that came from elsewhere to what Apply keeps true.
func (r *Record) check() error {
	if !r.Undone.Valid(r.Want) && len(r.Undone) > 0 {
		return fmt.Errorf("%w: it took units back that there are not", ErrRecord)
	}
	var n int64
	for _, l := range r.Lost {
		if l.Range.Empty() || l.Range.Intersect(r.Want) != l.Range {
			return fmt.Errorf("%w: units %v are set aside, which there are not", ErrRecord, l.Range)
		}
		n += l.Range.Len()
	}
	if lost := r.lostCover(); lost.Len() != n || lost.Intersects(r.Done.Cover()) {
		return fmt.Errorf("%w: units are set aside twice, or committed too", ErrRecord)
	}
	if r.Result != nil && len(r.Result.Status) > MaxStatus {
		return fmt.Errorf("%w: its status has %d bytes", ErrRecord, len(r.Result.Status))
	}
	if err := r.checkRecovery(); err != nil {
		return err
	}
	return r.checkAttempts()
}

// checkAttempts holds the attempts of a record that came from elsewhere to what attempted keeps true.
func (r *Record) checkAttempts() error {
	if len(r.Attempts) > maxAttempts {
		return fmt.Errorf("%w: it holds %d attempts to end the job, and the limit is %d",
			ErrRecord, len(r.Attempts), maxAttempts)
	}
	seen := map[tasks.PeerID]bool{}
	for _, a := range r.Attempts {
		if seen[a.Node] || a.cut() != a || a.Round > r.Round {
			return fmt.Errorf("%w: an attempt of %s to end the job is none that a log admits", ErrRecord, a.Node)
		}
		seen[a.Node] = true
	}
	return nil
}
