package sim

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
)

// settle notes that a fault lasts until at.
func (w *world) settle(at time.Duration) { w.res.Settled = max(w.res.Settled, at) }

// planFaults spreads the faults over the time until Calm. None happens before the job is accepted, which it is as soon
// as its ledger is on the first disk.
func (w *world) planFaults() {
	faults := []struct {
		n  int
		do func(*node)
	}{
		{w.cfg.Crashes, w.crashSoon},
		{w.cfg.Wipes, w.wipe},
		{w.cfg.Pauses, w.pause},
		{w.cfg.Stutters, w.stutter},
		{w.cfg.Jumps, w.jump},
		{w.cfg.Rots, w.rot},
		{w.cfg.Twins, w.startTwin},
		{w.cfg.Kills, w.kill},
		{w.cfg.Leaves, w.leaveNode},
		{w.cfg.PowerCuts, func(*node) { w.powerCut() }},
		{w.cfg.Partitions, w.partition},
	}
	for _, f := range faults {
		for range f.n {
			w.after(w.random(w.cfg.Calm), func() {
				if n := w.victim(); n.up && (w.founded || w.cfg.Replicas == 0) {
					f.do(n)
				}
			})
		}
	}
	w.settle(w.cfg.Calm)
	for i := max(w.cfg.Nodes-w.cfg.Late, 0); i < w.cfg.Nodes; i++ {
		n := w.nodes[i]
		w.after(w.random(w.cfg.Calm), func() {
			if i == home {
				return
			}
			w.res.Faults.Joins++
			w.join(n)
			n.joined = w.now
		})
	}
}

// victim chooses the node for a fault: the home and its replicas more often than others. If only the home has the
// ledger, in memory, it is spared.
func (w *world) victim() *node {
	pick := w.rng.IntN(4)
	any := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.cfg.Replicas == 0 {
		if any.num == home {
			return w.nodes[len(w.nodes)-1]
		}
		return any
	}
	var replicas []*node
	for _, n := range w.nodes {
		if n.disk.log != nil {
			replicas = append(replicas, n)
		}
	}
	switch lead := w.leader(); {
	case pick == 0 && lead != nil:
		return lead
	case pick == 1 && len(replicas) > 0:
		return replicas[w.rng.IntN(len(replicas))]
	}
	return any
}

// leader is the process that leads the job's ledger now, nil for none.
func (w *world) leader() (lead *node) {
	var term uint64
	for _, n := range w.nodes {
		for _, p := range []*node{n, n.twin} {
			if p == nil || !p.up {
				continue
			}
			if v, ok := p.peer.Ledger(w.id); ok && w.counts(v) && v.Home == n.id && (lead == nil || v.Term > term) {
				if _, leads := p.peer.Leads(w.id); leads {
					lead, term = p, v.Term
				}
			}
		}
	}
	return lead
}

// mayLose reports whether a node may lose its disk now: the guarantees hold as long as no more than one replica is
// without its disk at a time.
func (w *world) mayLose(n *node) bool { return w.mayLoseUnder(w.leader(), n) }

func (w *world) mayLoseUnder(lead, n *node) bool {
	if w.ended {
		keep := 0
		for _, o := range w.nodes {
			if o != n && len(o.disk.results) > 0 {
				keep++
			}
		}
		return len(n.disk.results) == 0 || keep > 0
	}
	if n.disk.log == nil && len(n.disk.writes) == 0 {
		return true
	}
	if lead == nil {
		return false
	}
	v, _ := lead.peer.Ledger(w.id)
	if view, _ := lead.peer.View(w.id); len(v.Voters) != 3 || v.Changing || !view.Staffed {
		return false
	}
	voter := false
	for _, m := range v.Voters {
		o := w.nodes[w.index[m.Peer]]
		if o.num == n.num {
			voter = true
		} else if o.twin != nil || o.disk.log == nil || o.disk.log.Self.ID != m.ID || o.disk.refused ||
			len(o.disk.log.Entries) == 0 && o.disk.log.Snapshot == nil {
			return false
		}
	}
	return voter
}

// crashSoon crashes a node, perhaps in the middle of its next write.
func (w *world) crashSoon(n *node) {
	if w.rng.IntN(2) == 0 {
		w.crash(n)
		return
	}
	n.armed, n.waits = true, w.cfg.Snapshot > 0 && w.rng.IntN(2) == 0
	boot := n.boot
	w.after(time.Second, func() {
		if n.boot == boot && n.armed {
			w.crash(n)
		}
	})
}

