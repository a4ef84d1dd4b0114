package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// runPacket starts the first packet in a generation's queue, and queues the event of its end.
func (w *world) runPacket(n *node, id steal.GenID, extra time.Duration) {
	g := n.gens[id]
	p := g.queue[0]
	g.started, g.token = w.now, g.token+1
	token, boot := g.token, n.boot
	if w.side(g.job) != nil { // whose code, files and hosts are all well
		w.after(extra+w.runTime(n, p.Len()), func() {
			if n.boot == boot && n.gens[id] == g && g.token == token {
				w.endPacket(n, id, p.Last)
			}
		})
		return
	}
	if file, _ := w.job.Data.Locate(p.First); w.blind(n, file) {
		w.after(extra+time.Millisecond, func() {
			if cur := n.gens[id]; n.boot == boot && cur == g && g.token == token {
				w.failUnread(n, id, file)
			}
		})
		return
	}
	if w.lacks(n) {
		w.after(extra+time.Millisecond, func() {
			if cur := n.gens[id]; n.boot == boot && cur == g && g.token == token {
				w.failLacking(n, id, p)
			}
		})
		return
	}
	if u, bad := w.crashesAt(w.seen(p)); bad {
		w.after(extra+w.runTime(n, u-p.First), func() {
			if cur := n.gens[id]; n.boot == boot && cur == g && g.token == token {
				w.failGen(n, id, w.blamed(u))
			}
		})
		return
	}
	w.after(extra+w.runTime(n, w.seen(p).Len()), func() {
		if n.boot == boot && n.gens[id] == g && g.token == token {
			w.endPacket(n, id, p.Last)
		}
	})
}

// These are measured times that a packet takes beside its units: the first one of a generation waits for a child to be
// forked.
const (
	forGeneration = 3 * time.Millisecond
	forPacket     = 300 * time.Microsecond
)

// beforePacket is the time before the first unit of a packet that was not queued behind another.
func beforePacket(g *genModel) time.Duration {
	if len(g.done.packets) == 0 {
		return forGeneration
	}
	return forPacket
}

func (w *world) firstPoison(p tasks.Range) (int64, bool) {
	best, bad := int64(0), false
	for _, u := range w.cfg.Poison {
		if p.Contains(u) && (!bad || u < best) {
			best, bad = u, true
		}
	}
	return best, bad
}

func (w *world) runTime(n *node, units int64) time.Duration {
	return time.Duration(float64(units) * float64(w.cfg.UnitTime) / n.speed)
}

func (w *world) failGen(n *node, id steal.GenID, blame tasks.Range) {
	delete(n.gens, id)
	w.step(n, engine.GenFailed{Gen: id, Failure: ledger.Failure{Blame: blame, Kind: "signal", Reason: "poison"}})
}

// endPacket ends the running packet at unit last, and begins the next.
func (w *world) endPacket(n *node, id steal.GenID, last int64) {
	g := n.gens[id]
	if n.paused > w.now { // a paused process does not run
		w.whenAwake(n, id, func() { w.endPacket(n, id, last) })
		return
	}
	p := g.queue[0]
	g.queue = g.queue[1:]
	elapsed := w.book(g, p, last)
	if len(g.queue) > 0 {
		w.runPacket(n, id, 0)
	}
	w.step(n, engine.PacketDone{Gen: id, Packet: p, Last: last, Elapsed: elapsed})
}

// whenAwake calls do at the end of a node's pause, if the generation still runs then.
func (w *world) whenAwake(n *node, id steal.GenID, do func()) {
	boot, g := n.boot, n.gens[id]
	token := g.token
	w.after(n.paused-w.now, func() {
		if n.boot == boot && n.gens[id] == g && g.token == token {
			do()
		}
	})
}

// book counts the part of p up to last as done by g.
func (w *world) book(g *genModel, p tasks.Range, last int64) (elapsed time.Duration) {
	w.worked(g.started, w.now)
	if done := tasks.R(p.First, last); !done.Empty() {
		if k := len(g.done.packets); k > 0 && g.done.packets[k-1].Last == done.First { // saves memory
			g.done.packets[k-1].Last = done.Last
		} else {
			g.done.packets = append(g.done.packets, done)
		}
		g.done.canary += tasks.Canary(g.job.Seed(), done)
		if g.job == w.id {
			w.ran += done.Len()
		}
	}
	return max(w.now-g.started, time.Microsecond)
}

