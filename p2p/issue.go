package p2p

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// newTenure makes the random number that identifies a stay; it must never be used twice.
func newTenure() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])&^reignBit | 1
}

// draft is the next version of self's register: without the members that others have expelled or that have left, and
// with those whom they had admitted. self must be an inviter.
func (r *roster) draft(self peer.ID) (register, error) {
	reg, ok := r.own(self)
	if !ok {
		return register{}, fmt.Errorf("%w: it is no inviter", ErrNoRight)
	}
	for _, e := range slices.Clone(reg.Entries) {
		c := claim{e, self, r.inviters[self].level}
		if _, left := r.departures[c.stay()]; left || r.ended(c) || must(e.Peer) == self || must(e.Peer) == r.reign().holder {
			r.drop(&reg, must(e.Peer))
		}
	}
	reg.Outs = slices.DeleteFunc(reg.Outs, func(o out) bool {
		return o.Tenure != 0 && !r.claimed(stay{must(o.Peer), o.Tenure})
	})
	bans := 0
	for _, o := range slices.Backward(reg.Outs) {
		if o.Tenure == 0 {
			bans++
		}
	}
	reg.Outs = slices.DeleteFunc(reg.Outs, func(o out) bool {
		if o.Tenure == 0 {
			bans--
		}
		return o.Tenure == 0 && bans >= maxBans
	})
	return reg, nil
}

// own is self's current register, or a new one, with the number of its next version; false if self is no inviter.
func (r *roster) own(self peer.ID) (register, bool) {
	reg := register{Cluster: r.cluster.String(), Issuer: self.String()}
	reign := r.reign()
	if reign.holder != self {
		m, ok := r.members[self]
		if !ok || !m.has(Inviter) || m.Tenure == 0 {
			return reg, false
		}
		reg.Under = m.Tenure
	} else {
		reg.Under = reign.under()
	}
	if h, ok := r.registers[stay{self, reg.Under}]; ok {
		reg = h.register
		reg.Entries, reg.Outs = slices.Clone(reg.Entries), slices.Clone(reg.Outs)
	} else if reign.holder == self {
		r.inherit(&reg, !reign.recovered)
	}
	reg.Version++
	return reg, true
}

// inherit fills the first register of a new holder of the founder's role with those whom the previous holder admitted,
// and with that holder too if it gave the role away itself.
func (r *roster) inherit(reg *register, lastStays bool) {
	for id, st := range r.legacy {
		if reg.Name == "" && id == r.reign().holder {
			reg.Name, reg.Founded = st.Name, st.Issued
		} else if id != r.reign().holder {
			reg.Entries = append(reg.Entries, entry{
				Peer:   id.String(),
				Name:   st.Name,
				Rights: st.Rights,
				Tenure: newTenure(),
				Joined: st.Issued,
			})
		}
	}
	slices.SortFunc(reg.Entries, func(a, b entry) int { return slices.Compare([]byte(a.Peer), []byte(b.Peer)) })
	last, ok := r.head()
	if !ok {
		return
	}
	reg.Founded = last.Founded
	for _, e := range last.Entries {
		if e.Peer == reg.Issuer {
			reg.Name = e.Name
			continue
		}
		reg.Entries = append(reg.Entries, e)
	}
	for _, e := range last.Entries {
		if e.Peer == reg.Issuer {
			r.adopt(reg, must(e.Peer), e.Tenure)
		}
	}
	reg.Outs = slices.Clone(last.Outs)
	if lastStays && last.Issuer != reg.Issuer {
		reg.Entries = append(reg.Entries, entry{
			Peer:   last.Issuer,
			Name:   last.Name,
			Rights: AllRights(),
			Tenure: newTenure(),
			Joined: last.Founded,
		})
	}
}

// drop removes id from a register. Those whom it had admitted stay, on this register's word.
func (r *roster) drop(reg *register, id peer.ID) {
	i := slices.IndexFunc(reg.Entries, func(e entry) bool { return must(e.Peer) == id })
	if i < 0 {
		return
	}
	e := reg.Entries[i]
	reg.Entries = slices.Delete(reg.Entries, i, i+1)
	r.adopt(reg, id, e.Tenure)
}

// adopt adds those whom another inviter had admitted in one of its stays. They keep their tenures, so that the
// registers of the inviters among them go on to count.
func (r *roster) adopt(reg *register, from peer.ID, tenure uint64) {
	h, ok := r.registers[stay{from, tenure}]
	if !ok {
		return
	}
	for _, e := range h.Entries {
		id := must(e.Peer)
		if m, in := r.members[id]; !in || m.Tenure != e.Tenure || e.Peer == reg.Issuer || id == from ||
			len(reg.Entries) >= MaxPeers {
			continue
		}
		if !slices.ContainsFunc(reg.Entries, func(o entry) bool { return o.Peer == e.Peer }) {
			e.Rights = common(e.Rights, r.members[id].Rights) // without rights that the other inviter could not grant
			reg.Entries = append(reg.Entries, e)
		}
	}
}

// admit adds a peer to a register, in place of what the register said about it.
func (reg *register) admit(e entry) error {
	reg.Entries = slices.DeleteFunc(reg.Entries, func(o entry) bool { return o.Peer == e.Peer })
	reg.Outs = slices.DeleteFunc(reg.Outs, func(o out) bool { return o.Peer == e.Peer && o.Tenure == 0 })
	if len(reg.Entries) >= MaxPeers {
		return fmt.Errorf("%d members: %w", len(reg.Entries), ErrTooLarge)
	}
	reg.Entries = append(reg.Entries, e)
	return nil
}

// mayRevoke reports why issuer cannot expel id, nil if it can: the authority of issuer must not depend on id.
func (r *roster) mayRevoke(issuer, id peer.ID) error {
	switch {
	case id == r.reign().holder:
		return ErrFounderRevoked
	case !r.has(issuer, Inviter):
		return fmt.Errorf("%w: it is no inviter", ErrNoRight)
	case r.has(id, Inviter) && r.members[id].level <= r.members[issuer].level:
		return fmt.Errorf("%w: %s is an inviter as near to the founder as this node; ask the node that admitted it, or the "+
			"founder", ErrNoRight, id)
	}
	return nil
}

// revoke removes id from a register and ends the stays that others grant it. With ban, nobody further from the founder
// can admit it again.
func (r *roster) revoke(reg *register, id peer.ID, ban bool) {
	r.drop(reg, id)
	for _, c := range r.claims[id] {
		if c.issuer.String() == reg.Issuer {
			continue
		}
		r.adopt(reg, id, c.Tenure)
		if o := (out{Peer: c.Peer, Tenure: c.Tenure}); !slices.Contains(reg.Outs, o) {
			reg.Outs = append(reg.Outs, o)
		}
	}
	if o := (out{Peer: id.String()}); ban && !slices.Contains(reg.Outs, o) {
		reg.Outs = append(reg.Outs, o)
	}
}
