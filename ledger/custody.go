package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// custody says of which units a node may have an output. Nobody can look into a partial, but who was given which units
// is known well enough to keep a liar from offering the units of everybody:
//
//   - Units that have never left the home can have been run by no other node, so an offer of them is rejected. Its
//     maker is accused only if it cannot have run that many units since the job began: a third node may have given it
//     units that were not its own to give.
//   - Units that a second node reports to hold are that node's and not the offerer's, unless the offerer was given them
//     at some time, to run or in a partial to be merged. An offer of such units is kept back for a while, since it may
//     have come before the report that explains it. If no report does, it is believed as long as all that the node is
//     believed in this way is no more than its share by slots, and no more than half of the job. Otherwise it is
//     rejected.
//
// A node's report of what it holds counts only as far as the node was given that, by the home or by a node that had it.
// Otherwise a liar could block the offers of others by claiming everything. Units that nobody reports to hold may be
// anybody's, since reports get lost, and so do nodes.
//
// Only the home that began a job knows who was given what. For a home that took over all units count as given to
// everybody. Where there are many nodes, whose reports are rare, only the first rule is applied.
type custody struct {
	self        tasks.PeerID                 // the home
	began       bool                         // this home has led the job from its beginning
	beganAt     time.Duration                // when it began the job
	out         tasks.Cover                  // units that have left the home at some time
	given       map[tasks.PeerID]tasks.Cover // by node, what it has ever taken from one who had it
	lent        map[tasks.PeerID]tasks.Cover // by node, what the home itself has granted it, taken or not
	many        bool                         // there were once so many nodes that their reports were rare
	unexplained []*keptBack                  // offers that wait for a report that explains them
}

// keptBack is an offer that no report explains yet.
type keptBack struct {
	merge.Partial
	since  time.Duration  // when it came
	audits int            // how many audits there have been since
	by     []tasks.PeerID // nodes that reported to hold some of its units when it was last looked at
}

// Gift is what a node reports of units that it has given to another node, To.
type Gift struct {
	To     tasks.PeerID `msgpack:"t"`
	Ranges tasks.Cover  `msgpack:"r"`
	// Taken says that To has acknowledged them.
	Taken bool `msgpack:"a,omitempty"`
	// Merge says that the units are in a partial which To is to merge with others. The giver keeps that partial, too.
	Merge bool `msgpack:"m,omitempty"`
}

// MaxGifts is how many gifts a report tells of at most.
const MaxGifts = 256

const (
	// explainWait is how long an offer waits for a report that explains it, in addition to twice the time between reports.
	// It is longer than the time after which a node that reports no more counts as silent.
	explainWait = 2 * time.Second
	// namedAfter is how many audits pass before a node is accused of offering what it was never given. They take half a
	// second each at least. In that time a home that leads no more without knowing it, and so has missed what went from
	// node to node, finds out.
	namedAfter = 8
	// tooFast is how many times as fast as the fastest slot of the other nodes a node's slots must have been for the home
	// to call its offer impossible.
	tooFast = 8
)

// Granted notes that the home has given units to another node, which may not have received them yet.
func (h *Home) Granted(c tasks.Cover) {
	if h.custody.began && !h.custody.out.Covers(c) {
		h.custody.out = h.custody.out.Union(c)
	}
}

// Lent notes that the home has granted work to a node.
func (h *Home) Lent(to tasks.PeerID, c tasks.Cover) {
	h.Granted(c)
	if h.traced() {
		if h.custody.lent == nil {
			h.custody.lent = map[tasks.PeerID]tasks.Cover{}
		}
		h.custody.lent[to] = h.custody.lent[to].Union(c)
	}
}

// Entrusted reports whether a node is known to have been given all of some units, to run. What it tells of them before
// there is an offer is heard only then: otherwise a liar would tell of the units of everybody.
func (h *Home) Entrusted(id tasks.PeerID, units tasks.Range) bool {
	return h.traced() && h.custody.lent[id].Union(h.custody.given[id]).Covers(tasks.CoverOf(units))
}

// Makers are the nodes that may have run some of these units, each with those that it was given at some time, or of
// which a partial of its own is committed, and this home, which may have run any. known are the units of which that is
// known: any node may have run the others. Those in a merge are among them: its maker could have put anything into it.
func (h *Home) Makers(units tasks.Cover) (of map[tasks.PeerID]tasks.Cover, known tasks.Cover) {
	if !h.traced() {
		return nil, nil
	}
	of = map[tasks.PeerID]tasks.Cover{h.custody.self: units}
	for _, all := range []map[tasks.PeerID]tasks.Cover{h.custody.lent, h.custody.given, h.dependent.made} {
		for id, c := range all {
			if c = c.Intersect(units); !c.Empty() {
				of[id] = of[id].Union(c)
			}
		}
	}
	return of, units.Minus(h.dependent.mixed)
}

// gave notes that a node has been given units.
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

// hasRoom reports whether one more offer of p's holder may wait to be explained.
func (c *custody) hasRoom(p merge.Partial) bool {
	count, ranges := 0, 0
	for _, k := range c.unexplained {
		if k.Holder == p.Holder {
			count, ranges = count+1, ranges+len(k.Cover)
		}
	}
	return count < maxKept && (count == 0 || ranges+len(p.Cover) <= maxOffered)
}

// mayHave is all units that a node was given at some time, as far as this home knows.
func (c *custody) mayHave(id tasks.PeerID, want tasks.Range) tasks.Cover {
	if id == c.self {
		return tasks.CoverOf(want)
	}
	return c.given[id]
}

