package engine

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// A node with a copy of a job's ledger learns who leads the job from the log. Everybody else believes what is proven:
// that a majority of the voters of the ledger follow the home in its term (quorum.Mandate), with voters that go back,
// by signatures, to the job's submitter, who is its first home and is named in its signed description. So a node that
// hears of a job gets the description first, and remembers meanwhile who claims to lead it.

// GroupName is the name of a job's replicas in all that they sign.
func GroupName(id tasks.JobID) string { return "job " + string(id) }

// TrustOf is what the proofs of a job rest on: its submitter founded its ledger, and who may have it recovered.
func TrustOf(k quorum.Keys, id tasks.JobID, may func(tasks.PeerID) bool, submitter tasks.PeerID) quorum.Trust {
	return quorum.Trust{Keys: k, Group: GroupName(id), Founders: []tasks.PeerID{submitter}, Authority: may}
}

func (p *Peer) trust(id tasks.JobID, submitter tasks.PeerID) quorum.Trust {
	t := TrustOf(p.cfg.Keys, id, p.authority(submitter), submitter)
	t.Checked = &p.charges.checked
	return t
}

// same reports whether two mandates say the same: then one proof does for both.
func same(a, b *quorum.Mandate) bool {
	return a.Term == b.Term && a.Leader == b.Leader && a.LeaderPeer() == b.LeaderPeer()
}

// believe reports whether a mandate proves what it says. One that was believed before, or is older than that, is not
// looked at.
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
		return false // of voters that were replaced since
	}
	j.show(m)
	return true
}

// unproven tells of a member that shows what proves nothing. Whether an admin signed that a ledger was recovered is not
// seen alike by all at any time, so of that nobody is accused.
func (p *Peer) unproven(from tasks.PeerID, id tasks.JobID, c quorum.Chain) {
	if !slices.ContainsFunc(c.Links, func(l quorum.Link) bool { return l.RecoveryConf() == nil }) {
		p.violated(from, id, Unproven)
	}
}

// show takes note of a mandate that holds.
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

// proofOf proves who leads a job now, as this peer knows it; nil if it cannot.
func (p *Peer) proofOf(j *jobState) *quorum.Mandate {
	if m := j.proofs.shown; m != nil && m.Term == j.term && m.LeaderPeer() == j.home {
		return m
	}
	return nil
}

// proofs are what was proven here about who leads a job.
//
// shown holds by package quorum's rules, and no mandate of an earlier term takes its place. conf never goes back to an
// older set of voters.
type proofs struct {
	shown *quorum.Mandate // the last that was believed, or is this peer's own
	conf  quorum.Conf     // the newest set of voters in such a one
	asked tasks.Moment    // when a member was last asked for its mandate
}
