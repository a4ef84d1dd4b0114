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

// listWait is how long members have to list their jobs. It is short, since the user waits for the slowest of them.
const listWait = time.Second

// MaxJobsAnswer bounds the list of jobs in an answer to another daemon, in bytes of JSON.
const MaxJobsAnswer = p2p.MaxRequest / 2

// AllJobs lists the jobs that this node and the members that answer in time describe, each once, in the order of their
// submission.
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
	// This node's own jobs come last, so that they are not older than what the others have said.
	for _, st := range Listed(r.JobsFor(r.net.ID()), math.MaxInt) {
		all = append(all, claim{r.net.ID(), st})
	}
	out := once(r.net.ID(), append(all, slices.Concat(lists...)...), r.homes())
	slices.SortStableFunc(out, func(a, b api.JobStatus) int { return a.Submitted.Compare(b.Submitted) })
	return out
}

// JobsFor describes, for a member, the jobs that this node describes to others, the oldest first, and then the jobs
// that wait. It leaves out what the member has no right to see.
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

// Listed cuts a list of jobs so that it takes at most room bytes of JSON. It drops the long parts of each description,
// and orders the list so that what does not fit is the least interesting: running jobs come before finished ones, and
// newer jobs before older ones.
func Listed(all []api.JobStatus, room int) []api.JobStatus {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b api.JobStatus) int {
		if a.State.Final() != b.State.Final() {
			return cmp.Compare(rank(a), rank(b)) // jobs that have not ended come first
		}
		return b.Submitted.Compare(a.Submitted)
	})
	out := all[:0]
	for _, st := range all {
		st.Missing, st.Failing, st.Skipped, st.Stdout = nil, nil, nil, ""
		st.OutputFiles, st.Left = nil, nil
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

// jsonSize is how many bytes of JSON a job takes in a list.
func jsonSize(st api.JobStatus) int {
	b, err := json.Marshal(st)
	if err != nil {
		return math.MaxInt
	}
	return len(b) + 1
}
