package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// listWait is how long members have to list their jobs: one that does not answer holds up what the others tell.
const listWait = time.Second

// MaxJobsAnswer bounds the list of jobs told to another daemon.
const MaxJobsAnswer = p2p.MaxRequest / 2

// AllJobs lists the jobs led here and by members that answer.
func (r *teller) AllJobs(ctx context.Context) []api.JobStatus {
	asked, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	peers := r.cluster.Up()
	lists := make([][]claim, len(peers))
	var g errgroup.Group
	for i, id := range peers {
		g.Go(func() error {
			b, err := r.cluster.Ask(asked, id, "jobs", "")
			if err == nil {
				lists[i], err = toldBy(id, b)
			}
			if err != nil {
				r.log.Warn("could not list the jobs of a member", "node", id, "reason", err)
			}
			return nil
		})
	}
	_ = g.Wait()
	var all []claim
	for _, st := range Listed(r.JobsFor(r.net.ID()), math.MaxInt) { // as they stand when the others have told theirs
		all = append(all, claim{r.net.ID(), st})
	}
	out := once(r.net.ID(), append(all, slices.Concat(lists...)...), r.homes())
	slices.SortStableFunc(out, func(a, b api.JobStatus) int { return a.Submitted.Compare(b.Submitted) })
	return out
}

// JobsFor describes to a member the jobs that this node tells of, the oldest first, and those that wait.
func (r *teller) JobsFor(who tasks.PeerID) []api.JobStatus {
	out := []api.JobStatus{}
	for _, j := range r.book.AllTold() {
		out = append(out, r.cluster.CutFor(who, r.StatusOf(j)))
	}
	for _, st := range r.waitingJobs() {
		out = append(out, r.cluster.CutFor(who, st))
	}
	return out
}

// Listed cuts descriptions of jobs to what a list of them has room for, in bytes of JSON: each without its long
// parts, the running ones before the finished ones, of which the newest come first.
func Listed(all []api.JobStatus, room int) []api.JobStatus {
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
