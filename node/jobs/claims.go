package jobs

import (
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Several members may describe one job, and any of them may lie. A list of jobs shows the description that ranks
// highest in this order: what this node knows itself; what the home says that has proven to this node that it leads the
// job; what the submitter says, if the job's whole name proves that it is the submitter; what a member says that claims
// to lead or to have submitted the job; what anybody else says. Only what this node knows itself is proven. `status`
// asks the others for proofs, which would take too long for a list.

// claim is the description of a job that one member gives, as its word.
type claim struct {
	by tasks.PeerID
	api.JobStatus
}

// toldBy reads a member's list of jobs, within the bounds of what an honest member tells.
func toldBy(id tasks.PeerID, b []byte) ([]claim, error) {
	if len(b) > MaxJobsAnswer {
		return nil, fmt.Errorf("could not read a list of jobs of %d bytes, more than any node tells", len(b))
	}
	list, err := wire.ReadJSONList[api.JobStatus](b, members.MostListed, members.MostValues)
	if err != nil {
		return nil, err
	}
	out := make([]claim, len(list))
	for i, st := range list {
		out[i] = claim{id, st}
	}
	return out, nil
}

// homes returns the proven homes of the jobs that are known here, by api.Short of the job's name. A node that cannot
// run a job may still have a copy of its ledger, which says who leads the job.
func (r *teller) homes() map[string]tasks.PeerID {
	out := map[string]tasks.PeerID{}
	for _, j := range r.book.Candidates("") {
		home, id := j.homeNow(), j.ID()
		if home == "" && id != "" {
			r.loop.Ask(func(p *engine.Peer) {
				v, _ := p.Ledger(id)
				home = v.Home
			})
		}
		if home != "" {
			out[api.Short(j.Name)] = home
		}
	}
	return out
}

// ofSubmitter reports whether it is the job's submitter that tells of it, as its name proves.
func (t claim) ofSubmitter() bool {
	return isNamedBy(t.ID, t.by)
}

// weight ranks a claim among claims of one job, for the node self: the highest is believed.
func (t claim) weight(self tasks.PeerID, homes map[string]tasks.PeerID) int {
	switch {
	case t.by == self && t.State != api.Waiting:
		return 5
	case t.by == homes[api.Short(t.ID)]:
		return 4
	case t.by == self: // this node only knows that the job waits, so it does not hear the home
		return 3
	case t.ofSubmitter():
		return 2
	case t.by == t.Home || t.by == t.Submitter:
		return 1
	}
	return 0
}

// rank orders descriptions of one job that have equal weight. An end is believed rather than that the job runs, since
// it comes later; and that the job runs rather than that it waits, since whoever says so may only not hear the home.
func rank(st api.JobStatus) int {
	switch {
	case st.State.Final():
		return 2
	case st.State == api.Waiting:
		return 0
	}
	return 1
}

// once lists each job once, as described by the claim that is to be believed. There are several claims after a job's
// end, when several nodes have its ledger, and for a moment while two nodes believe that they lead it.
func once(self tasks.PeerID, all []claim, homes map[string]tasks.PeerID) (out []api.JobStatus) {
	at, of := map[string]int{}, []claim(nil)
	for _, t := range all {
		i, known := at[api.Short(t.ID)]
		if !known {
			at[api.Short(t.ID)] = len(of)
			of = append(of, t)
			continue
		}
		if t.beats(of[i], self, homes) {
			of[i] = t
		}
	}
	for _, t := range of {
		out = append(out, t.JobStatus)
	}
	return out
}

// beats reports whether a description is believed in place of another of the same job.
func (t claim) beats(o claim, self tasks.PeerID, homes map[string]tasks.PeerID) bool {
	a, b := t.weight(self, homes), o.weight(self, homes)
	if a != b {
		return a > b
	}
	if ra, rb := rank(t.JobStatus), rank(o.JobStatus); ra != rb {
		return ra > rb
	}
	return t.Done > o.Done
}
