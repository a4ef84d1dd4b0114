package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// Each member signs its own addresses, as often as it likes, and each new record makes all other members pull rosters,
// save theirs and announce it. So the changes of one member's addresses are rate-limited, as routers damp flapping
// routes: the last change replaces those that had to wait, and a roster that brings nothing but such changes is merged
// about once a second. Pulls of rosters are rate-limited too, whatever they bring. What had to wait is pulled again a
// moment later.
const (
	addressEvery = 3 * time.Second // interval of one member's address changes
	addressBurst = 5
	batchEvery   = time.Second // interval of rosters that bring nothing but address changes
	batchBurst   = 5

	// An honest node changes its own addresses less often than that, also where two nodes run with one key, from a copy of
	// the state folder, and each replaces the other's addresses.
	ownEvery = 10 * time.Second
	ownBurst = 3

	pullEvery  = time.Second // interval of pulls over one link
	pullBurst  = 8
	pullsEvery = time.Second / 8 // interval of pulls over all links: what one peer has, others have too
	pullsBurst = 64

	serveEvery = time.Second / 2 // interval of rosters served to one member, which may pull again after a restart
	serveBurst = 4 * pullBurst

	deferredPause = time.Second      // pause before what had to wait is looked at again
	churnFor      = 20 * time.Second // how long a member may exceed the rate before Flapping reports it
)

// churn limits the rate at which one member's address changes are taken.
type churn struct {
	room *rate.Limiter
	last uint64    // Seq of the last record that had to wait
	over time.Time // since when there have been too many changes; zero if there are not
}

// takes reports whether a change is taken now, and whether it is time to report that the member still makes too many.
func (c *churn) takes(now time.Time, seq uint64) (ok, tell bool) {
	if c.room.TokensAt(now) >= addressBurst-1 {
		c.over = time.Time{}
	}
	if c.room.AllowN(now, 1) {
		return true, false
	}
	if seq <= c.last {
		return false, false // a record that already had to wait, received again
	}
	if c.last = seq; c.over.IsZero() {
		c.over = now
	}
	if now.Sub(c.over) < churnFor {
		return false, false
	}
	c.over = now
	return false, true
}

// pacing holds the rate limits on changes of the roster. Node.mu guards it, except for deferred.
type pacing struct {
	churns   map[peer.ID]*churn
	serves   map[peer.ID]*rate.Limiter
	batches  *rate.Limiter
	own      *rate.Limiter
	pulls    *rate.Limiter
	deferred chan struct{} // capacity 1: something had to wait
}

func newPacing() pacing {
	return pacing{churns: map[peer.ID]*churn{}, serves: map[peer.ID]*rate.Limiter{}, deferred: make(chan struct{}, 1),
		batches: rate.NewLimiter(rate.Every(batchEvery), batchBurst), own: rate.NewLimiter(rate.Every(ownEvery), ownBurst),
		pulls: rate.NewLimiter(rate.Every(pullsEvery), pullsBurst)}
}

func newPullPace() *rate.Limiter { return rate.NewLimiter(rate.Every(pullEvery), pullBurst) }

func (p *pacing) churnOf(id peer.ID) *churn {
	c := p.churns[id]
	if c == nil {
		c = &churn{room: rate.NewLimiter(rate.Every(addressEvery), addressBurst)}
		p.churns[id] = c
	}
	return c
}

// mayServe reports whether a member may be sent the roster now. A member that pulls too often tries again later.
func (n *Node) mayServe(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pace.serves[id] == nil {
		n.pace.serves[id] = rate.NewLimiter(rate.Every(serveEvery), serveBurst)
	}
	return n.pace.serves[id].Allow()
}

// throttle removes from x the address changes that exceed their rates. It reports whether it removed any, so that x is
// to be pulled again, and which members change their addresses too often for too long. n.mu is held.
func (n *Node) throttle(x exchange, now time.Time) (out exchange, again bool, flapping []peer.ID) {
	alone := len(x.Successions)+len(x.Registers)+len(x.Departures) == 0
	type change struct {
		id  peer.ID
		seq uint64
		raw signed
	}
	var changes []change
	out = x
	out.Addresses = nil
	for _, s := range x.Addresses {
		a, _, err := readAddresses(n.roster.cluster, s)
		id := must(a.Peer)
		switch old, held := n.roster.addresses[id]; {
		case err != nil:
			return x, false, nil // the merge will refuse x as a whole
		case held && !old.before(a.Seq, s), alone && !n.roster.isIn(id): // changes nothing: not verified
		case !held:
			out.Addresses = append(out.Addresses, s)
		case verify(id, forAddresses, s.Body, s.Sig) != nil: // unverified, a forged record could use up another member's rate
			return x, false, nil
		default:
			changes = append(changes, change{id, a.Seq, s})
		}
	}
	if len(changes) > 0 && alone && !n.pace.batches.AllowN(now, 1) {
		return out, true, nil
	}
	for _, c := range changes {
		ok, tell := n.pace.churnOf(c.id).takes(now, c.seq)
		if ok {
			out.Addresses = append(out.Addresses, c.raw)
		}
		if again = again || !ok; tell {
			flapping = append(flapping, c.id)
		}
	}
	return out, again, flapping
}

// deferChanges schedules another look at changes that could not be taken or announced now.
func (n *Node) deferChanges() {
	select {
	case n.pace.deferred <- struct{}{}:
	default:
	}
}

// deferredLoop looks again at changes that had to wait.
func (n *Node) deferredLoop() {
	for {
		select {
		case <-n.pace.deferred:
		case <-n.ctx.Done():
			return
		}
		select {
		case <-time.After(deferredPause):
		case <-n.ctx.Done():
			return
		}
		n.mu.Lock()
		before := n.roster.sum
		err := n.refreshAddresses()
		changed := n.roster.sum != before
		if err == nil && changed {
			err = n.save()
		}
		n.mu.Unlock()
		if err != nil {
			n.log.Warn("could not note this node's new address", "err", err)
		}
		if changed {
			n.membersChanged()
		} else {
			n.reconcileRosters()
		}
	}
}

// mayPull waits until the roster of l's peer may be pulled. It returns false if the link or this node ends first.
func (n *Node) mayPull(l *link) bool {
	n.mu.Lock()
	var wait time.Duration
	if l.digest != n.roster.sum {
		wait = max(l.pulls.Reserve().Delay(), n.pace.pulls.Reserve().Delay())
	}
	n.mu.Unlock()
	select {
	case <-time.After(wait):
		return true
	case <-l.done:
	case <-n.ctx.Done():
	}
	return false
}
