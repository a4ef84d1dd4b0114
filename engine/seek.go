package engine

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// A node that has not heard from its home for seekAfter asks the others, one each seekEvery, what they know: the
// home may have changed, or the job be over, and the word of it lost.
const (
	seekAfter = 10 * time.Second
	seekEvery = time.Second
)

func (p *Peer) seek(j *jobState) {
	if j.leads() || j.shut || p.now-j.seeking.heard < max(seekAfter, 3*j.reports.every) || p.now-j.seeking.sought < seekEvery {
		return
	}
	j.seeking.sought = p.now
	if j.seeking.asked = p.after(j.seeking.asked); j.seeking.asked != "" {
		p.send(j.seeking.asked, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
	}
}

// after is the peer that follows id in their order, the first after the last; empty for none.
func (p *Peer) after(id tasks.PeerID) (next tasks.PeerID) {
	var first tasks.PeerID
	for o := range p.peers {
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
	case j == nil && told.Proof == nil && (told.Home == "" || told.Home == p.self): // who asks hears of nobody else
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

// disowned drops a copy of a ledger on which nobody has ever counted, since the job's submitter knows of no such job any more: it
// ended before this copy got a seat, and so long ago that nobody can prove it. A copy that has, or had, a seat stays, whatever
// anybody says.
func (p *Peer) disowned(from tasks.PeerID, j *jobState) {
	if j == nil || j.copy.log == nil || j.leads() || j.shut || from != j.desc.Submitter || j.seated() || j.held.index > 0 || j.copy.record.Done.Cover().Len() > 0 {
		return
	}
	p.leaveLog(j, "")
	p.closeJob(j, true)
}

// tellMoved tells a member who leads a job.
func (p *Peer) tellMoved(to tasks.PeerID, j *jobState) {
	proof := p.proofOf(j)
	if j.leads() {
		proof = p.mandate(j)
	}
	p.send(to, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term, Proof: proof}})
}

// up reports whether a member is connected.
func (p *Peer) up(id tasks.PeerID) bool {
	_, up := p.peers[id]
	return up
}

// mayReport reports whether there is a home to report to.
func (j *jobState) mayReport() bool { return j.home != "" && (!j.leads() || !j.led.home.Ended()) }

// prepareEvery is how often a replica tries to load the job's code; it may be the home that lacks it.
const prepareEvery = time.Second

func (p *Peer) prepareAgain(j *jobState) {
	if !j.prep.failed || j.shut || j.loaded || p.now-j.prep.tried < prepareEvery {
		return
	}
	from := j.home
	if from == "" && j.copy.log == nil {
		return // until it is known who leads the job
	}
	j.prep.failed = false
	if from == p.self { // a replica has on disk what is needed
		from = ""
	}
	p.emit(Prepare{ID: j.id, Home: from, Job: j.desc})
}
