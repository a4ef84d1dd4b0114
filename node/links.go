package node

import (
	"github.com/dtpnode/dtpnode/node/members"

	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// jobsTopic is where homes announce jobs.
const jobsTopic = "jobs"

// listWait is how long members have to list their jobs: one that does not answer holds up what the others tell.
const listWait = time.Second

// maxJobsAnswer bounds the list of jobs told to another daemon.
const maxJobsAnswer = p2p.MaxRequest / 2

// maxLogAnswer bounds the logs told to another daemon.
const maxLogAnswer = maxLogBytes

// lookup finds a job here, or else the member that tells of it: its home, or after its end one that has its
// ledger. It describes the job as that member has told, who might tell something else the next time.
func (d *Daemon) lookup(ctx context.Context, name string) (j *job, at tasks.PeerID, st api.JobStatus, err error) {
	j, err = d.book.Told(name)
	var e *api.Error
	switch {
	case err == nil:
		return j, "", d.statusOf(j), nil
	case !errors.As(err, &e) || e.Status != 404:
		return nil, "", st, err
	}
	known := d.book.Meant(name)
	if len(known) == 1 {
		if home := known[0].homeNow(); home != "" {
			if st, err := d.remoteStatus(ctx, home, name); err == nil {
				return nil, home, st, nil
			}
		}
	}
	t, around := d.askMembers(ctx, d.cluster.Up(), name)
	switch {
	case around == nil:
		return nil, t.at, t.st, nil
	case errors.As(around, &e) && e.Status == http.StatusConflict:
		return nil, "", st, around
	case len(known) == 1:
		err = d.homeless(known[0])
	case len(known) == 0:
		err = cmp.Or(d.unreadable(name), err)
	}
	return nil, "", st, err
}

// homeless says why a job that is known here has no home.
func (d *Daemon) homeless(j *job) error {
	if owner := j.submitter(); d.cluster.MayNoMore(owner) {
		return &api.Error{Status: 410, Message: fmt.Sprintf("job %s was %s", api.Short(j.name), d.cluster.WhyStopped(owner)),
			Hint: "none of the members that are left has a copy of its ledger, or they are just ending it"}
	}
	why, hint := d.waits(j)
	if why == "" {
		why, hint = noHomeYet, "try again in a few seconds"
	}
	return &api.Error{Status: 503, Message: fmt.Sprintf("job %s waits: %s", api.Short(j.name), why), Hint: hint}
}

func (d *Daemon) remoteStatus(ctx context.Context, home tasks.PeerID, name string) (st api.JobStatus, err error) {
	b, err := d.cluster.Ask(ctx, home, "status", name)
	if err == nil {
		err = wire.ReadJSON(b, members.MostMissing, &st)
	}
	if err == nil {
		err = d.isAnothers(st.ID, st.Submitter)
	}
	switch {
	case err != nil:
		return st, err
	case st.State.Final():
		return d.provenEnd(ctx, home, name, st)
	}
	return st, d.provenLead(ctx, home, name, st)
}

// statusFrom describes a job that lookup has found.
func (d *Daemon) statusFrom(ctx context.Context, j *job, remote tasks.PeerID, name string) (api.JobStatus, error) {
	if j != nil {
		return d.statusOf(j), nil
	}
	return d.remoteStatus(ctx, remote, name)
}

func (d *Daemon) jobStatus(ctx context.Context, name string) (api.JobStatus, error) {
	_, _, st, err := d.granted(ctx, name, members.ForAll)
	if err != nil {
		var waits bool
		if st, waits = d.waitsUnled(name); !waits {
			st, waits = d.waitsElsewhere(ctx, name, err)
		}
		if !waits {
			return api.JobStatus{}, err
		}
	}
	return d.cluster.CutFor(d.net.ID(), st), nil
}

// waitsUnled describes a job that nobody who can be asked leads, if this node knows why it waits.
func (d *Daemon) waitsUnled(name string) (st api.JobStatus, ok bool) {
	known := d.book.Meant(name)
	if len(known) != 1 || d.cluster.MayNoMore(known[0].submitter()) {
		return st, false
	}
	return d.waitingStatus(known[0])
}

// waitsElsewhere describes a job that nothing is known of here, and nobody leads, as a member tells it that has a copy
// of its ledger: dtpnode ps lists it. why is the error of the search for it. Nobody can prove that a job waits, and
// nothing is done by that word but to say who says so, and to remember a cancel; but its name must be one that its
// submitter gave.
func (d *Daemon) waitsElsewhere(ctx context.Context, name string, why error) (st api.JobStatus, ok bool) {
	var e *api.Error
	if !errors.As(why, &e) || e.Status != http.StatusNotFound || len(name) < 4 {
		return st, false
	}
	var mu sync.Mutex
	var several bool
	var g errgroup.Group
	g.SetLimit(16)
	for _, id := range d.cluster.Up() {
		g.Go(func() error {
			b, err := d.cluster.Ask(ctx, id, "status", name)
			if err != nil {
				return nil
			}
			t, waits := d.toldToWait(id, name, b)
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

// toldToWait reads what a member tells of a job of a name. Of one that would be shown whole here, anybody could make up
// what is to be read: its name must be one that its submitter gave, the reason is said to be the member's, and what can
// be done is not for another to say.
func (d *Daemon) toldToWait(by tasks.PeerID, name string, answer []byte) (st api.JobStatus, waits bool) {
	st, err := readWaiting(answer)
	switch {
	case err != nil || st.State != api.Waiting || !strings.HasPrefix(st.ID, name[:min(len(name), len(st.ID))]):
		return st, false
	case d.cluster.May(d.net.ID(), st.Submitter, members.ForLook) && !isNamedBy(st.ID, st.Submitter):
		return st, false
	}
	st.Phase = fmt.Sprintf("%s (so says %s)", st.Phase, d.cluster.NameOf(by))
	if st.Hint != "" {
		st.Hint = recoverHint(st.ID)
	}
	return st, true
}

// readWaiting reads the status of a job that may wait, which has few parts.
func readWaiting(b []byte) (st api.JobStatus, err error) {
	err = wire.ReadJSON(b, members.MostListed, &st)
	return st, err
}

// order stops or finishes a job, wherever it is led.
func (d *Daemon) order(ctx context.Context, name, what string) error {
	j, home, st, err := d.granted(ctx, name, members.ForRule)
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
		_, err = d.cluster.Ask(ctx, home, what, name)
	default:
		err = d.steer(ctx, j, what)
	}
	return err
}

// steer stops, cancels or finishes a job that is led here.
func (d *Daemon) steer(ctx context.Context, j *job, what string) error {
	switch {
	case j.final():
		return endedAlready(d.statusOf(j))
	case what == "stop":
		d.stopJob(j)
		return nil
	case what == "finish":
		return d.finishJob(ctx, j)
	}
	d.cancelJob(j)
	return nil
}

// endedAlready says that nothing can be done to a job any more, and what is left of it.
func endedAlready(st api.JobStatus) error {
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

// allJobs lists the jobs led here and by members that answer.
func (d *Daemon) allJobs(ctx context.Context) []api.JobStatus {
	asked, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	peers := d.cluster.Up()
	lists := make([][]claim, len(peers))
	var g errgroup.Group
	for i, id := range peers {
		g.Go(func() error {
			b, err := d.cluster.Ask(asked, id, "jobs", "")
			if err == nil {
				lists[i], err = toldBy(id, b)
			}
			if err != nil {
				d.log.Warn("could not list the jobs of a member", "node", id, "reason", err)
			}
			return nil
		})
	}
	_ = g.Wait()
	var all []claim
	for _, st := range listed(d.jobsFor(d.net.ID()), math.MaxInt) { // as they stand when the others have told theirs
		all = append(all, claim{d.net.ID(), st})
	}
	out := once(d.net.ID(), append(all, slices.Concat(lists...)...), d.homes())
	slices.SortStableFunc(out, func(a, b api.JobStatus) int { return a.Submitted.Compare(b.Submitted) })
	return out
}

// jobsFor describes to a member the jobs that this node tells of, the oldest first, and those that wait.
func (d *Daemon) jobsFor(who tasks.PeerID) []api.JobStatus {
	out := []api.JobStatus{}
	for _, j := range d.book.AllTold() {
		out = append(out, d.cluster.CutFor(who, d.statusOf(j)))
	}
	for _, st := range d.waitingJobs() {
		out = append(out, d.cluster.CutFor(who, st))
	}
	return out
}

// listed cuts descriptions of jobs to what a list of them has room for, in bytes of JSON: each without its long
// parts, the running ones before the finished ones, of which the newest come first.
func listed(all []api.JobStatus, room int) []api.JobStatus {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b api.JobStatus) int {
		if a.State.Final() != b.State.Final() {
			return cmp.Compare(rank(a), rank(b)) // those that run first
		}
		return b.Submitted.Compare(a.Submitted)
	})
	out := all[:0]
	for _, st := range all {
		st.Missing, st.Failing, st.Skipped, st.Stdout = nil, nil, nil, ""
		if st.State.Final() {
			st.Nodes = nil
		}
		size := jsonSize(st)
		if size > room {
			st.Nodes = nil
			size = jsonSize(st)
		}
		if size > room {
			continue
		}
		room -= size
		out = append(out, st)
	}
	return out
}

// jsonSize is what a job takes in a list.
func jsonSize(st api.JobStatus) int {
	b, err := json.Marshal(st)
	if err != nil {
		return math.MaxInt
	}
	return len(b) + 1
}
