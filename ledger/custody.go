package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Custody says of which units a node may have an output. What is offered cannot be looked into; but who was given which
// units is known well enough to keep a liar from offering everybody's:
//
//   - units that have never left the home's hands can be nobody else's. An offer of them is rejected; and its maker is
//     named if it cannot have run so many by then, for it may have been given them by one who had no right to;
//   - units that another node has, as it says, are not the offerer's, unless that one was given them once, too: to run,
//     or in a partial to be merged. Such an offer is kept back: it may have come before the report that explains it. If
//     none does, it is believed as long as all that a node is believed so is no more than its share by slots, and than
//     half of the job; else it is rejected.
//
// What a node reports to hold counts only as far as it was given that, by the home or by a node that had it:
// otherwise a liar could block the offers of others by claiming everything. Units that nobody reports to hold may be
// anybody's, since reports get lost, and so do nodes.
//
// Only the home that began a job knows who was given what. For one that took over all units count as given to
// everybody; and among many nodes, whose reports are rare, only the first rule holds.
type custody struct {
	began       bool                         // this home began the job,
	beganAt     time.Duration                // at this time
	out         tasks.Cover                  // has left the home's hands at some time
	given       map[tasks.PeerID]tasks.Cover // what a node has ever taken from one who had it
	many        bool                         // there were once so many nodes that their reports were rare
	unexplained []*keptBack                  // offers that wait for a report that explains them
}

// keptBack is an offer that is not explained yet.
type keptBack struct {
	merge.Partial
	since  time.Duration
	audits int            // since then
	by     []tasks.PeerID // who said when it was last looked at that they have some of it
}

// Gift is units that a node has given another.
type Gift struct {
	To     tasks.PeerID `msgpack:"t"`
	Ranges tasks.Cover  `msgpack:"r"`
	// Taken tells that it has said that it took them.
	Taken bool `msgpack:"a,omitempty"`
	// Merge tells that they are in a partial, which it is to merge with others. The giver keeps it, too.
	Merge bool `msgpack:"m,omitempty"`
}

// MaxGifts is how many gifts a report tells of at most.
const MaxGifts = 256

const (
	// explainWait is how long an offer waits for a report that explains it, beside two times between reports: longer than
	// a node counts as silent after its last one.
	explainWait = 2 * time.Second
	// namedAfter is how many audits pass before a node is accused of offering what it was never given. Each takes half a
	// second at least, and a home that leads no more, and knows only less than others, finds that out meanwhile.
	namedAfter = 8
	// tooFast is how many times more units a slot must have run than those of the fastest other node do, for a lie.
	tooFast = 8
)

// Granted tells that this node, the home, has given units to another, which need not have them yet.
func (h *Home) Granted(c tasks.Cover) {
	if h.custody.began && !h.custody.out.Covers(c) {
		h.custody.out = h.custody.out.Union(c)
	}
}

// gave notes that a node has been given units, and has said so.
func (c *custody) gave(to tasks.PeerID, units tasks.Cover) {
	if c.given == nil {
		c.given = map[tasks.PeerID]tasks.Cover{}
	}
	c.given[to] = c.given[to].Union(units)
}

// waits reports whether an offer waits for a report that explains it.
func (c *custody) waits(id merge.ID) bool {
	return slices.ContainsFunc(c.unexplained, func(k *keptBack) bool { return k.ID == id })
}

// explain ends the wait of an offer that is explained.
func (c *custody) explain(id merge.ID) {
	c.unexplained = slices.DeleteFunc(c.unexplained, func(k *keptBack) bool { return k.ID == id })
}

// hasRoom reports whether another offer of a node may wait.
func (c *custody) hasRoom(p merge.Partial) bool {
	count, ranges := 0, 0
	for _, k := range c.unexplained {
		if k.Holder == p.Holder {
			count, ranges = count+1, ranges+len(k.Cover)
		}
	}
	return count < maxKept && (count == 0 || ranges+len(p.Cover) <= maxOffered)
}

// mayHave is what a node was given at some time, as far as this home knows.
func (h *Home) mayHave(id tasks.PeerID) tasks.Cover {
	if id == h.cfg.Self {
		return tasks.CoverOf(h.record.Want)
	}
	return h.custody.given[id]
}

// has is what a node holds, as far as it is believed.
func (h *Home) has(id tasks.PeerID, n *node) tasks.Cover {
	if h.traced() && n.report.Traced {
		return n.held().Intersect(h.mayHave(id))
	}
	return n.held()
}

// traced reports whether it is known who was given what.
func (h *Home) traced() bool {
	h.custody.many = h.custody.many || h.slack() > 0
	return h.custody.began && !h.custody.many
}

// follow takes a report's word for what went from node to node, and returns of whom more is known now.
func (h *Home) follow(from tasks.PeerID, n *node, r *Report) (news []tasks.PeerID) {
	if !h.traced() || !r.Traced {
		return nil
	}
	news = []tasks.PeerID{from}
	if n.awaited--; n.awaited <= 0 {
		n.coming = nil
	}
	for _, g := range r.Gave {
		c := g.Ranges.Intersect(h.mayHave(from))
		to := h.nodes.byID[g.To]
		unasked := g.Merge && !slices.Contains(n.uppers, g.To)
		if to == nil || g.To == h.cfg.Self || unasked || h.custody.given[g.To].Covers(c) {
			continue
		}
		if !g.Merge {
			n.coming = n.coming.Minus(c)
			to.coming, to.awaited = to.coming.Union(c.Minus(h.custody.given[g.To])), 2
		}
		news = append(news, g.To)
		if g.Taken || g.Merge {
			h.custody.gave(g.To, c)
		}
	}
	return news
}

