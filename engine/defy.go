package engine

import (
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// The submitter may do with its job what it likes, and its word that the job goes on from one copy counts at any time.
// An admin's is for jobs that have lost their majority, and an admin may lie: where the ledger lives, as this peer sees
// it, an admin's word counts for nothing, and neither does who leads and what ends by it. What a ledger has come to
// that the admin took for lost counts over what was recovered, too: both are exact, and the one that was not in need of
// recovery is nobody's work alone.

// settleTime is for how long a replica must have had a leader, after a restart or a time without, until it takes its
// ledger for one that lives: the others may have been away for long, and the job been recovered meanwhile by whoever
// had to.
const settleTime = time.Minute

// noteLed follows whether this copy's ledger has a leader. A job that is new here has had one all along.
func (p *Peer) noteLed(j *jobState) {
	if j.copy.log == nil || !j.copy.log.Led(p.now, answerWithin) {
		return
	}
	if p.now-j.copy.ledAt > recoverAlive {
		j.copy.settledAt = p.now + settleTime
	}
	j.copy.ledAt = p.now
}

// letSettle has a copy of an earlier life of this peer wait for settleTime before a leader tells that the ledger lives.
func (p *Peer) letSettle(j *jobState) {
	j.copy.ledAt, j.copy.settledAt = p.now-2*recoverAlive, p.now+settleTime
}

// lives reports whether this peer sees that a job's ledger can be written to: its own copy is led, and has been for a
// while, or without a copy it hears who is proven to lead.
func (p *Peer) lives(j *jobState) bool {
	if j.copy.log != nil && j.seated() {
		return p.now >= j.copy.settledAt && j.copy.log.Led(p.now, answerWithin)
	}
	return j.home != "" && p.now-j.seeking.heard <= seekAfter
}

// defies reports whether a recovery of a job's ledger that holds counts for nothing here: its submitter has not signed
// it, and the ledger lives. One that goes on by the word of an admin who is none any more may be recovered again.
func (p *Peer) defies(j *jobState, l quorum.Link) bool {
	if mutant.On(mutant.ObeyAdmins) || j.desc == nil || p.submittersWord(j.id, j.desc.Submitter, l) {
		return false
	}
	if r := j.recovery(); r != nil && p.trueRecovery(j.id, j.desc.Submitter, *r) != nil {
		return false // see lapsed
	}
	if !p.lives(j) {
		return false
	}
	if j.copy.defied != l.Conf.Term {
		j.copy.defied = l.Conf.Term
		p.emit(RecoveryRefused{ID: j.id, By: l.Sigs[0].By, On: l.Conf.Voters[0].Peer})
	}
	return true
}

// submittersWord reports whether the job's submitter has signed a recovery.
func (p *Peer) submittersWord(id tasks.JobID, submitter tasks.PeerID, l quorum.Link) bool {
	t := p.trust(id, submitter)
	t.Authority = func(by tasks.PeerID) bool { return by != "" && by == submitter }
	return quorum.CheckRecovery(t, l) == nil
}

// lastRecovery is the last recovery in a chain, nil for none.
func lastRecovery(c quorum.Chain) (l *quorum.Link) {
	for i := range c.Links {
		if c.Links[i].RecoveryConf() == nil {
			l = &c.Links[i]
		}
	}
	return l
}

// defiesChain is defies for voters of a later epoch than this peer follows.
func (p *Peer) defiesChain(j *jobState, c quorum.Chain) bool {
	l := lastRecovery(c)
	return l != nil && quorum.Epoch(c.Conf().Term) > max(quorum.Epoch(j.term), j.copy.record.Epoch()) && p.defies(j, *l)
}

// keepsEnd reports whether the end of a job stands against a recovery by an admin: it is proven, or it is in this
// peer's copy of a ledger that lives, and will be.
func (p *Peer) keepsEnd(id tasks.JobID, past *endedJob, l quorum.Link) bool {
	if mutant.On(mutant.ObeyAdmins) || p.submittersWord(id, past.submitter, l) {
		return false
	}
	j := p.job(id)
	return past.Seal != nil || j != nil && j.copy.log != nil && p.defies(j, l)
}

// overrules reports whether an end of a job counts over what an admin had recovered: the ledger of before has come to
// it.
func (p *Peer) overrules(id tasks.JobID, submitter tasks.PeerID, recovery *quorum.Link, e *Ended) bool {
	return recovery != nil && quorum.Epoch(e.Seal.Chain.Conf().Term) < quorum.Epoch(recovery.Conf.Term) &&
		!p.submittersWord(id, submitter, *recovery)
}

// takeEarlierEnd ends a job here that goes on from a recovered copy, as its ledger of before has ended.
func (p *Peer) takeEarlierEnd(j *jobState, e *Ended) {
	past := pastJob{term: e.Seal.Chain.Conf().Term, submitter: j.desc.Submitter}
	if j.copy.log != nil {
		p.dropLog(j, DropLedger{
			ID:         j.id,
			Superseded: j.recovery(),
			Reason:     "the job has ended without having been recovered",
		})
	}
	p.emit(HomeIs{ID: j.id, Term: j.term})
	p.closeJob(j, false)
	p.ends.forget(j.id)
	p.ends.put(j.id, past, *e)
}

// earlierEnd takes the end of a job for another one, by a recovered copy, that was taken for it here; it reports
// whether it did.
func (p *Peer) earlierEnd(id tasks.JobID, e *Ended) bool {
	past := p.ends.of[id]
	if past == nil || past.submitter == "" {
		return false
	}
	by := past.recovery
	if by == nil && past.Seal != nil {
		by = lastRecovery(past.Seal.Chain)
	}
	if !p.overrules(id, past.submitter, by, e) || CheckEnd(p.trust(id, past.submitter), e) != nil {
		return false
	}
	submitter := past.submitter
	p.reopen(id, *by)
	p.ends.put(id, pastJob{term: e.Seal.Chain.Conf().Term, submitter: submitter}, *e)
	return true
}
