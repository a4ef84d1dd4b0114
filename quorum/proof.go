package quorum

import (
	"bytes"
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

// proofs is what a replica can prove. chain proves the voters as of the last applied entry, while a change is under way
// the old ones; mandate and seal have as many signatures as they need, or are nil.
type proofs struct {
	chain    Chain
	mandate  *Mandate // that this replica leads, in its term
	text     []byte   // text to be sealed; nil for none
	seal     *Seal    // of this text
	question *asked   // a request of the leader that waits for the disk
}

// nextConf is the set of voters that follows the present one if a leader of a term proposes its change to these.
func (p *proofs) nextConf(term uint64, to []Voter) Conf {
	last := p.chain.Conf()
	c := Conf{Seq: last.Seq + 1, Term: term, Prior: last.Prior, Voters: to}
	if last.Term < term {
		c.Prior = last.Seq
	}
	return c
}

// toSeal takes a text to be sealed; it reports whether it is another one than before.
func (p *proofs) toSeal(text []byte) bool {
	if bytes.Equal(p.text, text) {
		return false
	}
	p.text, p.seal = slices.Clone(text), nil
	return true
}

// founders are the peers of the founding voters.
func (p *proofs) founders() (ids []tasks.PeerID) {
	for _, m := range p.chain.Founders {
		ids = append(ids, m.Peer)
	}
	return ids
}

// gathering is the signatures that a leader gathers in one term, by voter. Those of others were verified. They are of
// no use in another term.
type gathering struct {
	term   uint64
	votes  map[tasks.PeerID][]byte // for this leader's mandate
	nexts  map[tasks.PeerID][]byte // for the new voters, while a change is under way
	seals  map[tasks.PeerID][]byte // for the text to be sealed
	ending bool                    // this leader has proposed the completion of the change
	asked  uint8                   // what was asked for since the last heartbeat
}

func newGathering(term uint64) gathering {
	return gathering{
		term:  term,
		votes: map[tasks.PeerID][]byte{},
		nexts: map[tasks.PeerID][]byte{},
		seals: map[tasks.PeerID][]byte{},
	}
}

// dropNext drops the signatures for the new voters, as the voters have changed.
func (g *gathering) dropNext() {
	clear(g.nexts)
	g.asked &^= askNext
}

// Mandate proves that this replica leads. It is false while the replica does not lead or cannot prove it yet: the proof
// takes some round trips after the Role effect.
func (r *Replica) Mandate() (Mandate, bool) {
	if r.proofs.mandate == nil || !r.Leading() || r.proofs.mandate.Term != r.node.BasicStatus().Term {
		return Mandate{}, false
	}
	return *r.proofs.mandate, true
}

// Chain proves who the voters are, as of the last applied entry; while a change is under way, who the old ones are.
func (r *Replica) Chain() Chain { return r.proofs.chain }

// Sealed proves that a majority of the voters were given the same text as this replica by ToSeal. Only a leader gathers
// signatures, so it is false until a leader has enough of them, and always at other replicas.
func (r *Replica) Sealed() (Seal, bool) {
	if r.proofs.seal == nil {
		return Seal{}, false
	}
	return *r.proofs.seal, true
}

// trust is what this replica verifies proofs by. Where the log is applied, authority is nil, since not all replicas may
// know the same authorities.
func (r *Replica) trust(authority func(tasks.PeerID) bool) Trust {
	return Trust{Keys: r.cfg.Keys, Group: r.cfg.Group, Founders: r.proofs.founders(), Authority: authority}
}

// nextConf is the set of voters that completes the present change if a leader of a term proposes it.
func (r *Replica) nextConf(term uint64) Conf { return r.proofs.nextConf(term, r.voters.next()) }

// prove makes the proofs for which there are enough signatures, and asks for those that are missing. It reports whether
// it has proposed an entry.
func (r *Replica) prove() (proposed bool) {
	if r.broken || !r.Leading() {
		return false
	}
	conf, term := r.proofs.chain.Conf(), r.node.BasicStatus().Term
	if r.gathering.term != term {
		r.proofs.mandate, r.gathering = nil, newGathering(term)
	}
	var want uint8
	if r.proofs.mandate == nil {
		r.gathering.votes[r.self.Peer] = r.cfg.Keys.Sign(VoteText(r.cfg.Group, term, r.self.ID, r.self.ID))
		if sigs := gathered(conf, r.gathering.votes); len(sigs) >= conf.majority() && conf.peer(r.self.ID) != "" {
			r.proofs.mandate = &Mandate{Chain: r.proofs.chain, Term: term, Leader: r.self.ID, Votes: sigs}
		} else {
			want |= askVote
		}
	}
	if r.voters.joint() && r.proofs.mandate != nil && !r.gathering.ending {
		next := r.nextConf(term)
		r.gathering.nexts[r.self.Peer] = r.cfg.Keys.Sign(ConfText(r.cfg.Group, next))
		if sigs := gathered(conf, r.gathering.nexts); len(sigs) >= conf.majority() {
			r.gathering.ending = r.endChange(Link{Conf: next, Sigs: sigs})
			proposed = r.gathering.ending
		} else {
			want |= askNext
		}
	}
	if r.proofs.text != nil && r.proofs.seal == nil {
		r.gathering.seals[r.self.Peer] = r.cfg.Keys.Sign(SealText(r.cfg.Group, r.proofs.text))
		if sigs := gathered(conf, r.gathering.seals); len(sigs) >= conf.majority() {
			r.proofs.seal = &Seal{Chain: r.proofs.chain, Sigs: sigs}
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
	if want &^= r.gathering.asked; want == 0 {
		return
	}
	r.gathering.asked |= want
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
	if s.Lead != a.Leader || s.Term != a.Term || a.Leader == r.self.ID || r.voters.peer(a.Leader) != from {
		return
	}
	// Nothing is signed before the disk has the leader, or this replica would not know after a crash whom it signed for.
	if r.proofs.question = nil; r.writes.syncedTerm != a.Term || r.writes.syncedLead != a.Leader {
		r.proofs.question = &asked{from, data}
		return
	}
	out := signed{Leader: a.Leader, Voter: r.self.ID, Term: a.Term}
	if a.Want&askVote != 0 {
		out.Vote = r.cfg.Keys.Sign(VoteText(r.cfg.Group, a.Term, a.Leader, r.self.ID))
	}
	if a.Want&askNext != 0 && r.voters.joint() {
		out.Next = r.cfg.Keys.Sign(ConfText(r.cfg.Group, r.nextConf(a.Term)))
	}
	if a.Want&askSeal != 0 && r.proofs.text != nil {
		out.Seal = r.cfg.Keys.Sign(SealText(r.cfg.Group, r.proofs.text))
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
	if a := r.proofs.question; a != nil {
		r.proofs.question = nil
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
	if in.Leader != r.self.ID || in.Term != term || r.gathering.term != term || !r.Leading() ||
		r.proofs.chain.Conf().peer(in.Voter) != from || in.Voter == r.self.ID {
		return
	}
	r.hearing.note(in.Voter, r.now)
	if in.Vote != nil && !r.keep(r.gathering.votes, from, VoteText(r.cfg.Group, term, r.self.ID, in.Voter), in.Vote) {
		r.suspect(from, "answers with an invalid signature for its vote")
	}
	if in.Next != nil && r.voters.joint() {
		r.keep(r.gathering.nexts, from, ConfText(r.cfg.Group, r.nextConf(term)), in.Next)
	}
	if in.Seal != nil && r.proofs.text != nil {
		r.keep(r.gathering.seals, from, SealText(r.cfg.Group, r.proofs.text), in.Seal)
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
	r.gathering.ending = false
	var l Link
	if !r.voters.joint() || wire.Unmarshal(cc.Context, &l) != nil || !l.Conf.equal(r.nextConf(term)) ||
		r.trust(nil).checkLink(r.proofs.chain.Conf(), l) != nil {
		return false
	}
	c := Chain{Founders: r.proofs.chain.Founders, Links: append(slices.Clone(r.proofs.chain.Links), l)}
	r.proofs.chain = c.Shorten()
	return true
}

// mayLeadNow reports whether a voter could prove that it leads. While a change is under way a new voter could not,
// since the chain does not name it yet, and so it could not complete the change. The old voters can: a majority of them
// is there, or nothing would be committed. A new voter can too once the completion is in the log.
func (r *Replica) mayLeadNow(id uint64) bool {
	if !r.voters.joint() || r.proofs.chain.Conf().peer(id) != "" {
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
