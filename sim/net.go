package sim

import (
	"iter"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
)

// draw decides who may link to whom. In a large cluster a node cannot hold links to all: it has one to
// the home, those to its neighbours in a hypercube over the sorted members, where work is pushed to
// idle nodes, and some drawn by chance, to steal over.
func (w *world) draw() {
	count := int32(len(w.nodes))
	if w.cfg.View <= 0 || int(count) <= 2*w.cfg.View {
		return
	}
	add := func(a, b int32) {
		if a != b {
			w.nodes[a].view = append(w.nodes[a].view, b)
			w.nodes[b].view = append(w.nodes[b].view, a)
		}
	}
	for i := range count {
		add(i, home)
		for d := int32(1); d < count; d *= 2 {
			add(i, (i+d)%count)
		}
		for range w.cfg.View {
			add(i, int32(w.rng.IntN(int(count))))
		}
	}
	for _, n := range w.nodes {
		slices.Sort(n.view)
		n.view = slices.Clip(slices.Compact(n.view))
	}
}

// viewed runs over the nodes that n may link to.
func (w *world) viewed(n *node) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		if n.view != nil {
			for _, i := range n.view {
				if !yield(w.nodes[i]) {
					return
				}
			}
			return
		}
		for _, o := range w.nodes {
			if o != n && !yield(o) {
				return
			}
		}
	}
}

// link lets a know that b is up.
func (w *world) link(a, b *node) {
	if i, ok := slices.BinarySearch(a.links, int32(b.num)); !ok {
		a.links = slices.Insert(a.links, i, int32(b.num))
	}
	w.step(a, engine.PeerUp{ID: b.id, Slots: w.cfg.Slots})
}

func (w *world) unlink(a, b *node) {
	if i, ok := slices.BinarySearch(a.links, int32(b.num)); ok {
		a.links = slices.Delete(a.links, i, i+1)
		w.step(a, engine.PeerDown{ID: b.id})
	}
}

// takeDown stops a node; the others notice after a while each.
func (w *world) takeDown(n *node, notice time.Duration) {
	n.up = false
	n.boot++ // what was on its way to it is lost
	n.links = nil
	boot := n.boot
	for o := range w.viewed(n) {
		w.after(w.random(notice+time.Millisecond), func() {
			if n.boot == boot {
				w.unlink(o, n)
			}
		})
	}
}
