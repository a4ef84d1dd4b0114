package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// What a node says of its own work cannot be checked, and a node may lie, or be broken in a way that looks like it. A
// home bounds what such words can do to the work of others:
//
//   - units that a node holds and does nothing about run elsewhere, once others have nothing to do (doubt);
//   - failures that one node alone reports, and others refute by doing the work, are not believed for ever (credible);
//   - offers whose blobs cannot be had, or are not what was offered, hold nobody else's up (shady);
//   - where blobs come too slowly, others run what their holder has (tardy, slow.go);
//   - a node that was ordered to merge and did not is ordered no more (lazy);
//   - what a node offers is among what it may have been given (custody).
//
// None of it takes anything away from a node: what is run twice is counted once (R3).
const (
	maxSole    = 64 // ranges that one node alone may suspect at a time
	maxRefuted = 8  // how often others may do well what one node alone has suspected, before its word counts no more
	maxShady   = 5  // how many more offers of a node may be in vain than are committed, before its offers come last
	// maxOffers bounds a node's open offers, and maxOffered the ranges in their covers.
	maxOffers  = 1 << 10
	maxOffered = 1 << 18
)

// standings is what has come of the words of each node. A node keeps its standing when it goes, or going and coming
// back would wipe it out.
type standings map[tasks.PeerID]*standing

type standing struct {
	refuted   int           // how many ranges it alone has blamed that others have done well
	shady     int           // how many more of its offers were in vain than were committed
	delivered int64         // how many committed units it has run
	lastAt    time.Duration // when units of it were last committed
	slow      int           // how many of its blobs came too slowly
	tardy     int           // how many blobs must come from it before it is waited for again, see slow.go
	cameAt    time.Duration // when a blob of it last came here
	lazy      bool          // it was ordered to merge and did not

	unexplained int64 // units that it was believed to have run though others have them, see custody
}

// of is a node's standing, for the caller to change.
func (ss standings) of(id tasks.PeerID) *standing {
	s := ss[id]
	if s == nil {
		s = &standing{}
		ss[id] = s
	}
	return s
}

// shady reports whether a node's offers are fetched last, since earlier ones were in vain or slow.
func (ss standings) shady(id tasks.PeerID) bool {
	s := ss[id]
	return s != nil && (s.shady >= maxShady || s.tardy > 0)
}

// tardy reports whether units that a node holds are not waited for any more.
func (ss standings) tardy(id tasks.PeerID) bool {
	s := ss[id]
	return s != nil && s.tardy > 0
}

// lazy reports whether a node is not ordered to merge any more.
func (ss standings) lazy(id tasks.PeerID) bool {
	s := ss[id]
	return s != nil && s.lazy
}

// credible reports whether a failure that a node reports is looked into. Otherwise what it blames is run again like any
// other units.
func (h *Home) credible(from tasks.PeerID, blame tasks.Range) bool {
	if from == h.cfg.Self || h.workers(blame) < 2 {
		return true
	}
	sole := 0
	for _, s := range h.blame.suspects {
		if len(s.Nodes) == 1 && s.Nodes[0] == from {
			sole++
		}
	}
	return sole < maxSole && h.standings.of(from).refuted < maxRefuted
}

// refute notes that a suspect has turned out well, against the node that alone has blamed it.
func (ss standings) refute(s *suspect) {
	if len(s.Nodes) == 1 {
		ss.of(s.Nodes[0]).refuted++
	}
}

// vain notes an offer whose blob could not be had, or was not what was offered.
func (h *Home) vain(o *offer, weight int) {
	if o.Holder == h.cfg.Self {
		return
	}
	before := h.standings.shady(o.Holder)
	h.standings.of(o.Holder).shady += weight
	if !before && h.standings.shady(o.Holder) {
		h.offers.becameShady(o.Holder, h.now)
	}
}

// becameShady has offers that a node was ordered to merge, which is shady now, go by themselves.
func (os *offers) becameShady(id tasks.PeerID, now time.Duration) {
	for _, in := range os.all {
		if in.state == reducing && in.at == id {
			os.setApart(in, now)
		}
	}
}

