package node

import (
	"context"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job ends when its submitter loses the right to submit. Every node kills what it runs of the job as soon as it hears
// of that, and the node that leads the job writes the end into its ledger. A node that comes to lead the job later,
// after a restart or because the submitter was the home, does the same.

// revokeWait is how long a revocation waits until the jobs of the revoked member have ended.
const revokeWait = 5 * time.Second

// putOut ends a member's stay, and returns which of its jobs were stopped by that.
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
		jobs.Sleep(ctx, 100*time.Millisecond)
	}
	left := d.jobsOf(asked, ids...)
	for _, st := range running {
		ends := !slices.ContainsFunc(left, func(o api.JobStatus) bool { return o.ID == st.ID })
		out.Stopped = append(out.Stopped, api.StoppedJob{ID: st.ID, Ended: ends})
	}
	return out, nil
}

// jobsOf are the jobs of some members that have not ended, as far as the members that answer know of them.
func (d *Daemon) jobsOf(ctx context.Context, submitters ...tasks.PeerID) (out []api.JobStatus) {
	for _, st := range d.jobs.AllJobs(ctx) {
		if slices.Contains(submitters, st.Submitter) && !st.State.Final() {
			out = append(out, st)
		}
	}
	return out
}
