package ledger

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// recordVersion is the version of an encoded record. A replica that gets a snapshot of another version drops its copy
// of the ledger, and does not guess what the snapshot means.
const recordVersion = 2

// ErrRecord is the error, under errors.Is, of bytes that do not encode a record of the job.
var ErrRecord = errors.New("no record of the job")

// encoded is a record in a snapshot of the log. All fields of Record are encoded by their names, so a field that is
// added to Record is in the next snapshot without a change here.
type encoded struct {
	Version int                `msgpack:"v"`
	Parts   []merge.Partial    `msgpack:"p"` // Record.Done, whose cover and canary are their sums
	Appends []appended         `msgpack:"a"` // Record.Growth.Appends
	Record  *recordWithoutDone `msgpack:"r"`
}

// appended is an append in a snapshot. Its number is its place in the list, from 1 on. With Same its files are those of
// the append before it, which saves the space of files that were appended many times.
type appended struct {
	Same  bool         `msgpack:"e,omitempty"`
	Files []tasks.File `msgpack:"f,omitempty"`
	Close bool         `msgpack:"c,omitempty"`
	Sig   []byte       `msgpack:"s"`
}

// encode lists a job's appends for a snapshot.
func (g *Growth) encode() (out []appended) {
	for i := range g.Appends {
		a := &g.Appends[i]
		e := appended{Files: a.Files, Close: a.Close, Sig: a.Sig}
		if i > 0 && a.SameFiles(&g.Appends[i-1]) {
			e.Same, e.Files = true, nil
		}
		out = append(out, e)
	}
	return out
}

// restore applies the appends that encode has listed, each by the rules for appends of a log. Only the last signature
// is checked, since it is under all appends before it too.
func (r *Record) restore(all []appended) error {
	signed := r.Growth.signed
	r.Growth.signed = nil
	for i, e := range all {
		a := tasks.Append{Seq: uint64(i + 1), Files: e.Files, Close: e.Close, Sig: e.Sig}
		if e.Same && i > 0 {
			a.Files = r.Growth.Appends[i-1].Files
		}
		if i == len(all)-1 {
			r.Growth.signed = signed
		}
		if !r.grow(a) {
			return fmt.Errorf("%w: append %d is none that a log admits", ErrRecord, a.Seq)
		}
	}
	r.Growth.signed = signed
	return nil
}

// recordWithoutDone is Record for the encoder. Its field Done has no exported fields, so nothing of it is encoded here:
// encoded.Parts has what it consists of.
type recordWithoutDone Record

// Encode encodes the record. Equal records give equal bytes, so replicas can compare them.
func (r *Record) Encode() ([]byte, error) {
	all := recordWithoutDone(*r)
	v := reflect.ValueOf(&all).Elem()
	for i := range v.NumField() { // an empty slice is encoded like nil, so that equal records give equal bytes
		if f := v.Field(i); f.CanSet() && f.Kind() == reflect.Slice && f.Len() == 0 {
			f.SetZero()
		}
	}
	appends := all.Growth.encode()
	all.Growth = Growth{Open: all.Growth.Open}
	b, err := wire.Marshal(&encoded{Version: recordVersion, Parts: all.Done.Parts(), Appends: appends, Record: &all})
	if err != nil {
		return nil, fmt.Errorf("could not encode the job's record: %w", err)
	}
	return b, nil
}

// DecodeRecord decodes the record of a job. begun is the job's record before any entry, with the units and the rules
// for appends that the job's description says. The error wraps ErrRecord.
func DecodeRecord(b []byte, begun *Record) (*Record, error) {
	var e encoded
	if err := wire.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if e.Version != recordVersion || e.Record == nil {
		return nil, fmt.Errorf("%w: version %d, and %d is known", ErrRecord, e.Version, recordVersion)
	}
	grown := Record{Want: begun.Want, Growth: Growth{Open: begun.Growth.Open, signed: begun.Growth.signed}}
	if err := grown.restore(e.Appends); err != nil {
		return nil, err
	}
	if e.Record.Want != grown.Want || e.Record.Growth.Open && !grown.Growth.Open {
		return nil, fmt.Errorf("%w: it is of units %v, and the job of %v", ErrRecord, e.Record.Want, grown.Want)
	}
	r := Record(*e.Record)
	done, err := merge.Recommit(e.Parts, r.Want)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	r.Growth, r.Done = grown.Growth, done
	return &r, r.check()
}

// check reports whether a decoded record breaks what Apply keeps true of records.
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

// checkAttempts reports whether the attempts of a decoded record break what attempted keeps true of them.
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
