package engine

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// A node with a copy of a job's ledger learns who leads the job from the log. All other nodes believe a mandate
// (quorum.Mandate): it proves that a majority of the ledger's voters follow the home in its term, and a chain of
// signatures leads from these voters back to the first one, the job's submitter, whom the signed description names. So
// a node that hears of a job gets the description first, and meanwhile only notes who claims to lead the job.

// GroupName is the name of a job's replicas in all that they sign.
func GroupName(id tasks.JobID) string { return "job " + string(id) }

// TrustOf is what the proofs of a job are checked with: its submitter has founded the ledger, and those whom may allows
// can have it recovered.
func TrustOf(k quorum.Keys, id tasks.JobID, may func(tasks.PeerID) bool, submitter tasks.PeerID) quorum.Trust {
	return quorum.Trust{Keys: k, Group: GroupName(id), Founders: []tasks.PeerID{submitter}, Authority: may}
}

func (p *Peer) trust(id tasks.JobID, submitter tasks.PeerID) quorum.Trust {
	t := TrustOf(p.cfg.Keys, id, p.authority(submitter), submitter)
	t.Checked = &p.charges.checked
	return t
}

// same reports whether two mandates are for the same leader and term, so that who believes one need not check the
// other.
func same(a, b *quorum.Mandate) bool {
	return a.Term == b.Term && a.Leader == b.Leader && a.LeaderPeer() == b.LeaderPeer()
}

// believe reports whether a mandate, which from has shown, proves what it says, and notes it if it does. The signatures
// of one that was believed before are not checked again, and one of an earlier term is not believed.
func (p *Peer) believe(from tasks.PeerID, j *jobState, m *quorum.Mandate) bool {
	switch {
	case m == nil || j.desc == nil:
		return false
	case mutant.On(mutant.NoMandate):
		return true
	case j.proofs.shown != nil && same(j.proofs.shown, m):
		return true
	case m.Term < j.term && !mutant.On(mutant.StaleTerm):
		return false
	}
	if quorum.CheckMandate(p.trust(j.id, j.desc.Submitter), *m) != nil {
		p.unproven(from, j.id, m.Chain)
		return false
	}
	if p.defiesChain(j, m.Chain) {
		return false
	}
	if !j.proofs.conf.Admits(*m) && !mutant.On(mutant.OwnTerm) {
		return false // its voters were replaced since
	}
	j.show(m)
	return true
}

// unproven reports a member that has shown a proof which does not hold. It reports none whose proof rests on a
// recovery: members may at times disagree on who is an admin, and so on whether such a proof holds.
func (p *Peer) unproven(from tasks.PeerID, id tasks.JobID, c quorum.Chain) {
	if !slices.ContainsFunc(c.Links, func(l quorum.Link) bool { return l.RecoveryConf() == nil }) {
		p.violated(from, id, Unproven)
	}
}

// show notes a mandate that holds.
func (j *jobState) show(m *quorum.Mandate) {
	if c := m.Chain.Conf(); c.Seq >= j.proofs.conf.Seq {
		j.proofs.conf = c
	}
	if j.proofs.shown == nil || m.Term >= j.proofs.shown.Term {
		j.proofs.shown = m
	}
}

// askProof asks a member that may lead a job to show it.
func (p *Peer) askProof(j *jobState, from tasks.PeerID) {
	if !j.proofs.asked.Within(p.cfg.Report/2, p.now) {
		j.proofs.asked = tasks.At(p.now)
		p.send(from, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
	}
}

// mandate proves that this peer leads a job; nil if it does not, or cannot prove it yet.
func (p *Peer) mandate(j *jobState) *quorum.Mandate {
	if !j.leads() {
		return nil
	}
	if j.copy.log != nil {
		if m, ok := j.copy.log.Mandate(); ok && (j.proofs.shown == nil || !same(j.proofs.shown, &m)) {
			j.show(&m)
		}
	}
	return p.proofOf(j)
}

// proofOf is the mandate of the home that this peer follows now; nil if it is not here.
func (p *Peer) proofOf(j *jobState) *quorum.Mandate {
	if m := j.proofs.shown; m != nil && m.Term == j.term && m.LeaderPeer() == j.home {
		return m
	}
	return nil
}

// proofs are what was proven here about who leads a job.
//
// shown is valid by the rules of package quorum, and a mandate of an earlier term never takes its place. conf never
// goes back to an older set of voters.
type proofs struct {
	shown *quorum.Mandate // the mandate that was last believed, or this peer's own
	conf  quorum.Conf     // the newest set of voters in any mandate that was believed
	asked tasks.Moment    // when a member was last asked for its mandate
}
