package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Units of an open job may depend on others before them: an item may name those whose results it takes (tasks.File,
// Depends), as a task of a graph does. Such a unit is run once all that it depends on is committed. The home alone sees
// to that. It withholds the unit until then, and so all other nodes are given only what can be run; that a unit waits
// is no loss, which an audit would mend. What each item names is in its blob, which all that have a copy of the ledger
// have on disk: the home asks for it (ReadLinks) and is told (Links), and so does one that takes over. All else follows
// from the record.
//
// A unit that depends on one which is set aside is set aside as well, since it can never run. One that depends on units
// which are committed no more, since their outputs were lost, waits again.

// dependent is what a home knows of units that depend on others. blocked is those of them that are not committed and
// wait: for a unit before them or, in all of an append, for word of what they depend on.
type dependent struct {
	appends []*linked
	blocked tasks.Cover
	nodes   []tasks.PeerID               // that have committed something, by the numbers that votes have for them
	made    map[tasks.PeerID]tasks.Cover // units of partials of theirs that are committed, but for merges
	mixed   tasks.Cover                  // units of merges that are committed
}

// linked is an append whose units depend on others. Until its blob was read, known is false and the rest is empty.
type linked struct {
	seq   uint64
	units tasks.Range
	known bool
	left  []int32 // by unit, how many of those that it depends on are not committed
	edges []edge  // in the order of on, and each once
	votes []vote  // by unit, where most of what it takes was made
}

// vote is the node that has made most of what a unit takes, as far as this home has seen it committed: the one
// candidate for a majority, and by how many it is ahead (Boyer and Moore, MJRTY, 1981). It is a hint and no more: a
// merge may have been committed by another node than those that ran its units, and how large a result is nobody here
// knows.
type vote struct{ node, ahead int32 }

// count counts one result that a node has made.
func (v *vote) count(node int32) {
	switch {
	case v.ahead == 0:
		*v = vote{node, 1}
	case v.node == node:
		v.ahead++
	default:
		v.ahead--
	}
}

// edge says that a unit depends on another.
type edge struct{ on, unit int64 }

// Links answers ReadLinks: what the units of an append depend on. Those of its unit i, counted from 0, are On[First[i]]
// up to On[First[i+1]], as units of the job. Flaw is the reason, in words for the user, if the blob does not tell.
type Links struct {
	Seq   uint64
	First []uint32
	On    []int64
	Flaw  string
}

// Effects about units that depend on others.
type (
	// ReadLinks asks what the units of an append depend on; answer with Links.
	ReadLinks struct{ Append tasks.Append }
	// Ready puts units to work on this node's scheduler, since all that they depend on is committed. Near says which nodes
	// have made most of what some of them take.
	Ready struct {
		Ranges tasks.Cover
		Near   []Near
	}
)

// Near says that a node has what units take.
type Near struct {
	Node  tasks.PeerID
	Units tasks.Cover
}

func (Links) isLedgerEvent()      {}
func (ReadLinks) isLedgerEffect() {}
func (Ready) isLedgerEffect()     {}

// follow takes note of an append whose units depend on others: all of them wait until it is known on which.
func (d *dependent) follow(a *tasks.Append, units tasks.Range, done tasks.Cover) {
	d.appends = append(d.appends, &linked{seq: a.Seq, units: units})
	d.blocked = d.blocked.Union(tasks.CoverOf(units).Minus(done))
}

// followAll takes note of all appends of a record.
func (d *dependent) followAll(r *Record) {
	first := r.Want.Last
	for i := range r.Growth.Appends {
		first -= r.Growth.Appends[i].Units()
	}
	for i := range r.Growth.Appends {
		a := &r.Growth.Appends[i]
		units := tasks.R(first, first+a.Units())
		if first = units.Last; a.Depends() {
			d.follow(a, units, r.Done.Cover())
		}
	}
}

// askForLinks asks for what the units depend on of all appends of which that is not known.
func (h *Home) askForLinks() {
	for _, l := range h.dependent.appends {
		if !l.known {
			h.emit(ReadLinks{h.record.Growth.Appends[l.seq-1]})
		}
	}
}

// links takes what the units of an append depend on.
func (h *Home) links(ev Links) {
	at := slices.IndexFunc(h.dependent.appends, func(l *linked) bool { return l.seq == ev.Seq && !l.known })
	if at < 0 {
		return
	}
	l := h.dependent.appends[at]
	if why := l.read(&ev); why != "" {
		h.stop(fmt.Sprintf("given up: the job's append %d does not tell what its items depend on: %s", ev.Seq, why))
		return
	}
	done := h.record.Done.Cover()
	for _, e := range l.edges {
		if !done.Has(e.on) {
			l.left[e.unit-l.units.First]++
		}
	}
	var ready []tasks.Range
	for i, n := range l.left {
		if n == 0 {
			ready = append(ready, tasks.R(l.units.First+int64(i), l.units.First+int64(i)+1))
		}
	}
	h.unblock(tasks.CoverOf(ready...))
	h.doom()
}

// read takes what an append's units depend on, and says what is wrong with it.
func (l *linked) read(ev *Links) (wrong string) {
	n := l.units.Len()
	switch {
	case ev.Flaw != "":
		return ev.Flaw
	case int64(len(ev.First)) != n+1 || ev.First[0] != 0 || int(ev.First[n]) != len(ev.On) || !slices.IsSorted(ev.First):
		return fmt.Sprintf("it has %d items, and what they name is told of %d", n, len(ev.First)-1)
	}
	edges := make([]edge, 0, len(ev.On))
	for i := range n {
		unit := l.units.First + i
		for _, on := range ev.On[ev.First[i]:ev.First[i+1]] {
			if on < 0 || on >= unit {
				return fmt.Sprintf("the item %d names the item %d, which does not come before it", unit, on)
			}
			edges = append(edges, edge{on, unit})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.on, b.on), cmp.Compare(a.unit, b.unit)) })
	l.edges, l.left, l.known = slices.Clip(slices.Compact(edges)), make([]int32, n), true
	l.votes = make([]vote, n)
	return ""
}

