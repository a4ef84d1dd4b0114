package p2p

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// keeper keeps the link to one member up, by a goroutine that dials whenever there is none.
type keeper struct {
	cancel context.CancelFunc
	kick   chan struct{} // capacity 1: the roster has changed, so dial without waiting
}

// keep dials id for as long as it is a member.
func (n *Node) keep(ctx context.Context, id peer.ID, kick <-chan struct{}) {
	var pause time.Duration
	for ctx.Err() == nil {
		if lived, up := n.awaitDown(ctx, id); up {
			if lived > n.cfg.Silence {
				pause = 0
			} else {
				pause = n.longer(pause) // links that break at once are dialled less and less often
			}
			continue
		}
		if !n.awaitDial(ctx, id, pause, kick) {
			pause = 0
			continue
		}
		err := n.open(ctx, id)
		if err == nil {
			continue
		}
		pause = n.longer(pause)
		n.noteDialError(id, err)
	}
}

// awaitDown waits for the end of the link to id, if there is one.
func (n *Node) awaitDown(ctx context.Context, id peer.ID) (lived time.Duration, up bool) {
	n.mu.Lock()
	l := n.links[id]
	n.mu.Unlock()
	if l == nil {
		return 0, false
	}
	begin := time.Now()
	select {
	case <-l.done:
	case <-ctx.Done():
	}
	return time.Since(begin), true
}

// awaitDial waits for pause, with jitter so that the nodes of a cluster do not dial in step. It returns false if it was
// kicked or ctx ended. Before the first attempt the node with the larger id waits for the other to dial, so that not
// both do.
func (n *Node) awaitDial(ctx context.Context, id peer.ID, pause time.Duration, kick <-chan struct{}) bool {
	if pause == 0 && n.id > id && n.host.Network().Connectedness(id) != network.Connected {
		pause = 2 * n.cfg.BackoffMin
	}
	if pause == 0 {
		return true
	}
	t := time.NewTimer(pause/2 + rand.N(pause))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-kick:
		return pause == 0
	case <-ctx.Done():
		return false
	}
}

func (n *Node) longer(pause time.Duration) time.Duration {
	return min(max(2*pause, n.cfg.BackoffMin), n.cfg.BackoffMax)
}

// noteDialError stores why a member could not be reached.
func (n *Node) noteDialError(id peer.ID, err error) {
	var r *refusedError
	if !errors.As(err, &r) {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, errShunned) {
			n.log.Debug("could not reach a member", "peer", id.String(), "err", err)
			n.mu.Lock()
			if !n.shuns(id) { // else that is the reason, which a dial that was under way does not know
				n.problems[id] = describeDial(err)
			}
			delete(n.incompatible, id)
			n.mu.Unlock()
		}
		return
	}
	switch r.why {
	case refusedCrossing, refusedLinked: // there is, or soon will be, a link by the peer's dialling
	case refusedShunned:
		n.refused(id, "the peer shuns this node: it saw it break the rules; the log there says which")
	case refusedProtocol:
		n.noteIncompatible(id, r.peers.Speaks, r.peers.Info.clean())
		n.refused(id, n.protocolError(r.peers.Speaks, r.peers.Info.clean().Name, r.peers.Info.clean().Version).Error())
	case refusedGone, refusedCluster:
		n.refused(id, "the peer does not count this node among its cluster's members")
	default:
		n.refused(id, err.Error())
	}
}

// refused emits, once for each reason, that a member and this node cannot talk.
func (n *Node) refused(id peer.ID, why string) {
	n.mu.Lock()
	told := n.problems[id] == why
	n.problems[id] = why
	if s, ok := n.seen[id]; ok {
		s.left = false // it answers, so it is running
		n.seen[id] = s
	}
	n.mu.Unlock()
	if !told {
		n.log.Warn("peer and this node cannot talk", "peer", id.String(), "reason", why)
		n.emit(PeerRefused{ID: id.String(), Reason: why})
	}
}

// reconcile starts keepers for new members, and ends the keepers and links of those that are not members any more.
func (n *Node) reconcile() {
	n.mu.Lock()
	var ended []*link
	farewell, _ := n.rosterFrame()
	for id, l := range n.links {
		if !n.bothMembers(id) {
			_ = l.push(frameRoster, farewell)
			l.end("membership was revoked")
			ended = append(ended, l)
		}
	}
	for id, k := range n.keepers {
		if !n.bothMembers(id) {
			k.cancel()
			delete(n.keepers, id)
		} else if n.links[id] == nil {
			select {
			case k.kick <- struct{}{}:
			default:
			}
		}
	}
	started := map[peer.ID]context.Context{}
	for id := range n.roster.members {
		if id == n.id || n.keepers[id] != nil || !n.bothMembers(id) {
			continue
		}
		ctx, cancel := context.WithCancel(n.ctx)
		n.keepers[id] = &keeper{cancel: cancel, kick: make(chan struct{}, 1)}
		started[id] = ctx
	}
	kicks := map[peer.ID]<-chan struct{}{}
	for id := range started {
		kicks[id] = n.keepers[id].kick
	}
	n.mu.Unlock()
	for id, ctx := range started {
		n.spawn(func() { n.keep(ctx, id, kicks[id]) })
	}
	n.closeExpelled(ended)
}

// closeExpelled closes the connections to peers that are not members any more, after their links have ended.
func (n *Node) closeExpelled(ended []*link) {
	for _, l := range ended {
		n.spawn(func() {
			select {
			case <-l.done:
			case <-n.ctx.Done():
			}
			if !n.isMember(l.id) {
				_ = n.host.Network().ClosePeer(l.id)
			}
		})
	}
	linked := map[peer.ID]bool{}
	for _, l := range ended {
		linked[l.id] = true
	}
	for _, id := range n.host.Network().Peers() {
		if !linked[id] && !n.mayStay(id) {
			_ = n.host.Network().ClosePeer(id)
		}
	}
}

// mayStay reports whether a connected peer is a member, or a stranger that may be here.
func (n *Node) mayStay(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bothMembers(id) || id == n.joining || n.doorOpen()
}
