package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

type offerState int

const (
	waiting  offerState = iota
	fetching            // its blob is on the way here, and to the other replicas
	reducing            // input of a merge on node at
	proposed            // the commit is on its way through the log
)

// offer is a partial that a node holds and wants committed.
type offer struct {
	*keeping
	state   offerState
	at      tasks.PeerID
	since   time.Duration
	counted bool          // its blob is here and counts what it should
	vain    int           // merges of it that were ordered and failed
	apart   time.Duration // until when it goes by itself for that

	judged int64 // after so many commits
}

// order is an order to reduce, repeated until its inputs are committed or free again.
type order struct {
	to     tasks.PeerID
	inputs []merge.Partial
	asked  time.Duration
}

func (h *Home) findOffer(id merge.ID) *offer {
	return h.byID[id]
}

func (h *Home) dropOffer(id merge.ID) {
	if h.byID[id] != nil {
		h.dropOffers(func(o *offer) bool { return o.ID == id })
	}
}

func (h *Home) dropOffers(which func(*offer) bool) {
	h.offers = slices.DeleteFunc(h.offers, func(o *offer) bool {
		gone := which(o)
		if gone {
			by := h.standing(o.Holder)
			by.offers, by.ranges = by.offers-1, by.ranges-len(o.Cover)
			delete(h.byID, o.ID)
		}
		return gone
	})
}

func (h *Home) offered(p merge.Partial) {
	if n := h.nodes[p.Holder]; n != nil {
		n.last = h.now
	}
	if h.findOffer(p.ID) != nil {
		h.emit(Note{To: p.Holder, ID: p.ID, Known: true})
		return
	}
	if h.rejected[p.ID] { // its answer was lost; what it lacks is at work again already
		h.emit(Reject{To: p.Holder, ID: p.ID})
		return
	}
	if p.Size < 0 || p.Size > merge.MaxSize { // nobody takes it
		h.reject(p)
		return
	}
	if len(p.Kids) > 0 && len(p.Cover) > merge.MaxFragments { // no entry of the log holds it
		h.reject(p)
		return
	}
	by := h.standing(p.Holder)
	if p.Holder != h.cfg.Self && (by.offers >= maxOffers || by.ranges+len(p.Cover) > maxOffered) {
		return // it is offered again
	}
	if h.judge(p) == merge.Fresh && h.explained(p) {
		h.admit(p)
	}
}

// admit takes an offer that may be committed.
func (h *Home) admit(p merge.Partial) {
	if p.Holder == h.cfg.Self { // others may merge it from now on
		h.Granted(p.Cover)
	}
	o := &offer{keeping: newKeeping(p), since: h.now, judged: h.commits}
	h.offers, h.byID[p.ID] = append(h.offers, o), o
	by := h.standing(p.Holder)
	by.offers, by.ranges = by.offers+1, by.ranges+len(p.Cover)
	h.dirty = true
	h.emit(Note{To: p.Holder, ID: p.ID, Known: true})
}

// judge applies R3 and answers all offers but fresh ones.
func (h *Home) judge(p merge.Partial) merge.Verdict {
	v := h.record.Done.Judge(p, h.want)
	h.answer(p, v)
	return v
}

// answer tells a holder what became of its partial, unless that is open.
func (h *Home) answer(p merge.Partial, v merge.Verdict) {
	switch v {
	case merge.Duplicate:
		h.compare(p)
		h.counts.Duplicates++
		h.emit(Accept{To: p.Holder, ID: p.ID})
	case merge.Overlap, merge.Wrong:
		h.reject(p)
	}
}

// maxRejected bounds the memory of rejections, and of blobs that could not be had.
const maxRejected = 1 << 16

// reject lets a partial's inputs go their own ways, and puts to work again what is lost with one that
// has none.
func (h *Home) reject(p merge.Partial) {
	h.noteRejected(p)
	if len(p.Kids) > 0 {
		h.counts.Exploded++
		h.freeKids(p)
	} else if p.Cover.Valid(h.want) {
		h.rerun(p)
	}
}

func (h *Home) noteRejected(p merge.Partial) {
	if len(h.rejected) >= maxRejected {
		clear(h.rejected)
	}
	h.rejected[p.ID] = true
	h.counts.Rejected++
	h.emit(Reject{To: p.Holder, ID: p.ID})
}

