package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
)

// AbandonPreparing fails all jobs that have no ledger yet.
func (r *ender) AbandonPreparing(why string) {
	for _, j := range r.book.AllTold() {
		if j.ID() == "" && !j.Final() {
			r.endLed(j, api.Failed, why, "submit the job again")
		}
	}
}

// CancelJob ends a job that is led here without a result, unless it ends by itself first.
func (r *ender) CancelJob(j *Job) {
	j.cancel()
	id := j.ID()
	if id == "" {
		r.failPreparing(j, errors.New("cancelled"))
		return
	}
	r.snapshot(j) // the status will say what was done, which the nodes forget after a cancel
	r.loop.Post(engine.CancelJob{ID: id})
	r.RemoveResult(j)
	r.conclude(j, api.Cancelled, "cancelled", "")
}

// stopJob ends a job that is led here with what is done of it. A job that has not begun is cancelled instead.
func (r *ender) stopJob(j *Job) {
	j.mu.Lock()
	id := j.s.ID
	if id == "" {
		j.s.Early = StoppedEarly
	}
	j.mu.Unlock()
	if id == "" {
		r.CancelJob(j)
		return
	}
	r.loop.Post(engine.StopJob{ID: id, Reason: "stopped by the user"})
}

// waitFinal waits until a job is final, for the time every at most.
func waitFinal(ctx context.Context, j *Job, every time.Duration) {
	select {
	case <-j.Done:
	case <-ctx.Done():
	case <-time.After(every):
	}
}

// Order stops a job, or has it finished, on whichever node leads it. what is "stop" or "finish".
func (r *ender) Order(ctx context.Context, name, what string) error {
	j, home, st, err := r.granted(ctx, name, members.ForRule)
	switch {
	case err != nil:
		return err
	case st.State == api.Waiting:
		return &api.Error{
			Status:  503,
			Message: fmt.Sprintf("could not %s job %s, which waits: %s", what, api.Short(st.ID), st.Phase),
			Hint:    st.Hint,
		}
	case j == nil:
		_, err = r.cluster.Ask(ctx, home, what, name)
	default:
		err = r.Steer(ctx, j, what)
	}
	return err
}

// Steer stops or cancels a job that is led here, or has it finished. what is "stop", "cancel" or "finish".
func (r *ender) Steer(ctx context.Context, j *Job, what string) error {
	switch {
	case j.Final():
		return EndedAlready(r.StatusOf(j))
	case what == "stop":
		r.stopJob(j)
		return nil
	case what == "finish":
		return r.finishJob(ctx, j)
	}
	r.CancelJob(j)
	return nil
}

// EndedAlready is the error for an order to a job that has ended. Its hint says what is left of the job.
func EndedAlready(st api.JobStatus) error {
	e := &api.Error{Status: 409, Message: "the job has ended already: it " + st.State.Stands()}
	id := api.Short(st.ID)
	switch st.State {
	case api.Done, api.Partial:
		e.Hint = fmt.Sprintf("`dtpnode get %s` fetches its result", id)
	case api.Cancelled:
		e.Hint = "nothing of it is kept; run it again"
	case api.Failed:
		e.Hint = fmt.Sprintf("`dtpnode status %s` says why, `dtpnode logs %s` what it printed", id, id)
	}
	return e
}

// HomeIs notes which node leads a job now. Only the engine's loop calls it.
func (r *ender) HomeIs(e engine.HomeIs) {
	j, c := r.book.ByID(e.ID), r.ledgers.Of(e.ID)
	if j == nil && c != nil && e.Home == r.net.ID() {
		j = r.book.OfCopy(c)
	}
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.s.Home
	j.s.Home = e.Home
	switch leads := e.Home == r.net.ID(); {
	case leads && !j.s.Led:
		r.log.Info("leads a job now", "job", api.Short(j.Name), "term", e.Term)
		j.s.Led = true
		if c != nil {
			j.describedBy(c, r.book.Whole(c.ID, c.Job), r.titleOf(c.Job))
		}
		j.s.Status.Home, j.s.Status.HomeName, j.s.Status.State, j.s.Status.Phase = e.Home, r.net.Name(), api.Running, ""
		if owner := j.submitterHeld(); r.cluster.MayNoMore(owner) {
			r.spawn(func() { r.stopOne(e.ID, owner) }) // the loop must not wait for itself
		}
	case !leads && j.s.Led && !j.s.Status.State.Final():
		r.log.Warn("leads a job no longer", "job", api.Short(j.Name), "home", e.Home, "term", e.Term)
		j.s.Led, j.s.Concluding = false, false
	case was != e.Home && e.Home != "":
		r.log.Info("a job has another home", "job", api.Short(j.Name), "home", e.Home, "term", e.Term)
	}
	if !j.s.Status.State.Final() {
		j.s.Status.Term = e.Term
	}
}
