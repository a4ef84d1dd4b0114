package quorum

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// maxStep is how many terms a replica goes up at once on a word that proves nothing.
const maxStep = 1 << 10

// proof goes with a message of raft's and shows that its sender may say so.
type proof struct {
	Mandate  *Mandate `msgpack:"m,omitempty"` // with a leader's word, until the other has answered in this term
	Chain    *Chain   `msgpack:"c,omitempty"` // with a request for a vote: the sender is a voter, though the other may not have heard
	Vote     []byte   `msgpack:"v,omitempty"` // with a vote: its signature
	Conf     []byte   `msgpack:"n,omitempty"` // with answers while the voters change: the signature under who comes next
	Transfer []byte   `msgpack:"t,omitempty"` // of a leader that wants another to stand, and with the other's requests for votes
}

// prove makes what a message needs to be believed.
func (r *Replica) prove(m raftpb.Message) (p proof) {
	switch {
	case fromLeader(m.Type):
		if !r.shown[m.To] && r.mandate != nil && r.mandate.Term == m.Term {
			p.Mandate = r.mandate
		}
		if m.Type == raftpb.MsgTimeoutNow {
			p.Transfer = r.cfg.Keys.Sign(transferText(r.cfg.Group, m.Term, m.To))
		}
	case m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote:
		p.Chain = &r.chain
		if len(m.Context) > 0 {
			p.Transfer = r.transfer
		}
	case m.Type == raftpb.MsgVoteResp && !m.Reject:
		p.Vote = r.cfg.Keys.Sign(voteText(r.cfg.Group, m.Term, m.To, r.self.ID))
	case m.Type == raftpb.MsgAppResp || m.Type == raftpb.MsgHeartbeatResp:
		p.Conf = r.signNext(m.Term)
	}
	return p
}

func fromLeader(t raftpb.MessageType) bool {
	return t == raftpb.MsgApp || t == raftpb.MsgHeartbeat || t == raftpb.MsgSnap || t == raftpb.MsgTimeoutNow
}

func (r *Replica) trust() Trust {
	t := Trust{Keys: r.cfg.Keys, Group: r.cfg.Group}
	for _, m := range r.chain.Founders {
		t.Founders = append(t.Founders, m.Peer)
	}
	return t
}

// extends reports whether a chain goes through the last set of voters that this replica's log names, and holds
// from there on; what comes before is known here already. So those who were voters once cannot make up others.
func (r *Replica) extends(c Chain) bool {
	known := r.chain.Conf()
	at := slices.IndexFunc(c.Links, func(l Link) bool { return l.Conf.equal(known) })
	if known.Seq == 0 && slices.Equal(c.Founders, known.Voters) {
		at = -1
	} else if at < 0 || len(c.Links) > maxLinks {
		return false
	}
	if len(c.Links)-at-1 > maxLinks {
		return false
	}
	t, before := r.trust(), known
	for _, l := range c.Links[at+1:] {
		if t.checkLink(before, l) != nil {
			return false
		}
		before = l.Conf
	}
	return true
}

// ours reports whether a chain ends at a set of voters that this replica's log has named.
func (r *Replica) ours(c Chain) bool {
	end := c.Conf()
	if end.Seq == 0 {
		return slices.Equal(c.Founders, r.chain.Founders)
	}
	return slices.ContainsFunc(r.chain.Links, func(l Link) bool { return l.Conf.equal(end) })
}

// believe takes a mandate, if it holds for what this replica knows of the voters.
func (r *Replica) believe(m *Mandate) bool {
	if r.mandate != nil && r.mandate.Term >= m.Term {
		return r.mandate.Term == m.Term && r.mandate.Leader == m.Leader
	}
	if !r.chain.Conf().Admits(*m) || !(r.ours(m.Chain) || r.extends(m.Chain)) || r.trust().checkVotes(*m) != nil {
		return false
	}
	r.mandate = m
	return true
}

// proven reports whether the sender of a leader's message is known to lead its term.
func (r *Replica) proven(from tasks.PeerID, m raftpb.Message) bool {
	return r.mandate != nil && r.mandate.Term == m.Term && r.mandate.Leader == m.From && r.mandate.Home() == from
}

