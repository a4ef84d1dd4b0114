package jobs

import (
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// Fetched says here and to the other nodes that a job's user has its result. Who does not hear of it keeps the
// result until it expires. A copy that a member took which may only look is no reason for any node to keep it for less.
func (r *outputs) Fetched(name string, submitter tasks.PeerID) {
	if !r.cluster.May(r.net.ID(), submitter, members.ForRule) {
		return
	}
	if r.results.Has(name) {
		r.results.NoteFetched(name)
	}
	r.spawn(func() {
		var g errgroup.Group
		g.SetLimit(16)
		for _, id := range r.cluster.Up() {
			g.Go(func() error {
				_, err := r.cluster.Ask(r.ctx, id, "fetched", name)
				if err != nil && !errors.Is(err, p2p.ErrRemote) { // else it knows of no such job, say
					r.log.Debug("could not tell that a result was fetched", "job", api.Short(name), "node", id, "reason", err)
				}
				return nil
			})
		}
		_ = g.Wait()
	})
}

// HeardFetched takes the word of a member that a job's user has its result. It may come before that of the job's
// end, when the result is here already.
func (r *outputs) HeardFetched(name string) {
	if r.results.Has(name) {
		r.results.NoteFetched(name)
	}
}

// FinishedJobs are those that are over and told of here, those first whose end this node has seen last: when they were
// submitted others' clocks say.
func (r *outputs) FinishedJobs() (all []store.Finished) {
	for _, j := range r.book.AllTold() {
		if !j.Final() {
			continue
		}
		f := store.Finished{
			Name:    j.Name,
			Fetched: r.results.FetchedAt(j.Name),
			Result:  r.results.Has(j.Name),
			Owed:    r.Owed(j) != "",
			Bytes:   store.FolderBytes(r.results.FolderOf(j.Name)),
		}
		j.mu.Lock()
		f.Ended, f.Partial = j.s.Ended, j.s.Status.State == api.Partial
		j.mu.Unlock()
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b store.Finished) int { return b.Ended.Compare(a.Ended) })
	return all
}

// ForgetJob removes all that is known of a finished job.
func (r *outputs) ForgetJob(name string) {
	r.book.Forget(name)
	r.results.RemoveJob(name)
}
