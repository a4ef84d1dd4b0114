package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// fewNodes is up to how many nodes there is no tree: the home deals to each and takes partials from each.
const fewNodes = 2 * merge.FanIn

// maxDealWait bounds how long a node that has become ready waits for others that are dealt work with it.
const maxDealWait = 50 * time.Millisecond

// dealWait grows with the number of nodes, so that few messages do for many of them.
func (h *Home) dealWait() time.Duration {
	return min(time.Duration(len(h.nodes))*25*time.Microsecond, maxDealWait)
}

// becameReady notes a node that can work now.
func (h *Home) becameReady(id tasks.PeerID, n *node) {
	if id == h.cfg.Self || h.stopped || n.slots == 0 {
		return
	}
	if h.places[id] == 0 {
		h.tree = append(h.tree, id)
		h.places[id] = len(h.tree)
	}
	if h.deal && !n.dealt {
		n.dealt = true
		if len(h.undealt) == 0 {
			h.undealtAt = h.now
		}
		h.undealt = append(h.undealt, id)
	}
}

// dealAll gives the nodes that have become ready lately their share by slots of all the work. Where there
// are many the shares of several go to one of them, which passes them on.
func (h *Home) dealAll() {
	if len(h.undealt) == 0 || h.stopped || (len(h.nodes) > fewNodes && h.now-h.undealtAt < h.dealWait()) {
		return
	}
	var all []Worker
	for _, id := range h.undealt {
		if n := h.nodes[id]; n != nil && n.slots > 0 && !n.report.Leaving {
			all = append(all, Worker{id, n.slots})
		}
	}
	h.undealt = nil
	heads := merge.FanIn
	if len(h.nodes) <= fewNodes {
		heads = len(all)
	}
	for _, group := range tasks.Fan(all, heads) {
		slots := 0
		for _, w := range group {
			slots += w.Slots
		}
		units := float64(h.todo) * float64(slots) / float64(h.slots)
		h.upper[group[0].ID] = h.headFor(group[0].ID)
		h.putBelow(group[0].ID, group[1:])
		h.emit(Deal{To: group[0].ID, Blind: h.nodes[group[0].ID].blind, Units: int64(units), Others: group[1:], Above: h.upper[group[0].ID]})
	}
}

// putBelow notes to whom a node passes dealt work on, and whose partials it merges for that.
func (h *Home) putBelow(id tasks.PeerID, others []Worker) {
	for _, group := range tasks.Fan(others, tasks.DealFan) {
		h.upper[group[0].ID] = id
		h.putBelow(group[0].ID, group[1:])
	}
}

// headFor is the node above one that the home deals to: the home itself for the first few.
func (h *Home) headFor(id tasks.PeerID) tasks.PeerID {
	if len(h.nodes) <= fewNodes {
		return ""
	}
	if len(h.heads) < merge.FanIn {
		h.heads = append(h.heads, id)
		return ""
	}
	head := h.heads[h.places[id]%len(h.heads)]
	if n := h.nodes[head]; head == id || n == nil || n.report.Leaving {
		return ""
	}
	return head
}

// above is the node that merges the partials of one, empty for the home: in a tree over the nodes in the
// order in which they became ready. Work that is dealt goes down a tree of its own, and comes up that way.
func (h *Home) above(id tasks.PeerID) tasks.PeerID {
	switch up := h.nodes[h.upper[id]]; {
	case h.deal && up != nil && up.report.Ready && !up.report.Leaving:
		return h.upper[id]
	case h.deal || len(h.nodes) <= fewNodes:
		return ""
	}
	for at := h.places[id]; at > merge.FanIn; {
		at = (at - 1) / merge.FanIn // places count from 1; the home's is 0
		up := h.tree[at-1]
		if o := h.nodes[up]; o != nil && o.report.Ready && !o.report.Leaving {
			return up
		}
	}
	return ""
}

// Reply is what a home answers to a report.
type Reply struct {
	Every time.Duration // between the node's reports from now on
	Above tasks.PeerID  // merges this node's partials before they go to the home; empty for none
	Busy  []tasks.PeerID
	Left  []time.Duration
}

// maxUppers is how many of the nodes that a node was told to have above it are remembered.
const maxUppers = 8

// answerAgain is how long reports without news go unanswered where there are many nodes: fewer than three of
// them, after which a node would ask others for the home.
const answerAgain = 5 * time.Second

// Answer answers a report just taken; not due where there are many nodes and it would say nothing new.
func (h *Home) Answer(from tasks.PeerID, r Report, hints int) (a Reply, due bool) {
	n := h.nodes[from]
	if n == nil {
		return a, false
	}
	a.Every = h.Every()
	if n.every == 0 {
		n.every = a.Every // it was told when the job was announced
	}
	news := len(r.Failures) > 0 || a.Every <= h.cfg.Report || n.acked == 0 && !h.deal || h.now-n.acked >= max(answerAgain, a.Every*3/2)
	if d := n.every - a.Every; !news && d > -a.Every/4 && d < a.Every/4 {
		return a, false
	}
	n.every, n.acked = a.Every, h.now
	if r.Ready {
		if a.Above = h.above(from); a.Above != "" && !slices.Contains(n.uppers, a.Above) {
			n.uppers = append(n.uppers[max(len(n.uppers)-maxUppers+1, 0):], a.Above)
		}
	}
	a.Busy, a.Left = h.Busy(hints, from)
	return a, true
}
