package jobs

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
)

// eventEvery is how often a follower of a job is told where it stands.
const eventEvery = 200 * time.Millisecond

// homeWait is how long a follower waits for a job to have a home again.
const homeWait = time.Minute

// Follow sends a job's status until it is final, and the lines it prints where it is led here. The job's home may
// change meanwhile.
func (r *Room) Follow(ctx context.Context, name string, send func(api.Event) error) error {
	f := follower{r: r, name: name, send: send}
	var e *api.Error
	if err := f.find(ctx); err != nil && !(errors.As(err, &e) && e.Status == http.StatusServiceUnavailable) {
		return err
	}
	lost := time.Time{}
	for {
		over, err := f.tell(ctx)
		if err != nil && f.sayWaiting() {
			err, lost = nil, time.Time{}
			_ = f.find(ctx) // it may have a home again
		}
		switch {
		case over || ctx.Err() != nil:
			return nil
		case err == nil:
			lost = time.Time{}
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > homeWait:
			return nil // the stream breaks off; the client says so
		}
		if !f.pause(ctx) {
			return nil
		}
		if err != nil || (f.job != nil && !f.job.leads()) {
			_ = f.find(ctx) // told from elsewhere now, or soon
		}
	}
}

// errNoHome says that nobody tells of a job just now.
var errNoHome = errors.New("no node leads the job just now")

// follower is one stream of a job's events.
type follower struct {
	r    *Room
	name string
	job  *Job                  // if it is told of here
	at   tasks.PeerID          // else by whom
	sent int                   // lines
	send func(api.Event) error // its error is that nobody listens any more
}

func (f *follower) find(ctx context.Context) error {
	j, at, _, err := f.r.granted(ctx, f.name, members.ForLook)
	if err == nil {
		f.job, f.at = j, at
	}
	return err
}

// tell sends what there is to tell; over says that it was the last, or that nobody listens.
func (f *follower) tell(ctx context.Context) (over bool, err error) {
	final := false
	if f.job != nil {
		final = f.job.Final()
		lines := f.job.linesFrom(f.sent)
		f.sent += len(lines)
		for _, line := range lines {
			if f.send(api.Event{Type: "log", Line: line}) != nil {
				return true, nil
			}
		}
	}
	if f.job == nil && f.at == "" {
		return false, errNoHome
	}
	st, err := f.r.statusFrom(ctx, f.job, f.at, f.name)
	if err == nil {
		err = f.r.cluster.Permit(st, members.ForLook)
	}
	if err != nil {
		return false, err
	}
	if f.job == nil {
		final = st.State.Final()
	}
	switch {
	case final != st.State.Final():
		return false, nil // it ended between the two looks: tell the lines first
	case final && f.job == nil && f.endHere(st):
		return false, nil
	case final && f.job != nil && !f.r.Settled(f.job):
		final = false
		st.State, st.Phase = api.Merging, "writing the output"
	}
	return f.send(api.Event{Type: "status", Status: &st}) != nil || final || st.State == api.CannotFinish, nil
}

// sayWaiting tells that the job waits, and why, if this node knows of it; false if not.
func (f *follower) sayWaiting() bool {
	known := f.r.book.Meant(f.name)
	if len(known) != 1 {
		return false
	}
	st, ok := f.r.waitingStatus(known[0])
	if !ok || f.r.cluster.Permit(st, members.ForLook) != nil {
		return false
	}
	return f.send(api.Event{Type: "status", Status: &st}) == nil
}

// endHere ends a job of this node as another tells it, and goes on with what this node tells: its user waits for
// the output too. False if the job is not this node's.
func (f *follower) endHere(st api.JobStatus) bool {
	j := f.r.book.Named(st.ID)
	if j == nil {
		return false
	}
	j.mu.Lock()
	own := j.own()
	j.mu.Unlock()
	if !own {
		return false
	}
	if !j.Final() {
		f.r.spawn(func() { f.r.awaitedOver(&awaited{job: j, restored: true}) }) // the others are asked too
	}
	if j.leads() && j.Final() {
		f.job, f.sent = j, maxClientLines // what other nodes printed is in the status
	}
	return true
}

// pause waits for the next event, or the job's end; false if the follower has gone.
func (f *follower) pause(ctx context.Context) bool {
	if f.job != nil && !f.job.Final() {
		waitFinal(ctx, f.job, eventEvery)
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(eventEvery):
		return true
	}
}
