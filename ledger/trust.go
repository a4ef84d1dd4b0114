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
	maxSole    = 64 // ranges that a node alone suspects at a time
	maxRefuted = 8  // of these, that others have done well
	maxShady   = 5  // offers in vain, less those that were committed
	// maxOffers bounds a node's open offers, and maxOffered the ranges in their covers.
	maxOffers  = 1 << 10
	maxOffered = 1 << 18
)

// standings is what came of the words of each node. It is kept also when a node goes: it may come back for another try.
type standings map[tasks.PeerID]*standing

type standing struct {
	refuted   int           // ranges that it alone blamed, and others have done well
	shady     int           // offers in vain, less those that were committed
	delivered int64         // units that are committed and that it has run
	lastAt    time.Duration // when some of them were committed last
	slow      int           // blobs that came too slowly
	tardy     int           // so many must come before it is waited for again, see slow.go
	cameAt    time.Duration // when a blob of it came here last
	lazy      bool          // it was ordered to merge and did not

	unexplained int64 // units that it was believed to have run though others have them, see custody
}

// of is a node's standing, which may be changed.
func (ss standings) of(id tasks.PeerID) *standing {
	s := ss[id]
	if s == nil {
		s = &standing{}
		ss[id] = s
	}
	return s
}

// shady reports whether a node's offers come last, since its last ones were in vain or slow.
func (ss standings) shady(id tasks.PeerID) bool {
	s := ss[id]
	return s != nil && (s.shady >= maxShady || s.tardy > 0)
}

// tardy reports whether what a node holds is waited for no more.
func (ss standings) tardy(id tasks.PeerID) bool {
	s := ss[id]
	return s != nil && s.tardy > 0
}

// lazy reports whether a node is ordered to merge no more.
func (ss standings) lazy(id tasks.PeerID) bool {
	s := ss[id]
	return s != nil && s.lazy
}

// credible reports whether a failure that a node reports is looked into. Otherwise what it blames runs again where it
// may.
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

// refute notes that suspects turned out well.
func (ss standings) refute(s *suspect) {
	if len(s.Nodes) == 1 {
		ss.of(s.Nodes[0]).refuted++
	}
}

// vain notes an offer whose blob was not there, or was another.
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

// becameShady has what others made, and a shady node was to merge, go by itself.
func (os *offers) becameShady(id tasks.PeerID, now time.Duration) {
	for _, in := range os.all {
		if in.state == reducing && in.at == id {
			os.setApart(in, now)
		}
	}
}

// doubtful is what a node has claimed to hold for a while, without its being committed or given away.
type doubtful struct {
	base    tasks.Cover   // claimed without a break
	waited  time.Duration // how long others had nothing to do meanwhile: till then it may wait its turn
	doubted tasks.Cover   // claimed for too long, and believed no more while the claim lasts
	lapsed  tasks.Moment  // when the claim was found to be withdrawn, never if some of base is claimed
}

// lapse is how long a claim may be withdrawn and made again and still count as one: what nobody claims for longer is
// run by others by then.
const lapse = 10 * time.Second

// goesOn follows a claim, of which fresh is open and not doubted yet, and reports whether it has lasted up to now. A
// new one is not waited for yet.
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

// held is what a node says that it holds and is believed to.
func (n *node) held() tasks.Cover { return n.report.Held.Minus(n.doubt.doubted) }

// also is what a node answers for beside that, as far as it is believed.
func (n *node) also() tasks.Cover { return n.report.Also.Minus(n.doubt.doubted) }

// doubtAll looks, at each audit, for units that their holder does nothing about while others have nothing to do.
func (h *Home) doubtAll() {
	if h.stopping.begun || mutant.On(mutant.HeldForEver) {
		return
	}
	past := min(h.now-h.audits.doubtedAt, 4*h.nodes.auditEvery()) // more, and this home itself was stopped
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

// patience is how long a node may hold so many units without a sign of progress: twice what it takes at its rate, or at
// a quarter of the others' mean if it claims less; longer where nobody knows a rate. Idle nodes are given what is not
// begun, so no more has to be waited for than what can be under way: what is done and not sealed, and the packets that
// run, of entries that may take some times as long as the others' do. However much a node claims, it is waited for no
// longer.
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
