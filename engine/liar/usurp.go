package liar

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// usurp speaks as the job's home.
func usurp(l *Liar) (engine.Message, bool) {
	m := engine.Message{Term: l.term()}
	switch l.rng.IntN(8) {
	case 0:
		m.Open = &engine.Open{Home: l.self, Every: time.Second, Proof: l.forged(l.self, m.Term)}
	case 1:
		m.Moved = &engine.Moved{Home: l.anybody(), Term: l.term()}
		m.Moved.Proof = l.forged(m.Moved.Home, m.Moved.Term)
	case 2:
		m.Drop = l.Units()
	case 3:
		m.Undone = l.Units()
	case 4:
		m.Yield = l.Units()
	case 5:
		m.Ack = &engine.ReportAck{Seq: 1 << 40, Failures: math.MaxUint64, Every: time.Hour, Above: l.self}
	default:
		m.Order = engine.Order(1 + l.rng.IntN(3))
	}
	return m, true
}

// Rules is a Lie: it speaks as the home of a job of its own, which the liar is: any order, about any partials, the
// other job's too.
func Rules(l *Liar) (engine.Message, bool) {
	s := l.at
	if s.Own == "" {
		return engine.Message{}, false
	}
	m, ok := usurp(l)
	if l.one(3) {
		m, ok = answers(l)
	}
	if l.one(4) {
		for _, h := range l.heard {
			if h.Keep != nil && (m.Keep == nil || l.one(3)) {
				k := *h.Keep
				k.Free = l.one(2)
				m = engine.Message{Keep: &k}
			}
		}
	}
	if l.one(8) {
		m = engine.Message{Keep: &engine.Keep{Result: &ledger.Result{SHA256: s.Result, Size: 1}}}
	}
	m.Job, m.Term = s.Own, s.OwnTerm
	return m, ok
}

// end tells that the job is over.
func end(l *Liar) (engine.Message, bool) {
	r := ledger.Result{SHA256: "forged", Size: 1, Status: []byte("all is well")}
	m := engine.Message{Term: l.term(), Ended: &engine.Ended{Result: &r, Sum: r.Sum(), Units: l.at.Want.Len()}}
	if l.one(3) {
		m.Ended.Result = nil
	}
	chain := quorum.Chain{Founders: []quorum.Voter{quorum.NewVoter(l.anybody(), 0)}}
	if p := l.mandate(); p != nil { // with the true voters, of whom the liar signs alone
		chain = p.Chain
	}
	m.Ended.Seal = &quorum.Seal{Chain: chain, Sigs: l.signed(chain.Conf(), func(quorum.Voter) []byte {
		return quorum.SealText(l.group(), m.Ended.Text())
	})}
	return m, true
}

// flood opens jobs that there are not.
func flood(l *Liar) (engine.Message, bool) {
	term := l.term()
	name := tasks.NameOf(binary.BigEndian.AppendUint64([]byte(l.self), l.Next()))
	return engine.Message{Job: name, Term: term, Open: &engine.Open{Home: l.self, Proof: l.forged(l.self, term)}}, true
}

// enlists orders a copy of the ledger that begins with the liar, or answers such an order.
func enlists(l *Liar) (engine.Message, bool) {
	self := quorum.NewVoter(l.self, uint64(l.rng.IntN(3)))
	m := engine.Message{Term: l.term()}
	switch l.rng.IntN(4) {
	case 0:
		m.Enlist = &engine.Enlist{
			Nonce:  l.rng.Uint64(),
			Voters: []quorum.Voter{self},
			Not:    uint64(l.number()),
			Proof:  l.forged(l.self, m.Term),
		}
	case 1:
		m.Enlisted = &engine.Enlisted{Nonce: uint64(l.rng.IntN(1 << 30)), Voter: self, OK: true}
	case 2:
		m.Resign = &engine.Resign{Voter: uint64(l.number())}
	default:
		m.Resigned = &engine.Resign{Voter: uint64(l.number())}
	}
	return m, true
}

// group is the name of the job's replicas in what they sign.
func (l *Liar) group() string { return engine.GroupName(l.at.Job) }

// mandate is a true one that the liar has seen.
func (l *Liar) mandate() *quorum.Mandate {
	for i := len(l.heard) - 1; i >= 0; i-- {
		m := l.heard[i]
		switch {
		case m.Job != l.at.Job:
		case m.Open != nil && m.Open.Proof != nil:
			return m.Open.Proof
		case m.Enlist != nil && m.Enlist.Proof != nil:
			return m.Enlist.Proof
		case m.Moved != nil && m.Moved.Proof != nil:
			return m.Moved.Proof
		}
	}
	return nil
}

// signed are signatures in the names of all voters, of which the liar's own is true.
func (l *Liar) signed(c quorum.Conf, text func(quorum.Voter) []byte) (sigs []quorum.Signature) {
	for _, v := range c.Voters {
		sigs = append(sigs, quorum.Signature{By: v.Peer, Sig: l.keys.Sign(text(v))})
	}
	return sigs
}

// forged is a mandate of a peer in a term, made of a true one where there is one: with the votes of another term or
// leader, with a set of voters that nobody has signed, or from other founders.
func (l *Liar) forged(home tasks.PeerID, term uint64) *quorum.Mandate {
	group, self := l.group(), quorum.NewVoter(home, 0)
	m := quorum.Mandate{Term: term, Leader: self.ID, Chain: quorum.Chain{Founders: []quorum.Voter{self}}}
	if p := l.mandate(); p != nil && !l.one(4) {
		m.Chain, m.Leader, m.Votes = p.Chain, p.Leader, slices.Clone(p.Votes)
		conf := p.Chain.Conf()
		if i := slices.IndexFunc(conf.Voters, func(v quorum.Voter) bool { return v.Peer == home }); i >= 0 && l.one(2) {
			m.Leader = conf.Voters[i].ID
		}
		if l.one(2) {
			c := conf
			c.Seq, c.Term, c.Prior, c.Voters = c.Seq+1, min(c.Term, term), c.Seq, []quorum.Voter{self}
			m.Leader = self.ID
			m.Chain.Links = append(slices.Clone(p.Chain.Links), l.link(conf, c))
		}
		if l.one(3) {
			return &m // its votes are those for another
		}
	}
	m.Votes = l.signed(
		m.Chain.Conf(),
		func(v quorum.Voter) []byte { return quorum.VoteText(group, term, m.Leader, v.ID) },
	)
	return &m
}

// link says that one set of voters follows another, in the names of all of that other one.
func (l *Liar) link(before, next quorum.Conf) quorum.Link {
	return quorum.Link{
		Conf: next,
		Sigs: l.signed(before, func(quorum.Voter) []byte { return quorum.ConfText(l.group(), next) }),
	}
}
