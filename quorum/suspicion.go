package quorum

import (
	"encoding/binary"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// raft trusts its voters; here a voter may lie, though only under its own name, since links authenticate peers. While
// a leader leads and is heard, a voter that lies, or that the log does not name, changes nothing:
//
//   - No other peer is accepted as leader and nobody is voted for, unless that leader transfers its leadership or
//     stands itself.
//   - A response with a later term does not depose the leader. If the voter keeps sending them, since its term may
//     have grown while it was partitioned, the leader has itself re-elected above that term, for each voter more and
//     more rarely.
//
// This holds across a restart, since the disk records who led: in that term no other leader is accepted. In a later
// term, or if the disk has no leader, a replica accepts only the leader that it voted for until an election timeout has
// passed, in which a live leader would have been heard. Who is elected once the leader is silent is not restricted by
// this.

// Once it has a log, a replica never leaves the terms of its epoch (Epoch) because of a message. Within its epoch,
// while it hears no leader, it advances to any of the first freeTerms at once, and above those by at most maxStep in an
// election timeout. So a liar cannot use up the terms, not in months, and a voter that was lied to while the others
// were away is followed in no more time than the lies took.
const (
	freeTerms = 1 << (epochShift - 1)
	maxStep   = 4
)

// freeLimit is the last term, in the epoch of a term, to which a replica advances at once.
func freeLimit(term uint64) uint64 { return Epoch(term)<<epochShift + freeTerms }

// reach is the highest term to which a replica in a term may advance at once.
func reach(term uint64) uint64 { return max(term+maxStep, freeLimit(term)) }

// terms is what others make of the terms: the later ones that voters claim in their responses to this leader, and when
// this replica last followed somebody beyond the free ones. Without a claim nothing is known of a voter.
type terms struct {
	claims map[uint64]claim // by voter
	jumped time.Duration    // when this replica last advanced beyond the free terms
}

// claim is a later term that a voter of this leader's group claims.
type claim struct {
	term  uint64
	since tasks.Moment  // when it was first claimed since the leader last acted on it
	again time.Duration // earliest time at which the leader acts on it
	pause time.Duration // pause before again, which grows each time
}

// note takes note of a term that a voter claims to a leader in the present one.
func (t *terms) note(voter, claimed, present uint64, now time.Duration) {
	if t.claims == nil {
		t.claims = map[uint64]claim{}
	}
	c := t.claims[voter]
	c.term = min(claimed, reach(present))
	if c.since.Never() {
		c.since = tasks.At(now)
	}
	t.claims[voter] = c
}

// due returns the term that a voter claims if a leader is to act on that now, 0 if not.
func (t *terms) due(voter uint64, now, election time.Duration) uint64 {
	c := t.claims[voter]
	if !c.since.Past(3*election, now) || now < c.again {
		return 0
	}
	c.pause = min(max(2*c.pause, election), 600*election)
	c.since, c.again = tasks.Moment{}, now+c.pause
	t.claims[voter] = c
	return c.term
}

// transfer is the voter to which the leader of a term gives its lead. In another term it means nothing.
type transfer struct{ to, term uint64 }

// leadHeard reports whether a leader is alive, as far as this replica knows: its lease has not expired, or this replica
// leads.
func (r *Replica) leadHeard() bool { return r.now < r.hearing.lease || r.leads() }

// awaitOldLeader gives the leader that there was before a restart a lease, so that it is heard first.
func (r *Replica) awaitOldLeader() {
	if mutant.On(mutant.ForgetLead) {
		r.writes.hard.Lead = raft.None
	} else if r.writes.hard.Term > 0 {
		r.hearing.lease = r.now + r.cfg.Election
	}
}

func fromLeader(t raftpb.MessageType) bool {
	return t == raftpb.MsgApp || t == raftpb.MsgHeartbeat || t == raftpb.MsgSnap || t == raftpb.MsgTimeoutNow
}

// sender reports whether a message comes from the peer of the voter that it names as its sender. Voters that the log
// does not name are accepted while there is no log or no leader: a new voter hears from the others before it has the
// log, and one that was away may have missed that voters were added. They are remembered, to address the response.
func (r *Replica) sender(from tasks.PeerID, m raftpb.Message) bool {
	if m.From == raft.None || raft.IsLocalMsgTarget(m.From) || from == "" {
		return false
	}
	if p, ok := r.voters.peers[m.From]; ok {
		return p == from
	}
	if r.writes.last > 0 && r.leadHeard() && m.From != r.writes.knownLead(r.node.BasicStatus()) {
		return false
	}
	if p, ok := r.voters.unlisted[m.From]; ok {
		return p == from
	}
	if raft.IsResponseMsg(m.Type) || len(r.voters.unlisted) >= maxUnlisted {
		return false
	}
	r.voters.unlisted[m.From] = from
	return true
}

// accepts reports whether m may be passed to raft. It removes raft's transfer mark from a vote request that the leader
// did not ask for.
func (r *Replica) accepts(m *raftpb.Message) bool {
	s := r.node.BasicStatus()
	switch {
	case m.Term < s.Term: // raft ignores it, or responds that it is late
		return true
	case fromLeader(m.Type):
		return mutant.On(mutant.AnyLeader) || (r.mayLead(s, *m) && r.mayAdvance(s, m.Term))
	case !r.leadHeard() && !r.mayAdvance(s, m.Term):
		return false
	case m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote:
		wanted := m.From == r.writes.knownLead(s) || r.transfer == transfer{m.From, s.Term}
		if len(m.Context) > 0 && !wanted && !mutant.On(mutant.AnyTransfer) {
			m.Context = nil
		}
		return len(m.Context) > 0 || r.now >= r.hearing.lease
	case m.Type == raftpb.MsgPreVoteResp && !m.Reject:
		return m.Term <= s.Term+1
	case m.Term == s.Term || mutant.On(mutant.AnswerTerm):
		return true
	case s.RaftState == raft.StateLeader:
		if r.voters.has(m.From) {
			r.terms.note(m.From, m.Term, s.Term, r.now)
		}
		return false
	}
	return r.now >= r.hearing.lease && s.RaftState != raft.StateFollower &&
		(m.Type == raftpb.MsgVoteResp || m.Type == raftpb.MsgPreVoteResp)
}

// mayLead reports whether the sender of a leader's message can be the leader: it is the known leader of the term, or
// the one that this replica voted for, or no leader is alive. Each term has one leader.
func (r *Replica) mayLead(s raft.BasicStatus, m raftpb.Message) bool {
	if lead := r.writes.knownLead(s); m.Term == s.Term && lead != raft.None {
		return lead == m.From
	}
	return (m.Term == s.Term && s.Vote == m.From) || !r.leadHeard()
}

// mayAdvance reports whether this replica may advance to a term now. If that is too far, it advances as far as it may.
func (r *Replica) mayAdvance(s raft.BasicStatus, term uint64) bool {
	switch {
	case term <= s.Term || mutant.On(mutant.AnyTerm):
		return true
	case Epoch(term) != Epoch(s.Term): // a new voter has no epoch yet
		return r.writes.last == 0
	case term <= max(s.Term+1, freeLimit(s.Term)):
		return true
	case r.now < r.terms.jumped+r.cfg.Election:
		return false
	}
	r.terms.jumped = r.now
	if term <= s.Term+maxStep {
		return true
	}
	_ = r.node.Step(raftpb.Message{Type: raftpb.MsgHeartbeatResp, From: r.self.ID, To: r.self.ID, Term: reach(s.Term)})
	return false
}

// reelect has this leader stand again, above the term that a voter claims, since that voter cannot follow it
// otherwise. A leader that the others have left for another notices this earlier, by raft's quorum check.
func (r *Replica) reelect() {
	for _, m := range r.voters.list {
		term := r.terms.due(m.ID, r.now, r.cfg.Election)
		if term <= r.node.BasicStatus().Term {
			continue
		}
		_ = r.node.Step(raftpb.Message{Type: raftpb.MsgHeartbeatResp, From: m.ID, To: r.self.ID, Term: term})
		_ = r.node.Step(raftpb.Message{Type: raftpb.MsgTimeoutNow, From: r.self.ID, To: r.self.ID, Term: term})
		r.hearing.lease = r.now + r.cfg.Election // no other candidate is heeded while it stands
		r.election.restart(r.now)
		return
	}
}

// transferTo gives this leader's lead to another voter that was heard lately and could prove that it leads.
func (r *Replica) transferTo(id uint64) {
	if !r.leads() || !r.voters.has(id) || !r.mayLeadNow(id) || r.hearing.quiet(id, r.now) > r.cfg.Election {
		return
	}
	r.transfer = transfer{id, r.node.BasicStatus().Term}
	r.node.TransferLeader(id)
}

// sendTransfer tells the other voters to whom this leader transfers its leadership, so that they vote for that voter.
func (r *Replica) sendTransfer(to, term uint64) {
	frame := binary.BigEndian.AppendUint64([]byte{frameTransfer}, r.self.ID)
	frame = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(frame, to), term)
	for _, m := range r.voters.list {
		if m.ID != r.self.ID && m.ID != to {
			r.emit(Send{To: m.Peer, Frame: frame})
		}
	}
}

// recvTransfer takes the word of the leader that this replica follows. If it comes too late, the leader's own vote
// still counts.
func (r *Replica) recvTransfer(from tasks.PeerID, frame []byte) {
	if len(frame) != transferSize {
		return
	}
	s := r.node.BasicStatus()
	if id := binary.BigEndian.Uint64(frame[1:]); id == s.Lead && r.voters.peer(id) == from &&
		binary.BigEndian.Uint64(frame[17:]) == s.Term {
		r.transfer = transfer{binary.BigEndian.Uint64(frame[9:]), s.Term}
	}
}
