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

// Follow sends a job's status until it is final and, while this node leads the job, the lines that the job prints. The
// job's home may change meanwhile.
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
			_ = f.find(ctx) // the job may have a home again
		}
		switch {
		case over || ctx.Err() != nil:
			return nil
		case err == nil:
			lost = time.Time{}
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > homeWait:
			return nil // the stream breaks off without a final status, by which the client knows that
		}
		if !f.pause(ctx) {
			return nil
		}
		if err != nil || (f.job != nil && !f.job.leads()) {
			_ = f.find(ctx) // another node leads the job now, or will soon
		}
	}
}

// errNoHome is the error of a follower that has found no node that describes the job.
var errNoHome = errors.New("no node leads the job just now")

// follower is one stream of a job's events.
type follower struct {
	r    *Room
	name string
	job  *Job                  // the job, if this node describes it to others; otherwise nil
	at   tasks.PeerID          // the member that describes the job, if job is nil; empty if none was found yet
	sent int                   // how many of the job's lines were sent
	send func(api.Event) error // fails when nobody listens any more
}

// find looks for the node that describes the job now. After an error the follower keeps the node that it had.
func (f *follower) find(ctx context.Context) error {
	j, at, _, err := f.r.granted(ctx, f.name, members.ForLook)
	if err == nil {
		f.job, f.at = j, at
	}
	return err
}

// tell sends the lines and the status that are new. over says that the status was the last one, or that nobody listens
// any more.
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
		return false, nil // the job ended between the two looks, so its last lines are to be sent first
	case final && f.job == nil && f.endHere(st):
		return false, nil
	case final && f.job != nil && !f.r.Settled(f.job):
		final = false
		st.State, st.Phase = api.Merging, "writing the output"
	}
	return f.send(api.Event{Type: "status", Status: &st}) != nil || final || st.State == api.CannotFinish, nil
}

// sayWaiting sends that the job waits, and why, if this node knows of that. It reports whether it has sent it.
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

// endHere makes a job that was submitted on this node final as another node reports it, and has the follower go on with
// what this node says of it, because the user also waits for the output, which only this node writes. It reports
// false if the job was submitted on another node.
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
		f.r.spawn(func() { f.r.awaitedOver(&awaited{job: j, restored: true}) }) // which asks all members for the end
	}
	if j.leads() && j.Final() {
		f.job, f.sent = j, maxClientLines // the lines of the job are in its final status, and are not sent again
	}
	return true
}

// pause waits until the next event is due, or the job has ended. It reports false if nobody follows any more.
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
