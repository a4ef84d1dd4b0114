package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// A thief claims to have many slots and to be fast, asks all nodes for work all the time, takes it, and does nothing.

const thiefEvery = 20 * time.Millisecond

// planThieves makes thieves of the last nodes.
func (w *world) planThieves() {
	for i := range min(w.cfg.Thieves, w.cfg.Nodes-w.cfg.Liars-2) {
		n := w.nodes[w.cfg.Nodes-1-w.cfg.Liars-i]
		n.honest, n.thief = false, true
		w.after(thiefEvery, func() { w.ravage(n) })
	}
}

func (w *world) ravage(n *node) {
	if w.over {
		return
	}
	for _, o := range w.nodes {
		if n.up && o != n {
			w.res.Faults.Lies++
			n.thefts++
			w.post(n, o.id, engine.Message{
				Job: w.id,
				Steal: &steal.Message{Request: &steal.Request{
					ID:    n.thefts,
					Slots: 1 << 16,
					Jobs:  []tasks.JobID{w.id},
					Rates: []float64{9e11},
				}},
			})
		}
	}
	w.after(thiefEvery, func() { w.ravage(n) })
}

// takeAndDrop accepts what a thief is given.
func (w *world) takeAndDrop(n, from *node, m engine.Message) {
	if g := m.Steal.Grant; g != nil && n.up {
		w.res.Stolen += g.Ranges.Len()
		w.post(n, from.id, engine.Message{Job: w.id, Steal: &steal.Message{Ack: &steal.Ack{ID: g.ID, Job: g.Job, OK: true}}})
	}
}
