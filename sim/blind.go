package sim

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Here some nodes do not see all files, since no path leads there from their host. The last Config.Blind nodes lack
// from a third to all of the files. Of these nodes every third sees the files again some time before Calm, and every
// third sees them at first. A generation that reaches such a file loses its work, so a node must not try often.

// everBlind reports whether a node may lack files at some time; half of the nodes never do.
func (w *world) everBlind(n *node) bool { return n.num >= max(w.cfg.Nodes-w.cfg.Blind, w.cfg.Nodes/2) }

// hidden reports whether nobody sees the file of a unit.
func (w *world) hidden(u int64) bool {
	if w.cfg.Hidden == 0 {
		return false
	}
	file, _ := w.job.Data.Locate(u)
	return file >= len(w.job.Data.Files)-w.cfg.Hidden
}

// mustBeLost lists the units that no node can do.
func (w *world) mustBeLost() []int64 {
	bad := slices.DeleteFunc(slices.Clone(w.cfg.Poison), func(u int64) bool { return !w.job.Want.Contains(u) })
	for i := max(len(w.job.Data.Files)-w.cfg.Hidden, 0); i < len(w.job.Data.Files); i++ {
		for u, r := w.job.Data.Units(i).First, w.job.Data.Units(i); u < r.Last; u++ {
			if !w.poison[u] {
				bad = append(bad, u)
			}
		}
	}
	return bad
}

// draws is a random number for a node and a file, the same in every run of a seed.
func (w *world) draws(a, b int) uint64 {
	return tasks.Canary(w.cfg.Seed^0xb11d, tasks.R(int64(a), int64(b)))
}

// blind reports whether a node does not see a file now.
func (w *world) blind(n *node, file int) bool {
	files := len(w.job.Data.Files)
	switch {
	case file >= files-w.cfg.Hidden:
		return true
	case w.cfg.Halves:
		quarter := file * w.cfg.Nodes / files
		return quarter != n.num && quarter != (n.num+1)%w.cfg.Nodes
	case !w.everBlind(n):
		return false
	}
	turn := time.Duration(w.draws(n.num, -1) % uint64(max(w.cfg.Calm, time.Second)))
	switch n.num % 3 {
	case 0:
		if w.now >= turn {
			return false
		}
	case 1:
		if w.now < turn {
			return false
		}
	}
	return w.draws(n.num, file)%3 <= w.draws(n.num, -2)%3
}

// lacks reports whether a node's host lacks what the selector itself opens, such as a friend tree: everything fails
// there, as if by the entries. These are the nodes numbered just below those of Config.Blind.
func (w *world) lacks(n *node) bool {
	last := max(w.cfg.Nodes-w.cfg.Blind, w.cfg.Nodes/2)
	return n.num < last && n.num >= max(last-w.cfg.Lacking, 2)
}

// failLacking fails a generation of a node that lacks something: the file seems to lack what is read, or an entry
// crashes.
func (w *world) failLacking(n *node, id steal.GenID, p tasks.Range) {
	file, _ := w.job.Data.Locate(p.First)
	f := ledger.Failure{Blame: w.job.Data.Units(file), Kind: "schema", Reason: "no friend", Data: true}
	if n.num%2 == 0 {
		f = ledger.Failure{Blame: tasks.R(p.First, p.First+1), Kind: "signal", Reason: "no friend"}
	}
	delete(n.gens, id)
	w.res.Lacked++
	w.step(n, engine.GenFailed{Gen: id, Failure: f})
}

const noSuchFile = "No such file or directory"

// triesOfBlind is how many generations in one life of a node may reach files that it does not see: one for each slot
// before the node has looked, at its start, when the files vanish, and when others are appended.
func (w *world) triesOfBlind() int { return 4*w.cfg.Slots + 4 + w.cfg.Slots*len(w.client.steps) }

func (w *world) failUnread(n *node, id steal.GenID, file int) {
	g := n.gens[id]
	p := g.queue[0]
	g.queue = g.queue[1:]
	if len(g.queue) > 0 {
		w.runPacket(n, id, 0)
	}
	w.res.Unread++
	if n.unread++; n.unread > w.triesOfBlind() {
		w.fail("%s tries again and again what it does not see: file %d", n.id, file)
	}
	w.step(n, engine.PacketRefused{
		Gen:     id,
		Packet:  p,
		Failure: ledger.Failure{Blame: w.job.Data.Units(file), Kind: "open", Reason: noSuchFile, Host: "missing", Data: true},
	})
}

// look tells a node which files it sees.
func (w *world) look(n *node, e engine.Look) {
	boot := n.boot
	w.after(time.Duration(1+len(e.Files))*100*time.Microsecond, func() {
		if n.boot != boot {
			return
		}
		out := engine.Looked{ID: e.ID}
		for _, f := range e.Files {
			g := engine.Glance{File: f}
			if w.side(e.ID) == nil && w.blind(n, f) {
				g.Cause, g.Reason = "missing", noSuchFile
			}
			out.Files = append(out.Files, g)
		}
		w.step(n, out)
	})
}

// struckOut checks what a home wants to set aside because nobody can read it.
func (w *world) struckOut(n *node, l ledger.Lost) {
	if l.Host == "" || w.hidden(l.Range.First) {
		return
	}
	v, _ := n.peer.View(w.id)
	for _, o := range w.nodes {
		if r, known := v.Nodes[o.id]; known && r.Ready && !w.everBlind(o) && o.up && w.linked(n, o) {
			w.fail("%s strikes out %v as unreadable, which %s sees", n.id, l.Range, o.id)
			return
		}
	}
}
