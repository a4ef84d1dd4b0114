package engine

import (
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// A recovery has a job go on from one copy of its ledger. The job's submitter may order it at any time, for the job is
// its own. An admin may order it for jobs whose majority of replicas is lost, and an admin may lie. So this peer
// ignores an admin's recovery as long as it sees the ledger live, and with it whoever leads, and whatever ends, by that
// recovery. If a ledger that an admin took for lost comes to an end, that end counts over the recovered one's: both are
// exact, but the former needed no single person's word.

// settleTime is how long a replica must have heard a leader, after its restart or after a time without any, before it
// takes the ledger for one that lives. In the time before that the job may rightly have been recovered.
const settleTime = time.Minute

// noteLed notes whether this copy hears a leader now, and has settleTime begin anew if it heard none for long. Called
// at each tick. A job that has just become known here counts as led so far.
func (p *Peer) noteLed(j *jobState) {
	if j.copy.log == nil || !j.copy.log.Led(p.now, answerWithin) {
		return
	}
	if p.now-j.copy.ledAt > recoverAlive {
		j.copy.settledAt = p.now + settleTime
	}
	j.copy.ledAt = p.now
}

// letSettle has settleTime begin for a copy that this peer has brought back from its disk.
func (p *Peer) letSettle(j *jobState) {
	j.copy.ledAt, j.copy.settledAt = p.now-2*recoverAlive, p.now+settleTime
}

// lives reports whether this peer sees a job's ledger at work: its own copy has had a leader for settleTime or, where
// it has no copy, it hears from a home that has proven to lead.
func (p *Peer) lives(j *jobState) bool {
	if j.copy.log != nil && j.seated() {
		return p.now >= j.copy.settledAt && j.copy.log.Led(p.now, answerWithin)
	}
	return j.home != "" && p.now-j.seeking.heard <= seekAfter
}

// defies reports whether this peer ignores a recovery l although its signature is valid: an admin and not the submitter
// has signed it, and the ledger lives. It does not ignore l if the ledger goes on by an earlier recovery whose admin
// has lost the right since, for such a ledger may be recovered again.
func (p *Peer) defies(j *jobState, l quorum.Link) bool {
	if mutant.On(mutant.ObeyAdmins) || j.desc == nil || p.submittersWord(j.id, j.desc.Submitter, l) {
		return false
	}
	if r := j.recovery(); r != nil && p.trueRecovery(j.id, j.desc.Submitter, *r) != nil {
		return false
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

// defiesChain reports whether this peer ignores the voters in a chain, because they are of a later epoch than it
// follows and it ignores the recovery that began that epoch.
func (p *Peer) defiesChain(j *jobState, c quorum.Chain) bool {
	l := lastRecovery(c)
	return l != nil && quorum.Epoch(c.Conf().Term) > max(quorum.Epoch(j.term), j.copy.record.Epoch()) && p.defies(j, *l)
}

// keepsEnd reports whether the end of a job, as this peer knows it, stands against a recovery l that an admin has
// signed: because the end is proven, or because it is in the log of a ledger that lives, and so will be proven.
func (p *Peer) keepsEnd(id tasks.JobID, past *endedJob, l quorum.Link) bool {
	if mutant.On(mutant.ObeyAdmins) || p.submittersWord(id, past.submitter, l) {
		return false
	}
	j := p.job(id)
	return past.Seal != nil || j != nil && j.copy.log != nil && p.defies(j, l)
}

// overrules reports whether an end e counts over a recovery of the job: an admin has signed the recovery, and e is
// proven by voters of an earlier epoch, so the ledger that was taken for lost has come to it.
func (p *Peer) overrules(id tasks.JobID, submitter tasks.PeerID, recovery *quorum.Link, e *Ended) bool {
	return recovery != nil && quorum.Epoch(e.Seal.Chain.Conf().Term) < quorum.Epoch(recovery.Conf.Term) &&
		!p.submittersWord(id, submitter, *recovery)
}

// takeEarlierEnd ends a job that goes on here from a recovered copy, since its ledger has ended without the recovery.
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

// earlierEnd puts an end e of a job in the place of the one that is known here, if that one came by a recovery that e
// overrules. It reports whether it did.
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
