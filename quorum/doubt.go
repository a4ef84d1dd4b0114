package quorum

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// raft trusts its members. Here one of them may lie, as itself: links tell who a peer is. While a leader leads and is
// heard, a member that lies, or that the log does not name, changes nothing:
//
//   - Nobody else is taken for the leader, and nobody is voted for, unless that leader hands over or asks itself.
//   - An answer of a later term makes no leader give way. If the member goes on with it, for it may have gone up while
//     it was cut off, the leader has itself elected above that term; for one member ever more seldom.
//
// That holds across a restart, for the disk has who led: in that term nobody else is obeyed, and in a later one, or
// where the disk does not say, nobody who was not voted for until an election time-out has passed, in which a leader
// that lives would have been heard. Who is elected once the leader is silent is not proven by this.

// A replica never leaves the terms of its epoch (Epoch) on another's word, once it has a log. Within it, while it hears
// no leader, it goes up to any of the first freeTerms at once, and above those by maxStep in an election time-out: so a
// member that lies cannot use the terms up, not in months, and one that was lied to while the others were away is
// followed in no more time than the lies took.
const (
	freeTerms = 1 << (epochShift - 1)
	maxStep   = 4
)

// free is the last of the terms, of the epoch of a term, to which a replica goes up at once.
func free(term uint64) uint64 { return Epoch(term)<<epochShift + freeTerms }

// claim is a later term that a member says it is in.
type claim struct {
	term  uint64
	since time.Duration // 0 for none
	again time.Duration // not heeded before
	pause time.Duration // from the last time to then
}

// leadHeard reports whether a leader is there, as far as this replica knows.
func (r *Replica) leadHeard() bool { return r.now < r.led || r.leads() }

// lead is the leader of the term that this replica is in, as it knows or its disk does; raft.None if neither does.
func (r *Replica) lead(s raft.BasicStatus) uint64 {
	if s.Lead == raft.None && s.Term == r.hard.Term {
		return r.hard.Lead
	}
	return s.Lead
}

// rejoin waits, after a restart, for the leader that there was.
func (r *Replica) rejoin() {
	if mutant.On(mutant.ForgetLead) {
		r.hard.Lead = raft.None
	} else if r.hard.Term > 0 {
		r.led = r.now + r.cfg.Election
	}
}

// rememberLead reports whether the disk does not have yet whom this replica follows. It must, before anything is signed
// or acknowledged: else a member that lies could be followed in the same term after a restart, with a true mandate.
func (r *Replica) rememberLead() bool {
	s := r.node.BasicStatus()
	if s.Lead == raft.None || s.Term != r.hard.Term || s.Lead == r.hard.Lead {
		return false
	}
	r.hard.Lead = s.Lead
	return true
}

func fromLeader(t raftpb.MessageType) bool {
	return t == raftpb.MsgApp || t == raftpb.MsgHeartbeat || t == raftpb.MsgSnap || t == raftpb.MsgTimeoutNow
}

// sender reports whether a message comes from the peer whose member it says it is from. Members that the log
// does not name are heard while there is no log or no leader, for a new member hears from the others before it has
// the log, and one that was away may have missed that members were added; they are remembered for the answer.
func (r *Replica) sender(from tasks.PeerID, m raftpb.Message) bool {
	if m.From == raft.None || raft.IsLocalMsgTarget(m.From) || from == "" {
		return false
	}
	if p, ok := r.peers[m.From]; ok {
		return p == from
	}
	if r.last > 0 && r.leadHeard() && m.From != r.lead(r.node.BasicStatus()) {
		return false
	}
	if p, ok := r.hearsay[m.From]; ok {
		return p == from
	}
	if raft.IsResponseMsg(m.Type) || len(r.hearsay) >= maxHearsay {
		return false
	}
	r.hearsay[m.From] = from
	return true
}

// may reports whether m is to be heeded. It takes from a request for a vote the mark that the leader does not stand
// for.
func (r *Replica) may(m *raftpb.Message) bool {
	s := r.node.BasicStatus()
	switch {
	case m.Term < s.Term: // raft does nothing about it, or says that it is late
		return true
	case fromLeader(m.Type):
		return mutant.On(mutant.AnyLeader) || (r.mayLead(s, *m) && r.mayRise(s, m.Term))
	case !r.leadHeard() && !r.mayRise(s, m.Term):
		return false
	case m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote:
		if wanted := m.From == r.lead(s) ||
			(m.From == r.heir && s.Term == r.heirTerm); len(m.Context) > 0 && !wanted && !mutant.On(mutant.AnyTransfer) {
			m.Context = nil
		}
		return len(m.Context) > 0 || r.now >= r.led
	case m.Type == raftpb.MsgPreVoteResp && !m.Reject:
		return m.Term <= s.Term+1
	case m.Term == s.Term || mutant.On(mutant.AnswerTerm):
		return true
	case s.RaftState == raft.StateLeader:
		r.claimed(*m)
		return false
	}
	return r.now >= r.led && s.RaftState != raft.StateFollower &&
		(m.Type == raftpb.MsgVoteResp || m.Type == raftpb.MsgPreVoteResp)
}

