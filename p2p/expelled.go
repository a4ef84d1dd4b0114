package p2p

import (
	"bufio"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A member that is expelled while it is connected is sent the roster that says so. One that was away asks the others
// for a link when it is back, and they answer with the signed registers. So it need not believe the peer that it asked,
// but only the inviter that expelled it.

// These bound how often former members are answered, and how many of them are remembered.
const (
	tellRate  = 4 // answers a second, to all former members together
	tellBurst = 16
	maxGone   = 1024
)

// Expulsion is how this node's membership ended.
type Expulsion struct {
	By      PeerID // inviter that ended it, empty if unknown
	ByName  string
	Revoked bool      // revoked; else forgotten, as members are that have not been seen for long
	Since   time.Time // when this node heard of it
}

// savedOut is an Expulsion in the membership file.
type savedOut struct {
	By      string
	Name    string
	Revoked bool
	Unix    int64
}

// Expelled returns how this node's membership ended; false if it is a member.
func (n *Node) Expelled() (Expulsion, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.expelled
	if _, in := n.roster.members[n.id]; in || o == nil {
		return Expulsion{}, false
	}
	return Expulsion{By: o.By, ByName: o.Name, Revoked: o.Revoked, Since: time.Unix(o.Unix, 0)}, true
}

// noteExpulsion updates n.expelled after a change of the roster. before is the roster before that change, nil if
// unknown. n.mu is held.
func (n *Node) noteExpulsion(before *roster) {
	if _, in := n.roster.members[n.id]; in {
		n.expelled = nil
		return
	}
	if n.expelled != nil {
		return
	}
	by, revoked := n.roster.expelledBy(n.id)
	if by == "" && before != nil {
		by = before.lastIssuer(n.id)
	}
	o := &savedOut{Revoked: revoked, Unix: time.Now().Unix()}
	if by != "" {
		o.By, o.Name = by.String(), cmp.Or(n.infos[by].Name, n.roster.members[by].Name)
	}
	n.expelled = o
	n.log.Warn("this node is no member of its cluster any more", "by", o.Name, "revoked", revoked)
}

// expelledBy finds the issuer whose record keeps a peer out: of a ban, or else of the end of one of its stays. No
// record is left if a peer was forgotten by the node that had admitted it; then by is empty.
func (r *roster) expelledBy(id peer.ID) (by peer.ID, banned bool) {
	level := 0
	for _, h := range r.registers {
		for _, o := range h.Outs {
			issuer := must(h.Issuer)
			at := r.inviters[issuer].level
			ban := o.Tenure == 0
			switch {
			case must(o.Peer) != id, banned && !ban:
			case by == "", ban && !banned, at < level, at == level && issuer < by:
				by, banned, level = issuer, ban, at
			}
		}
	}
	return by, banned
}

// noteGone remembers who was a member in the roster before a change and is not one now. n.mu is held.
func (n *Node) noteGone(before *roster) {
	maps.DeleteFunc(n.gone, func(id peer.ID, _ time.Time) bool { return n.roster.isIn(id) })
	for id := range before.members {
		if !n.roster.isIn(id) && id != n.id {
			n.gone[id] = time.Now()
		}
	}
	if len(n.gone) <= maxGone {
		return
	}
	byAge := slices.SortedFunc(maps.Keys(n.gone), func(a, b peer.ID) int { return n.gone[a].Compare(n.gone[b]) })
	for _, id := range byAge[:len(byAge)-maxGone] {
		delete(n.gone, id)
	}
}

// hasExpelled reports whether there may be former members to answer. n.mu is held.
func (n *Node) hasExpelled() bool {
	_, in := n.roster.members[n.id]
	return in && (len(n.gone) > 0 || len(n.roster.bans) > 0)
}

// wasMember reports whether a peer is a former member, which may ask here why it is not a member any more. n.mu is
// held.
func (n *Node) wasMember(id peer.ID) bool {
	_, banned := n.roster.bans[id]
	_, gone := n.gone[id]
	return n.hasExpelled() && (banned || gone)
}

// mayComeIn reports whether a peer's incoming connection is accepted: it is a member or an expected stranger, or a
// former member that gets a short answer.
func (n *Node) mayComeIn(id peer.ID) bool {
	if n.mayConnect(id) {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.bothMembers(id) && n.wasMember(id)
}

// refuseExpelled answers a peer that asks for a link and is not a member: with the proof if it is a former member.
func (n *Node) refuseExpelled(s network.Stream) {
	id := s.Conn().RemotePeer()
	n.mu.Lock()
	told := !n.bothMembers(id) && n.wasMember(id)
	w := welcome{Refusal: refusedGone, Hello: hello{Speaks: n.cfg.speaks(), Cluster: n.roster.cluster.String()}}
	all := n.roster.all()
	n.mu.Unlock()
	var h hello
	if !told || !n.refusals.Allow() || readValue(s, maxHelloFrame, &h) != nil || h.Cluster != w.Hello.Cluster {
		_ = s.Reset()
		return
	}
	// The proof has no addresses: where the members are is no longer the peer's business.
	proof := exchange{Successions: all.Successions, Registers: all.Registers}
	if writeValue(s, &w) != nil || writeValue(s, &proof) != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
	n.log.Info("told a peer that it is no member any more", "peer", id.String())
}

// takeProof reads what a member sends as proof that this node is not a member any more. It is merged like any other
// member's roster, so its signatures decide.
func (n *Node) takeProof(s network.Stream, r *bufio.Reader) {
	var x exchange
	if err := readValue(r, maxRoster, &x); err != nil {
		n.log.Info("a member says that this node is not a member any more, but sends no proof",
			"peer", s.Conn().RemotePeer().String(), "err", err)
		return
	}
	n.mergeFrom(s.Conn().RemotePeer(), exchange{Successions: slices.Clone(x.Successions), Registers: x.Registers})
}
