package p2p

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// roster is the set of signed records that make up a cluster, with what they mean. It is a pure value, without lock,
// clock or network.
//
// Meaning: a chain of successions determines who has the founder's role. That peer is a member with all rights,
// whatever is said about it. Inviters are found outwards from the founder, level by level, by the registers of those
// found so far; an inviter's register counts for as long as its own stay does. About each peer the issuer nearest to
// the founder decides. An inviter can end the stay of any peer without the inviter right, and of inviters at its own
// level or further out, so that nobody can expel those on whom its own authority depends. An inviter cannot grant
// rights that it does not have itself. A peer's own records about itself count only when it leaves.
//
// Size: there is one register for each inviter, with an entry for each member, so the size does not grow with the
// cluster's history.
type roster struct {
	cluster    peer.ID
	chain      []heldSuccession
	registers  map[stay]heldRegister // the latest one of each issuer's stays
	departures map[stay]signed
	addresses  map[peer.ID]place
	legacy     map[peer.ID]statement // members by a membership file of format 1, until the founder's register is known
	statements []signed              // the records that legacy was read from

	// These are computed by settle: what the records mean.
	members  map[peer.ID]member
	inviters map[peer.ID]member // including those that have left, whose registers count until others adopt their members
	claims   map[peer.ID][]claim
	outs     map[stay]int    // ended stays, with the level of the issuer that ended them
	bans     map[peer.ID]int // banned peers, with the level of the issuer that banned them
	sum      [sha256.Size]byte
}

// member is an entry that is in force, and how far from the founder it was made.
type member struct {
	entry
	level int // 0 is the founder
}

// claim is an entry in the register of one issuer.
type claim struct {
	entry
	issuer peer.ID
	level  int // of the issuer
}

func (c claim) stay() stay { return stay{must(c.Peer), c.Tenure} }

type place struct {
	seq   uint64
	addrs []ma.Multiaddr
	raw   signed
}

// before reports whether the record s with number seq replaces p.
func (p place) before(seq uint64, s signed) bool {
	return seq > p.seq || seq == p.seq && bytes.Compare(s.Body, p.raw.Body) > 0
}

// exchange is the records of a roster, as one node sends them to another or as they are stored.
type exchange struct {
	Successions []signed
	Registers   []signed
	Departures  []signed
	Addresses   []signed
	Statements  []signed // only in membership files of format 1
}

func newRoster(cluster peer.ID) *roster {
	r := &roster{
		cluster:    cluster,
		registers:  map[stay]heldRegister{},
		departures: map[stay]signed{},
		addresses:  map[peer.ID]place{},
	}
	r.settle()
	return r
}

func (r *roster) clone() *roster {
	next := *r
	next.registers = maps.Clone(r.registers)
	next.departures = maps.Clone(r.departures)
	next.addresses = maps.Clone(r.addresses)
	return &next
}

// merge adds the records of x and reports whether the roster changed. One bad record refuses all of x, since an honest
// peer sends none. The maps of the roster as it was are not modified, so a shallow copy of it stays valid.
func (r *roster) merge(x exchange) (changed bool, err error) {
	if x, err = r.fresh(x); err != nil {
		return false, err
	}
	return r.add(x)
}

// fresh returns the records of x that the roster does not have yet.
func (r *roster) fresh(x exchange) (exchange, error) {
	if len(x.Registers) > 4*maxInviters || len(x.Addresses) > 2*MaxPeers || len(x.Departures) > maxDepartures ||
		len(x.Successions) > maxSuccessions {
		return exchange{}, fmt.Errorf("could not merge a roster of %d registers, %d departures and %d addresses: %w",
			len(x.Registers), len(x.Departures), len(x.Addresses), ErrTooLarge)
	}
	return r.news(x), nil
}

// add does merge for records that fresh returned.
func (r *roster) add(x exchange) (changed bool, err error) {
	if len(x.Successions)+len(x.Registers)+len(x.Departures)+len(x.Addresses) == 0 {
		return false, nil
	}
	before := r.sum
	next := r.clone()
	if err := next.addSuccessions(x.Successions); err != nil {
		return false, err
	}
	for _, add := range []struct {
		records []signed
		one     func(signed) error
	}{{x.Registers, next.addRegister}, {x.Departures, next.addDeparture}, {x.Addresses, next.addAddresses}} {
		for _, s := range add.records {
			if err := add.one(s); err != nil {
				return false, err
			}
		}
	}
	next.settle()
	*r = *next
	return r.sum != before, nil
}

// news is x without the records that r has, byte by byte: they need not be verified again, and in a large cluster they
// are nearly all of x.
func (r *roster) news(x exchange) exchange {
	known := map[string]bool{}
	all := r.all()
	for _, list := range [][]signed{all.Successions, all.Registers, all.Departures, all.Addresses} {
		for _, s := range list {
			known[s.bytes()] = true
		}
	}
	fresh := func(l []signed) []signed {
		return slices.DeleteFunc(slices.Clone(l), func(s signed) bool { return known[s.bytes()] })
	}
	out := exchange{Registers: fresh(x.Registers), Departures: fresh(x.Departures), Addresses: fresh(x.Addresses)}
	if len(fresh(x.Successions)) > 0 {
		out.Successions = x.Successions // a chain can only be judged as a whole
	}
	return out
}

