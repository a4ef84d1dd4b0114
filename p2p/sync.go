package p2p

import (
	"context"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/dtpnode/dtpnode/wire"
)

// serveRoster sends the whole roster.
func (n *Node) serveRoster(s network.Stream) {
	defer s.Close()
	if s.SetDeadline(time.Now().Add(n.cfg.StallTimeout)) != nil || !n.mayServe(s.Conn().RemotePeer()) {
		_ = s.Reset()
		return
	}
	n.mu.Lock()
	x := n.roster.all()
	n.mu.Unlock()
	if err := writeValue(s, &x); err != nil {
		_ = s.Reset()
	}
}

// rosterFrame encodes the whole roster as the payload of a frameRoster. n.mu is held.
func (n *Node) rosterFrame() ([]byte, error) {
	x := n.roster.all()
	return wire.Marshal(&x)
}

// reconcileRosters sends the hash of this node's roster to linked peers that have another, and pulls theirs. Both sides
// pull from each other, so both end with the union.
func (n *Node) reconcileRosters() {
	n.mu.Lock()
	var pull []*link
	for _, l := range n.links {
		if n.differs(l) {
			pull = append(pull, l)
		}
	}
	n.mu.Unlock()
	for _, l := range pull {
		n.spawn(func() { n.pull(l) })
	}
}

// differs sends the hash of this node's roster to l's peer if that has another roster, and reports whether the peer's
// is to be pulled. n.mu is held.
func (n *Node) differs(l *link) (pull bool) {
	sum := n.roster.sum
	if l.digest == sum {
		return false
	}
	if l.sentDigest != sum && l.push(frameDigest, sum[:]) == nil {
		l.sentDigest = sum
	}
	pull = !l.pulling
	l.pulling = true
	return pull
}

// recvDigest handles the hash of the roster of l's peer.
func (n *Node) recvDigest(l *link, digest []byte) {
	n.mu.Lock()
	copy(l.digest[:], digest)
	pull := n.links[l.id] == l && n.differs(l)
	n.mu.Unlock()
	if pull {
		n.spawn(func() { n.pull(l) })
	}
}

// pull merges the roster of l's peer, and again if the peer has sent another hash meanwhile. A change reaches a node
// from all peers at once: most pulls wait for their turn, and find by then that the roster is known. A pull that fails
// is repeated while the link is up, since the peer sends each hash only once.
func (n *Node) pull(l *link) {
	var pause time.Duration
	for again := true; again; {
		if !n.mayPull(l) {
			return
		}
		select {
		case n.pulls <- struct{}{}:
		case <-n.ctx.Done():
			return
		}
		var err error
		again, err = n.pullOnce(l)
		<-n.pulls
		if err == nil {
			pause = 0
			continue
		}
		n.log.Info("could not pull the roster", "peer", l.id.String(), "err", err)
		pause = n.longer(pause)
		select {
		case <-time.After(pause):
		case <-l.done:
			return
		case <-n.ctx.Done():
			return
		}
	}
}

// pullOnce reports whether to pull again, because the peer has sent another hash meanwhile or the pull failed.
func (n *Node) pullOnce(l *link) (again bool, err error) {
	n.mu.Lock()
	want := l.digest
	known := want == n.roster.sum
	n.mu.Unlock()
	if !known {
		x, err := n.fetchRoster(l)
		if err != nil {
			return true, err
		}
		n.mergeFrom(l.id, x)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	l.pulling = l.digest != want
	return l.pulling, nil
}

func (n *Node) fetchRoster(l *link) (x exchange, err error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.cfg.StallTimeout)
	defer cancel()
	s, err := n.host.NewStream(network.WithNoDial(ctx, "roster"), l.id, versioned(l.protocol, "roster"))
	if err != nil {
		return x, err
	}
	defer s.Reset() //nolint:errcheck // all has been read, or nothing is wanted
	if err := s.SetDeadline(time.Now().Add(n.cfg.StallTimeout)); err != nil {
		return x, err
	}
	err = readValue(s, maxRoster, &x)
	return x, err
}

// mergeFrom merges what is new in x, which id has sent.
func (n *Node) mergeFrom(id peer.ID, x exchange) {
	n.mu.Lock()
	before := *n.roster
	changed, again := false, false
	var flapping []peer.ID
	x, err := n.roster.fresh(x)
	if err == nil {
		x, again, flapping = n.throttle(x, time.Now())
		changed, err = n.roster.add(x)
	}
	if err == nil && changed {
		n.noteExpulsion(&before)
		n.noteGone(&before)
		err = n.refreshAddresses()
		if err == nil {
			err = n.tidy()
		}
		if err == nil {
			err = n.save()
		}
	}
	n.mu.Unlock()
	if err != nil {
		n.log.Warn("could not take over a roster", "peer", id.String(), "err", err)
	}
	if changed {
		n.membersChanged()
	}
	if again {
		n.deferChanges()
	}
	for _, id := range flapping {
		n.emit(Flapping{ID: id.String()})
	}
}

// membersChanged is called after every change of the roster, without holding n.mu.
func (n *Node) membersChanged() {
	n.reconcile()
	n.reconcileRosters()
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// announceChanges emits the events of roster changes. It is a goroutine of its own, so that a caller that also consumes
// the events never waits for itself.
func (n *Node) announceChanges() {
	for {
		select {
		case <-n.dirty:
			for _, id := range n.takeGone() {
				n.emit(MemberGone{ID: id.String()})
			}
			n.emit(MembersChanged{})
		case <-n.ctx.Done():
			return
		}
	}
}

// takeGone returns the peers that were members at its last call and are not now, and forgets what n holds about them.
func (n *Node) takeGone() (gone []peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for id := range n.known {
		if _, in := n.roster.members[id]; !in {
			gone = append(gone, id)
			delete(n.known, id)
			delete(n.seen, id)
			delete(n.infos, id)
			delete(n.spoken, id)
			delete(n.incompatible, id)
			delete(n.backlogs, id)
			delete(n.problems, id)
			delete(n.shunned, id)
			delete(n.pace.churns, id)
			delete(n.pace.serves, id)
		}
	}
	for id := range n.roster.members {
		n.known[id] = true
	}
	return gone
}

func (n *Node) addressSeq() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.roster.addresses[n.id].seq
}

// signAddresses makes this node's address record in a cluster.
func (n *Node) signAddresses(cluster peer.ID, seq uint64) (signed, error) {
	return sign(n.key, forAddresses, &addresses{
		Cluster: cluster.String(),
		Peer:    n.id.String(),
		Seq:     seq,
		Addrs:   encodeAddrs(n.addrs()),
	})
}

// refreshAddresses updates this node's own address record if its addresses have changed, now or, if that was too often,
// in a moment. n.mu is held.
func (n *Node) refreshAddresses() error {
	if _, ok := n.roster.members[n.id]; !ok {
		return nil
	}
	now := encodeAddrs(n.addrs())
	old, ok := n.roster.addresses[n.id]
	if ok && slices.EqualFunc(now, encodeAddrs(old.addrs), slices.Equal[[]byte]) {
		return nil
	}
	if !n.pace.own.Allow() {
		n.deferChanges()
		return nil
	}
	own, err := n.signAddresses(n.roster.cluster, old.seq+1)
	if err != nil {
		return err
	}
	_, err = n.roster.merge(exchange{Addresses: []signed{own}})
	return err
}