// doubtful follows the open units that a node claims to hold while they are neither committed nor given away.
type doubtful struct {
	base    tasks.Cover   // units that the node has claimed without a break
	waited  time.Duration // how long others have had nothing to do meanwhile; only that counts against the node
	doubted tasks.Cover   // units that it has claimed for too long: the claim is not believed any more while it lasts
	lapsed  tasks.Moment  // when the node was found to claim none of base any more; never if it claims some
}

// lapse is how long a node may withdraw a claim and have it count as the same one when it is made again. Units that
// nobody claims for longer have been put to work elsewhere by then.
const lapse = 10 * time.Second

// goesOn follows a claim, and reports whether it has lasted up to now; a new claim has not. open are all open units,
// and fresh those of them that the node claims and that are not doubted yet.
func (d *doubtful) goesOn(now time.Duration, fresh, open tasks.Cover) bool {
	still := d.base.Intersect(fresh)
	switch {
	case !still.Empty():
		d.base, d.lapsed = still, tasks.Moment{}
		return true
	case d.base.Intersect(open).Empty() || d.lapsed.Since(now) > lapse:
		d.base, d.waited, d.lapsed = fresh, 0, tasks.Moment{}
	case d.lapsed.Never():
		d.lapsed = tasks.At(now)
	}
	return false
}

// held is what a node reports to hold, as far as it is believed.
func (n *node) held() tasks.Cover { return n.report.Held.Minus(n.doubt.doubted) }

// also is what a node answers for beside held (Report.Also), as far as it is believed.
func (n *node) also() tasks.Cover { return n.report.Also.Minus(n.doubt.doubted) }

// doubtAll looks for units that their holder does nothing about while others have nothing to do. It is called at each
// audit.
func (h *Home) doubtAll() {
	if h.stopping.begun || mutant.On(mutant.HeldForEver) {
		return
	}
	past := min(h.now-h.audits.doubtedAt, 4*h.nodes.auditEvery()) // if more time has passed, this home itself was stopped
	open, idle := h.open(), h.nodes.idlers(h.record.Done.Cover())
	for _, id := range h.nodes.order {
		n := h.nodes.byID[id]
		claims := n.report.Held.Union(n.report.Also).Intersect(open)
		d := &n.doubt
		d.doubted = d.doubted.Intersect(claims)
		fresh := claims.Minus(d.doubted)
		goesOn := d.goesOn(h.now, fresh, open)
		others := slices.ContainsFunc(idle, func(o tasks.PeerID) bool { return o != id })
		if goesOn && others {
			d.waited += past
		}
		if others && h.standings.tardy(id) && !fresh.Empty() {
			h.counts.Doubted += fresh.Len()
			d.doubted, d.base = d.doubted.Union(fresh), nil
			continue
		}
		if goesOn && others && d.waited > h.nodes.patience(id, d.base.Len()) {
			h.counts.Doubted += d.base.Len()
			d.doubted, d.base = d.doubted.Union(d.base), nil
		}
	}
}

// idlers are nodes that could work and have nothing to do but what is done.
func (ns *nodes) idlers(done tasks.Cover) (ids []tasks.PeerID) {
	for _, id := range ns.order {
		n := ns.byID[id]
		if ns.atWork(id) && n.report.Left == 0 && n.held().Minus(done).Empty() {
			ids = append(ids, id)
		}
	}
	return ids
}

// patience is how long a node may hold so many units without a sign of progress: twice the time that they take at its
// rate, or at a quarter of the others' mean rate if it claims a lower one, and longer where no rate is known. But idle
// nodes are given what is not begun, so it is never longer than what can be under way takes: units that are done and
// not sealed, and running packets whose entries take several times as long as others do.
func (ns *nodes) patience(id tasks.PeerID, units int64) time.Duration {
	var sum float64
	count := 0
	for _, o := range ns.order {
		if r := ns.byID[o].report.Stats.Rate; r > 0 && o != id {
			sum, count = sum+r, count+1
		}
	}
	wait := ns.cfg.Patience + 2*ns.slack()
	if count == 0 {
		return 10 * wait
	}
	mean := sum / float64(count)
	rate := max(ns.byID[id].report.Stats.Rate, mean/4)
	takes := min(float64(units)/rate, ns.cfg.Unsealed.Seconds()+64/mean)
	return wait + min(time.Duration(2*takes*float64(time.Second)), 24*time.Hour)
}