func (r *roster) addRegister(s signed) error {
	reg, err := openRegister(r.cluster, s)
	if err != nil {
		return err
	}
	key, h := stay{must(reg.Issuer), reg.Under}, heldRegister{reg, s}
	if old, ok := r.registers[key]; !ok || h.newerThan(old) {
		r.registers[key] = h
	}
	return nil
}

func (r *roster) addDeparture(s signed) error {
	d, err := openDeparture(r.cluster, s)
	if err != nil {
		return err
	}
	key := stay{must(d.Peer), d.Tenure}
	if old, ok := r.departures[key]; !ok || bytes.Compare(s.Body, old.Body) > 0 {
		r.departures[key] = s
	}
	return nil
}

func (r *roster) addAddresses(s signed) error {
	a, addrs, err := openAddresses(r.cluster, s)
	if err != nil {
		return err
	}
	id := must(a.Peer)
	if old, ok := r.addresses[id]; !ok || old.before(a.Seq, s) {
		r.addresses[id] = place{a.Seq, addrs, s}
	}
	return nil
}

// must decodes a peer id that was checked when its record was opened.
func must(s string) peer.ID {
	id, err := peer.Decode(s)
	if err != nil {
		return ""
	}
	return id
}

// head is the register of the founder's role: that of its holder or, until the holder's is known, that of the holder
// before, unless the role was taken back from that one.
func (r *roster) head() (heldRegister, bool) {
	for n := len(r.chain); n >= 0; n-- {
		a := r.reignAt(n)
		if h, ok := r.registers[stay{a.holder, a.under()}]; ok {
			return h, true
		}
		if a.recovered {
			break
		}
	}
	return heldRegister{}, false
}

// settle computes what the records mean, and drops those without effect.
func (r *roster) settle() {
	holder := r.reign().holder
	head, ok := r.head()
	first := member{entry: entry{
		Peer:   holder.String(),
		Name:   cmp.Or(head.Name, r.legacy[holder].Name),
		Rights: AllRights(),
		Joined: head.Founded,
	}}
	r.inviters = map[peer.ID]member{holder: first}
	r.claims, r.outs, r.bans = map[peer.ID][]claim{}, map[stay]int{}, map[peer.ID]int{}
	counted := map[stay]bool{}
	if ok {
		counted[stay{must(head.Issuer), head.Under}] = true
		r.hear(head, holder, 0)
		r.findInviters(counted)
	}
	r.findMembers(first)
	if last := must(head.Issuer); ok && last != holder && !r.isIn(last) {
		// This one gave the role away, and the new holder's register is not known yet. If it were not a member meanwhile, it
		// could not even announce the handover.
		r.members[last] = member{
			entry: entry{Peer: head.Issuer, Name: head.Name, Rights: []Right{Worker, Submitter}, Joined: head.Founded},
			level: 1,
		}
	}
	if ok {
		r.legacy, r.statements = nil, nil
	}
	for id, st := range r.legacy {
		if _, in := r.members[id]; !in {
			r.members[id] = member{
				entry: entry{Peer: id.String(), Name: st.Name, Rights: st.Rights, Joined: st.Issued},
				level: 1,
			}
		}
	}
	maps.DeleteFunc(r.registers, func(key stay, _ heldRegister) bool { return !counted[key] })
	maps.DeleteFunc(r.departures, func(key stay, _ signed) bool { return !r.claimed(key) })
	maps.DeleteFunc(r.addresses, func(id peer.ID, _ place) bool { _, ok := r.members[id]; return !ok })
	r.sum = r.hash()
}

// hear adds what the register of one issuer at a level says to claims, outs and bans.
func (r *roster) hear(reg heldRegister, issuer peer.ID, level int) {
	holder := r.reign().holder
	for _, e := range reg.Entries {
		if id := must(e.Peer); id != holder && id != issuer {
			e.Rights = r.grantable(issuer, e.Rights)
			r.claims[id] = append(r.claims[id], claim{e, issuer, level})
		}
	}
	for _, o := range reg.Outs {
		id := must(o.Peer)
		if at, ok := r.bans[id]; o.Tenure == 0 && (!ok || level < at) {
			r.bans[id] = level
		}
		key := stay{id, o.Tenure}
		if at, ok := r.outs[key]; o.Tenure != 0 && (!ok || level < at) {
			r.outs[key] = level
		}
	}
}

// grantable returns those of some rights that an inviter may grant: the ones that it has itself. Otherwise it could get
// them all, through a member that it admits.
func (r *roster) grantable(issuer peer.ID, rights []Right) []Right {
	if issuer == r.reign().holder {
		return rights // including rights that only later versions know
	}
	return common(rights, r.inviters[issuer].Rights)
}

