package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job whose last merge or Terminate fails keeps its ledger. The failed attempt is written to the log
// (ledger.Attempt), and another node tries if the first one may have been to blame. If nobody is left to try, the job's
// state is api.CannotFinish until its user has it tried again, or cancels it.

// cannotFinish tells the engine that the result of a job that is led here could not be made.
func (r *ender) cannotFinish(j *Job, err error) {
	a := ledger.Attempt{Failure: ledger.Failure{Kind: string(exec.KindInternal)}, At: time.Now().UnixMilli()}
	var f *exec.Failure
	if errors.As(err, &f) {
		j.crashed(r.net.Name(), f, -1)
		a.Failure, a.Code = worker.Failure(f), !ofNode(f.Kind) && (!f.Adds || f.Cause != nil)
	}
	if !a.Adds { // that says itself what was being done
		a.Reason = err.Error()
	}
	j.mu.Lock()
	session := j.s.Session
	j.s.Session = nil // its state is unknown, if it lives at all, so the next attempt starts another one
	j.mu.Unlock()
	if session != nil {
		session.Close()
	}
	r.log.Error("could not finish a job; its ledger is kept", "job", api.Short(j.Name), "kind", a.Kind, "reason", a.Reason)
	r.loop.Post(engine.Unfinished{ID: j.ID(), Attempt: a})
}

// ofNode reports whether a failure at a job's end may be the node's fault, and not that of the user's code.
func ofNode(k exec.Kind) bool {
	switch k {
	case exec.KindDisk, exec.KindKilled, exec.KindMemory, exec.KindInternal, exec.KindLacks:
		return true
	}
	return false
}

// unfinished completes the status of a job whose attempts to make its result have failed. j.mu is held.
func (j *Job) unfinished(st *api.JobStatus, names map[tasks.PeerID]members.Name) {
	all := j.s.View.Attempts
	if len(all) == 0 || st.State.Final() {
		return
	}
	last := all[len(all)-1]
	why := ledger.Why(all, func(id tasks.PeerID) string { return members.NamesOf([]tasks.PeerID{id}, names)[0] })
	if !j.s.View.Stuck {
		st.State, st.Phase = api.Merging, "another node tries, since it could not be finished: "+why
		return
	}
	st.State, st.Phase, st.Error = api.CannotFinish, "", why
	for _, more := range []string{last.Stack, last.Tail} {
		if more != "" {
			st.Error += "\n" + more
		}
	}
	st.Hint, st.Cause = "all that is done is kept: "+api.Advice(st.ID, st.Unit), []byte(last.Cause)
}

// retryWait is how long a request to finish a job waits until it is in the ledger.
const retryWait = 2500 * time.Millisecond // less than askWait

// finishJob begins a new round of attempts to make the result of a job that is led here, by any node that can.
func (r *ender) finishJob(ctx context.Context, j *Job) error {
	id := j.ID()
	look := func() (v engine.LedgerView) {
		r.loop.Ask(func(p *engine.Peer) { v, _ = p.Ledger(id) })
		return v
	}
	v := look()
	if len(v.Attempts) == 0 {
		return &api.Error{
			Status:  409,
			Message: "the job is " + string(r.StatusOf(j).State) + ": there is nothing to try again",
			Hint:    "dtpnode attach " + api.Short(j.Name) + " follows it",
		}
	}
	j.mu.Lock()
	j.s.Ended = time.Time{}
	j.mu.Unlock()
	r.loop.Post(engine.RetryJob{ID: id})
	ctx, cancel := context.WithTimeout(ctx, retryWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for look().Round == v.Round && !j.Final() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &api.Error{
				Status:  503,
				Message: "could not have the job finished: most nodes that keep its ledger do not answer",
				Hint:    "dtpnode status " + api.Short(j.Name),
			}
		}
	}
	return nil
}

// ExpireUnfinished cancels jobs led here that this node has seen could not be finished for longer than results are
// kept.
func (r *ender) ExpireUnfinished() {
	for _, j := range r.book.AllTold() {
		if j.Final() {
			continue
		}
		r.snapshot(j)
		j.mu.Lock()
		v := j.s.View
		j.mu.Unlock()
		if n := len(v.Attempts); v.Stuck && time.Since(r.stuckSince(j, v.Attempts[n-1])) > r.cfg.KeepFor {
			r.log.Warn("dropped a job that could not be finished, and that nobody asked for since", "job", api.Short(j.Name))
			r.loop.Post(engine.CancelJob{ID: j.ID()})
			r.conclude(j, api.Failed,
				fmt.Sprintf("could not be finished, and nobody asked for it within %s: %s", r.cfg.KeepFor, v.Attempts[n-1].Reason),
				"submit the job again")
		}
	}
}
