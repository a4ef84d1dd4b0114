// Package units tells the results of a job's units, each once and as they come: which are committed, which were set
// aside and why, and the value of each where the kind of work has values (exec.Values). It knows where committed
// partials are only as a Source, and reads them; it owns nothing that outlives a stream. It never decides what is
// committed, and never runs a user's code.
//
//	early.go   values of units that are not committed yet
//	units.go   the room, and what it asks of others
//	stream.go  one user's stream
package units

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// Listing is what is committed of a job, as one copy of its ledger says, or what was kept of its end. It goes between
// nodes as well, in msgpack.
type Listing struct {
	Kind  string          `msgpack:"k"` // of work
	Units tasks.Range     `msgpack:"u"` // all that the job has so far
	Open  bool            `msgpack:"o"` // more may be appended
	Ended bool            `msgpack:"e"` // nothing more is committed
	Parts []merge.Partial `msgpack:"p"` // committed
	Lost  []api.Missing   `msgpack:"l"` // given up: Missing.Units of each
}

// Check refuses a listing that no honest member tells.
func (l *Listing) Check() error {
	if l.Units.First < 0 || l.Units.Last < l.Units.First || l.Units.Last > tasks.MaxUnits {
		return fmt.Errorf("a job of the units %v is no job", l.Units)
	}
	for _, p := range l.Parts {
		if !p.Cover.Valid(l.Units) || p.Size < 0 || p.Size > merge.MaxSize || !tasks.JobID(p.SHA256).Valid() {
			return fmt.Errorf("partial %v of the units %v is none of a job of %v", p.ID, p.Cover, l.Units)
		}
	}
	return nil
}

// Source is where the committed partials of one job are. It may turn stale at any time, as when a home dies: then its
// methods fail, and the job's source is looked for anew.
type Source interface {
	// Job is the whole name of the job.
	Job() string
	// List tells what is committed now.
	List(ctx context.Context) (Listing, error)
	// Blob has the file of a partial here, compared with its hash. The caller calls done when it has read it.
	Blob(ctx context.Context, p merge.Partial) (path string, done func(), err error)
}

// Jobs finds jobs for this node's user.
type Jobs interface {
	// Source finds where the committed partials of a job are. Its error is an *api.Error where that is the user's concern:
	// of status 503 if another attempt may go well.
	Source(ctx context.Context, name string) (Source, error)
}

// Values reads values out of partials of any kind.
type Values interface {
	// HasValues reports whether there is such a thing for a kind of work.
	HasValues(kind string) bool
	// Values is exec.Values for a partial of a kind.
	Values(ctx context.Context, kind, path string, units tasks.Cover, each func(unit int64, value []byte) error) error
	// Locate is exec.Located, of kinds that have it; of others it tells nothing.
	Locate(
		ctx context.Context, kind, path string, units tasks.Cover, each func(first, at int64, ends []uint64) error,
	) error
}

// Room tells of units.
type Room struct {
	Jobs   Jobs
	Values Values
	Early  *Early
	// Hear has values of a job that are told early elsewhere come to Early, until ctx ends, and does not wait. It may be
	// nil.
	Hear func(ctx context.Context, job string)
	// Every is the longest pause between two looks at a job that is followed, and that after a look that failed.
	Every time.Duration
	// Once is how long looks may fail in a row where units are not followed.
	Once time.Duration
	// Patience is how long they may where they are followed. Where the job waits for members that are away, a user who
	// follows it waits with it.
	Patience time.Duration
}

// Tell sends what is known of the units that are asked for, until all have been told or, unless they are followed, all
// that are known. The error of send is that nobody listens any more, and ends it. Its own error is about the request as
// a whole; nothing was sent then.
func (r *Room) Tell(ctx context.Context, name string, ask api.UnitsRequest, send func(api.UnitsEvent) error) error {
	asked := tasks.R(ask.First, ask.Last)
	if ask.Last == 0 {
		asked.Last = tasks.MaxUnits
	}
	if asked.First < 0 || asked.First >= asked.Last || asked.Last > tasks.MaxUnits {
		return badRange(fmt.Sprintf("units %d to %d are asked for", ask.First, ask.Last))
	}
	s := &stream{room: r, name: name, asked: tasks.CoverOf(asked), bounded: ask.Last != 0, follow: ask.Follow,
		early: ask.Early, files: ask.Files, listening: ask.Listening, send: send}
	switch err := s.run(ctx); {
	case err == nil || s.gone != nil || ctx.Err() != nil:
		if ask.Whole != nil && s.left(context.WithoutCancel(ctx)) {
			ask.Whole()
		}
		return nil
	case s.begun:
		_ = send(api.UnitsEvent{Failed: api.AsError(err)})
		return nil
	default:
		return err
	}
}

func badRange(what string) error {
	return &api.Error{
		Status:  http.StatusBadRequest,
		Message: "could not tell of units: " + what,
		Hint:    "units are numbered from 0 over all files and items of the job",
	}
}

// definite reports whether an error is of the request, or of how the job has ended, so that no other attempt goes
// better. known says that the job was found before: then nobody but its home may know of it, which has just died.
func definite(err error, known bool) bool {
	var e *api.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusGone:
		return true
	case http.StatusNotFound:
		return !known
	}
	return false
}

// waits reports whether an error is that the job waits for members that are away, however long that may be.
func waits(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == http.StatusServiceUnavailable
}
