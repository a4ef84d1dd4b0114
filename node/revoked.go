package node

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job ends with its submitter's right to submit: every node kills what it runs of it as soon as it hears, and
// whichever node leads the job writes that end into its ledger. A node that comes to lead it later does so too, after
// a restart or because the submitter was the home.

// stopRevoked ends here what members have submitted that may do so no more.
func (d *Daemon) stopRevoked() {
	ids := map[tasks.JobID]tasks.PeerID{}
	for _, c := range d.ledgers.All() {
		ids[c.ID] = c.Job.Submitter
	}
	for id, j := range d.book.IDs() {
		ids[id] = cmp.Or(ids[id], j.submitter())
	}
	for id, submitter := range ids {
		if d.cluster.MayNoMore(submitter) {
			d.stopOne(id, submitter)
		}
	}
	d.forgetCode(slices.Collect(maps.Values(ids)))
}

// stopOne kills what runs here of a job whose submitter was revoked, and ends the job if it is led here.
func (d *Daemon) stopOne(id tasks.JobID, submitter tasks.PeerID) {
	d.post(engine.Revoked{ID: id})
	j := d.book.ByID(id)
	if j == nil || !j.leads() || j.final() {
		return
	}
	why := d.cluster.WhyStopped(submitter)
	d.log.Warn("ends a job", "job", api.Short(j.name), "reason", why)
	j.cancel()
	d.removeResult(j)
	d.conclude(j, api.Cancelled, why, "")
}

// forgetCode drops the compiled code of members that may submit no more, of all that were members in this life and
// of those that are named.
func (d *Daemon) forgetCode(submitters []tasks.PeerID) {
	gone := d.cluster.NewlyGone(submitters)
	if len(gone) == 0 {
		return
	}
	d.spawn(func() {
		err := d.runtimes.None()
		for _, id := range gone {
			if err == nil {
				err = d.runtimes.Forget(d.ctx, id)
			}
			if err != nil { // the next time
				d.cluster.CodeIsLeft(id)
			}
		}
		if err != nil && d.ctx.Err() == nil {
			d.log.Warn("could not drop the code of a member that was revoked", "reason", err)
		}
	})
}

// revokeWait is how long a revocation waits for the jobs of who was revoked to end.
const revokeWait = 5 * time.Second

// putOut ends a member's stay and tells which of its jobs that stopped.
func (d *Daemon) putOut(
	asked context.Context, req api.RevokeRequest, end func(context.Context, p2p.PeerID) error,
) (out api.Revoked, err error) {
	invited := d.net.Invited(req.ID)
	ids := []tasks.PeerID{req.ID}
	if req.WithInvited {
		ids = append(ids, invited...)
	}
	running := d.jobsOf(asked, ids...)
	if err := end(asked, req.ID); err != nil {
		return out, d.byNames(err)
	}
	out = api.Revoked{Stopped: []api.StoppedJob{}}
	for _, id := range invited {
		m := api.InvitedMember{ID: id, Name: d.cluster.NameOf(id)}
		if req.WithInvited {
			err := d.net.Revoke(asked, id)
			if m.Revoked = err == nil; !m.Revoked {
				m.Error = d.byNames(err).Error()
				ids = slices.DeleteFunc(ids, func(o tasks.PeerID) bool { return o == id })
			}
		}
		out.Invited = append(out.Invited, m)
	}
	running = slices.DeleteFunc(running, func(st api.JobStatus) bool { return !slices.Contains(ids, st.Submitter) })
	ctx, cancel := context.WithTimeout(asked, revokeWait)
	defer cancel()
	for len(running) > 0 && ctx.Err() == nil && len(d.jobsOf(ctx, ids...)) > 0 {
		sleep(ctx, 100*time.Millisecond)
	}
	left := d.jobsOf(asked, ids...)
	for _, st := range running {
		ends := !slices.ContainsFunc(left, func(o api.JobStatus) bool { return o.ID == st.ID })
		out.Stopped = append(out.Stopped, api.StoppedJob{ID: st.ID, Ended: ends})
	}
	return out, nil
}

// jobsOf are the jobs of members that have not ended, as far as members that answer tell.
func (d *Daemon) jobsOf(ctx context.Context, submitters ...tasks.PeerID) (out []api.JobStatus) {
	for _, st := range d.allJobs(ctx) {
		if slices.Contains(submitters, st.Submitter) && !st.State.Final() {
			out = append(out, st)
		}
	}
	return out
}