// users are the edges to units of a range.
func (l *linked) users(r tasks.Range) []edge {
	at := func(u int64) int {
		i, _ := slices.BinarySearchFunc(l.edges, u, func(e edge, u int64) int { return cmp.Compare(e.on, u) })
		return i
	}
	return l.edges[at(r.First):at(r.Last)]
}

// after follows units that are committed with a partial: those that waited for the last of them can run.
func (h *Home) after(p merge.Partial) {
	if len(h.dependent.appends) == 0 {
		return
	}
	c, by := p.Cover, p.Holder
	h.dependent.makes(p)
	node := int32(slices.Index(h.dependent.nodes, by))
	if node < 0 {
		node = int32(len(h.dependent.nodes))
		h.dependent.nodes = append(h.dependent.nodes, by)
	}
	h.dependent.blocked = h.dependent.blocked.Minus(c) // somebody has run some of them, perhaps when a home before led
	var ready []tasks.Range
	for _, l := range h.dependent.appends {
		for _, r := range c {
			for _, e := range l.users(r) {
				l.votes[e.unit-l.units.First].count(node)
				if l.left[e.unit-l.units.First]--; l.left[e.unit-l.units.First] == 0 {
					ready = append(ready, tasks.R(e.unit, e.unit+1))
				}
			}
		}
	}
	h.unblock(tasks.CoverOf(ready...))
}

// makes notes who has run the units of a partial, which nobody can tell of a merge.
func (d *dependent) makes(p merge.Partial) {
	if len(p.Kids) > 0 {
		d.mixed = d.mixed.Union(p.Cover)
		return
	}
	if d.made == nil {
		d.made = map[tasks.PeerID]tasks.Cover{}
	}
	d.made[p.ID.Node] = d.made[p.ID.Node].Union(p.Cover)
}

// unblock puts those of some units to work that have waited.
func (h *Home) unblock(c tasks.Cover) {
	if mutant.On(mutant.EarlyUnit) {
		c = h.dependent.blocked
	}
	ready := c.Intersect(h.dependent.blocked)
	if ready.Empty() {
		return
	}
	h.dependent.blocked = h.dependent.blocked.Minus(ready)
	if ready = ready.Intersect(h.open()); !ready.Empty() && !h.stopping.begun && !h.Ended() {
		h.emit(Ready{Ranges: ready, Near: h.dependent.near(ready)})
	}
}

// near says which nodes have made most of what some units take, in the order of the nodes' first commits.
func (d *dependent) near(c tasks.Cover) (out []Near) {
	of := make([][]tasks.Range, len(d.nodes))
	for _, l := range d.appends {
		if !l.known {
			continue
		}
		for _, r := range c.Intersect(tasks.CoverOf(l.units)) {
			for u := r.First; u < r.Last; u++ {
				if v := l.votes[u-l.units.First]; v.ahead > 0 {
					of[v.node] = append(of[v.node], tasks.R(u, u+1))
				}
			}
		}
	}
	for i, units := range of {
		if len(units) > 0 {
			out = append(out, Near{d.nodes[i], tasks.CoverOf(units...)})
		}
	}
	return out
}

// undone follows units that are committed no more: those that depend on them wait again.
func (h *Home) undone(c tasks.Cover) {
	var again []tasks.Range
	for _, l := range h.dependent.appends {
		if !l.known {
			again = append(again, c.Intersect(tasks.CoverOf(l.units))...)
			continue
		}
		for _, r := range c {
			for _, e := range l.users(r) {
				l.left[e.unit-l.units.First]++
				again = append(again, tasks.R(e.unit, e.unit+1))
			}
			own := r.Intersect(l.units)
			for u := own.First; u < own.Last; u++ {
				if l.left[u-l.units.First] > 0 {
					again = append(again, tasks.R(u, u+1))
				}
			}
		}
	}
	h.dependent.blocked = h.dependent.blocked.Union(tasks.CoverOf(again...).Minus(h.record.Done.Cover()))
}

// doom proposes to set aside all that can never run, since it depends on units that are set aside. It is called at each
// audit, since proposals may be lost.
func (h *Home) doom() {
	for i := range h.record.Lost {
		h.doomBy(&h.record.Lost[i])
	}
}

// doomBy proposes to set aside what depends on units that are set aside.
func (h *Home) doomBy(lost *Lost) {
	if len(h.dependent.appends) == 0 || h.stopping.begun || h.Ended() {
		return
	}
	var units []tasks.Range
	for _, l := range h.dependent.appends {
		for _, e := range l.users(lost.Range) {
			units = append(units, tasks.R(e.unit, e.unit+1))
		}
	}
	for _, r := range tasks.CoverOf(units...).Intersect(h.unaccounted()) {
		why := lost.Failed
		why.Failure = Failure{Blame: r, Kind: kindInput, Reason: lost.Reason, Data: true}
		if lost.Kind != kindInput { // The reason of the first one, which did not go well, is that of all.
			why.Reason = fmt.Sprintf("it takes a result of %v, which is left out: %s", lost.Range, lost.Reason)
			why.Failure = why.Cut()
		}
		h.emit(Propose{Entry{Lost: &Lost{Range: r, Failed: why}}})
	}
}

// kindInput is the kind of failure of units that depend on others which are set aside.
const kindInput = "input"
