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
	denied      map[tasks.PeerID]bool // members that know of no such job, as they have said since the home was last heard
	// voters is the newest set of voters that was shown to a copy which never had a seat, and votersAsked when each of
	// those from whom it heard as from a voter was last asked for that.
	voters      quorum.Conf
	votersAsked map[tasks.PeerID]tasks.Moment
}

// A node that has not heard from a job's home for seekAfter asks other members what they know, a different one each
// seekEvery. Another node may lead the job by now, or it may be over, and the message that said so may have been lost.
const (
	seekAfter = 10 * time.Second
	seekEvery = time.Second
)

// seek asks a member for news of a job whose home was not heard for long.
func (p *Peer) seek(j *jobState) {
	silence := p.now - j.seeking.heard
	if j.leads() || j.shut || silence < max(seekAfter, 3*j.reports.every) {
		j.seeking.denied = nil
		return
	}
	if p.now-j.seeking.sought < seekEvery {
		return
	}
	j.seeking.sought = p.now
	if p.unseated(j) && j.seeking.denied[j.desc.Submitter] {
		p.seekDenials(j)
		return
	}
	if j.seeking.asked = p.nextMember(j.seeking.asked); j.seeking.asked != "" {
		p.send(j.seeking.asked, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
	}
}

// seekAtOnce is how many members are asked at once whether they know of a job that its submitter does not know.
const seekAtOnce = 64

// seekDenials asks those members that have not said yet that they know of no such job. That this copy names no home has
// them say so.
func (p *Peer) seekDenials(j *jobState) {
	if p.disown(j) {
		return
	}
	for range min(seekAtOnce, len(p.members)) {
		j.seeking.asked = p.nextMember(j.seeking.asked)
		if !j.seeking.denied[j.seeking.asked] {
			p.send(j.seeking.asked, Message{Job: j.id, Moved: &Moved{Term: j.term}})
		}
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
	case told.Voters != nil:
		p.votersShown(from, j, *told.Voters)
	case told.Asks:
		p.showVoters(from, j)
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

// unseated reports whether this peer has a copy of the job's ledger that never had a seat, as far as it knows.
func (p *Peer) unseated(j *jobState) bool {
	return j != nil && j.desc != nil && j.copy.log != nil && !j.leads() && !j.shut && !j.seated() && j.held.index == 0 &&
		j.copy.record.Done.Cover().Len() == 0
}

// disowned takes the word of a member that it knows of no such job. A copy that never had a seat may be of a job that
// ended before it could get one, so long ago that nobody can prove the end any more. A copy that knows that it has or
// had a seat stays, whatever anybody says.
func (p *Peer) disowned(from tasks.PeerID, j *jobState) {
	if !p.unseated(j) {
		return
	}
	if j.seeking.denied == nil {
		j.seeking.denied = map[tasks.PeerID]bool{}
	}
	j.seeking.denied[from] = true
	p.disown(j)
}

// disown drops an unseated copy if the job's submitter knows of no such job, and neither does any other member. It
// reports whether it has. The submitter alone may have lost its disk, and this peer may have been away when its copy
// got a seat: others that know the job count on its vote then. A member that does not answer is waited for as long as a
// home.
func (p *Peer) disown(j *jobState) bool {
	if !j.seeking.denied[j.desc.Submitter] {
		return false
	}
	for id := range p.members {
		if id != p.self && !j.seeking.denied[id] && p.now-j.seeking.heard <= p.cfg.Silent {
			return false
		}
	}
	p.leaveLog(j, "")
	p.closeJob(j, true)
	return true
}

// A home may die soon after a copy got its seat, and the copy may not know of that, having been away. The other voters
// may need its vote then, but it hears only voters, and knows none but those of before. So it has who asks for its vote
// prove that it is a voter. That says nothing about who leads.

// maxVotersAsked bounds how many members a copy asks whether they are voters before it forgets whom it has asked.
const maxVotersAsked = 64

// askVoters asks a member to prove that it is a voter, if this copy may have to hear it.
func (p *Peer) askVoters(j *jobState, from tasks.PeerID) {
	if !p.unseated(j) || j.seeking.votersAsked[from].Within(seekEvery, p.now) {
		return
	}
	if j.seeking.votersAsked == nil || len(j.seeking.votersAsked) >= maxVotersAsked {
		j.seeking.votersAsked = map[tasks.PeerID]tasks.Moment{}
	}
	j.seeking.votersAsked[from] = tasks.At(p.now)
	p.send(from, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term, Asks: true}})
}

// showVoters proves to a member that this peer is a voter, if it is one.
func (p *Peer) showVoters(to tasks.PeerID, j *jobState) {
	if j == nil || j.copy.log == nil {
		return
	}
	if c := j.copy.log.Chain(); votes(c.Conf(), p.self) {
		p.send(to, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term, Voters: &c}})
	}
}

// votersShown takes the proof of who the voters are, for a copy that has no log to tell.
func (p *Peer) votersShown(from tasks.PeerID, j *jobState, c quorum.Chain) {
	if !p.unseated(j) {
		return
	}
	if quorum.CheckChain(p.trust(j.id, j.desc.Submitter), c) != nil {
		p.unproven(from, j.id, c)
		return
	}
	conf := c.Conf()
	if conf.Seq >= max(j.newest(), j.seeking.voters.Seq) && !j.outdated(conf.Term) && !p.defiesChain(j, c) {
		j.seeking.voters = conf
	}
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
	if j.prep.failed && !j.shut && (j.prep.full == 0 && !j.prep.lacks || p.mayPrepare(j)) {
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
