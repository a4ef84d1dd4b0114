package sim

import (
	"iter"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/tasks"
)

// draw decides who may link to whom. In a large cluster a node cannot hold links to all. It has one to the home, those
// to its neighbours in a hypercube over the sorted members, over which work is pushed to idle nodes, and some random
// ones, over which it steals.
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

// viewed iterates over the nodes that n may link to.
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
			if o.num != n.num && !yield(o) {
				return
			}
		}
	}
}

// at is the process that a message to a peer reaches; if two have the identity, chance decides.
func (w *world) at(id tasks.PeerID) *node {
	n := w.nodes[w.index[id]]
	if t := n.twin; t != nil && t.up && (!n.up || w.rng.IntN(2) == 0) {
		return t
	}
	return n
}

// partition cuts some nodes off from the others.
type partition struct {
	in       []bool
	out, inw bool // what is sent out of the set is lost; what is sent into it is lost
}

// blocked reports whether a partition drops what a sends to b.
func (w *world) blocked(a, b *node) bool {
	for _, p := range w.cuts {
		if p.in[a.num] != p.in[b.num] && ((p.in[a.num] && p.out) || (p.in[b.num] && p.inw)) {
			return true
		}
	}
	return false
}

// reaches reports whether a can talk to b now.
func (w *world) reaches(a, b *node) bool {
	return a.num == b.num || (a.up && b.up && b.paused <= w.now && !w.blocked(a, b) && !w.blocked(b, a))
}

// asleepAfter is how long others wait for a paused node.
const asleepAfter = 5 * time.Second

// linked reports whether the connection of two nodes would hold now.
func (w *world) linked(a, b *node) bool {
	if w.shunned(a, b) {
		return false
	}
	awake := func(n *node) bool { return n.paused <= w.now || w.now-n.asleep < asleepAfter }
	return a.up && b.up && awake(a) && awake(b) && !w.blocked(a, b) && !w.blocked(b, a)
}

// notice lets two nodes notice, after d, whether they are connected.
func (w *world) notice(a, b *node, d time.Duration) {
	w.after(d, func() {
		on := w.linked(a, b)
		for _, ab := range [][2]*node{{a, b}, {b, a}} {
			if on && ab[0].up {
				w.link(ab[0], ab[1])
			} else if !on {
				w.unlink(ab[0], ab[1])
			}
		}
	})
}

// noticeAll does notice for all nodes that a node may link to, within a time.
func (w *world) noticeAll(n *node, within time.Duration) {
	for o := range w.viewed(n) {
		w.notice(n, o, w.random(within+time.Millisecond))
	}
}

// link tells a that b is up.
func (w *world) link(a, b *node) {
	i, ok := slices.BinarySearch(a.links, int32(b.num))
	if ok {
		return
	}
	a.links = slices.Insert(a.links, i, int32(b.num))
	w.step(a, engine.PeerUp{ID: b.id, Slots: w.cfg.Slots, Submits: b.num%3 == 0, Offers: w.offers(b)})
}

func (w *world) unlink(a, b *node) {
	if i, ok := slices.BinarySearch(a.links, int32(b.num)); ok {
		a.links = slices.Delete(a.links, i, i+1)
		w.step(a, engine.PeerDown{ID: b.id})
	}
}

// takeDown stops a node's process; each of the others notices after a while.
func (w *world) takeDown(n *node, notice time.Duration) {
	n.up = false
	n.boot++ // what was on its way to the node is lost
	n.links = nil
	w.tear(n.disk)
	if !n.copy {
		w.noticeAll(n, notice)
	}
}

// join starts a node, again or for the first time.
func (w *world) join(n *node) {
	if n.up || n.gone || w.over {
		return
	}
	for o := range w.viewed(n) {
		if !n.copy {
			w.unlink(o, n)
		}
	}
	if err := w.boot(n); err != nil {
		w.fail("%v", err)
		return
	}
	n.up = true
	w.trace.printf(w.now, n, "JOIN")
	w.restore(n)
	for o := range w.viewed(n) {
		if w.linked(n, o) {
			if !n.copy {
				w.link(o, n)
			}
			w.link(n, o)
		}
	}
}

// restore gives a process what is on its disk.
func (w *world) restore(n *node) {
	defer w.restoreSides(n)
	d := n.disk
	if d.end != nil {
		w.step(n, engine.Remember(*d.end))
	}
	if d.log == nil {
		d.kept = nil
		return
	}
	log := *d.log
	log.Entries = slices.Clone(log.Entries)
	if log.Snapshot != nil {
		w.res.Faults.Reloaded++
	}
	w.step(n, engine.Restore{ID: w.id, Job: w.client.desc, Log: log})
}

// send sends a message of a node's protocol; a liar may change it.
func (w *world) send(from *node, to tasks.PeerID, m engine.Message) {
	if from.liar != nil {
		var ok bool
		if m, ok = from.liar.Said(w.scene(), m); !ok {
			return
		}
	}
	w.post(from, to, m)
}

// intercepted lets a node that lies, or is about to, read a message first. It reports whether the node's honest
// protocol must not see it.
func (w *world) intercepted(o, from *node, m engine.Message) bool {
	if m.Enlist != nil && w.cfg.Liar == LyingWorker {
		return true // a lying worker is never a replica, so it must not answer
	}
	if o.liar != nil {
		if m.Gather != nil && from.honest {
			if w.res.Climbed == nil {
				w.res.Climbed = map[int]bool{}
			}
			w.res.Climbed[from.num] = true
		}
		o.liar.Hear(m)
	}
	w.lends(m)
	if o.thief && m.Steal != nil {
		w.takeAndDrop(o, from, m)
		return true
	}
	return false
}

// post sends a message over the modelled network.
func (w *world) post(from *node, to tasks.PeerID, m engine.Message) {
	if _, known := w.index[to]; !known {
		return // the peer was invented by a liar
	}
	w.res.Messages++
	w.measure(from, to, m)
	if !w.hostile() {
		w.reply(w.at(to), w.cfg.Latency/2+w.random(w.cfg.Latency), engine.Recv{From: from.id, Msg: m})
		return
	}
	w.sent(from, m)
	o := w.nodes[w.index[to]]
	o.disk.takeBack(m)
	if !o.honest && w.intercepted(o, from, m) || w.shunned(from, o) {
		return
	}
	f := &w.res.Faults
	copies := 1
	switch {
	case w.blocked(from, o):
		copies = 0
		f.Cut++
	case w.now >= w.cfg.Calm:
	case w.rng.Float64() < w.cfg.Drop:
		copies = 0
		f.Dropped++
	case w.rng.Float64() < w.cfg.Repeat:
		copies = 2
		f.Repeated++
	}
	for range copies {
		o := w.at(to)
		at := w.now + w.cfg.Latency/2 + w.random(w.cfg.Latency)
		if w.now < w.cfg.Calm && w.rng.Float64() < w.cfg.Delay {
			f.Late++
			at += w.random(3 * time.Second)
			if w.rng.IntN(20) == 0 {
				at += w.random(20 * time.Second)
			}
			w.settle(at)
		}
		key := [2]int32{int32(from.num), int32(o.num)}
		if at < w.latest[key] {
			f.Reordered++
		}
		w.latest[key] = max(w.latest[key], at)
		w.reply(o, at-w.now, engine.Recv{From: from.id, Msg: m})
	}
}
