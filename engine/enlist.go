package engine

import (
	"time"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// onEnlist takes a home's request to become a replica of a job's ledger.
func (p *Peer) onEnlist(from tasks.PeerID, j *jobState, m Message) {
	if p.ends.of[m.Job] != nil || p.voters() == 0 || p.leaving.on {
		return
	}
	c := claim{from: from, proof: m.Enlist.Proof, enlist: m.Enlist}
	switch {
	case j == nil || j.desc == nil:
		p.claimed(m.Job, c)
	default:
		p.enlistHere(from, j, m.Term, m.Enlist)
	}
}

// enlistHere makes this peer a replica of the ledger of a job whose description is here.
func (p *Peer) enlistHere(from tasks.PeerID, j *jobState, term uint64, e *Enlist) {
	if !p.heed(from, j, from, term, e.Proof) || j.leads() || j.shut {
		return
	}
	switch {
	case j.copy.founding != nil:
		j.copy.founding.by, j.copy.founding.nonce = from, e.Nonce
	case j.copy.log != nil && j.isBefore(term): // this peer has yet to hear of the recovery, and to give its copy up
	case j.copy.log != nil && (j.copy.self.ID != e.Not || e.Not == 0): // the voters may count on the copy that is here
		p.send(from, Message{Job: j.id, Enlisted: &Enlisted{Nonce: e.Nonce, Voter: j.copy.self, OK: true}})
	default: // as another voter than before, if it was one
		p.seq++
		j.copy.log = nil
		log := quorum.Log{Self: quorum.NewVoter(p.self, p.seq), Voters: e.Voters}
		if e.Proof != nil { // the leader that this copy follows until another is elected
			log.Hard.Term, log.Hard.Lead = e.Proof.Term, e.Proof.Leader
		}
		j.copy.founding = &founding{by: from, nonce: e.Nonce, log: log}
		p.emit(FoundLedger{ID: j.id, Log: j.copy.founding.log, From: from})
	}
}

// resignAgain is how often a copy that the log has removed asks the voters whether it may go.
const resignAgain = time.Second

// resign asks the voters whether this copy, which the log has removed, may go. Until they have that change in their
// logs they may need its vote.
func (p *Peer) resign(j *jobState) {
	switch {
	case j.copy.log == nil || j.copy.leaveAt.Never():
	case j.copy.leaveAt.Past(0, p.now): // nobody is left to answer
		p.leaveLog(j, "")
	case p.now-j.copy.resigned >= resignAgain:
		j.copy.resigned = p.now
		for _, m := range j.copy.log.Voters() {
			if m.Peer != p.self {
				p.send(m.Peer, Message{Job: j.id, Resign: &Resign{Voter: j.copy.self.ID}})
			}
		}
	}
}

// onResign answers a voter that the log has removed. It may go when the leader says so, with no change of the voters
// under way: then nobody needs its vote.
func (p *Peer) onResign(from tasks.PeerID, j *jobState, m Message) {
	if j == nil || j.copy.log == nil {
		p.tellEnd(from, m.Job)
		return
	}
	if voter, _ := j.copy.log.Knows(m.Resign.Voter); !voter && j.copy.log.Leading() && !j.copy.log.Changing() {
		p.send(from, Message{Job: j.id, Resigned: m.Resign})
	}
}

// onResigned drops a copy that nobody counts on any more.
func (p *Peer) onResigned(from tasks.PeerID, j *jobState, r Resign) {
	if j.copy.log != nil && !j.copy.leaveAt.Never() && r.Voter == j.copy.self.ID && p.isVoter(j, from) {
		p.leaveLog(j, "")
	}
}