// rerun reissues what of p is neither committed nor held by others.
func (h *Home) rerun(p merge.Partial) {
	rest := p.Cover.Intersect(h.open())
	for id, n := range h.nodes {
		if id != p.Holder {
			rest = rest.Minus(h.has(id, n)) // not all that a liar claims: it would be told as its own next
		}
	}
	for _, o := range h.offers {
		if o.ID != p.ID { // which is among them yet if it was fresh once
			rest = rest.Minus(o.Cover)
		}
	}
	for _, s := range h.suspects {
		rest = rest.Minus(tasks.Cover{s.Range})
	}
	h.reissue(rest)
}

// freeKids lets the inputs of a rejected merge go their own ways.
func (h *Home) freeKids(p merge.Partial) {
	for _, k := range p.Kids {
		if o := h.findOffer(k); o != nil && o.state == reducing {
			h.setApart(o)
		}
	}
}

// apartWait is how long an input of a merge that failed goes by itself, the first time; doubled after each, up to
// apartMost.
const (
	apartWait = 2 * time.Second
	apartMost = 2 * time.Minute
)

// setApart frees an input of a merge that failed. It is not merged again at once, for what failed may fail again; but it is
// later, for where commits wait for room what goes by itself goes one by one.
func (h *Home) setApart(o *offer) {
	o.state, h.dirty = waiting, true
	o.apart = h.now + min(apartWait<<min(o.vain, 16), apartMost)
	o.vain++
}

// mergeable reports whether a merge of an offer may be ordered.
func (h *Home) mergeable(o *offer) bool {
	return h.now >= o.apart && !o.Large() && !h.silent(o.Holder)
}

// Planning looks at all offers: where there are many, not at each event.
const (
	manyOffers  = 64
	planEvery   = 5 * time.Millisecond
	repeatEvery = 100 * time.Millisecond
)

// plan fetches waiting offers, or has them merged on the nodes first where there are many: the
// smallest first, on the node that holds the largest of them.
func (h *Home) plan() {
	if h.now-h.repeated >= repeatEvery {
		h.repeated = h.now
		h.tooSlow()
		h.repeatOrders()
	}
	if !h.dirty || (len(h.offers) > manyOffers && h.now-h.planned < planEvery) {
		return
	}
	h.dirty, h.planned = false, h.now
	waits, busy := h.count()
	h.pressed = h.pressed && waits > 0
	if waits == 0 || (waits < merge.FanIn && busy >= h.fetches()) {
		return
	}
	ready := h.ready()
	if len(ready) > merge.FanIn {
		h.reduceAll(ready)
	}
	if busy >= h.fetches() {
		return
	}
	h.fetchReady(ready, busy)
}

// fetchReady brings offers here that may be committed; the others wait for a fold, or for what is on its way.
func (h *Home) fetchReady(ready []*offer, busy int) {
	coming := h.cover(fetching, proposed)
	room := h.roomLeft()
	var blocked []*offer
	for _, o := range ready {
		shady := h.shady(o.Holder)
		switch {
		case o.state != waiting || busy >= h.fetches() || !h.turn(o.Partial) || !merge.Fits(coming, o.Partial) || (shady && h.trying()):
		case !room.fits(o.Partial):
			blocked = append(blocked, o)
		default:
			h.fetch(o)
			room.take(o.Partial)
			busy++
			if !shady {
				coming = coming.Union(o.Cover)
			}
		}
	}
	h.pressed = len(blocked) > 0
	h.reduceBlocked(blocked)
}

// trying reports whether an offer of a node is being fetched whose last ones were in vain: one at a time.
func (h *Home) trying() bool {
	return slices.ContainsFunc(h.offers, func(o *offer) bool { return o.state == fetching && h.shady(o.Holder) })
}

// fetches is how many partials are brought here at once: more where there are many nodes, since the end of a job
// waits for the round trips of those at the top of their tree.
func (h *Home) fetches() int {
	if len(h.nodes) > fewNodes {
		return 4 * h.cfg.Fetches
	}
	return h.cfg.Fetches
}

