package engine

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// recv takes a message. What only a job's home may say is taken only from that.
func (p *Peer) recv(from tasks.PeerID, m Message) {
	j := p.job(m.Job)
	if from != p.self {
		if why := p.wrong(from, j, &m); why != "" {
			p.violated(from, m.Job, why)
			return
		}
		if p.tooMuch(from, &m) {
			return
		}
		defer p.chargeChecks(from, p.charges.checks.n)
	}
	switch {
	case m.Steal != nil:
		p.onSteal(from, *m.Steal)
	case m.Open != nil:
		p.onOpen(from, m)
	case m.Report != nil || m.Offer != nil || m.Refuse != nil || m.Append != nil:
		p.toHome(from, j, m)
	case m.Enlist != nil:
		p.onEnlist(from, j, m)
	case m.Ended != nil:
		p.onEnded(from, m.Job, j, m.Ended)
	case m.Frame != nil:
		p.toReplica(from, j, m)
	case m.Resign != nil:
		p.onResign(from, j, m)
	case m.Moved != nil:
		p.onMoved(from, j, m)
	case m.Recovery != nil:
		p.onRecovery(from, j, m)
	case j != nil:
		p.recvFor(j, from, m)
	case m.Enlisted != nil: // the sender's copy is made, but the job is over
		p.tellEnd(from, m.Job)
	}
}

// recvFor takes a message for a job that this peer takes part in.
func (p *Peer) recvFor(j *jobState, from tasks.PeerID, m Message) {
	switch {
	case m.Enlisted != nil:
		p.onEnlisted(j, from, *m.Enlisted)
	case m.Kept != nil:
		p.onKept(j, from, *m.Kept)
	case m.Resigned != nil:
		p.onResigned(from, j, *m.Resigned)
	case m.Gather != nil:
		p.onGather(j, from, *m.Gather)
	case m.Gathered != nil:
		p.carryOutMerge(j.work.parts.Answered(p.now, from, m.Gathered.ID, m.Gathered.Word))
	case p.isHome(j, from, m.Term):
		p.fromHome(j, m)
	}
}

// onSteal takes what schedulers send each other. Work that is dealt comes with a say in what other nodes do, to whom it
// is passed on and who merges the partials, so it is taken only from the job's submitter and from the node that the
// submitter has put above this one.
func (p *Peer) onSteal(from tasks.PeerID, m steal.Message) {
	if g := m.Grant; g != nil && g.Dealt && from != p.self && !p.mayPassOn(from, g) {
		p.violated(from, g.Job, Unproven)
		p.send(from, Message{Steal: &steal.Message{Ack: &steal.Ack{ID: g.ID, Job: g.Job}}})
		return
	}
	p.schedule(steal.Recv{From: from, Msg: m})
}

// mayPassOn reports whether a member may deal work to this node in the way it does. It does not matter who leads the
// job by now: all work is dealt by the submitter when the job begins, and only passed on after that.
func (p *Peer) mayPassOn(from tasks.PeerID, g *steal.Grant) bool {
	j := p.job(g.Job)
	if j == nil || j.desc == nil || mutant.On(mutant.AnyDealer) {
		return true // nothing is taken of a job that is not known
	}
	if from == j.desc.Submitter { // it must have signed what this node is to pass on
		return len(g.Others) == 0 ||
			g.Proof != nil && p.cfg.Keys.Verify(from, steal.DealText(g.Job, p.self, g.Others), g.Proof.Sig)
	}
	text := g.Proof.Signed(g.Job, from, p.self, g.Others)
	return g.Above == "" && text != nil && p.cfg.Keys.Verify(j.desc.Submitter, text, g.Proof.Sig)
}

// toHome takes what nodes send to a job's home. If another node leads the job, or it is over, the sender is told so.
func (p *Peer) toHome(from tasks.PeerID, j *jobState, m Message) {
	switch {
	case p.tellEnd(from, m.Job):
		return
	case j == nil:
		return
	case !j.leads():
		if j.home != p.self && j.home != "" && j.home != from {
			p.tellMoved(from, j)
		}
		return
	}
	if m.Offer != nil {
		if m.Offer.Holder == from && m.Offer.ID.Node == from && m.Offer.Job == j.id {
			p.stepHome(j, ledger.Offered{Partial: *m.Offer})
		}
		return
	}
	if m.Refuse != nil {
		p.stepHome(j, ledger.NotReduced{From: from, Inputs: m.Refuse})
		return
	}
	if m.Append != nil {
		p.appendHere(from, j, *m.Append)
		return
	}
	p.stepHome(j, ledger.Reported{From: from, Report: *m.Report})
	if !j.leads() {
		return
	}
	p.tellGrowth(j, from, m.Report)
	a, due := j.led.home.Answer(from, *m.Report, busyHints)
	if !due {
		return
	}
	ack := &ReportAck{Seq: m.Report.Seq, Every: a.Every, Above: a.Above, Busy: a.Busy, Left: a.Left}
	ack.Lost, ack.Losers = p.lostLately(j), losers(j)
	for _, f := range m.Report.Failures {
		ack.Failures = max(ack.Failures, f.Seq)
	}
	p.sendAsHome(j, from, Message{Ack: ack})
}

