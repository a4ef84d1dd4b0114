package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// These bound a proof that comes from others. One that exceeds them is refused without verifying signatures.
const (
	maxVoters = 8   // voters of one configuration: a group has 3 or 5, and some more while they are being replaced
	maxLinks  = 512 // links of a chain; each costs some 450 bytes in every mandate
	maxSig    = 128 // bytes of a signature
	maxPeer   = 128 // bytes of a peer's name
)

// ErrUnproven is the error, under errors.Is, of a mandate or seal that does not prove what it claims.
var ErrUnproven = errors.New("not proven")

// Keys signs as this peer and verifies the signatures of any peer. Both must be pure: the same arguments give the same
// result at any time, since replicas decide by them what an entry of the log means.
type Keys interface {
	// Sign returns this peer's signature under text.
	Sign(text []byte) []byte
	// Verify reports whether sig is the signature of peer by under text. sig may be any bytes.
	Verify(by tasks.PeerID, text, sig []byte) bool
}

// Conf is one set of voters of a group.
type Conf struct {
	Seq  uint64 `msgpack:"n"` // number of this set of voters; 0 is the founders'
	Term uint64 `msgpack:"t"` // term in which the set was made; it can vote only in later terms
	// Prior is the Seq of the last set made before Term, whose voters may have elected the leader of Term.
	Prior uint64 `msgpack:"p"`
	// Voters are ordered by ID. A peer is one voter at most.
	Voters []Voter `msgpack:"v"`
}

// Signature is a peer's signature under a text that its context determines.
type Signature struct {
	By  tasks.PeerID `msgpack:"b"`
	Sig []byte       `msgpack:"s"`
}

// Link is a set of voters with signatures which say that it follows an earlier set: those of a majority of the earlier
// set, or that of one authority (Trust). The signed text does not name the earlier set, so a link may skip sets in
// between if a majority of a still earlier one signed it too.
type Link struct {
	Conf Conf        `msgpack:"c"`
	Sigs []Signature `msgpack:"s"`
}

// Chain leads from a group's founding voters to a later set of voters, each signed by the set before.
type Chain struct {
	Founders []Voter `msgpack:"f"`
	Links    []Link  `msgpack:"l,omitempty"`
}

// Mandate proves to anybody that a voter was elected leader of a group in a term: a majority of the voters at the end
// of the chain signed their votes for it. A voter signs at most one vote in a term.
type Mandate struct {
	Chain  Chain       `msgpack:"c"`
	Term   uint64      `msgpack:"t"`
	Leader uint64      `msgpack:"l"` // voter ID of the leader, one of the voters at the chain's end
	Votes  []Signature `msgpack:"v"`
}

// Seal proves that a majority of a group's voters signed a text.
type Seal struct {
	Chain Chain       `msgpack:"c"`
	Sigs  []Signature `msgpack:"s"`
}

// Trust is what the verification of a proof depends on.
type Trust struct {
	Keys     Keys
	Group    string         // the group's name, which is part of every signed text
	Founders []tasks.PeerID // the peers of the founding voters: exactly these
	// Authority reports whether a peer may determine a group's voters by its signature alone, as the group's owner may;
	// nil for nobody.
	Authority func(by tasks.PeerID) bool
	Checked   *Checked // cache of verified links; nil for none
}

// Conf is the set of voters at the end of the chain.
func (c Chain) Conf() Conf {
	if n := len(c.Links); n > 0 {
		return c.Links[n-1].Conf
	}
	return Conf{Voters: c.Founders}
}

// LeaderPeer is the peer of the leader; empty if it is not among the voters.
func (m Mandate) LeaderPeer() tasks.PeerID { return m.Chain.Conf().peer(m.Leader) }

// Weight is roughly how many bytes of memory a mandate takes.
func (m *Mandate) Weight() int {
	n := WeightOf(m.Chain.Founders) + weightOf(m.Votes)
	for _, l := range m.Chain.Links {
		n += 80 + WeightOf(l.Conf.Voters) + weightOf(l.Sigs)
	}
	return n
}

// WeightOf is roughly how many bytes of memory voters take.
func WeightOf(voters []Voter) (n int) {
	for _, m := range voters {
		n += 24 + len(m.Peer)
	}
	return n
}

func weightOf(sigs []Signature) (n int) {
	for _, s := range sigs {
		n += 40 + len(s.By) + len(s.Sig)
	}
	return n
}