// nextConf is the set of voters that is to follow, if a leader of this term makes it so.
func (r *Replica) nextConf(term uint64) Conf {
	last := r.chain.Conf()
	c := Conf{Seq: last.Seq + 1, Term: term, Prior: last.Prior, Voters: r.next}
	if last.Term < term {
		c.Prior = last.Seq
	}
	return c
}

// signNext signs who comes next while a change of the voters is under way, if this replica is one of those before.
func (r *Replica) signNext(term uint64) []byte {
	if len(r.next) == 0 || r.chain.Conf().peer(r.self.ID) == "" {
		return nil
	}
	return r.cfg.Keys.Sign(ConfText(r.cfg.Group, r.nextConf(term)))
}

// elected makes this replica's mandate of the votes that it has. A change of the voters whose end is in the log, but
// not yet applied, was voted on by both sides: the newer one counts, for others may know it already.
func (r *Replica) elected(term uint64) {
	m := &Mandate{Chain: r.chain, Term: term, Leader: r.self.ID}
	if l, ok := r.pendingLink(); ok {
		m.Chain.Links = append(slices.Clone(m.Chain.Links), l)
	}
	conf := m.Chain.Conf()
	r.votes[r.self.Peer] = r.cfg.Keys.Sign(voteText(r.cfg.Group, term, r.self.ID, r.self.ID))
	for _, v := range conf.Voters {
		if sig := r.votes[v.Peer]; sig != nil {
			m.Votes = append(m.Votes, Signature{By: v.Peer, Sig: sig})
		}
	}
	r.mandate = m
	clear(r.shown)
}

// claim remembers that a voter says it is in a later term. A leader does not give way to that, and a follower not
// while it hears one; who stands next goes above it.
func (r *Replica) claim(m raftpb.Message) {
	if term := r.node.BasicStatus().Term; r.member(m.From) && m.Term > term {
		r.claims[m.From] = min(m.Term, term+maxStep)
		r.fetchBack()
	}
}

// fetchBack has this leader elected once more, above the terms that voters claim: one that went up while it was cut
// off cannot follow otherwise. It takes a round of messages. Only a majority of them has it at once; a single one, which
// may lie, ever more seldom.
func (r *Replica) fetchBack() {
	if !r.leads() || r.joint {
		return
	}
	if len(r.claims) < len(r.members)/2+1 {
		if r.now < r.again {
			return
		}
		r.pause = min(max(2*r.pause, 10*r.cfg.Election), 600*r.cfg.Election)
		r.again = r.now + r.pause
	}
	term := r.node.BasicStatus().Term
	r.transfer = r.cfg.Keys.Sign(transferText(r.cfg.Group, term, r.self.ID))
	r.rise()
	clear(r.votes)
	_ = r.node.Step(raftpb.Message{Type: raftpb.MsgTimeoutNow, From: r.self.ID, To: r.self.ID, Term: r.node.BasicStatus().Term})
	r.rest()
}

// rise goes up to the highest term that a voter claims, before this replica stands.
func (r *Replica) rise() {
	term := r.node.BasicStatus().Term
	from, top := raft.None, term
	for _, m := range r.members {
		if t := min(r.claims[m.ID], term+maxStep); t > top {
			from, top = m.ID, t
		}
	}
	if top > term {
		_ = r.node.Step(raftpb.Message{Type: raftpb.MsgHeartbeatResp, From: from, To: r.self.ID, Term: top})
	}
	clear(r.claims)
}

// pendingLink is the end of a change of the voters that is in the log and not yet applied.
func (r *Replica) pendingLink() (l Link, ok bool) {
	last, _ := r.disk.LastIndex()
	if len(r.next) == 0 || r.applied >= last {
		return l, false
	}
	entries, err := r.disk.Entries(r.applied+1, last+1, 1<<62)
	if err != nil {
		return l, false
	}
	for _, e := range entries {
		if e.Type != raftpb.EntryConfChangeV2 {
			continue
		}
		var cc raftpb.ConfChangeV2
		if cc.Unmarshal(e.Data) == nil && len(cc.Changes) == 0 && wire.Unmarshal(cc.Context, &l) == nil &&
			l.Conf.equal(r.nextConf(e.Term)) && r.trust().checkLink(r.chain.Conf(), l) == nil {
			return l, true
		}
	}
	return l, false
}

