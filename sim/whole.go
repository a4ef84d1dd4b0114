package sim

import (
	"slices"

	"github.com/dtpnode/dtpnode/tasks"
)

// Whole makes of a seed of TestExactlyOnce a job whose files are not divided (tasks.Dataset.Whole), since its code
// gives some of them up: at one unit of every second file, and skips the units behind it. What is run of a file is the
// same whoever runs it only if no packet begins behind that unit: the one that has it accounts for all that follows.
func Whole(seed uint64) Config {
	c := hostile(seed)
	// One file on one slow node could take longer than the whole job is given. An earlier job, and hosts that fail at any
	// entry, could have divided files anywhere.
	c.Whole, c.Files, c.Slow = true, 100, 0
	c.Base, c.Lacking = 0, 0
	return c
}

// planAborts chooses the units at which the code gives up the file. None is at or before one at which it crashes, to
// which it would not come.
func (w *world) planAborts() {
	if !w.cfg.Whole {
		return
	}
	w.job.Data.Whole = true
	w.aborts, w.flaked = make([]int64, len(w.job.Data.Files)), make([]int, len(w.job.Data.Files))
	for i := range w.aborts {
		units := w.job.Data.Units(i)
		at := units.First + int64((uint64(i)*0x9e3779b97f4a7c15+w.cfg.Seed*0xbf58476d1ce4e5b9)>>33)%max(units.Len(), 1)
		crashes := func(u int64) bool { return u >= at && u < units.Last } // where it would not come to
		if i%2 == 1 || slices.ContainsFunc(w.cfg.Poison, crashes) {
			at = units.Last
		}
		w.aborts[i] = at
	}
}

// crashesAt is the first unit of what is seen of a packet at which the code crashes. At every sixth unit at which it
// would give up the file it crashes the first two times, on whatever node.
func (w *world) crashesAt(seen tasks.Range) (int64, bool) {
	u, bad := w.firstPoison(seen)
	if !w.cfg.Whole || seen.Empty() {
		return u, bad
	}
	if i, _ := w.job.Data.Locate(seen.First); i < len(w.aborts) && i%6 == 0 && w.flaked[i] < 2 &&
		seen.Contains(w.aborts[i]) && (!bad || w.aborts[i] < u) {
		return w.aborts[i], true
	}
	return u, bad
}

// blamed is what a node blames for a crash at a unit.
func (w *world) blamed(u int64) tasks.Range {
	if !w.cfg.Whole {
		return tasks.R(u, u+1)
	}
	i, _ := w.job.Data.Locate(u)
	if i < len(w.aborts) && w.aborts[i] == u {
		w.flaked[i]++
	}
	return tasks.R(u, w.job.Data.Units(i).Last)
}

// seen is the part of a packet that the code sees.
func (w *world) seen(p tasks.Range) tasks.Range {
	if i, _ := w.job.Data.Locate(p.First); w.cfg.Whole && i < len(w.aborts) && p.Contains(w.aborts[i]) {
		p.Last = w.aborts[i] + 1
	}
	return p
}

// cutAt is where a packet ends that is cut at a unit: behind the one at which its file is given up, all is skipped.
func (w *world) cutAt(p tasks.Range, at int64) int64 {
	if r := w.seen(p); r != p && at >= r.Last {
		return p.Last
	}
	return min(at, p.Last)
}

// checkWhole fails the run if a packet has units of two files, or begins behind the unit at which its file is given up.
func (w *world) checkWhole(n *node, p tasks.Range) {
	if !w.cfg.Whole || !n.honest {
		return
	}
	i, _ := w.job.Data.Locate(p.First)
	if p.Last > w.job.Data.Units(i).Last {
		w.fail("%s runs units %v, of two files", n.id, p)
	}
	if i < len(w.aborts) && p.First > w.aborts[i] {
		w.fail("%s runs units %v, and the file is given up at %d", n.id, p, w.aborts[i])
	}
}
