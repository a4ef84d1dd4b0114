package engine

import (
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// seeking is how this peer looks for a job's home when it has lost it.
type seeking struct {
	heard  time.Duration // when the home was last heard
	sought time.Duration // when another member was last asked what it knows of the job
	asked  tasks.PeerID  // the member that was asked last
	// resultAsked is when the job's result was last asked for, after this peer has heard of the end without the result.
	resultAsked tasks.Moment
}

// A node that has not heard from a job's home for seekAfter asks other members what they know, a different one each
// seekEvery. Another node may lead the job by now, or it may be over, and the message that said so may have been lost.
const (
	seekAfter = 10 * time.Second
	seekEvery = time.Second
)

// seek asks a member for news of a job whose home was not heard for long.
func (p *Peer) seek(j *jobState) {
	if j.leads() || j.shut || p.now-j.seeking.heard < max(seekAfter, 3*j.reports.every) ||
		p.now-j.seeking.sought < seekEvery {
		return
	}
	j.seeking.sought = p.now
	if j.seeking.asked = p.nextMember(j.seeking.asked); j.seeking.asked != "" {
		p.send(j.seeking.asked, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
	}
}

// nextMember is the connected member that follows id in the order of their names, and the first one after the last;
// empty if there is none.
func (p *Peer) nextMember(id tasks.PeerID) (next tasks.PeerID) {
	var first tasks.PeerID
	for o := range p.members {
		if first == "" || o < first {
			first = o
		}
		if o > id && (next == "" || o < next) {
			next = o
		}
	}
	if next == "" {
		return first
	}
	return next
}

// onMoved takes what another node knows of a job's home, if it proves it, and answers with what is newer.
func (p *Peer) onMoved(from tasks.PeerID, j *jobState, m Message) {
	switch told := m.Moved; {
	case told.Gone:
		p.disowned(from, j)
	case p.tellEnd(from, m.Job):
	case j == nil && told.Proof == nil && (told.Home == "" || told.Home == p.self): // the sender has nobody else to ask
		p.send(from, Message{Job: m.Job, Moved: &Moved{Gone: true}})
	case j == nil || j.desc == nil:
	case told.Term > j.term && !p.knowsByLog(j):
		if told.Proof == nil && told.Home != "" && told.Home != from && p.up(told.Home) {
			p.askProof(j, told.Home)
		} else {
			p.heed(from, j, told.Home, told.Term, told.Proof)
		}
	case j.home != "" && j.home != from && (told.Home == p.self || told.Term < j.term):
		p.tellMoved(from, j)
	}
}

// disowned drops a copy of a ledger that never had a seat when the job's submitter says that it knows of no such job.
// The job must have ended before the copy could get a seat, and so long ago that nobody can prove its end any more. A
// copy that has or had a seat stays, whatever anybody says.
func (p *Peer) disowned(from tasks.PeerID, j *jobState) {
	if j == nil || j.copy.log == nil || j.leads() || j.shut || from != j.desc.Submitter || j.seated() ||
		j.held.index > 0 ||
		j.copy.record.Done.Cover().Len() > 0 {
		return
	}
	p.leaveLog(j, "")
	p.closeJob(j, true)
}

// tellMoved tells a member who leads a job, with the proof if it is here.
func (p *Peer) tellMoved(to tasks.PeerID, j *jobState) {
	proof := p.proofOf(j)
	if j.leads() {
		proof = p.mandate(j)
	}
	p.send(to, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term, Proof: proof}})
}

// silent is how long this peer goes on with a job whose home is not heard.
func (p *Peer) silent(j *jobState) time.Duration {
	if j.desc != nil && j.home == "" && j.term == 0 { // no member has ever proven to lead it
		return min(unledFor, p.cfg.Silent)
	}
	return p.cfg.Silent
}

// onOpen takes an announcement of a job.
func (p *Peer) onOpen(from tasks.PeerID, m Message) {
	if p.ends.of[m.Job] != nil {
		p.tellPast(from, m)
		return
	}
	c := claim{from: from, proof: m.Open.Proof, every: m.Open.Every}
	switch j := p.job(m.Job); {
	case j == nil || j.desc == nil:
		p.claimed(m.Job, c)
	default:
		p.opened(from, j, m.Term, c.proof, c.every)
	}
}

// opened takes an announcement of a job whose description is here.
func (p *Peer) opened(from tasks.PeerID, j *jobState, term uint64, proof *quorum.Mandate, every time.Duration) {
	if !p.heed(from, j, from, term, proof) {
		return
	}
	j.seeking.heard, j.reports.urgent = p.now, true
	p.pace(j, every)
	j.work.parts.HomeLink()
	if j.prep.failed && !j.shut {
		p.loadCode(j, from)
	}
}

// heed takes home for the job's home if the proof, which from has shown, holds, and if it is of a later term than what
// is known here. It reports whether home is the job's home in that term afterwards.
func (p *Peer) heed(from tasks.PeerID, j *jobState, home tasks.PeerID, term uint64, proof *quorum.Mandate) bool {
	switch {
	case p.knowsByLog(j):
		if home == j.home && term == j.term {
			p.believe(from, j, proof) // so that this peer can show the proof to others
		}
	case (term > j.term || j.home == "" && term == j.term || mutant.On(mutant.StaleTerm)) && p.believe(from, j, proof):
		p.setHome(j, home, term)
	}
	return home == j.home && term == j.term
}

// isHome reports whether a member that speaks as the job's home in a term is that. If the term is later than any that
// was proven here the member is asked for its proof, since its announcement may have been lost.
func (p *Peer) isHome(j *jobState, from tasks.PeerID, term uint64) bool {
	if term > j.term && !p.knowsByLog(j) && j.desc != nil {
		p.askProof(j, from)
	}
	return from == j.home && term == j.term
}

// knowsByLog reports whether this peer learns who leads the job from the job's log alone: because it leads the job
// itself, or is a voter. If it believed others a member that claims to lead in a later term could have the ledger
// forgotten.
func (p *Peer) knowsByLog(j *jobState) bool { return j.leads() || (j.copy.log != nil && j.seated()) }

// setHome follows a job to another home.
func (p *Peer) setHome(j *jobState, home tasks.PeerID, term uint64) {
	if (term < j.term && !mutant.On(mutant.StaleTerm)) || home == "" || (home == j.home && term == j.term) {
		return
	}
	if j.leads() && home != p.self {
		p.stepDown(j)
	}
	if term != j.term {
		j.held.postponed, j.held.result = nil, nil
	}
	moved := home != j.home
	j.home, j.term, j.seeking.heard = home, term, p.now
	if home != p.self {
		p.emit(HomeIs{ID: j.id, Home: home, Term: term})
	}
	if moved && !j.shut {
		p.schedule(steal.Home{Job: j.id, Home: home})
		j.work.parts.SetAbove("") // the new home makes a tree of its own
		p.carryOutMerge(j.work.parts.SetHome(p.now, home))
		j.reports.urgent = true
	}
}