// mayLead reports whether the sender of a leader's message can be the leader: the one known, the one that was voted
// for, or anybody once the known one is silent. Each term has one.
func (r *Replica) mayLead(s raft.BasicStatus, m raftpb.Message) bool {
	if lead := r.lead(s); m.Term == s.Term && lead != raft.None {
		return lead == m.From
	}
	return (m.Term == s.Term && s.Vote == m.From) || !r.leadHeard()
}

// mayRise reports whether this replica may go up to a term now. If that is too far, it goes up as far as it may.
func (r *Replica) mayRise(s raft.BasicStatus, term uint64) bool {
	switch {
	case term <= s.Term || mutant.On(mutant.AnyTerm):
		return true
	case Epoch(term) != Epoch(s.Term): // a new member has no epoch of its own yet
		return r.last == 0
	case term <= max(s.Term+1, free(s.Term)):
		return true
	case r.now < r.risen+r.cfg.Election:
		return false
	}
	r.risen = r.now
	if term <= s.Term+maxStep {
		return true
	}
	_ = r.node.Step(raftpb.Message{Type: raftpb.MsgHeartbeatResp, From: r.self.ID, To: r.self.ID, Term: r.reach(s.Term)})
	return false
}

// reach is the highest term to which a replica goes up at once.
func (r *Replica) reach(term uint64) uint64 { return max(term+maxStep, free(term)) }

func (r *Replica) claimed(m raftpb.Message) {
	if !r.member(m.From) {
		return
	}
	if r.claims == nil {
		r.claims = map[uint64]claim{}
	}
	c := r.claims[m.From]
	if c.term = min(m.Term, r.reach(r.node.BasicStatus().Term)); c.since == 0 {
		c.since = r.now
	}
	r.claims[m.From] = c
}

// fetchBack has this leader elected once more, above the term that a member claims: that one cannot follow otherwise.
// A leader that the others have left for another would find that out before, by raft's check of its quorum.
func (r *Replica) fetchBack() {
	for _, m := range r.members {
		c := r.claims[m.ID]
		if c.since == 0 || r.now < max(c.since+3*r.cfg.Election, c.again) {
			continue
		}
		c.pause = min(max(2*c.pause, r.cfg.Election), 600*r.cfg.Election)
		c.since, c.again = 0, r.now+c.pause
		r.claims[m.ID] = c
		if c.term <= r.node.BasicStatus().Term {
			continue
		}
		_ = r.node.Step(raftpb.Message{Type: raftpb.MsgHeartbeatResp, From: m.ID, To: r.self.ID, Term: c.term})
		_ = r.node.Step(raftpb.Message{Type: raftpb.MsgTimeoutNow, From: r.self.ID, To: r.self.ID, Term: c.term})
		r.led = r.now + r.cfg.Election // stands unimpeded
		r.rest()
		return
	}
}

// sendHeir tells the others whom this leader wants to lead in its place, so that they vote for it.
func (r *Replica) sendHeir(to, term uint64) {
	frame := binary.BigEndian.AppendUint64([]byte{frameHeir}, r.self.ID)
	frame = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(frame, to), term)
	for _, m := range r.members {
		if m.ID != r.self.ID && m.ID != to {
			r.emit(Send{To: m.Peer, Frame: frame})
		}
	}
}

// recvHeir believes the leader that this replica follows. If the word comes too late, the vote of the leader counts.
func (r *Replica) recvHeir(from tasks.PeerID, frame []byte) {
	if len(frame) != heirSize {
		return
	}
	s := r.node.BasicStatus()
	if id := binary.BigEndian.Uint64(frame[1:]); id == s.Lead && r.peer(id) == from &&
		binary.BigEndian.Uint64(frame[17:]) == s.Term {
		r.heir, r.heirTerm = binary.BigEndian.Uint64(frame[9:]), s.Term
	}
}