// giftsValid reports whether what a node says that it gave is of the job.
func (r *Report) giftsValid(want tasks.Range) bool {
	return len(r.Gave) <= MaxGifts && !slices.ContainsFunc(r.Gave, func(g Gift) bool { return !g.Ranges.Valid(want) })
}

// neverGiven reports whether a node offers what has never left the home's hands.
func (h *Home) neverGiven(p merge.Partial) bool {
	return h.custody.began && p.Holder != h.cfg.Self && !h.custody.out.Covers(p.Cover) && !mutant.On(mutant.AnyClaim)
}

// disputed is what a node offers though others, by name, have it, and it was never given that.
func (h *Home) disputed(p merge.Partial) (out tasks.Cover, by []tasks.PeerID) {
	if p.Holder == h.cfg.Self || !h.traced() || h.offers.ordered(p) || mutant.On(mutant.AnyClaim) {
		return nil, nil
	}
	claimed := p.Cover.Minus(h.custody.given[p.Holder])
	for _, id := range h.nodes.order {
		if claimed.Empty() {
			break
		}
		n := h.nodes.byID[id]
		if id == p.Holder || !n.heard || !n.report.Traced || h.stale(id) {
			continue
		}
		if c := n.held().Intersect(claimed).Intersect(h.mayHave(id)).Union(n.coming.Intersect(claimed)); !c.Empty() {
			out, by = out.Union(c), append(by, id)
		}
	}
	return out, by
}

// ordered reports whether a partial is the merge, as it was ordered, of offers that are known here.
func (os *offers) ordered(p merge.Partial) bool {
	var c tasks.Cover
	for _, k := range p.Kids {
		o := os.find(k)
		if o == nil || o.state != reducing || o.at != p.Holder {
			return false
		}
		c = c.Union(o.Cover)
	}
	return len(p.Kids) > 0 && c.Equal(p.Cover)
}

// explained reports whether an offer can be what it says, and keeps it back if that has yet to turn out.
func (h *Home) explained(p merge.Partial) bool {
	disputed, by := h.disputed(p)
	if !h.neverGiven(p) && disputed.Empty() {
		h.custody.explain(p.ID)
		return true
	}
	if !h.custody.waits(p.ID) && h.custody.hasRoom(p) {
		h.custody.unexplained = append(h.custody.unexplained, &keptBack{Partial: p, since: h.now, by: by})
	}
	return false
}

// maxKept bounds the offers of a node that are kept back; what is above that is offered again.
const maxKept = 32

// lookAgain looks at what is kept back: at each audit at all of it, after a report at what may be explained by that,
// which tells more of the nodes in news.
func (h *Home) lookAgain(audit bool, news []tasks.PeerID) {
	if len(h.custody.unexplained) == 0 {
		return
	}
	all := h.custody.unexplained
	h.custody.unexplained = nil
	for _, k := range all {
		concerns := func(id tasks.PeerID) bool { return id == k.Holder || slices.Contains(k.by, id) }
		if !audit && !slices.ContainsFunc(news, concerns) {
			h.custody.unexplained = append(h.custody.unexplained, k)
			continue
		}
		if audit {
			k.audits++
		}
		switch n := h.nodes.byID[k.Holder]; {
		case n == nil || h.judge(k.Partial) != merge.Fresh:
		case h.neverGiven(k.Partial):
			if k.audits < namedAfter {
				h.custody.unexplained = append(h.custody.unexplained, k)
				continue
			}
			h.refuse(k.Partial)
			if h.impossible(k) {
				h.emit(False{By: k.Holder, Impossible: true})
			}
		default:
			h.weigh(k)
		}
	}
}

// impossible reports whether a node cannot have run by itself what it offered, in the time since the job began.
func (h *Home) impossible(k *keptBack) bool {
	if slices.ContainsFunc(k.Kids, func(id merge.ID) bool { return id.Node != k.Holder }) { // another's may be false
		return false
	}
	var rate float64 // of the fastest slot
	for _, id := range h.nodes.order {
		if n := h.nodes.byID[id]; id != k.Holder && n.slots > 0 {
			rate = max(rate, n.report.Stats.Rate/float64(n.slots))
		}
	}
	slots, time := float64(max(h.nodes.byID[k.Holder].slots, 1)), (k.since - h.custody.beganAt).Seconds()
	most := tooFast * rate * slots * time
	return rate > 0 && float64(k.Units) > most
}

// weigh decides on an offer of units that others have, or say that they have.
func (h *Home) weigh(k *keptBack) {
	what, who := h.disputed(k.Partial)
	disputed, by := what.Len(), h.standings.of(k.Holder)
	k.by = who
	switch {
	case disputed == 0:
		h.admit(k.Partial)
	case h.now-k.since < explainWait+2*h.Every():
		h.custody.unexplained = append(h.custody.unexplained, k)
	case by.unexplained+disputed <= h.share(k.Holder):
		by.unexplained += disputed
		h.admit(k.Partial)
	default:
		h.refuse(k.Partial)
	}
}

// share is how many units are a node's by its slots; no more than half of the job where others have slots too, for a
// node says itself how many it has.
func (h *Home) share(id tasks.PeerID) int64 {
	slots := h.nodes.byID[id].slots
	share := int64(float64(h.record.Want.Len()) * float64(slots) / float64(max(h.nodes.slots, 1)))
	if h.nodes.slots > slots {
		share = min(share, h.record.Want.Len()/2)
	}
	return share
}

// refuse rejects an offer that cannot be what it says. Nothing of it is put to work again for that: others have it, and
// what they have not the audits find.
func (h *Home) refuse(p merge.Partial) {
	h.noteRejected(p)
	if len(p.Kids) > 0 {
		h.counts.Exploded++
		h.offers.freeKids(p, h.now)
	}
}
