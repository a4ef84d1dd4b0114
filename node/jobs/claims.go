package jobs

import (
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Several members may tell of one job, and any of them may lie. A list of jobs believes this node over all others of
// what it knows itself, then the home that has proven to this node that it leads the job, then the submitter, whom the
// job's whole name proves, then who says that it leads or has submitted it, and then anybody. Only what this node knows
// is proven; the rest is the others' word, and `status`, which asks for proofs, says more.

// claim is what a member tells of a job.
type claim struct {
	by tasks.PeerID
	api.JobStatus
}

// toldBy reads a member's list of jobs.
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

// homes are the proven homes of the jobs that are known here, by api.Short. A node that cannot run a job may have a copy
// of its ledger, and knows from that who leads it.
func (r *Room) homes() map[string]tasks.PeerID {
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

// weight says how much counts what is told of a job to a node.
func (t claim) weight(self tasks.PeerID, homes map[string]tasks.PeerID) int {
	switch {
	case t.by == self && t.State != api.Waiting:
		return 5
	case t.by == homes[api.Short(t.ID)]:
		return 4
	case t.by == self: // it does not see the home
		return 3
	case t.ofSubmitter():
		return 2
	case t.by == t.Home || t.by == t.Submitter:
		return 1
	}
	return 0
}

// rank says what is to be believed of several descriptions of a job that count as much: that it has ended, before that
// it runs, before that it waits as far as somebody sees.
func rank(st api.JobStatus) int {
	switch {
	case st.State.Final():
		return 2
	case st.State == api.Waiting:
		return 0
	}
	return 1
}

// once lists each job once, as the one describes it who is to be believed: after its end several nodes tell of it, and
// for a moment two may think that they lead it.
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