// has is what a node reports to hold, as far as it is believed.
func (h *Home) has(id tasks.PeerID, n *node) tasks.Cover {
	if h.traced() && n.report.Traced {
		return n.held().Intersect(h.custody.mayHave(id, h.record.Want))
	}
	return n.held()
}

// traced reports whether this home knows who was given what.
func (h *Home) traced() bool {
	h.custody.many = h.custody.many || h.nodes.slack() > 0
	return h.custody.began && !h.custody.many
}

// follow takes from a report what its sender gave to others, and returns the nodes of whose units more is known now.
func (h *Home) follow(from tasks.PeerID, n *node, r *Report) (news []tasks.PeerID) {
	if !h.traced() || !r.Traced {
		return nil
	}
	news = []tasks.PeerID{from}
	if n.awaited--; n.awaited <= 0 {
		n.coming = nil
	}
	for _, g := range r.Gave {
		c := g.Ranges.Intersect(h.custody.mayHave(from, h.record.Want))
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

// giftsValid reports whether a report names few enough gifts, all of units of the job.
func (r *Report) giftsValid(want tasks.Range) bool {
	return len(r.Gave) <= MaxGifts && !slices.ContainsFunc(r.Gave, func(g Gift) bool { return !g.Ranges.Valid(want) })
}

// neverGiven reports whether another node offers units that have never left the home.
func (c *custody) neverGiven(p merge.Partial) bool {
	return c.began && p.Holder != c.self && !c.out.Covers(p.Cover) && !mutant.On(mutant.AnyClaim)
}

// disputed is the units of an offer that its holder was never given and that other nodes, by, report to hold.
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
		if id == p.Holder || !n.heard || !n.report.Traced || h.nodes.stale(id, h.now) {
			continue
		}
		held := n.held().Intersect(claimed).Intersect(h.custody.mayHave(id, h.record.Want))
		if c := held.Union(n.coming.Intersect(claimed)); !c.Empty() {
			out, by = out.Union(c), append(by, id)
		}
	}
	return out, by
}

// ordered reports whether a partial is the merge of known offers that its holder was ordered to make.
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

// explained reports whether nothing speaks against an offer. If something does the offer is kept back, and looked at
// again.
func (h *Home) explained(p merge.Partial) bool {
	disputed, by := h.disputed(p)
	if !h.custody.neverGiven(p) && disputed.Empty() {
		h.custody.explain(p.ID)
		return true
	}
	if !h.custody.waits(p.ID) && h.custody.hasRoom(p) {
		h.custody.unexplained = append(h.custody.unexplained, &keptBack{Partial: p, since: h.now, by: by})
	}
	return false
}

// maxKept bounds the offers of a node that are kept back. Its holder repeats an offer that finds no place.
const maxKept = 32

// lookAgain looks again at offers that are kept back: at each audit at all of them, and after a report at those that
// concern the nodes in news, of which the report has told something.
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
		case h.custody.neverGiven(k.Partial):
			if k.audits < namedAfter {
				h.custody.unexplained = append(h.custody.unexplained, k)
				continue
			}
			h.refuse(k.Partial)
			if h.nodes.impossible(k, h.custody.beganAt) {
				h.emit(False{By: k.Holder, Impossible: true})
			}
		default:
			h.weigh(k)
		}
	}
}

// impossible reports whether a node cannot have run by itself what it offered, in the time since the job began.
func (ns *nodes) impossible(k *keptBack, began time.Duration) bool {
	if slices.ContainsFunc(k.Kids, func(id merge.ID) bool { return id.Node != k.Holder }) { // the lie may be another's
		return false
	}
	var rate float64 // of the fastest slot
	for _, id := range ns.order {
		if n := ns.byID[id]; id != k.Holder && n.slots > 0 {
			rate = max(rate, n.report.Stats.Rate/float64(n.slots))
		}
	}
	slots, time := float64(max(ns.byID[k.Holder].slots, 1)), (k.since - began).Seconds()
	most := tooFast * rate * slots * time
	return rate > 0 && float64(k.Units) > most
}

// weigh decides on an offer that is kept back and has units which others report to hold.
func (h *Home) weigh(k *keptBack) {
	what, who := h.disputed(k.Partial)
	disputed, by := what.Len(), h.standings.of(k.Holder)
	k.by = who
	switch {
	case disputed == 0:
		h.admit(k.Partial)
	case h.now-k.since < explainWait+2*h.Every():
		h.custody.unexplained = append(h.custody.unexplained, k)
	case by.unexplained+disputed <= h.nodes.share(k.Holder, h.record.Want.Len()):
		by.unexplained += disputed
		h.admit(k.Partial)
	default:
		h.refuse(k.Partial)
	}
}

// share is to how many of all units of the job a node's slots entitle it. A node says itself how many slots it has, so
// it is no more than half of the job where other nodes have slots, too.
func (ns *nodes) share(id tasks.PeerID, units int64) int64 {
	slots := ns.byID[id].slots
	share := int64(float64(units) * float64(slots) / float64(max(ns.slots, 1)))
	if ns.slots > slots {
		share = min(share, units/2)
	}
	return share
}

// refuse rejects an offer that cannot be what it says. None of its units are put to work for that: others have them,
// and audits find those that nobody has.
func (h *Home) refuse(p merge.Partial) {
	h.noteRejected(p)
	if len(p.Kids) > 0 {
		h.counts.Exploded++
		h.offers.freeKids(p, h.now)
	}
}