// crash ends a node's process; it comes back a little later.
func (w *world) crash(n *node) {
	if !n.up || n.gone {
		return
	}
	f := &w.res.Faults
	f.Crashes++
	if n.disk.log != nil {
		f.ReplicaCrashes++
	}
	if w.leads(n) {
		f.HomeCrashes++
	}
	w.trace.printf(w.now, n, "CRASH")
	w.goDown(n)
}

func (w *world) leads(n *node) bool {
	_, ok := n.peer.Leads(w.id)
	return ok
}

// goDown stops a process for a while.
func (w *world) goDown(n *node) {
	w.takeDown(n, 5*time.Second)
	back := 200*time.Millisecond + w.random(8*time.Second)
	w.settle(w.now + back)
	w.after(back, func() { w.join(n) })
}

// wipe is a crash with the loss of the disk.
func (w *world) wipe(n *node) {
	if !n.up || n.gone || n.copy || !w.mayLose(n) {
		return
	}
	w.res.Faults.Wipes++
	if n.disk.log != nil {
		w.res.Faults.ReplicaWipes++
	}
	w.trace.printf(w.now, n, "WIPE")
	w.crash(n)
	w.lostDisk(n)
}

// lostDisk gives a node an empty disk.
func (w *world) lostDisk(n *node) {
	for id := range n.disk.kept {
		w.harmed[id] = true
	}
	for _, op := range n.disk.writes {
		op.void = true
	}
	w.harmedResult = w.harmedResult || len(n.disk.results) > 0
	n.emptied = w.ended
	n.disk = &disk{}
}

// powerCut crashes all nodes at once.
func (w *world) powerCut() {
	w.res.Faults.PowerCuts++
	w.trace.printf(w.now, w.nodes[home], "POWER CUT")
	for _, n := range w.nodes {
		if n.up {
			w.goDown(n)
		}
	}
}

// partition cuts some nodes off for a while, n among them.
func (w *world) partition(n *node) {
	p := &partition{in: make([]bool, len(w.nodes)), out: true, inw: true}
	p.in[n.num] = true
	if w.rng.IntN(2) == 0 { // otherwise n alone
		share := w.rng.Float64() / 2
		for i := range p.in {
			p.in[i] = p.in[i] || w.rng.Float64() < share
		}
	}
	w.res.Faults.Partitions++
	if w.rng.IntN(2) == 0 {
		w.res.Faults.OneWays++
		p.out = w.rng.IntN(2) == 0
		p.inw = !p.out
	}
	w.cuts = append(w.cuts, p)
	w.trace.printf(w.now, n, "PARTITION out %v in %v", p.out, p.inw)
	w.noticeAcross(p, 5*time.Second)
	last := w.between(time.Second, 15*time.Second)
	w.settle(w.now + last)
	w.after(last, func() {
		w.cuts = slices.DeleteFunc(w.cuts, func(o *partition) bool { return o == p })
		w.trace.printf(w.now, n, "HEAL")
		w.noticeAcross(p, time.Second)
	})
}

// noticeAcross lets the nodes on both sides of a partition notice what becomes of their links.
func (w *world) noticeAcross(p *partition, within time.Duration) {
	for i, in := range p.in {
		if !in {
			continue
		}
		for o := range w.viewed(w.nodes[i]) {
			if !p.in[o.num] {
				w.notice(w.nodes[i], o, w.random(within))
			}
		}
	}
}

// pause stops a node for longer than every timeout; the others take it for dead and see it return.
func (w *world) pause(n *node) {
	if !n.up || n.gone || n.paused > w.now || n.copy {
		return
	}
	w.res.Faults.Pauses++
	n.paused, n.asleep = w.now+8*time.Second+w.random(20*time.Second), w.now
	w.trace.printf(w.now, n, "PAUSE until %v", n.paused)
	w.settle(n.paused)
	for o := range w.viewed(n) {
		w.notice(n, o, asleepAfter)
		w.notice(n, o, n.paused-w.now+w.random(time.Second))
	}
}

// stutter stops a node again and again, for a moment each time.
func (w *world) stutter(n *node) {
	if !n.up || n.gone || n.paused > w.now {
		return
	}
	w.res.Faults.Stutters++
	boot, at := n.boot, time.Duration(0)
	for range 1 + w.rng.IntN(10) {
		at += w.between(50*time.Millisecond, time.Second)
		stop := w.between(50*time.Millisecond, 1500*time.Millisecond)
		w.after(at, func() {
			if n.boot == boot && n.up && n.paused <= w.now {
				n.paused, n.asleep = w.now+stop, w.now
			}
		})
		at += stop
	}
	w.settle(w.now + at)
}