// Admits reports whether somebody who knows that c is a set of the group's voters should accept a mandate that
// verified: voters who have been replaced since cannot elect anybody in later terms. Callers keep the newest Conf of
// the mandates that they accepted and ask it about the next one. Otherwise peers that were once a majority could lead
// for ever.
func (c Conf) Admits(m Mandate) bool {
	need := c.Seq
	if m.Term <= c.Term {
		need = c.Prior
	}
	return m.Chain.Conf().Seq >= need
}

// CheckMandate reports why a mandate is invalid; the error is under ErrUnproven. It is pure, and its work is bounded
// whatever m is.
func CheckMandate(t Trust, m Mandate) error {
	if err := t.checkChain(m.Chain); err != nil {
		return err
	}
	return t.checkVotes(m)
}

// checkVotes checks the votes of a mandate whose chain is valid.
func (t Trust) checkVotes(m Mandate) error {
	conf := m.Chain.Conf()
	if conf.peer(m.Leader) == "" {
		return fmt.Errorf("%w: %x is no voter of its set %d", ErrUnproven, m.Leader, conf.Seq)
	}
	if m.Term <= conf.Term || m.Term > maxTerm {
		return fmt.Errorf("%w: term %d cannot be voted on by voters of term %d", ErrUnproven, m.Term, conf.Term)
	}
	if n := t.count(conf, m.Votes, func(v Voter) []byte {
		return VoteText(t.Group, m.Term, m.Leader, v.ID)
	}); n < conf.majority() {
		return fmt.Errorf("%w: of %d voters %d have signed their votes for voter %x in term %d", ErrUnproven,
			len(conf.Voters), n, m.Leader, m.Term)
	}
	return nil
}

// CheckSeal reports why a seal does not prove that a majority signed text; the error is under ErrUnproven. What the
// text means is up to the caller.
func CheckSeal(t Trust, text []byte, s Seal) error {
	if err := t.checkChain(s.Chain); err != nil {
		return err
	}
	conf, signed := s.Chain.Conf(), SealText(t.Group, text)
	if n := t.count(conf, s.Sigs, func(Voter) []byte { return signed }); n < conf.majority() {
		return fmt.Errorf("%w: %d of %d voters have signed", ErrUnproven, n, len(conf.Voters))
	}
	return nil
}

// CheckChain reports why a chain does not prove who the voters at its end are; the error is under ErrUnproven. It is
// pure, and its work is bounded whatever c is.
func CheckChain(t Trust, c Chain) error { return t.checkChain(c) }

// checkChain verifies a chain link by link, from the founders on.
func (t Trust) checkChain(c Chain) error {
	if len(c.Links) > maxLinks {
		return fmt.Errorf("%w: its voters have changed %d times: %d are taken", ErrUnproven, len(c.Links), maxLinks)
	}
	conf := Conf{Voters: c.Founders}
	if err := conf.check(); err != nil {
		return err
	}
	if len(c.Founders) != len(t.Founders) || slices.ContainsFunc(c.Founders, func(m Voter) bool {
		return !slices.Contains(t.Founders, m.Peer)
	}) {
		return fmt.Errorf("%w: it was founded by others", ErrUnproven)
	}
	for _, l := range c.Links {
		if err := t.checkLink(conf, l); err != nil {
			return err
		}
		conf = l.Conf
	}
	return nil
}

// checkLink reports why the voters of l do not follow those of before.
func (t Trust) checkLink(before Conf, l Link) error {
	if err := l.Conf.check(); err != nil {
		return err
	}
	if l.Conf.Seq <= before.Seq || l.Conf.Term < before.Term || l.Conf.Term > maxTerm || l.Conf.Prior >= l.Conf.Seq {
		return fmt.Errorf("%w: set %d of term %d does not follow set %d of term %d", ErrUnproven, l.Conf.Seq, l.Conf.Term,
			before.Seq, before.Term)
	}
	sum := t.linkSum(before, l)
	if t.Checked.has(sum) {
		return nil
	}
	text := ConfText(t.Group, l.Conf)
	n := t.count(before, l.Sigs, func(Voter) []byte { return text })
	switch {
	case n >= before.majority():
		t.Checked.add(sum)
		return nil
	case mutant.On(mutant.AnyLink):
		return nil
	// an authority's signature counts only for recoveries, whose number is limited
	case l.RecoveryConf() == nil && t.authorized(text, l.Sigs):
		return nil
	}
	return fmt.Errorf("%w: of %d voters %d have signed who comes after them, as set %d", ErrUnproven, len(before.Voters),
		n, l.Conf.Seq)
}

func (t Trust) authorized(text []byte, sigs []Signature) bool {
	return t.Authority != nil && len(sigs) <= maxVoters && slices.ContainsFunc(sigs, func(s Signature) bool {
		return t.Authority(s.By) && t.verify(s, text)
	})
}

