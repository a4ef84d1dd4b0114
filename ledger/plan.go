package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// apartWait is how long an input of a merge that failed is left out of other merges, the first time that this
// happens. The time doubles with each further failure, up to apartMost.
const (
	apartWait = 2 * time.Second
	apartMost = 2 * time.Minute
)

// setApart makes an input of a merge that failed an ordinary offer again. It is left out of merges for a while, since
// the next one would probably fail too, but not for good: where commits wait for room, only merges make progress.
func (os *offers) setApart(o *offer, now time.Duration) {
	o.state, os.changed = waiting, true
	o.apart = now + min(apartWait<<min(o.vain, 16), apartMost)
	o.vain++
}

// mergeable reports whether a merge of an offer may be ordered.
func (h *Home) mergeable(o *offer) bool {
	return h.now >= o.apart && !o.Large() && !h.nodes.stale(o.Holder, h.now)
}

// Planning looks at all offers. Where there are more than manyOffers it is done every planEvery, and not at each event.
const (
	manyOffers  = 64
	planEvery   = 5 * time.Millisecond
	repeatEvery = 100 * time.Millisecond
)

// plan has waiting offers fetched. Where many wait, it has some merged first, beginning with the smallest, each group
// on the node that holds the largest of it.
func (h *Home) plan() {
	if h.now-h.offers.repeated >= repeatEvery {
		h.offers.repeated = h.now
		h.tooSlow()
		h.repeatOrders()
	}
	if !h.offers.changed || (len(h.offers.all) > manyOffers && h.now-h.offers.planned < planEvery) {
		return
	}
	h.offers.changed, h.offers.planned = false, h.now
	waits, busy := h.offers.count(h.now)
	h.folding.wanted = h.folding.wanted && waits > 0
	if waits == 0 || (waits < merge.FanIn && busy >= h.nodes.fetches()) {
		return
	}
	ready := h.ready()
	if len(ready) > merge.FanIn {
		h.reduceAll(ready)
	}
	if busy >= h.nodes.fetches() {
		return
	}
	h.fetchReady(ready, busy)
}

// fetchReady has the blobs of offers brought here that may be committed now. The others wait for a fold, or for the
// outcome of what they overlap.
func (h *Home) fetchReady(ready []*offer, busy int) {
	coming := h.offers.cover(h.standings, fetching, proposed)
	room := h.roomLeft()
	var blocked []*offer
	for _, o := range ready {
		shady := h.standings.shady(o.Holder)
		may := o.state == waiting && busy < h.nodes.fetches() && h.turn(o.Partial) && merge.Fits(coming, o.Partial)
		switch {
		case !may || shady && h.offers.trying(h.standings):
		case !room.fits(o.Partial):
			blocked = append(blocked, o)
		default:
			h.fetchOffer(o)
			room.take(o.Partial)
			busy++
			if !shady {
				coming = coming.Union(o.Cover)
			}
		}
	}
	h.folding.wanted = len(blocked) > 0
	h.reduceBlocked(blocked)
}

// trying reports whether an offer of a shady node is being fetched. Such offers are fetched one at a time.
func (os *offers) trying(by standings) bool {
	return slices.ContainsFunc(os.all, func(o *offer) bool {
		return o.state == fetching && by.shady(o.Holder)
	})
}

// fetches is how many partials are brought here at once. It is more where there are many nodes, since the end of a job
// waits for the round trips to the nodes at the top of their tree.
func (ns *nodes) fetches() int {
	if len(ns.byID) > fewNodes {
		return 4 * ns.cfg.Fetches
	}
	return ns.cfg.Fetches
}

// A blob that comes here more slowly than fairPace, in bytes a second, does not count among those that are being
// fetched after fairWait, so that others can be. One that comes more slowly than leastPace is given up after leastWait,
// and its holder has to offer it again.
const (
	fairWait, fairPace   = 2 * time.Second, 8 << 20
	leastWait, leastPace = 30 * time.Second, 64 << 10
)

// overdue reports whether a blob takes longer to come here than wait, and the time for its size at a pace.
func (o *offer) overdue(now, wait time.Duration, pace float64) bool {
	takes := time.Duration(float64(max(o.Size, 0)) / pace * float64(time.Second))
	return o.state == fetching && !o.counted && now-o.since > wait+takes
}

// turn reports whether an offer may be fetched beside the other offers of its holder that are being fetched. Another
// node never occupies more than half of the places, nor more bytes than FoldFloor unless one blob is larger, so that
// a node with a slow link does not keep others waiting.
func (h *Home) turn(p merge.Partial) bool {
	n, bytes := 0, int64(0)
	for _, o := range h.offers.all {
		if o.Holder == p.Holder && (o.state == fetching || o.state == proposed) {
			n, bytes = n+1, bytes+o.Size
		}
	}
	return p.Holder == h.cfg.Self || n == 0 || n < h.nodes.fetches()/2 && bytes+p.Size <= h.cfg.FoldFloor
}

// count counts the offers that wait, and the places for fetches that are taken.
func (os *offers) count(now time.Duration) (waits, busy int) {
	for _, o := range os.all {
		switch o.state {
		case waiting:
			waits++
		case fetching, proposed:
			if !o.overdue(now, fairWait, fairPace) {
				busy++
			}
		}
	}
	return waits, busy
}