// jump makes a node's clock leap forward or stand still.
func (w *world) jump(n *node) {
	if n.still > w.now {
		return
	}
	if w.rng.IntN(2) == 0 {
		w.res.Faults.Leaps++
		n.offset += w.random(time.Minute)
		w.trace.printf(w.now, n, "LEAP to %v", w.clock(n))
		w.step(n, engine.Tick{})
		return
	}
	w.res.Faults.Stills++
	n.stillAt = w.clock(n)
	d := w.between(time.Second, 10*time.Second)
	n.still, n.offset = w.now+d, n.offset-d
	w.trace.printf(w.now, n, "STILL until %v", n.still)
	w.settle(n.still)
	boot := n.boot
	w.after(d, func() {
		if n.boot == boot {
			w.step(n, engine.Tick{})
		}
	})
}

// rot makes a committed blob on a disk unreadable.
func (w *world) rot(n *node) {
	var worst string
	for id := range n.disk.kept {
		if s := id.String(); worst == "" || s < worst {
			worst = s
		}
	}
	for id := range n.disk.kept {
		if id.String() == worst {
			w.res.Faults.Rots++
			w.harmed[id] = true
			w.trace.printf(w.now, n, "ROT %v", id)
			n.disk.drop(w, id)
		}
	}
}

// startTwin starts another process with a node's identity, on another host. At most one replica at a time may be such a
// node, since what it promised may be known only to a process that is stopped again.
func (w *world) startTwin(n *node) {
	if n.copy || n.twin != nil || n.gone || !w.mayLose(n) || w.twins() > 0 {
		return
	}
	w.res.Faults.Twins++
	t := &node{num: n.num, id: n.id, speed: n.speed, view: n.view, disk: &disk{}, copy: true, honest: n.honest}
	w.trace.printf(w.now, n, "TWIN")
	n.twin = t
	w.join(t)
	w.after(w.between(time.Second, 10*time.Second), func() { w.stopTwin(n) })
	w.settle(w.now + 10*time.Second)
}

func (w *world) twins() (count int) {
	for _, n := range w.nodes {
		if n.twin != nil {
			count++
		}
	}
	return count
}

// stopTwin stops the second process, as soon as the ledger can do without it.
func (w *world) stopTwin(n *node) {
	t := n.twin
	if t.disk.log != nil && !w.ended && !w.mayEnd(t) {
		w.settle(w.now + time.Second)
		w.after(time.Second, func() { w.stopTwin(n) })
		return
	}
	w.trace.printf(w.now, t, "TWIN ENDS")
	if t.up {
		w.takeDown(t, 0)
	}
	w.lostDisk(t)
	t.gone = true
	n.twin = nil
}

// mayEnd is mayLose for a second process.
func (w *world) mayEnd(t *node) bool {
	n, lead := w.nodes[t.num], w.leader() // the leader may be t itself
	n.twin = nil
	ok := w.mayLoseUnder(lead, t)
	n.twin = t
	return ok
}

func (w *world) kill(n *node) {
	if !n.up || n.paused > w.now || len(n.gens) == 0 {
		return
	}
	ids := make([]steal.GenID, 0, len(n.gens))
	for id := range n.gens {
		ids = append(ids, id)
	}
	id := slices.Min(ids)
	w.res.Faults.Kills++
	w.trace.printf(w.now, n, "KILL gen %d", id)
	failure := ledger.Failure{Kind: "killed"}
	if g := n.gens[id]; len(g.queue) > 0 && !g.solo { // one that runs alone goes on being killed for what it runs
		failure.Blame = w.blamed(g.queue[0].First)
	}
	delete(n.gens, id)
	w.step(n, engine.GenFailed{Gen: id, Killed: true, Failure: failure})
}

// fewest is how many nodes must stay.
const fewest = 4

func (w *world) leaveNode(n *node) {
	stay := 0
	for _, o := range w.nodes {
		if !o.gone && !o.leaving {
			stay++
		}
	}
	if !n.up || n.gone || n.leaving || n.copy || stay <= fewest || w.silenced(n) {
		return
	}
	w.res.Faults.Leaves++
	if w.leads(n) {
		w.res.Faults.HomeLeaves++
	}
	n.leaving = true
	w.trace.printf(w.now, n, "LEAVE")
	w.step(n, engine.Leave{})
}

// left stops a process that has nothing that others need. If it still has a ledger, since nobody could take that, it
// comes back.
func (w *world) left(n *node) {
	n.leaving = false
	if n.disk.log != nil && !w.ended {
		w.goDown(n)
		return
	}
	n.gone = true
	w.takeDown(n, 0)
}