// preempt cuts the running packet after its current unit, and hands back the packets queued behind it.
func (w *world) preempt(n *node, id steal.GenID) {
	g := n.gens[id]
	if g == nil || len(g.queue) == 0 || g.cutting {
		return
	}
	g.token++
	g.cutting = true
	p := g.queue[0]
	at, wait := p.First, time.Millisecond
	if ran := w.now - g.started; w.cfg.UnitTime > 0 {
		at += int64(float64(ran)*n.speed/float64(w.cfg.UnitTime)) + 1
		wait = max(wait, w.runTime(n, at-p.First)-ran)
	}
	if w.side(g.job) == nil {
		if u, bad := w.crashesAt(w.seen(p)); bad {
			at = min(at, u)
		}
		at = w.cutAt(p, at)
		if file, _ := w.job.Data.Locate(p.First); w.blind(n, file) || w.lacks(n) {
			at = p.First
		}
	}
	boot := n.boot
	w.after(wait, func() {
		if n.boot == boot && n.gens[id] == g {
			w.cut(n, id, min(at, p.Last))
		}
	})
}

func (w *world) cut(n *node, id steal.GenID, at int64) {
	g := n.gens[id]
	if n.paused > w.now {
		w.whenAwake(n, id, func() { w.cut(n, id, at) })
		return
	}
	queue := g.queue
	g.queue, g.cutting = nil, false
	elapsed := w.book(g, queue[0], at)
	w.step(n, engine.PacketDone{Gen: id, Packet: queue[0], Last: at, Elapsed: elapsed})
	for _, q := range queue[1:] {
		if n.gens[id] == g {
			w.step(n, engine.PacketDone{Gen: id, Packet: q, Last: q.First})
		}
	}
}

func (w *world) sealGen(n *node, e engine.SealGen) {
	g := n.gens[e.Gen]
	boot := n.boot
	w.after(2*time.Millisecond, func() {
		if n.boot != boot || n.gens[e.Gen] != g {
			return
		}
		delete(n.gens, e.Gen)
		g.done.sha, g.done.job = w.sha(), g.job
		w.store(n, e.ID, g.done)
		w.step(n, engine.GenSealed{Gen: e.Gen, Partial: w.partial(g.job, e.ID, nil, g.done)})
	})
}

// partial is what a node tells of a blob that it has made of inputs, or without any by a generation. Its cover is the
// engine's to say.
func (w *world) partial(job tasks.JobID, id merge.ID, inputs []merge.Partial, b blob) merge.Partial {
	return merge.Partial{
		ID:     id,
		Job:    job,
		Units:  b.units(),
		Canary: b.canary,
		SHA256: b.sha,
		Size:   w.size(b),
		Kids:   merge.IDs(inputs),
		Holder: id.Node,
	}
}

// store puts an uncommitted blob into a node's scratch.
func (w *world) store(n *node, id merge.ID, b blob) {
	n.blobs[id] = b
	var open int64
	for _, b := range n.blobs {
		open += w.size(b)
	}
	w.res.MostOpen = max(w.res.MostOpen, open)
}

// made is the node that made a partial.
func (w *world) made(p merge.Partial) *node {
	if i, ok := w.index[p.ID.Node]; ok {
		return w.nodes[i]
	}
	return &node{} // the name was invented by a liar
}

func (w *world) mergeBlobs(n *node, e engine.MergeBlobs) {
	var out blob
	ok := true
	for _, p := range e.Inputs {
		b, have := w.lookup(n, p)
		ok = ok && have
		out.packets = append(out.packets, b.packets...)
		out.claimed = append(out.claimed, b.claimed...)
		out.canary += b.canary
		out.lie = out.lie || b.lie || !w.made(p).honest // the input may not be what its maker says
		out.depth = max(out.depth, b.depth+1)
		if p.Holder != n.id {
			w.moved(n)
		}
	}
	w.res.Load.Merges++
	w.res.Load.Depth = max(w.res.Load.Depth, out.depth)
	boot := n.boot
	w.after(2*w.cfg.Latency+w.cfg.Blob+5*time.Millisecond, func() {
		if n.boot != boot {
			return
		}
		if !ok {
			w.step(n, engine.NotMerged{Job: e.Job, Kids: merge.IDs(e.Inputs)})
			return
		}
		out.sha, out.job = w.sha(), e.Job
		w.store(n, e.ID, out)
		w.step(n, engine.Merged{Partial: w.partial(e.Job, e.ID, e.Inputs, out)})
	})
}