// tooSlow gives up fetches that take too long. They are given up sooner where commits wait for the room that such a
// fetch occupies. A blob that is offered again gets twice as long each time, since the network may be slow and not
// its holder.
func (h *Home) tooSlow() {
	for _, o := range slices.Clone(h.offers.all) {
		times, late := 1<<h.offers.unstored[o.ID], h.tooLong(o)
		if late || h.folding.wanted && o.overdue(h.now, time.Duration(times)*fairWait, fairPace/float64(times)) {
			h.giveUp(o, "", late)
		}
	}
}

// cover is the units of all offers in these states, without those of shady nodes that are not proposed yet. An offer
// that overlaps what is on its way to be committed should wait for the outcome.
func (os *offers) cover(by standings, states ...offerState) tasks.Cover {
	var rs []tasks.Range
	for _, o := range os.all {
		if slices.Contains(states, o.state) && (o.state == proposed || !by.shady(o.Holder)) {
			rs = append(rs, o.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

// fetchOffer brings an offer's blob here, and has the replicas keep it.
func (h *Home) fetchOffer(o *offer) {
	o.state, o.since = fetching, h.now
	h.fetch(o.keeping, nil)
	h.askToKeep(o.keeping)
}

// ready returns the waiting offers, the smallest first. It answers and drops those that commits have overtaken.
func (h *Home) ready() (ready []*offer) {
	for _, o := range slices.Clone(h.offers.all) {
		if o.state != waiting {
			continue
		}
		if o.judged != h.offers.commits {
			o.judged = h.offers.commits
			if h.judge(o.Partial) != merge.Fresh {
				h.offers.drop(o.ID)
				continue
			}
		}
		ready = append(ready, o)
	}
	slices.SortStableFunc(ready, func(a, b *offer) int {
		if s := h.standings.shady(a.Holder); s != h.standings.shady(b.Holder) { // offers of shady nodes come last
			if s {
				return 1
			}
			return -1
		}
		// Of those of one size, as histograms are, the fullest come first.
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(b.Units, a.Units))
	})
	return ready
}

// inMotion are the units of which no merge may be ordered now: they are on their way to a commit, or into a merge
// that has not been offered yet. Once the merge is offered, its inputs no longer count: the merge stands for them,
// and may itself be merged further while it waits for room.
func (os *offers) inMotion(by standings) tasks.Cover {
	merged := os.merged(by)
	var rs []tasks.Range
	for _, o := range os.all {
		switch o.state {
		case reducing:
			if !merged[o.ID] {
				rs = append(rs, o.Cover...)
			}
		case fetching, proposed:
			if o.state == proposed || !by.shady(o.Holder) {
				rs = append(rs, o.Cover...)
			}
		}
	}
	return tasks.CoverOf(rs...)
}

// reduceAll orders merges of groups of offers that overlap neither each other nor what is on its way.
func (h *Home) reduceAll(ready []*offer) {
	ready = slices.DeleteFunc(slices.Clone(ready), func(o *offer) bool {
		return !h.mergeable(o) || h.standings.lazy(o.Holder) || h.standings.shady(o.Holder)
	})
	if len(ready) < merge.FanIn {
		return
	}
	all := h.offers.inMotion(h.standings)
	var group []*offer
	fragments := 0
	for _, o := range ready {
		if !merge.Fits(all, o.Partial) || fragments+len(o.Cover) > merge.MaxFragments {
			continue
		}
		group, all, fragments = append(group, o), all.Union(o.Cover), fragments+len(o.Cover)
		if len(group) == merge.FanIn {
			h.reduce(group)
			group, fragments = nil, 0
		}
	}
}

// reduce orders the node that holds the last, and largest, of a group of offers to merge them.
func (h *Home) reduce(group []*offer) {
	in := make([]merge.Partial, len(group))
	for i, o := range group {
		in[i] = o.Partial
	}
	at := group[len(group)-1].Holder
	h.offers.orders = append(h.offers.orders, &order{to: at, inputs: in, asked: h.now})
	h.counts.Reduces++
	for _, o := range group {
		o.state, o.at, o.since = reducing, at, h.now
	}
	h.emit(Reduce{To: at, Inputs: in})
}

// repeatOrders repeats orders to reduce that were not answered, forgets those that were carried out, and gives up those
// that take too long.
func (h *Home) repeatOrders() {
	merged := h.offers.merged(h.standings)
	for _, o := range h.offers.all {
		switch {
		case merged[o.ID]: // its merge is offered, and waits for room
			o.since = h.now
		case o.state == reducing && h.now-o.since > h.cfg.ReduceWait:
			h.standings.of(o.at).lazy = true
			h.offers.setApart(o, h.now)
		case o.state == proposed && h.now-o.since > h.cfg.Propose:
			o.since = h.now
			h.propose(o)
		case o.state == fetching:
			h.repeatKeep(o.keeping)
		}
	}
	h.offers.orders = slices.DeleteFunc(h.offers.orders, func(r *order) bool {
		if h.now-r.asked < h.cfg.Repeat {
			return false
		}
		r.asked = h.now
		open := slices.ContainsFunc(r.inputs, func(p merge.Partial) bool {
			o := h.offers.find(p.ID)
			return o != nil && o.state == reducing && o.at == r.to && !merged[p.ID]
		})
		if open {
			h.emit(Reduce{To: r.to, Inputs: r.inputs})
		}
		return !open
	})
}

// notReduced frees the inputs of an order that cannot be carried out.
func (h *Home) notReduced(ev NotReduced) {
	h.counts.Refused++
	for _, id := range ev.Inputs {
		if o := h.offers.find(id); o != nil && o.state == reducing && o.at == ev.From {
			h.offers.setApart(o, h.now)
		}
	}
}
