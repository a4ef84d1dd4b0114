package quorum

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Members prove to others what their log says, beside raft and without a word of its own: a leader that lacks a
// signature asks for it (frameAsk), a voter that follows it signs what its own state says (frameSigned). The leader
// asks again at each heartbeat, until it has what it needs:
//
//   - for its mandate: that a majority of the voters follow it in its term; before that it ends no change of the
// voters;
//   - for the end of a change of the voters: that a majority of those before have signed who comes after. The
// signatures
//     stand in the entry that ends the change, so whoever has that entry can prove who the voters are;
//   - for a seal: that a majority have been given the same text by their owners.

// What is asked for, and answered.
const (
	askVote = 1 << iota
	askNext
	askSeal
)

// ask is a leader's question, as msgpack.
type ask struct {
	Leader uint64 `msgpack:"l"` // a member's ID
	Term   uint64 `msgpack:"t"`
	Want   uint8  `msgpack:"w"`
}

// signed answers it: signatures of a voter, empty where it has none to give.
type signed struct {
	Leader uint64 `msgpack:"l"` // that has asked
	Voter  uint64 `msgpack:"m"`
	Term   uint64 `msgpack:"t"`
	Vote   []byte `msgpack:"v,omitempty"`
	Next   []byte `msgpack:"n,omitempty"`
	Seal   []byte `msgpack:"s,omitempty"`
}

const (
	maxAsk    = 64                // bytes of an encoded ask
	maxSigned = 64 + 3*(8+maxSig) // and of an answer
)

// proofs is what a replica can prove, and what it gathers for that while it leads.
type proofs struct {
	chain   Chain    // as of what is applied
	next    []Member // the voters to come, while a change is under way
	ending  bool     // the end of the change was proposed here
	text    []byte   // to be sealed; nil for none
	mandate *Mandate
	seal    *Seal
	// Signatures, by voter: of votes for this leader, of who comes next, of the text to be sealed.
	votes, nexts, seals map[tasks.PeerID][]byte
	sought              uint8  // what was asked for since the last heartbeat
	question            *asked // by the leader that this replica follows
}

// Mandate proves that this replica leads. It is false while it does not lead, or cannot show it yet: some round of
// messages after Role said so.
func (r *Replica) Mandate() (Mandate, bool) {
	if r.mandate == nil || !r.Leading() || r.mandate.Term != r.node.BasicStatus().Term {
		return Mandate{}, false
	}
	return *r.mandate, true
}

// Chain proves who the voters are, as of what is applied here; those of before, while a change is under way.
func (r *Replica) Chain() Chain { return r.chain }

// Sealed proves that a majority of the voters were given the text that this replica was given with Seal. Only a leader
// gathers that; it is false until it has, and for ever at a replica that does not lead.
func (r *Replica) Sealed() (Seal, bool) {
	if r.seal == nil {
		return Seal{}, false
	}
	return *r.seal, true
}

