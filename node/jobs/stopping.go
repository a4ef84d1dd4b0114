package jobs

import (
	"cmp"
	"maps"
	"slices"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// StopRevoked ends the jobs of members that have lost the right to submit, as far as this node has a part in them.
func (r *ender) StopRevoked() {
	ids := map[tasks.JobID]tasks.PeerID{}
	for _, c := range r.ledgers.All() {
		ids[c.ID] = c.Job.Submitter
	}
	for id, j := range r.book.IDs() {
		ids[id] = cmp.Or(ids[id], j.submitter())
	}
	for id, submitter := range ids {
		if r.cluster.MayNoMore(submitter) {
			r.stopOne(id, submitter)
		}
	}
	r.forgetCode(slices.Collect(maps.Values(ids)))
}

// stopOne kills what this node runs of a job whose submitter has lost the right to submit, and ends the job if this
// node leads it.
func (r *ender) stopOne(id tasks.JobID, submitter tasks.PeerID) {
	r.loop.Post(engine.Revoked{ID: id})
	j := r.book.ByID(id)
	if j == nil || !j.leads() || j.Final() {
		return
	}
	why := r.cluster.WhyStopped(submitter)
	r.log.Warn("ends a job", "job", api.Short(j.Name), "reason", why)
	j.cancel()
	r.RemoveResult(j)
	r.conclude(j, api.Cancelled, why, "")
}

// forgetCode drops the compiled code of members that have lost the right to submit. It looks at the given submitters
// and at all members that this daemon has known.
func (r *ender) forgetCode(submitters []tasks.PeerID) {
	gone := r.cluster.NewlyGone(submitters)
	if len(gone) == 0 {
		return
	}
	r.spawn(func() {
		err := r.runtimes.None()
		for _, id := range gone {
			if err == nil {
				err = r.runtimes.Forget(r.ctx, id)
			}
			if err != nil {
				r.cluster.CodeIsLeft(id) // so that it is tried again the next time
			}
		}
		if err != nil && r.ctx.Err() == nil {
			r.log.Warn("could not drop the code of a member that was revoked", "reason", err)
		}
	})
}