func (r *Replica) suspect(from tasks.PeerID, what string) { r.emit(Suspect{From: from, What: what}) }

// hear takes a message of raft's if its sender may say so.
func (r *Replica) hear(from tasks.PeerID, m raftpb.Message, p proof) {
	if p.Mandate != nil && p.Mandate.Leader == m.From && p.Mandate.Term == m.Term && p.Mandate.Home() == from && !r.believe(p.Mandate) && m.Term >= r.node.BasicStatus().Term {
		r.suspect(from, "shows a mandate that does not hold")
		return
	}
	if c := p.Chain; c != nil && r.peer(m.From) == "" && c.Conf().peer(m.From) == from && c.Conf().Seq > r.chain.Conf().Seq && r.extends(*c) {
		r.ahead = c.Conf()
	}
	switch known := r.peer(m.From); {
	case known == "" && !mutant.On(mutant.Hearsay):
		return // a stranger
	case known != from && known != "":
		r.suspect(from, "speaks for a member that is another peer")
		return
	}
	r.heard[m.From] = r.now
	if vote := m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote; vote && r.gone(m.From) {
		r.sendGone(from, m.From)
		return
	}
	if r.may(from, &m, p) {
		r.take(m)
	}
}

// may reports whether a member may send m. It takes from a request for a vote the mark that the leader has not signed.
func (r *Replica) may(from tasks.PeerID, m *raftpb.Message, p proof) bool {
	now := r.node.BasicStatus()
	switch {
	case m.Term < now.Term: // raft does nothing about it, or says that it is late
		return true
	case fromLeader(m.Type):
		return r.mayLead(from, *m, p)
	case m.Type == raftpb.MsgVote || m.Type == raftpb.MsgPreVote:
		signed := r.mandate != nil && r.mandate.Term == now.Term && r.cfg.Keys.Verify(r.mandate.Home(), transferText(r.cfg.Group, now.Term, m.From), p.Transfer)
		if len(m.Context) > 0 && !signed && !mutant.On(mutant.UnsignedTransfer) {
			m.Context = nil
		}
		if r.now < r.lease && len(m.Context) == 0 { // nothing was heard yet of a leader that may be there
			return false
		}
		return m.Term <= now.Term+2*maxStep
	case m.Type == raftpb.MsgPreVoteResp && !m.Reject:
		return m.Term == now.Term+1
	case m.Term > now.Term && !mutant.On(mutant.ResponseTerm):
		r.claim(*m)
		return false
	case m.Type == raftpb.MsgVoteResp && !m.Reject:
		if !r.cfg.Keys.Verify(from, voteText(r.cfg.Group, m.Term, r.self.ID, m.From), p.Vote) {
			r.suspect(from, "gives a vote that it has not signed")
			return false
		}
		r.votes[from] = p.Vote
	case now.RaftState == raft.StateLeader:
		r.shown[m.From] = true
		if p.Conf != nil {
			r.signed[from] = p.Conf
		}
	}
	return true
}

// mayLead reports whether a leader's message comes from one, and asks those that have not shown it.
func (r *Replica) mayLead(from tasks.PeerID, m raftpb.Message, p proof) bool {
	if !r.proven(from, m) && !mutant.On(mutant.UnprovenLeader) {
		since, before := r.asked[m.From]
		switch {
		case !before:
			r.asked[m.From] = r.now
		case r.now-since > 4*r.cfg.Election:
			r.asked[m.From] = r.now
			r.suspect(from, "speaks as the leader of a term that it has not proven to lead")
		}
		r.sendShow(from, m.From)
		return false
	}
	delete(r.asked, m.From)
	if m.Type == raftpb.MsgTimeoutNow {
		r.transfer = p.Transfer
	}
	return true
}