// trust is what this replica's own checks rest on: nobody's authority, which not all replicas may see alike, where the
// log is applied.
func (r *Replica) trust(authority func(tasks.PeerID) bool) Trust {
	t := Trust{Keys: r.cfg.Keys, Group: r.cfg.Group, Authority: authority}
	for _, m := range r.chain.Founders {
		t.Founders = append(t.Founders, m.Peer)
	}
	return t
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

// forget drops what was gathered: it is of no use in another term.
func (r *Replica) forget() {
	r.mandate, r.ending, r.sought = nil, false, 0
	r.votes, r.nexts, r.seals = map[tasks.PeerID][]byte{}, map[tasks.PeerID][]byte{}, map[tasks.PeerID][]byte{}
}

// prove makes what can be made of the signatures there are, and asks for those that lack. It reports whether it has
// proposed something.
func (r *Replica) prove() (proposed bool) {
	if r.broken || !r.Leading() {
		return false
	}
	conf, term := r.chain.Conf(), r.node.BasicStatus().Term
	if r.provenTerm != term {
		r.forget()
		r.provenTerm = term
	}
	var want uint8
	if r.mandate == nil {
		r.votes[r.self.Peer] = r.cfg.Keys.Sign(VoteText(r.cfg.Group, term, r.self.ID, r.self.ID))
		if sigs := gathered(conf, r.votes); len(sigs) >= conf.majority() && conf.peer(r.self.ID) != "" {
			r.mandate = &Mandate{Chain: r.chain, Term: term, Leader: r.self.ID, Votes: sigs}
		} else {
			want |= askVote
		}
	}
	if len(r.next) > 0 && r.mandate != nil && !r.ending {
		next := r.nextConf(term)
		r.nexts[r.self.Peer] = r.cfg.Keys.Sign(ConfText(r.cfg.Group, next))
		if sigs := gathered(conf, r.nexts); len(sigs) >= conf.majority() {
			r.ending = r.endChange(Link{Conf: next, Sigs: sigs})
			proposed = r.ending
		} else {
			want |= askNext
		}
	}
	if r.text != nil && r.seal == nil {
		r.seals[r.self.Peer] = r.cfg.Keys.Sign(SealText(r.cfg.Group, r.text))
		if sigs := gathered(conf, r.seals); len(sigs) >= conf.majority() {
			r.seal = &Seal{Chain: r.chain, Sigs: sigs}
		} else {
			want |= askSeal
		}
	}
	r.askFor(conf, want, term)
	return proposed
}

// gathered are the signatures of those voters that have given one, in their order.
func gathered(c Conf, by map[tasks.PeerID][]byte) (sigs []Signature) {
	for _, m := range c.Voters {
		if sig := by[m.Peer]; sig != nil {
			sigs = append(sigs, Signature{By: m.Peer, Sig: sig})
		}
	}
	return sigs
}

// askFor asks the voters for what was not asked for since the last heartbeat.
func (r *Replica) askFor(conf Conf, want uint8, term uint64) {
	if want &^= r.sought; want == 0 {
		return
	}
	r.sought |= want
	b, err := wire.Marshal(&ask{Leader: r.self.ID, Term: term, Want: want})
	if err != nil {
		return
	}
	for _, m := range conf.Voters {
		if m.ID != r.self.ID {
			r.emit(Send{To: m.Peer, Frame: append([]byte{frameAsk}, b...)})
		}
	}
}

// recvAsk signs for the leader that this replica follows.
func (r *Replica) recvAsk(from tasks.PeerID, data []byte) {
	var a ask
	if len(data) > maxAsk || wire.Unmarshal(data, &a) != nil {
		return
	}
	s := r.node.BasicStatus()
	if s.Lead != a.Leader || s.Term != a.Term || a.Leader == r.self.ID || r.peer(a.Leader) != from {
		return
	}
	if r.question = nil; r.sure != a.Term || r.sureLead != a.Leader { // it would be forgotten for whom this has signed
		r.question = &asked{from, data}
		return
	}
	out := signed{Leader: a.Leader, Voter: r.self.ID, Term: a.Term}
	if a.Want&askVote != 0 {
		out.Vote = r.cfg.Keys.Sign(VoteText(r.cfg.Group, a.Term, a.Leader, r.self.ID))
	}
	if a.Want&askNext != 0 && len(r.next) > 0 {
		out.Next = r.cfg.Keys.Sign(ConfText(r.cfg.Group, r.nextConf(a.Term)))
	}
	if a.Want&askSeal != 0 && r.text != nil {
		out.Seal = r.cfg.Keys.Sign(SealText(r.cfg.Group, r.text))
	}
	if b, err := wire.Marshal(&out); err == nil && (out.Vote != nil || out.Next != nil || out.Seal != nil) {
		r.emit(Send{To: from, Frame: append([]byte{frameSigned}, b...)})
	}
}

// asked is a question that waits for the disk.
type asked struct {
	from tasks.PeerID
	data []byte
}

// answerAsked answers the question that has waited.
func (r *Replica) answerAsked() {
	if a := r.question; a != nil {
		r.question = nil
		r.recvAsk(a.from, a.data)
	}
}

// recvSigned takes a voter's signatures, if they are under what this leader has asked for. One that lags behind may
// have signed another text; but there is one text only for a vote.
func (r *Replica) recvSigned(from tasks.PeerID, data []byte) {
	var in signed
	if len(data) > maxSigned || wire.Unmarshal(data, &in) != nil {
		return
	}
	term := r.node.BasicStatus().Term
	if in.Leader != r.self.ID || in.Term != term || r.provenTerm != term || !r.Leading() ||
		r.chain.Conf().peer(in.Voter) != from || in.Voter == r.self.ID {
		return
	}
	r.heard[in.Voter] = r.now
	if in.Vote != nil && !r.keep(r.votes, from, VoteText(r.cfg.Group, term, r.self.ID, in.Voter), in.Vote) {
		r.suspect(from, "answers for its vote with a signature that is none")
	}
	if in.Next != nil && len(r.next) > 0 {
		r.keep(r.nexts, from, ConfText(r.cfg.Group, r.nextConf(term)), in.Next)
	}
	if in.Seal != nil && r.text != nil {
		r.keep(r.seals, from, SealText(r.cfg.Group, r.text), in.Seal)
	}
}

func (r *Replica) keep(in map[tasks.PeerID][]byte, by tasks.PeerID, text, sig []byte) bool {
	if in[by] != nil {
		return true
	}
	if len(sig) == 0 || len(sig) > maxSig || !r.cfg.Keys.Verify(by, text, sig) {
		return false
	}
	in[by] = sig
	return true
}

// endChange proposes the end of a change of the voters, with the proof of it.
func (r *Replica) endChange(l Link) bool {
	b, err := wire.Marshal(&l)
	return err == nil && r.node.ProposeConfChange(raftpb.ConfChangeV2{Context: b}) == nil
}

// end takes the end of a change into the chain, if those before have signed it. All replicas decide alike.
func (r *Replica) end(cc raftpb.ConfChangeV2, term uint64) bool {
	r.ending = false
	var l Link
	if len(r.next) == 0 || wire.Unmarshal(cc.Context, &l) != nil || !l.Conf.equal(r.nextConf(term)) ||
		r.trust(nil).checkLink(r.chain.Conf(), l) != nil {
		return false
	}
	c := Chain{Founders: r.chain.Founders, Links: append(slices.Clone(r.chain.Links), l)}
	r.chain = c.Shorten()
	return true
}

// mayLeadNow reports whether a voter could prove that it leads: while a change of the voters is under way one that is
// to come could not, and so could not end the change. Those before can, of whom a majority is there, for nothing is
// committed without; unless the end is in the log already.
func (r *Replica) mayLeadNow(id uint64) bool {
	if !r.joint || r.chain.Conf().peer(id) != "" {
		return true
	}
	return slices.ContainsFunc(r.tail(), func(e raftpb.Entry) bool {
		var cc raftpb.ConfChangeV2
		return e.Type == raftpb.EntryConfChangeV2 && cc.Unmarshal(e.Data) == nil && len(cc.Changes) == 0
	})
}

// checkSeats reports why the voters that a snapshot names are not those that its chain proves.
func (t Trust) checkSeats(c content) error {
	now := c.Voters
	if len(c.Outgoing) > 0 {
		now = c.Outgoing
	}
	if err := t.checkChain(c.Chain); err != nil {
		return err
	}
	if !slices.Equal(byID(c.Chain.Conf().Voters), now) {
		return ErrUnproven
	}
	return nil
}

func (r *Replica) suspect(from tasks.PeerID, what string) { r.emit(Suspect{From: from, What: what}) }
