package jobs

import (
	"cmp"
	"maps"
	"slices"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// StopRevoked ends here what members have submitted that may do so no more.
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

// stopOne kills what runs here of a job whose submitter was revoked, and ends the job if it is led here.
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

// forgetCode drops the compiled code of members that may submit no more, of all that were members in this life and
// of those that are named.
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
			if err != nil { // the next time
				r.cluster.CodeIsLeft(id)
			}
		}
		if err != nil && r.ctx.Err() == nil {
			r.log.Warn("could not drop the code of a member that was revoked", "reason", err)
		}
	})
}
