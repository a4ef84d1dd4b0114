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

// A member that is put out while it is up is sent the roster that says so. One that was away then asks the others for a
// link when it is back, and is told: their answer carries the signed registers, so that it believes the inviter that
// put it out, and not whom it asked.

// How often members of before are told so, and how many of them are remembered.
const (
	tellRate  = 4 // a second, to all together
	tellBurst = 16
	maxGone   = 1024
)

// Expulsion is how this node's membership ended.
type Expulsion struct {
	By      PeerID // whose word ended it, empty if that is not known
	ByName  string
	Revoked bool      // put out; else forgotten, as members are that are not seen for long
	Since   time.Time // when this node heard of it
}

// savedOut is an Expulsion in the membership file.
type savedOut struct {
	By      string
	Name    string
	Revoked bool
	Unix    int64
}

// Expelled tells how this node's membership ended, if it is a member no more.
func (n *Node) Expelled() (Expulsion, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.expelled
	if _, in := n.roster.members[n.id]; in || o == nil {
		return Expulsion{}, false
	}
	return Expulsion{By: o.By, ByName: o.Name, Revoked: o.Revoked, Since: time.Unix(o.Unix, 0)}, true
}

// noteExpulsion takes note of whether this node is a member still. before is the roster of before the last change, nil
// if it is not known. Under n.mu.
func (n *Node) noteExpulsion(before *roster) {
	if _, in := n.roster.members[n.id]; in {
		n.expelled = nil
		return
	}
	if n.expelled != nil {
		return
	}
	by, revoked := n.roster.putOutBy(n.id)
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

// putOutBy finds whose word keeps a peer out: a ban, or else the end of one of its stays. Forgetting somebody leaves
// no trace where it was the forgetting node that had admitted it.
func (r *roster) putOutBy(id peer.ID) (by peer.ID, banned bool) {
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

// noteGone remembers who was a member in the roster of before, and is none now. Under n.mu.
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

// mayTell reports whether there may be somebody to tell that it is no member any more. Under n.mu.
func (n *Node) mayTell() bool {
	_, in := n.roster.members[n.id]
	return in && (len(n.gone) > 0 || len(n.roster.bans) > 0)
}

// wasMember reports whether a peer may ask here why it is no member any more. Under n.mu.
func (n *Node) wasMember(id peer.ID) bool {
	_, banned := n.roster.bans[id]
	_, gone := n.gone[id]
	return n.mayTell() && (banned || gone)
}

// mayCome reports whether a peer may connect at all: those that may for good, and for a moment those that are to be
// told that they may not.
func (n *Node) mayCome(id peer.ID) bool {
	if n.mayConnect(id) {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.fellow(id) && n.wasMember(id)
}

// turnAway answers a peer that is no member and asks for a link: with proof, if it was one.
func (n *Node) turnAway(s network.Stream) {
	id := s.Conn().RemotePeer()
	n.mu.Lock()
	told := !n.fellow(id) && n.wasMember(id)
	w := welcome{Refusal: refusedGone, Hello: hello{Speaks: n.cfg.speaks(), Cluster: n.roster.cluster.String()}}
	all := n.roster.all()
	n.mu.Unlock()
	var h hello
	if !told || !n.tells.Allow() || readValue(s, maxHelloFrame, &h) != nil || h.Cluster != w.Hello.Cluster {
		_ = s.Reset()
		return
	}
	// Not where the others are: that is no business of its any more.
	proof := exchange{Successions: all.Successions, Registers: all.Registers}
	if writeValue(s, &w) != nil || writeValue(s, &proof) != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
	n.log.Info("told a peer that it is no member any more", "peer", id.String())
}

// takeProof reads what a member shows for its word that this node is no member any more. It counts as what other
// members tell: by its signatures.
func (n *Node) takeProof(s network.Stream, r *bufio.Reader) {
	var x exchange
	if err := readValue(r, maxRoster, &x); err != nil {
		n.log.Info("a member says that this node is none any more, and shows nothing for it",
			"peer", s.Conn().RemotePeer().String(), "err", err)
		return
	}
	n.mergeFrom(s.Conn().RemotePeer(), exchange{Successions: slices.Clone(x.Successions), Registers: x.Registers})
}