// common returns the rights that are in both lists.
func common(rights, other []Right) []Right {
	return slices.DeleteFunc(slices.Clone(rights), func(right Right) bool { return !slices.Contains(other, right) })
}

// findInviters finds the inviters level by level, from the founder outwards, and hears their registers. All registers
// of one level are heard before the next level is judged.
func (r *roster) findInviters(counted map[stay]bool) {
	entries, size := 0, 0
	for level := 0; ; level++ {
		var found []claim
		for id, said := range r.claims {
			if _, done := r.inviters[id]; done {
				continue
			}
			if c, ok := r.nearest(said, level); ok && c.has(Inviter) {
				found = append(found, c)
			}
		}
		slices.SortFunc(found, func(a, b claim) int { return cmp.Compare(a.Peer, b.Peer) })
		found = found[:min(len(found), maxInviters-len(r.inviters))]
		if len(found) == 0 {
			return
		}
		for _, c := range found {
			r.inviters[must(c.Peer)] = member{c.entry, c.level + 1}
		}
		for _, c := range found {
			reg, ok := r.registers[c.stay()]
			n := len(reg.Entries) + len(reg.Outs)
			if ok && entries+n <= maxEntries && size+len(reg.raw.Body) <= maxRegisters-maxRegister {
				entries, size = entries+n, size+len(reg.raw.Body)
				counted[c.stay()] = true
				r.hear(reg, must(c.Peer), level+1)
			}
		}
	}
}

// nearest is the first of the claims about a peer, which are ordered by level, that no issuer up to a level has ended.
func (r *roster) nearest(said []claim, level int) (claim, bool) {
	for _, c := range said {
		if c.level <= level && !r.ended(c) {
			return c, true
		}
	}
	return claim{}, false
}

// admittedBy returns the members whose membership rests on the claim of one inviter: it is the nearest to the founder
// of those in force.
func (r *roster) admittedBy(issuer peer.ID) (out []peer.ID) {
	for id := range r.members {
		if c, ok := r.nearest(r.claims[id], maxInviters); ok && c.issuer == issuer && id != issuer && id != r.reign().holder {
			out = append(out, id)
		}
	}
	return out
}

// ended reports whether another issuer expels the peer that c admits.
func (r *roster) ended(c claim) bool {
	if by, banned := r.bans[must(c.Peer)]; banned && by < c.level {
		return true
	}
	by, out := r.outs[c.stay()]
	return out && (by <= c.level || !c.has(Inviter))
}

// findMembers computes the members, after all inviters' registers were heard.
func (r *roster) findMembers(holder member) {
	r.members = map[peer.ID]member{must(holder.Peer): holder}
	var all []member
	for id, said := range r.claims {
		m, inviter := r.inviters[id]
		if !inviter {
			c, ok := r.nearest(said, maxInviters)
			if !ok {
				continue
			}
			m = member{c.entry, c.level + 1}
			m.Rights = slices.DeleteFunc(slices.Clone(m.Rights), func(right Right) bool { return right == Inviter })
		}
		if _, gone := r.departures[stay{id, m.Tenure}]; !gone {
			all = append(all, m)
		}
	}
	slices.SortFunc(all, func(a, b member) int {
		return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.Peer, b.Peer))
	})
	for _, m := range all[:min(len(all), MaxPeers-1)] {
		r.members[must(m.Peer)] = m
	}
}

// claimed reports whether any issuer grants a stay.
func (r *roster) claimed(s stay) bool {
	return slices.ContainsFunc(r.claims[s.peer], func(c claim) bool { return c.Tenure == s.tenure })
}

func (r *roster) isIn(id peer.ID) bool { _, ok := r.members[id]; return ok }

func (r *roster) has(id peer.ID, right Right) bool {
	m, ok := r.members[id]
	return ok && m.has(right)
}

// all lists the records in a fixed order.
func (r *roster) all() exchange {
	var x exchange
	for _, s := range r.chain {
		x.Successions = append(x.Successions, s.raw)
	}
	for _, h := range r.registers {
		x.Registers = append(x.Registers, h.raw)
	}
	for _, s := range r.departures {
		x.Departures = append(x.Departures, s)
	}
	for _, p := range r.addresses {
		x.Addresses = append(x.Addresses, p.raw)
	}
	byBody := func(a, b signed) int { return cmp.Or(bytes.Compare(a.Body, b.Body), bytes.Compare(a.Sig, b.Sig)) }
	slices.SortFunc(x.Registers, byBody)
	slices.SortFunc(x.Departures, byBody)
	slices.SortFunc(x.Addresses, byBody)
	return x
}

func (r *roster) hash() [sha256.Size]byte {
	h := sha256.New()
	x := r.all()
	for _, s := range slices.Concat(x.Successions, x.Registers, x.Departures, x.Addresses) {
		one := s.hash()
		h.Write(one[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
