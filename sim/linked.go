package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// Here units of a job that grows depend on others, as tasks of a graph do. Those of a file are in levels of equal size;
// a unit depends on up to three units of the level before, or of the files before. No node may run a unit before all
// that it depends on has been committed. That a committed output was lost later does not count: who was given the unit
// before that may run it.

// Linked returns a hostile run of a job that grows by units that depend on others. Files of items have nothing to be
// blind for, and no unit is bad, since others could not be run then (ledger/depend_test.go).
func Linked(seed uint64) Config {
	c := Growing(seed)
	c.Linked, c.Blind, c.Hidden, c.Poison = true, 0, 0, nil
	c.Units, c.UnitTime = c.Units/8, c.UnitTime*8 // fewer and longer ones: they are ready one by one
	return c
}

// levels is how many levels the units of a file have. Each waits for outputs of the one before, and so the timeouts
// that Allowance is for may have to pass for each.
const levels = 3

// linkUnits makes items of files, each of which names others.
func (w *world) linkUnits(files []tasks.File) {
	if !w.cfg.Linked {
		return
	}
	for i := range files {
		f := &files[i]
		f.Items, f.Bytes, f.Depends = string(tasks.NameOf([]byte(f.URL))), f.Entries*16, true
		f.URL, f.Clusters = "", nil
	}
}

// dependsOn is what a unit depends on.
func (w *world) dependsOn(unit int64) (on []int64) {
	data := &w.job.Data
	file, _ := data.Locate(unit)
	units := data.Units(file)
	if !data.Files[file].Depends {
		return nil
	}
	size := max(units.Len()/levels, 1)
	level := (unit - units.First) / size
	before := tasks.R(units.First+(level-1)*size, units.First+level*size)
	if level == 0 {
		before = tasks.R(0, units.First)
	}
	if before.Empty() || before.First < 0 {
		return nil
	}
	for k := range unit % 4 {
		x := uint64(unit*4+k+1) * 0x9e3779b97f4a7c15
		on = append(on, before.First+int64((x^x>>29)%uint64(before.Len())))
	}
	return on
}

// readLinks tells a home what the units of an append depend on. Now and then it is lost.
func (w *world) readLinks(n *node, a tasks.Append) {
	first := w.client.desc.Want.Last
	for _, s := range w.client.steps[:a.Seq-1] {
		first += s.Units()
	}
	links := ledger.Links{Seq: a.Seq, First: []uint32{0}}
	for u := first; u < first+a.Units(); u++ {
		links.On = append(links.On, w.dependsOn(u)...)
		links.First = append(links.First, uint32(len(links.On)))
	}
	w.after(time.Duration(w.client.rng.IntN(200))*time.Millisecond, func() {
		if n.up && w.client.rng.IntN(4) > 0 {
			w.step(n, engine.Links{ID: w.id, Links: links})
		}
	})
}

// checkReady checks that all that some units depend on was committed before a node runs them.
func (w *world) checkReady(n *node, r tasks.Range) {
	if !w.cfg.Linked || !w.honestHome() {
		return
	}
	for u := r.First; u < r.Last; u++ {
		for _, on := range w.dependsOn(u) {
			if !w.committed.Has(on) {
				w.committed = w.committed.Union(w.committedNow())
			}
			if !w.committed.Has(on) {
				w.fail("%s runs unit %d before unit %d is committed", n.id, u, on)
				return
			}
		}
	}
}

// committedNow is what any record has as committed.
func (w *world) committedNow() (out tasks.Cover) {
	for _, n := range w.nodes {
		if n.up {
			if v, ok := n.peer.Growth(w.id); ok {
				out = out.Union(v.Committed)
			}
		}
	}
	return out
}