// count counts the voters whose signatures verify, up to a majority. It looks at one signature of each voter.
func (t Trust) count(c Conf, sigs []Signature, text func(Voter) []byte) (n int) {
	if len(sigs) > maxVoters {
		return 0
	}
	for _, m := range c.Voters {
		i := slices.IndexFunc(sigs, func(s Signature) bool { return s.By == m.Peer })
		if i < 0 || !t.verify(sigs[i], text(m)) {
			continue
		}
		if n++; n >= c.majority() {
			break
		}
	}
	return n
}

func (t Trust) verify(s Signature, text []byte) bool {
	return len(s.Sig) <= maxSig && t.Keys.Verify(s.By, text, s.Sig)
}

func (c Conf) majority() int { return len(c.Voters)/2 + 1 }

// peer is the peer of the voter id; empty if there is no such voter.
func (c Conf) peer(id uint64) tasks.PeerID {
	for _, m := range c.Voters {
		if m.ID == id {
			return m.Peer
		}
	}
	return ""
}

func (c Conf) check() error {
	if len(c.Voters) == 0 || len(c.Voters) > maxVoters {
		return fmt.Errorf("%w: set %d has %d voters", ErrUnproven, c.Seq, len(c.Voters))
	}
	for i, m := range c.Voters {
		twice := slices.ContainsFunc(c.Voters[:i], func(o Voter) bool { return o.ID == m.ID || o.Peer == m.Peer })
		if !valid(m) || len(m.Peer) > maxPeer || twice {
			return fmt.Errorf("%w: voter %x of set %d is invalid, or is named twice", ErrUnproven, m.ID, c.Seq)
		}
	}
	return nil
}

func (c Conf) equal(o Conf) bool {
	return c.Seq == o.Seq && c.Term == o.Term && c.Prior == o.Prior && slices.Equal(c.Voters, o.Voters)
}

// Shorten leaves out the links that are not needed, because a majority of an earlier set signed a later one. A valid
// chain stays valid.
func (c Chain) Shorten() Chain {
	out := Chain{Founders: c.Founders}
	for conf, from := out.Conf(), 0; from < len(c.Links); conf = out.Conf() {
		next := from // valid, since the chain is
		for i := len(c.Links) - 1; i > from; i-- {
			if signers(conf, c.Links[i].Sigs) >= conf.majority() {
				next = i
				break
			}
		}
		out.Links, from = append(out.Links, c.Links[next]), next+1
	}
	return out
}

// signers counts the voters named in signatures, without verifying these.
func signers(c Conf, sigs []Signature) (n int) {
	for _, m := range c.Voters {
		if slices.ContainsFunc(sigs, func(s Signature) bool { return s.By == m.Peer }) {
			n++
		}
	}
	return n
}

// The purpose of a signature begins the signed text, so that no signature can be used for another purpose.
const (
	forVoters = "dtpnode voters\x00"
	forVote   = "dtpnode vote\x00"
	forSeal   = "dtpnode seal\x00"
)

// ConfText is the text that a voter, or an authority, signs to say that c's voters are the group's from now on.
func ConfText(group string, c Conf) []byte {
	b := signText(forVoters, group, c.Seq, c.Term, c.Prior, uint64(len(c.Voters)))
	for _, m := range c.Voters {
		b = binary.BigEndian.AppendUint64(b, m.ID)
		b = appendText(b, m.Peer)
	}
	return b
}

// SealText is the text that a voter signs for a seal of text.
func SealText(group string, text []byte) []byte { return append(signText(forSeal, group), text...) }

// VoteText is the text by which a voter signs its vote for a candidate in a term.
func VoteText(group string, term, candidate, voter uint64) []byte {
	return signText(forVote, group, term, candidate, voter)
}

func signText(purpose, group string, nums ...uint64) []byte {
	b := appendText([]byte(purpose), group)
	for _, n := range nums {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// SoleMandate is the mandate of a founder that is its group's only voter, in the group's first term.
func SoleMandate(k Keys, group string, m Voter) Mandate {
	return Mandate{Chain: Chain{Founders: []Voter{m}}, Term: 1, Leader: m.ID,
		Votes: []Signature{{By: m.Peer, Sig: k.Sign(VoteText(group, 1, m.ID, m.ID))}}}
}

// SoleSeal is a seal by the only voter at the end of a chain.
func SoleSeal(k Keys, group string, c Chain, self tasks.PeerID, text []byte) Seal {
	return Seal{Chain: c, Sigs: []Signature{{By: self, Sig: k.Sign(SealText(group, text))}}}
}
