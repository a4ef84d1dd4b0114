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

// Fetched notes, here and on the other nodes that are up, that a job's user has the result, so that it is kept for a
// shorter time. Nothing is noted if this node's user may only look at the job, since the result is then still needed.
func (r *outputs) Fetched(name string, submitter tasks.PeerID) {
	if !r.cluster.May(r.net.ID(), submitter, members.ForRule) {
		return
	}
	r.HeardFetched(name)
	r.tellAll("fetched", name)
}

// Taken notes, here and on the other nodes that are up, once the job has ended, that its user was told the values of
// all units, so that they go if there is no room. Nothing is noted if this node's user may only look at the job.
func (r *outputs) Taken(name string) {
	found := r.book.Meant(name)
	if len(found) != 1 || !r.cluster.May(r.net.ID(), found[0].submitter(), members.ForRule) {
		return
	}
	j := found[0]
	r.spawn(func() {
		select {
		case <-j.Done:
			r.HeardTaken(j.Name)
			r.tellAll("taken", j.Name)
		case <-r.ctx.Done():
		}
	})
}

// tellAll tells the members that are up something about a job, without waiting for them.
func (r *outputs) tellAll(what, name string) {
	r.spawn(func() {
		var g errgroup.Group
		g.SetLimit(16)
		for _, id := range r.cluster.Up() {
			g.Go(func() error {
				_, err := r.cluster.Ask(r.ctx, id, what, name)
				if err != nil && !errors.Is(err, p2p.ErrRemote) { // an error of the member is that it does not know the job
					r.log.Debug("could not tell that a result was "+what, "job", api.Short(name), "node", id, "reason", err)
				}
				return nil
			})
		}
		_ = g.Wait()
	})
}

// HeardFetched notes that a job's user has the result, as another member says. The message may come before the job's
// end does, when the result is here already.
func (r *outputs) HeardFetched(name string) {
	if r.results.Has(name) {
		r.results.NoteFetched(name)
	}
}

// HeardTaken notes that a job's user was told the values of all units, if anything is kept of the job here.
func (r *outputs) HeardTaken(name string) {
	if r.results.Has(name) {
		r.results.NoteTaken(name)
	}
}

// FinishedJobs are the final jobs that this node describes to others, those first whose end it has seen last. It does
// not sort by the time of submission, which comes from other nodes' clocks.
func (r *outputs) FinishedJobs() (all []store.Finished) {
	for _, j := range r.book.AllTold() {
		if !j.Final() {
			continue
		}
		f := store.Finished{
			Name:    j.Name,
			Fetched: r.results.FetchedAt(j.Name),
			Taken:   r.results.Taken(j.Name),
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
