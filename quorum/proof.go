package quorum

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Voters prove to others what their log says, beside raft and without changing it. A leader that lacks a signature
// asks for it (frameAsk), and a voter that follows it signs what its own state says (frameSigned). The leader asks
// again at each heartbeat, until it has what it needs:
//
//   - for its mandate: signatures of a majority of the voters that they follow it in its term. Before it has them it
//     completes no change of the voters;
//   - for the completion of a change of the voters: signatures of a majority of the old voters under the new ones.
//     These are part of the log entry that completes the change, so whoever has that entry can prove who the voters
//     are;
//   - for a seal: signatures of a majority under the same text, which their owners have given them.

// These bits say which signatures a leader asks for.
const (
	askVote = 1 << iota
	askNext
	askSeal
)

// ask is a leader's request for signatures, as msgpack.
type ask struct {
	Leader uint64 `msgpack:"l"` // voter ID of the leader
	Term   uint64 `msgpack:"t"`
	Want   uint8  `msgpack:"w"`
}

// signed answers an ask with the signatures of a voter; those that it cannot give are empty.
type signed struct {
	Leader uint64 `msgpack:"l"` // voter ID of the leader that asked
	Voter  uint64 `msgpack:"m"`
	Term   uint64 `msgpack:"t"`
	Vote   []byte `msgpack:"v,omitempty"`
	Next   []byte `msgpack:"n,omitempty"`
	Seal   []byte `msgpack:"s,omitempty"`
}

const (
	maxAsk    = 64                // bytes of an encoded ask
	maxSigned = 64 + 3*(8+maxSig) // bytes of an encoded answer
)

// proofs is what a replica can prove, and the signatures that it gathers for that while it leads.
type proofs struct {
	chain   Chain   // proof of the voters, as of the last applied entry
	next    []Voter // the new voters, while a change is under way
	ending  bool    // this leader has proposed the completion of the change
	text    []byte  // text to be sealed; nil for none
	mandate *Mandate
	seal    *Seal
	// Signatures by voter: for this leader's mandate, for the new voters, and for the text to be sealed.
	votes, nexts, seals map[tasks.PeerID][]byte
	askedKinds          uint8  // what was asked for since the last heartbeat
	question            *asked // a request of the leader that waits for the disk
}

// Mandate proves that this replica leads. It is false while the replica does not lead or cannot prove it yet: the proof
// takes some round trips after the Role effect.
func (r *Replica) Mandate() (Mandate, bool) {
	if r.mandate == nil || !r.Leading() || r.mandate.Term != r.node.BasicStatus().Term {
		return Mandate{}, false
	}
	return *r.mandate, true
}

// Chain proves who the voters are, as of the last applied entry; while a change is under way, who the old ones are.
func (r *Replica) Chain() Chain { return r.chain }

// Sealed proves that a majority of the voters were given the same text as this replica by ToSeal. Only a leader gathers
// signatures, so it is false until a leader has enough of them, and always at other replicas.
func (r *Replica) Sealed() (Seal, bool) {
	if r.seal == nil {
		return Seal{}, false
	}
	return *r.seal, true
}

// trust is what this replica verifies proofs by. Where the log is applied, authority is nil, since not all replicas may
// know the same authorities.
func (r *Replica) trust(authority func(tasks.PeerID) bool) Trust {
	t := Trust{Keys: r.cfg.Keys, Group: r.cfg.Group, Authority: authority}
	for _, m := range r.chain.Founders {
		t.Founders = append(t.Founders, m.Peer)
	}
	return t
}

// nextConf is the set of voters that completes the present change if a leader of this term proposes it.
func (r *Replica) nextConf(term uint64) Conf {
	last := r.chain.Conf()
	c := Conf{Seq: last.Seq + 1, Term: term, Prior: last.Prior, Voters: r.next}
	if last.Term < term {
		c.Prior = last.Seq
	}
	return c
}

// forget drops the gathered signatures, which are of no use in another term.
func (r *Replica) forget() {
	r.mandate, r.ending, r.askedKinds = nil, false, 0
	r.votes, r.nexts, r.seals = map[tasks.PeerID][]byte{}, map[tasks.PeerID][]byte{}, map[tasks.PeerID][]byte{}
}

// prove makes the proofs for which there are enough signatures, and asks for those that are missing. It reports whether
// it has proposed an entry.
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

// gathered returns the signatures of the voters that have given one, in the order of the voters.
func gathered(c Conf, by map[tasks.PeerID][]byte) (sigs []Signature) {
	for _, m := range c.Voters {
		if sig := by[m.Peer]; sig != nil {
			sigs = append(sigs, Signature{By: m.Peer, Sig: sig})
		}
	}
	return sigs
}

// askFor asks the voters for what it has not asked for since the last heartbeat.
func (r *Replica) askFor(conf Conf, want uint8, term uint64) {
	if want &^= r.askedKinds; want == 0 {
		return
	}
	r.askedKinds |= want
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
	// Nothing is signed before the disk has the leader, or this replica would not know after a crash whom it signed for.
	if r.question = nil; r.syncedTerm != a.Term || r.syncedLead != a.Leader {
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

// asked is an ask that waits for the disk.
type asked struct {
	from tasks.PeerID
	data []byte
}

// answerAsked answers the ask that has waited for the disk.
func (r *Replica) answerAsked() {
	if a := r.question; a != nil {
		r.question = nil
		r.recvAsk(a.from, a.data)
	}
}

// recvSigned stores a voter's signatures, if they are under the texts that this leader asked about. A voter that lags
// behind may have signed another set of voters or text, but a vote has one possible text, so a wrong signature for it
// makes the voter suspect.
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
		r.suspect(from, "answers with an invalid signature for its vote")
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

// endChange proposes the completion of a change of the voters, with its proof.
func (r *Replica) endChange(l Link) bool {
	b, err := wire.Marshal(&l)
	return err == nil && r.node.ProposeConfChange(raftpb.ConfChangeV2{Context: b}) == nil
}

// end appends the completion of a change to the chain, if the old voters have signed it. All replicas decide this
// alike.
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

// mayLeadNow reports whether a voter could prove that it leads. While a change is under way a new voter could not,
// since the chain does not name it yet, and so it could not complete the change. The old voters can: a majority of them
// is there, or nothing would be committed. A new voter can too once the completion is in the log.
func (r *Replica) mayLeadNow(id uint64) bool {
	if !r.joint || r.chain.Conf().peer(id) != "" {
		return true
	}
	return slices.ContainsFunc(r.tail(), func(e raftpb.Entry) bool {
		var cc raftpb.ConfChangeV2
		return e.Type == raftpb.EntryConfChangeV2 && cc.Unmarshal(e.Data) == nil && len(cc.Changes) == 0
	})
}

// checkVoters reports why the voters that a snapshot names are not those that its chain proves.
func (t Trust) checkVoters(c content) error {
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
