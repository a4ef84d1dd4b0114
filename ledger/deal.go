package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// dealing is how nodes get their first share of the work, and the tree in which partials come back to the home. Work
// that the home deals goes down a tree, and partials come up the same tree. Where work is only stolen, the tree is made
// of the nodes in the order in which they became ready. A node that comes back keeps its place, so none is ever above
// itself.
type dealing struct {
	on      bool           // work is dealt; otherwise it is only stolen
	units   int64          // how many units were to be run when the job began
	waiting []tasks.PeerID // nodes that have become ready and wait for their share
	since   time.Duration  // when the first of these began to wait

	heads  []tasks.PeerID                // the nodes right below the home in the tree of dealt work
	upper  map[tasks.PeerID]tasks.PeerID // by node, the one above it in that tree; empty for the home
	tree   []tasks.PeerID                // all nodes in the order in which they became ready, also those that have gone
	places map[tasks.PeerID]int          // the place of each node in tree, from 1 on
}

func newDealing(on bool) dealing {
	return dealing{on: on, upper: map[tasks.PeerID]tasks.PeerID{}, places: map[tasks.PeerID]int{}}
}

// becameReady gives a node its place in the tree if it has none, and has it wait for its share if work is dealt.
func (d *dealing) becameReady(id tasks.PeerID, share bool, now time.Duration) {
	if d.places[id] == 0 {
		d.tree = append(d.tree, id)
		d.places[id] = len(d.tree)
	}
	if share {
		if len(d.waiting) == 0 {
			d.since = now
		}
		d.waiting = append(d.waiting, id)
	}
}

// putBelow notes that a node passes dealt work on to others, and so merges their partials.
func (d *dealing) putBelow(id tasks.PeerID, others []Worker) {
	for _, group := range tasks.Fan(others, tasks.DealFan) {
		d.upper[group[0].ID] = id
		d.putBelow(group[0].ID, group[1:])
	}
}

// fewNodes is the largest number of nodes without a tree: the home deals to each, and takes the partials of each.
const fewNodes = 2 * merge.FanIn

// maxDealWait bounds how long a node that has become ready waits for others that are dealt work with it.
const maxDealWait = 50 * time.Millisecond

// dealWait is how long the first node waits for others to become ready. It grows with the number of nodes, so that one
// message serves many of them.
func (ns *nodes) dealWait() time.Duration {
	return min(time.Duration(len(ns.byID))*25*time.Microsecond, maxDealWait)
}

// becameReady notes a node that can work now.
func (h *Home) becameReady(id tasks.PeerID, n *node) {
	if id == h.cfg.Self || h.stopping.begun || n.slots == 0 {
		return
	}
	share := h.dealing.on && !n.dealt
	n.dealt = n.dealt || share
	h.dealing.becameReady(id, share, h.now)
}

// dealAll gives the nodes that have become ready lately their shares of all the work, by their slots. Where there are
// many nodes, one of them gets the shares of several, and passes them on.
func (h *Home) dealAll() {
	d := &h.dealing
	gather := len(h.nodes.byID) > fewNodes && h.now-d.since < h.nodes.dealWait()
	if len(d.waiting) == 0 || h.stopping.begun || gather {
		return
	}
	var all []Worker
	for _, id := range d.waiting {
		if n := h.nodes.byID[id]; n != nil && n.slots > 0 && !n.report.Leaving {
			all = append(all, Worker{id, n.slots})
		}
	}
	d.waiting = nil
	heads := merge.FanIn
	if len(h.nodes.byID) <= fewNodes {
		heads = len(all)
	}
	for _, group := range tasks.Fan(all, heads) {
		slots := 0
		for _, w := range group {
			slots += w.Slots
		}
		units := float64(d.units) * float64(slots) / float64(h.nodes.slots)
		to := group[0].ID
		d.upper[to] = h.headFor(to)
		d.putBelow(to, group[1:])
		h.emit(Deal{To: to, Blind: h.cannotRun(h.nodes.byID[to]), Units: int64(units), Others: group[1:], Above: d.upper[to]})
	}
}

// cannotRun is the units that a node is not to be dealt, since it cannot read them or does not know them yet.
func (h *Home) cannotRun(n *node) tasks.Cover {
	return n.blind.Union(h.record.unknown(n.report.Appends))
}

// headFor is the node above a node to which the home deals, empty for the home itself.
func (h *Home) headFor(id tasks.PeerID) tasks.PeerID {
	if len(h.nodes.byID) <= fewNodes {
		return ""
	}
	if len(h.dealing.heads) < merge.FanIn {
		h.dealing.heads = append(h.dealing.heads, id)
		return ""
	}
	head := h.dealing.heads[h.dealing.places[id]%len(h.dealing.heads)]
	if n := h.nodes.byID[head]; head == id || n == nil || n.report.Leaving {
		return ""
	}
	return head
}

// above is the node that merges the partials of one, empty for the home: in a tree over the nodes in the
// order in which they became ready. Work that is dealt goes down a tree of its own, and comes up that way.
func (h *Home) above(id tasks.PeerID) tasks.PeerID {
	switch up := h.nodes.byID[h.dealing.upper[id]]; {
	case h.dealing.on && up != nil && up.report.Ready && !up.report.Leaving:
		return h.dealing.upper[id]
	case h.dealing.on || len(h.nodes.byID) <= fewNodes:
		return ""
	}
	for at := h.dealing.places[id]; at > merge.FanIn; {
		at = (at - 1) / merge.FanIn // places count from 1, and the home's is 0
		up := h.dealing.tree[at-1]
		if o := h.nodes.byID[up]; o != nil && o.report.Ready && !o.report.Leaving {
			return up
		}
	}
	return ""
}

// Worker is a node that works for a job.
type Worker struct {
	ID    tasks.PeerID
	Slots int
}

// Reply is what a home answers to a report.
type Reply struct {
	Every time.Duration // the time between the node's reports from now on
	Above tasks.PeerID  // the node that merges its partials before they go to the home; empty for none
	Busy  []tasks.PeerID
	Left  []time.Duration
}

// maxUppers is how many of the nodes above it that a node was told of are remembered.
const maxUppers = 8

// answerAgain is how long reports that bring no news go unanswered where there are many nodes. It is less than three
// times the time between reports, after which a node would look for another home.
const answerAgain = 5 * time.Second

// Answer makes the answer to a report that was just taken. It is not due where there are many nodes and the answer
// would say nothing new.
func (h *Home) Answer(from tasks.PeerID, r Report, hints int) (a Reply, due bool) {
	n := h.nodes.byID[from]
	if n == nil {
		return a, false
	}
	a.Every = h.Every()
	if n.every == 0 {
		n.every = a.Every // it was told when the job was announced
	}
	few := a.Every <= h.cfg.Report
	long := h.now-n.acked >= max(answerAgain, a.Every*3/2)
	news := len(r.Failures) > 0 || few || n.acked == 0 && !h.dealing.on || long
	if d := n.every - a.Every; !news && d > -a.Every/4 && d < a.Every/4 {
		return a, false
	}
	n.every, n.acked = a.Every, h.now
	if r.Ready {
		if a.Above = h.above(from); a.Above != "" && !slices.Contains(n.uppers, a.Above) {
			n.uppers = append(n.uppers[max(len(n.uppers)-maxUppers+1, 0):], a.Above)
		}
	}
	a.Busy, a.Left = h.nodes.busiest(hints, from)
	return a, true
}
