package p2p

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// Each member signs itself where it can be reached, as often as it likes, and each such record has all others pull
// rosters, write theirs and tell of it. So the changes of one member's addresses are taken at a measure, the last in
// place of those before, and what brings nothing but such changes is taken about once a second; rosters are pulled at a
// measure too, whatever they bring. What is put off is pulled again a moment later.
const (
	addressEvery = 3 * time.Second // changes of one member's addresses that are taken,
	addressBurst = 5
	batchEvery   = time.Second // and rosters with nothing but such changes
	batchBurst   = 5

	// An honest node changes its own more rarely than that, also where two run with one key, from a copy of the state
	// folder, and each puts its own addresses in place of the other's.
	ownEvery = 10 * time.Second
	ownBurst = 3

	pullEvery  = time.Second // pulls from one link,
	pullBurst  = 8
	pullsEvery = time.Second / 8 // and from all: what one has, others have too
	pullsBurst = 64

	serveEvery = time.Second / 2 // rosters given to one member, which may pull again after a restart
	serveBurst = 4 * pullBurst

	settleAfter = time.Second      // what was put off is looked at again
	churnFor    = 20 * time.Second // a member goes on with it before that is told
)

// churn is how often a member's addresses have changed of late.
type churn struct {
	room *rate.Limiter
	last uint64    // number of the record that was put off last
	over time.Time // since when there have been too many; zero if there are not
}

// takes reports whether a change is taken now, and whether it is time to tell that the member goes on with too many.
func (c *churn) takes(now time.Time, seq uint64) (ok, tell bool) {
	if c.room.TokensAt(now) >= addressBurst-1 {
		c.over = time.Time{}
	}
	if c.room.AllowN(now, 1) {
		return true, false
	}
	if seq <= c.last {
		return false, false // the same, seen again
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

// pacing is at what measure a node takes and tells of changes of its roster. Under Node.mu, but for again.
type pacing struct {
	churns  map[peer.ID]*churn
	serves  map[peer.ID]*rate.Limiter
	batches *rate.Limiter
	own     *rate.Limiter
	pulls   *rate.Limiter
	again   chan struct{} // capacity 1: something was put off
}

func newPacing() pacing {
	return pacing{churns: map[peer.ID]*churn{}, serves: map[peer.ID]*rate.Limiter{}, again: make(chan struct{}, 1),
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

// mayServe reports whether a member is given the roster now. One that pulls more often than it may tries again.
func (n *Node) mayServe(id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pace.serves[id] == nil {
		n.pace.serves[id] = rate.NewLimiter(rate.Every(serveEvery), serveBurst)
	}
	return n.pace.serves[id].Allow()
}

// calm leaves out of what is new what is not to be taken now, and reports whether that is to be looked at again, and
// who goes on changing its addresses. Under n.mu.
func (n *Node) calm(x exchange, now time.Time) (out exchange, again bool, restless []peer.ID) {
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
			return x, false, nil // it is refused as a whole
		case held && !old.before(a.Seq, s), alone && !n.roster.isIn(id): // it would change nothing, and costs no check
		case !held:
			out.Addresses = append(out.Addresses, s)
		case verify(id, forAddresses, s.Body, s.Sig) != nil: // or one could use up another's measure
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
			restless = append(restless, c.id)
		}
	}
	return out, again, restless
}

// putOff has what could not be taken or said now looked at again in a moment.
func (n *Node) putOff() {
	select {
	case n.pace.again <- struct{}{}:
	default:
	}
}

// settleOften comes back to what was put off.
func (n *Node) settleOften() {
	for {
		select {
		case <-n.pace.again:
		case <-n.ctx.Done():
			return
		}
		select {
		case <-time.After(settleAfter):
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

// mayPull waits until the roster of l's peer may be pulled; false if the link or this node ends first.
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
