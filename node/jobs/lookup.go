package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Lookup finds a job by its name or a beginning of it. It returns the job if this node describes it to others, or else
// the member at that does: the job's home or, after the job's end, a member that has kept it. st is the description by
// which the job was found. Callers use it rather than ask again, since a member that lies could answer differently.
func (r *teller) Lookup(ctx context.Context, name string) (j *Job, at tasks.PeerID, st api.JobStatus, err error) {
	j, err = r.book.Told(name)
	var e *api.Error
	switch {
	case err == nil:
		return j, "", r.StatusOf(j), nil
	case !errors.As(err, &e) || e.Status != 404:
		return nil, "", st, err
	}
	known := r.book.Meant(name)
	if len(known) == 1 {
		if home := known[0].homeNow(); home != "" {
			if st, err := r.RemoteStatus(ctx, home, name); err == nil {
				return nil, home, st, nil
			}
		}
	}
	t, around := r.AskMembers(ctx, r.cluster.Up(), name)
	switch {
	case around == nil:
		return nil, t.at, t.St, nil
	case errors.As(around, &e) && e.Status == http.StatusConflict:
		return nil, "", st, around
	case len(known) == 1:
		err = r.homeless(known[0])
	case len(known) == 0:
		err = cmp.Or(r.unreadable(name), err)
	}
	return nil, "", st, err
}

// homeless is the error for a job that is known here and that nobody leads; it says why.
func (r *teller) homeless(j *Job) error {
	if owner := j.submitter(); r.cluster.MayNoMore(owner) {
		return &api.Error{Status: 410, Message: fmt.Sprintf("job %s was %s", api.Short(j.Name), r.cluster.WhyStopped(owner)),
			Hint: "none of the members that are left has a copy of its ledger, or they are just ending it"}
	}
	why, hint := r.waits(j)
	if why == "" {
		why, hint = noHomeYet, "try again in a few seconds"
	}
	return &api.Error{Status: 503, Message: fmt.Sprintf("job %s waits: %s", api.Short(j.Name), why), Hint: hint}
}

// RemoteStatus asks a member for a job, and returns the description if the member proves that it leads the job, or that
// the job has ended.
func (r *teller) RemoteStatus(ctx context.Context, home tasks.PeerID, name string) (st api.JobStatus, err error) {
	b, err := r.cluster.Ask(ctx, home, "status", name)
	if err == nil {
		err = wire.ReadJSON(b, members.MostMissing, &st)
	}
	if err == nil {
		err = r.isAnothers(st.ID, st.Submitter)
	}
	switch {
	case err != nil:
		return st, err
	case st.State.Final():
		return r.provenEnd(ctx, home, name, st)
	}
	return st, r.provenLead(ctx, home, name, st)
}

// statusFrom describes a job that Lookup has found: j if it is described here, else by the member remote.
func (r *teller) statusFrom(ctx context.Context, j *Job, remote tasks.PeerID, name string) (api.JobStatus, error) {
	if j != nil {
		return r.StatusOf(j), nil
	}
	return r.RemoteStatus(ctx, remote, name)
}

// JobStatus describes a job for this node's user, also if another node leads it or nobody does.
func (r *teller) JobStatus(ctx context.Context, name string) (api.JobStatus, error) {
	_, _, st, err := r.granted(ctx, name, members.ForAll)
	if err != nil {
		var waits bool
		if st, waits = r.WaitsUnled(name); !waits {
			st, waits = r.waitsElsewhere(ctx, name, err)
		}
		if !waits {
			return api.JobStatus{}, err
		}
	}
	return r.cluster.CutFor(r.net.ID(), st), nil
}

// WaitsUnled describes a job that no member which can be reached leads; ok is false if this node does not know of such
// a job.
func (r *teller) WaitsUnled(name string) (st api.JobStatus, ok bool) {
	known := r.book.Meant(name)
	if len(known) != 1 || r.cluster.MayNoMore(known[0].submitter()) {
		return st, false
	}
	return r.waitingStatus(known[0])
}

// waitsElsewhere describes a job that is not known here and that nobody leads, as a member with a copy of its ledger
// describes it; `dtpnode ps` lists such jobs. why is the error of the search for the job. That a job waits cannot be
// proven, so the description is shown as the member's word, and the only thing that is done because of it is to
// remember a cancel. The job's name must still be one that its submitter can have given.
func (r *teller) waitsElsewhere(ctx context.Context, name string, why error) (st api.JobStatus, ok bool) {
	var e *api.Error
	if !errors.As(why, &e) || e.Status != http.StatusNotFound || len(name) < 4 {
		return st, false
	}
	var mu sync.Mutex
	var several bool
	var g errgroup.Group
	g.SetLimit(16)
	for _, id := range r.cluster.Up() {
		g.Go(func() error {
			b, err := r.cluster.Ask(ctx, id, "status", name)
			if err != nil {
				return nil
			}
			t, waits := r.ToldToWait(id, name, b)
			if !waits {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			several = several || ok && t.ID != st.ID
			st, ok = t, true
			return nil
		})
	}
	_ = g.Wait()
	return st, ok && !several
}

// ToldToWait reads a member's answer about a job that is said to wait; waits is false if the answer is not usable. The
// member could make up a job and texts for whoever may see that job whole. So the job's name must be one that its
// submitter can have given, the reason names the member as its source, and the member's advice is replaced by this
// node's own.
func (r *teller) ToldToWait(by tasks.PeerID, name string, answer []byte) (st api.JobStatus, waits bool) {
	st, err := readWaiting(answer)
	switch {
	case err != nil || st.State != api.Waiting || !strings.HasPrefix(st.ID, name[:min(len(name), len(st.ID))]):
		return st, false
	case r.cluster.May(r.net.ID(), st.Submitter, members.ForLook) && !isNamedBy(st.ID, st.Submitter):
		return st, false
	}
	st.Phase = fmt.Sprintf("%s (so says %s)", st.Phase, r.cluster.NameOf(by))
	if st.Hint != "" {
		st.Hint = RecoverHint(st.ID)
	}
	return st, true
}

// readWaiting reads the status of a job that may wait. Such a status is small, so the bound is too.
func readWaiting(b []byte) (st api.JobStatus, err error) {
	err = wire.ReadJSON(b, members.MostListed, &st)
	return st, err
}
