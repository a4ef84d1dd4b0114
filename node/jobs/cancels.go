package jobs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job is cancelled when a quorum of its ledger's replicas has that end on disk, and not before. If that does not
// happen at once, the node that was asked remembers the cancel, also over its restarts, as a file with the job's name
// in the folder cancels. It goes on telling the job's home until the job has ended.

// Times of a cancel.
const (
	cancelEvery = time.Second             // between attempts to have the remembered cancels carried out
	cancelWait  = 2500 * time.Millisecond // how long the user waits for the ledger before the cancel is called pending
)

// CancelFor cancels a job for this node's user. It reports the job as cancelled only if its ledger says so; otherwise
// the cancel is remembered, and the reason why it is pending is returned.
func (r *ender) CancelFor(ctx context.Context, name string) (api.Cancellation, error) {
	j, at, st, err := r.granted(ctx, name, members.ForRule)
	var e *api.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusServiceUnavailable:
		return r.cancelHomeless(name, e)
	case errors.As(err, &e) && e.Status == http.StatusNotFound:
		if st, waits := r.waitsElsewhere(ctx, name, err); waits && r.cluster.Permit(st, members.ForRule) == nil {
			return r.cancelLater(st.ID, st.Phase)
		}
		return api.Cancellation{}, err
	case err != nil:
		return api.Cancellation{}, err
	case st.State == api.Waiting:
		return r.cancelLater(st.ID, st.Phase)
	}
	if err := r.tellCancel(ctx, j, at, st.ID); err != nil {
		if j != nil || errors.Is(err, p2p.ErrRemote) {
			return api.Cancellation{}, err
		}
		return r.cancelLater(st.ID, "the node that leads it did not answer")
	}
	ctx, stop := context.WithTimeout(ctx, cancelWait)
	defer stop()
	for id := st.ID; ctx.Err() == nil; Sleep(ctx, 20*time.Millisecond) {
		if now, err := r.statusFrom(ctx, j, at, id); err == nil && now.State.Final() {
			return ended(now)
		}
	}
	return r.cancelLater(st.ID, "the nodes that keep its ledger have not confirmed it yet")
}

// ended is the answer to a cancel of a job that has ended: by this cancel, or by itself before the cancel had any
// effect.
func ended(st api.JobStatus) (api.Cancellation, error) {
	if st.State == api.Cancelled {
		return api.Cancellation{ID: st.ID}, nil
	}
	return api.Cancellation{}, &api.Error{
		Status:  http.StatusConflict,
		Message: "the job has ended by itself: " + string(st.State),
		Hint:    "dtpnode get fetches its result",
	}
}

// tellCancel tells the home of a job to cancel it. j is nil if another node is the home.
func (r *ender) tellCancel(ctx context.Context, j *Job, home tasks.PeerID, name string) error {
	if j != nil {
		return r.Steer(ctx, j, "cancel")
	}
	_, err := r.cluster.Ask(ctx, home, "cancel", name)
	return err
}

// cancelHomeless remembers the cancel of a job that is known here and that nobody leads.
func (r *ender) cancelHomeless(name string, why *api.Error) (api.Cancellation, error) {
	known := r.book.Meant(name)
	if len(known) != 1 {
		return api.Cancellation{}, why
	}
	j := known[0]
	if owner := j.submitter(); !r.cluster.May(r.net.ID(), owner, members.ForRule) {
		return api.Cancellation{}, r.cluster.Refusal(j.Name, owner, members.ForRule)
	}
	reason, _ := r.waits(j)
	if reason == "" {
		reason = noHomeYet
	}
	return r.cancelLater(j.Name, reason)
}

// cancelLater remembers, durably, that a job is to be cancelled.
func (r *ender) cancelLater(name, why string) (api.Cancellation, error) {
	if nonce, err := hex.DecodeString(name); err != nil || len(nonce) != tasks.NonceSize {
		return api.Cancellation{}, fmt.Errorf("could not cancel: %q is no name of a job", name)
	}
	path := filepath.Join(r.cfg.CancelsDir, name)
	err := durable.Write(path, nil)
	if err == nil {
		err = errors.Join(durable.Sync(path), durable.Sync(r.cfg.CancelsDir))
	}
	if err != nil {
		return api.Cancellation{}, fmt.Errorf("could not cancel: %s; nor could this be remembered for later: %w", why, err)
	}
	r.log.Info("remembers that a job is to be cancelled", "job", api.Short(name), "reason", why)
	return api.Cancellation{ID: name, Pending: why}, nil
}

// cancelOften has the cancels carried out that are remembered, until the daemon closes.
func (r *ender) cancelOften() {
	tick := time.NewTicker(cancelEvery)
	defer tick.Stop()
	for {
		entries, _ := os.ReadDir(r.cfg.CancelsDir)
		for _, e := range entries {
			if r.cancelNow(e) {
				if err := os.Remove(filepath.Join(r.cfg.CancelsDir, e.Name())); err != nil {
					r.log.Warn("could not forget that a job was to be cancelled", "job", e.Name(), "reason", err)
				}
			}
		}
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// cancelNow tries to have a remembered cancel carried out. It reports whether the cancel can be forgotten, because the
// job has ended or can never be cancelled from here.
func (r *ender) cancelNow(e os.DirEntry) (over bool) {
	j, at, st, err := r.granted(r.ctx, e.Name(), members.ForRule)
	var refused *api.Error
	switch {
	case err == nil && st.State.Final():
		r.log.Info("a job that was to be cancelled has ended", "job", e.Name(), "state", st.State)
		return true
	case err == nil && st.State != api.Waiting:
		_ = r.tellCancel(r.ctx, j, at, st.ID) // it is asked again until the job has ended
		return false
	case errors.As(err, &refused) && (refused.Status == http.StatusForbidden || refused.Status == http.StatusGone):
		r.log.Warn("cannot have a job cancelled", "job", e.Name(), "reason", err)
		return true
	}
	info, err := e.Info()
	switch {
	case err != nil:
		return false
	case refused != nil && refused.Status == http.StatusNotFound && r.cluster.AllUp() &&
		time.Since(info.ModTime()) > awaitLimit:
		r.log.Info("a job that was to be cancelled is known to no member any more", "job", e.Name())
		return true
	}
	return time.Since(info.ModTime()) > r.cfg.KeepFor
}