// A blob that comes here more slowly than fairPace, in bytes a second, takes no other's place after fairWait; more slowly
// than leastPace it is given up, and its holder has to offer it again.
const (
	fairWait, fairPace   = 2 * time.Second, 8 << 20
	leastWait, leastPace = 30 * time.Second, 64 << 10
)

// overdue reports whether a blob that is to come here takes longer than wait and a pace allow.
func (h *Home) overdue(o *offer, wait time.Duration, pace float64) bool {
	return o.state == fetching && !o.counted && h.now-o.since > wait+time.Duration(float64(max(o.Size, 0))/pace*float64(time.Second))
}

// turn reports whether an offer may be fetched beside those of its holder that are: another node never takes more than half
// of the places, nor more room than one of its offers may, however slowly it hands out what it offers.
func (h *Home) turn(p merge.Partial) bool {
	n, bytes := 0, int64(0)
	for _, o := range h.offers {
		if o.Holder == p.Holder && (o.state == fetching || o.state == proposed) {
			n, bytes = n+1, bytes+o.Size
		}
	}
	return p.Holder == h.cfg.Self || n == 0 || n < h.fetches()/2 && bytes+p.Size <= h.cfg.FoldFloor
}

// count tells how many offers wait and how many blobs are being fetched.
func (h *Home) count() (waits, busy int) {
	for _, o := range h.offers {
		switch o.state {
		case waiting:
			waits++
		case fetching, proposed:
			if !h.overdue(o, fairWait, fairPace) {
				busy++
			}
		}
	}
	return waits, busy
}

// tooSlow gives fetches up that take too long. Where commits wait for the room that a slow one holds that is sooner, and
// twice as long each next time, for it may be the network that is slow.
func (h *Home) tooSlow() {
	for _, o := range slices.Clone(h.offers) {
		times, late := 1<<h.unstored[o.ID], h.tooLong(o)
		if late || h.pressed && h.overdue(o, time.Duration(times)*fairWait, fairPace/float64(times)) {
			h.notStored(NotStored{ID: o.ID, Slow: late})
		}
	}
}

// cover is what offers in these states cover. One that overlaps what is on its way to be committed had
// best wait for the outcome.
func (h *Home) cover(states ...offerState) tasks.Cover {
	var rs []tasks.Range
	for _, o := range h.offers {
		if slices.Contains(states, o.state) && (o.state == proposed || !h.shady(o.Holder)) {
			rs = append(rs, o.Cover...)
		}
	}
	return tasks.CoverOf(rs...)
}

func (h *Home) fetch(o *offer) {
	o.state, o.since = fetching, h.now
	h.emit(Fetch{Partial: o.Partial})
	h.askToKeep(o.keeping)
}