// fromHome takes a message of the job's home.
func (p *Peer) fromHome(j *jobState, m Message) {
	j.seeking.heard = p.now
	if m.Keep != nil {
		p.onKeep(j, *m.Keep)
		return
	}
	if j.shut {
		return
	}
	switch {
	case m.Ack != nil:
		p.onAck(j, *m.Ack)
	case m.Answer != nil && m.Answer.Accept:
		p.carryOutMerge(j.work.parts.Accepted(m.Answer.ID))
		j.reports.news, j.reports.urgent = true, j.reports.urgent || j.stopped
	case m.Answer != nil && m.Answer.Note:
		j.work.parts.Noted(m.Answer.ID, m.Answer.Known)
	case m.Answer != nil:
		p.carryOutMerge(j.work.parts.Rejected(p.now, m.Answer.ID))
		j.reports.news, j.reports.urgent = true, j.reports.urgent || j.stopped
	case m.Grow != nil:
		p.onGrow(j.home, j, m.Grow)
	case m.NotAppended != nil:
		p.notAppended(j, *m.NotAppended)
	case m.Reduce != nil:
		p.carryOutMerge(p.roomFor(j).Reduce(p.now, p.nextID(), m.Reduce.Inputs))
	case m.Drop != nil:
		if j.loaded && m.Drop.Valid(j.space()) {
			p.schedule(steal.Drop{Job: j.id, Cover: j.knownOf(m.Drop)})
			p.carryOutMerge(j.work.parts.Committed(m.Drop))
		}
	case m.Undone != nil:
		if j.loaded && m.Undone.Valid(j.space()) {
			p.schedule(steal.Undone{Job: j.id, Cover: j.knownOf(m.Undone)})
		}
	case m.Yield != nil:
		if j.loaded && m.Yield.Valid(j.space()) {
			p.schedule(steal.Yield{Job: j.id, Cover: j.knownOf(m.Yield)})
		}
	case m.Try != nil:
		p.onTry(j, *m.Try)
	case m.Order == OrderStop:
		j.stopped, j.reports.urgent = true, true
		p.schedule(steal.Stop{Job: j.id})
	case m.Order == OrderRest:
		p.schedule(steal.Rest{Job: j.id})
	case m.Order == OrderShun:
		if !j.leads() && !j.aside {
			p.emit(SetAside{ID: j.id, Node: p.self})
		}
		j.aside, j.reports.urgent = true, true
		p.schedule(steal.Shun{Job: j.id})
	}
}

// toReplica takes what replicas send each other. One that knows the end of a job tells it to those that go
// on asking for votes.
func (p *Peer) toReplica(from tasks.PeerID, j *jobState, m Message) {
	switch {
	case j != nil && j.copy.log != nil && !p.mayFrame(j, from):
		p.askVoters(j, from)
	case j != nil && j.copy.log != nil:
		p.stepLog(j, quorum.Recv{From: from, Frame: m.Frame})
	default:
		p.tellEnd(from, m.Job)
	}
}

// mayFrame reports whether frames of a member are taken here. A copy that is to become one of those that count has no
// log yet that could tell: it hears the home, and those who are proven to be voters; or anybody, while it knows of
// none.
func (p *Peer) mayFrame(j *jobState, from tasks.PeerID) bool {
	return j.seated() || from == j.home || len(j.proofs.conf.Voters) == 0 || votes(j.proofs.conf, from) ||
		votes(j.seeking.voters, from)
}

// votes reports whether a peer has a vote in a set of voters.
func votes(c quorum.Conf, id tasks.PeerID) bool {
	return slices.ContainsFunc(c.Voters, func(v quorum.Voter) bool { return v.Peer == id })
}

// tellHome sends what is for a job's home; nowhere while there is none.
func (p *Peer) tellHome(j *jobState, m Message) {
	if j.home != "" {
		m.Job = j.id
		p.send(j.home, m)
	}
}

// sendAsHome sends a word of this job's home.
func (p *Peer) sendAsHome(j *jobState, to tasks.PeerID, m Message) {
	m.Job, m.Term = j.id, j.term
	p.send(to, m)
}

func (p *Peer) tellAll(j *jobState, o Order) {
	for _, id := range p.sortedPeers() {
		p.sendAsHome(j, id, Message{Order: o})
	}
}