// ready returns the waiting offers, the smallest first, after answering those that commits have
// overtaken.
func (h *Home) ready() (ready []*offer) {
	for _, o := range slices.Clone(h.offers) {
		if o.state != waiting {
			continue
		}
		if o.judged != h.commits {
			o.judged = h.commits
			if h.judge(o.Partial) != merge.Fresh {
				h.dropOffer(o.ID)
				continue
			}
		}
		ready = append(ready, o)
	}
	slices.SortStableFunc(ready, func(a, b *offer) int {
		if s := h.shady(a.Holder); s != h.shady(b.Holder) { // those that were in vain come last
			if s {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(b.Units, a.Units)) // of histograms, the fullest
	})
	return ready
}

// inMotion is what no merge may be ordered of now: what is on its way to be committed, or into a merge that has yet to be
// offered. Inputs of one that has been are left out: it stands for them, and may be merged further, level by level, until
// there is room to commit it.
func (h *Home) inMotion() tasks.Cover {
	merged := h.merged()
	var rs []tasks.Range
	for _, o := range h.offers {
		switch o.state {
		case reducing:
			if !merged[o.ID] {
				rs = append(rs, o.Cover...)
			}
		case fetching, proposed:
			if o.state == proposed || !h.shady(o.Holder) {
				rs = append(rs, o.Cover...)
			}
		}
	}
	return tasks.CoverOf(rs...)
}

// merged are the offers of which a merge, made by who was ordered to, is offered too.
func (h *Home) merged() map[merge.ID]bool {
	ids := map[merge.ID]bool{}
	for _, m := range h.offers {
		if h.shady(m.Holder) {
			continue
		}
		for _, k := range m.Kids {
			if o := h.findOffer(k); o != nil && o.state == reducing && o.at == m.Holder {
				ids[k] = true
			}
		}
	}
	return ids
}

// reduceAll orders merges of groups of offers that overlap neither each other nor what is on its way.
func (h *Home) reduceAll(ready []*offer) {
	ready = slices.DeleteFunc(slices.Clone(ready), func(o *offer) bool { return !h.mergeable(o) || h.lazy(o.Holder) || h.shady(o.Holder) })
	if len(ready) < merge.FanIn {
		return
	}
	all := h.inMotion()
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

// silent reports whether a node has not reported for so long that it had best not be ordered about.
func (h *Home) silent(id tasks.PeerID) bool {
	n := h.nodes[id]
	return n == nil || h.now-n.last > 2*(h.cfg.Audit+h.slack())
}

func (h *Home) reduce(group []*offer) {
	in := make([]merge.Partial, len(group))
	for i, o := range group {
		in[i] = o.Partial
	}
	at := group[len(group)-1].Holder
	h.orders = append(h.orders, &order{to: at, inputs: in, asked: h.now})
	h.counts.Reduces++
	for _, o := range group {
		o.state, o.at, o.since = reducing, at, h.now
	}
	h.emit(Reduce{To: at, Inputs: in})
}

// repeatOrders sends orders again that have had no answer, forgets those that are done with, and gives
// up those that take too long.
func (h *Home) repeatOrders() {
	merged := h.merged()
	for _, o := range h.offers {
		switch {
		case merged[o.ID]: // its merge waits for room
			o.since = h.now
		case o.state == reducing && h.now-o.since > h.cfg.ReduceWait:
			h.standing(o.at).lazy = true
			h.setApart(o)
		case o.state == proposed && h.now-o.since > h.cfg.Propose:
			o.since = h.now
			h.propose(o)
		case o.state == fetching:
			h.repeatKeep(o.keeping)
		}
	}
	h.orders = slices.DeleteFunc(h.orders, func(r *order) bool {
		if h.now-r.asked < h.cfg.Repeat {
			return false
		}
		r.asked = h.now
		open := slices.ContainsFunc(r.inputs, func(p merge.Partial) bool {
			o := h.findOffer(p.ID)
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
		if o := h.findOffer(id); o != nil && o.state == reducing && o.at == ev.From {
			h.setApart(o)
		}
	}
}

// stored takes note of a blob that is here.
func (h *Home) stored(ev Stored) {
	if k := h.findKeep(ev.ID); k != nil {
		h.storedAgain(k, ev)
		return
	}
	o := h.findOffer(ev.ID)
	if o == nil {
		h.emit(Release{To: h.cfg.Self, Partial: merge.Partial{ID: ev.ID}, Seq: h.asks})
		return
	}
	if o.state != fetching {
		return
	}
	h.dirty, h.full, h.fullFor = true, 0, ""
	delete(h.unstored, o.ID)
	if ev.Units != o.Units || ev.Canary != o.Canary {
		h.vain(o, maxShady)
		h.emit(False{By: o.Holder})
		h.dropOffer(o.ID)
		h.reject(o.Partial)
		return
	}
	o.counted = true
	h.standing(o.Holder).cameAt = h.now
	if mutant.On(mutant.ForgetEarly) {
		h.emit(Accept{To: o.Holder, ID: o.ID})
	}
	o.by[h.cfg.Self] = true
	h.settle(o)
}

// settle proposes a commit when a quorum of the replicas keeps the blob.
func (h *Home) settle(o *offer) {
	if o.state != fetching || !o.counted || !h.staffed || !(h.quorate(o.keeping) || mutant.On(mutant.KeepNothing)) {
		return
	}
	if h.judge(o.Partial) != merge.Fresh {
		h.dropOffer(o.ID)
		h.dirty = true
		return
	}
	o.state, o.since = proposed, h.now
	h.propose(o)
}

func (h *Home) propose(o *offer) {
	p := o.Partial
	h.emit(Propose{Entry{Commit: &p}})
}

// committed follows the log: a partial is in the record, or was overtaken there.
func (h *Home) committed(p merge.Partial, v merge.Verdict, changed bool) {
	h.commits++
	h.dirty = true
	o := h.findOffer(p.ID)
	h.dropOffer(p.ID)
	if !changed {
		if o != nil {
			h.answer(p, v)
		}
		return
	}
	k := newKeeping(p)
	if o != nil {
		k = o.keeping
		if s := h.standing(p.Holder); s.shady > 0 {
			s.shady--
		}
		if s := h.standing(p.Holder); s.tardy > 0 {
			s.tardy--
		}
	}
	h.addKeep(k)
	h.delivered(p)
	h.sample(p)
	if !h.restOld {
		h.rest = h.rest.Minus(p.Cover)
	}
	h.emit(Accept{To: p.Holder, ID: p.ID})
	h.acceptKids(p)
	h.overtake(p)
	h.suspects = slices.DeleteFunc(h.suspects, func(s *suspect) bool {
		well := h.record.Done.Cover().Covers(tasks.CoverOf(s.Range))
		if well {
			h.refute(s)
		}
		return well
	})
}

// overtake answers offers under way that a commit has made void: replicas free what the record would not admit.
func (h *Home) overtake(p merge.Partial) {
	for _, o := range slices.Clone(h.offers) {
		switch {
		case !o.Cover.Intersects(p.Cover):
		case o.state == fetching && h.judge(o.Partial) != merge.Fresh:
			h.dropOffer(o.ID)
		case o.state == reducing && h.record.Done.Cover().Covers(o.Cover): // by a merge that came another way
			h.emit(Accept{To: o.Holder, ID: o.ID})
			h.dropOffer(o.ID)
		}
	}
}

// Needs reports whether a partial's blob must stay where its node has made it: it is to be kept here for the ledger,
// and is not yet.
func (h *Home) Needs(id merge.ID) bool {
	o, k := h.findOffer(id), h.findKeep(id)
	return o != nil && (o.state == fetching || o.state == proposed) || k != nil && !k.by[h.cfg.Self]
}

// acceptKids tells the holders of a committed merge's inputs to forget them.
func (h *Home) acceptKids(p merge.Partial) {
	for _, k := range p.Kids {
		if o := h.findOffer(k); o != nil && h.record.Done.Cover().Covers(o.Cover) {
			h.emit(Accept{To: o.Holder, ID: k})
			h.dropOffer(k)
			h.acceptKids(o.Partial)
		}
	}
}

// maxUnstored is how often a blob is fetched in vain before its partial is rejected, and how often in a row
// this node may fail to keep one before another leads; or the job is wound up, if there is none.
const maxUnstored = 5

// Full reports whether this node cannot keep blobs any more: another had better lead.
func (h *Home) Full() bool { return h.full >= maxUnstored }

// Cramped tells why this node could not keep the last blobs; empty if it could.
func (h *Home) Cramped() string { return h.fullFor }

// notStored leaves it to the holder to offer the partial again, but not for ever.
func (h *Home) notStored(ev NotStored) {
	if k := h.findKeep(ev.ID); k != nil {
		h.gone(k, ev.Here)
		return
	}
	o := h.findOffer(ev.ID)
	if o == nil || o.state != fetching {
		return
	}
	h.dirty = true
	h.dropOffer(o.ID)
	h.letGo(o.keeping)
	h.emit(Note{To: o.Holder, ID: o.ID})
	switch {
	case ev.Here != "":
		h.fullFor = ev.Here
		if h.full++; h.full >= maxUnstored && (len(h.replicas) == 0 || h.full >= 10*maxUnstored) {
			h.stop("given up: the job's home could not keep results: " + ev.Here)
		}
	case !h.silent(o.Holder):
		h.vain(o, 1)
		if ev.Slow {
			h.tooSlowFrom(o.Holder, o.since)
		}
		if len(h.unstored) >= maxRejected { // of offers that were withdrawn, mostly
			clear(h.unstored)
		}
		if h.unstored[o.ID]++; h.unstored[o.ID] >= maxUnstored {
			delete(h.unstored, o.ID)
			h.reject(o.Partial)
		}
	}
}
