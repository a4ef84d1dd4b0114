package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// Here the last merge and Terminate fail on some nodes, or on all. Nothing that is committed may be lost by that, no
// node may try twice without being told to, and a job that nobody can finish must say so. Then the user repairs the
// cause and asks for another try, and the job must end like any other.

// ends is the state of the attempts to make the result.
type ends struct {
	tried   map[attempt]bool
	badEnd  map[*node]bool
	stuckAt time.Duration // since when the home reports that nobody tries any more; 0 if it does not
	codes   map[uint64]int
}

// attempt is a failed attempt to make the result.
type attempt struct {
	node  *node
	boot  int // life of the node: a process that dies before the log has its attempt forgets it
	round uint64
}

func newEnds() ends {
	return ends{tried: map[attempt]bool{}, badEnd: map[*node]bool{}, codes: map[uint64]int{}}
}

// drawEnds chooses the nodes that cannot make the result until the faults stop.
func (w *world) drawEnds() {
	if w.cfg.BadEnds == 0 {
		return
	}
	for _, n := range w.nodes {
		w.badEnd[n] = w.rng.Float64() < w.cfg.BadEnds
	}
}

// cannotEnd decides whether an attempt to make the result fails.
func (w *world) cannotEnd(n *node, e engine.FinishJob) bool {
	v, _ := n.peer.Ledger(w.id)
	a := attempt{n, n.boot, v.Round}
	if w.tried[a] && n == w.leader() {
		w.fail("%s tries to end the job once more, though that failed and nobody asked for it", n.id)
		return true
	}
	code := w.cfg.BadCode && w.now < w.mended()
	if !code && (!w.badEnd[n] || w.now >= w.mended()) {
		return false
	}
	w.tried[a] = true
	if w.codes[v.Round]++; code && w.codes[v.Round] > 2 && w.gentleEnds() {
		w.fail("the user's code, which crashes at the end of the job, is run a third time by itself, by %s", n.id)
		return true
	}
	w.res.Faults.BadEnds++
	w.trace.printf(w.now, n, "BAD END, round %d", v.Round)
	w.reply(n, 50*time.Millisecond, engine.Unfinished{
		ID:      e.ID,
		Attempt: ledger.Attempt{Failure: ledger.Failure{Kind: "disk", Reason: diskFull}, Code: code},
	})
	return true
}

// mended is when attempts succeed again. It is later than the job could end at the earliest.
func (w *world) mended() time.Duration { return 4 * w.cfg.Calm }

// gentleEnds reports whether no process dies between an attempt and its entry in the log.
func (w *world) gentleEnds() bool { return w.cfg.gentle() }

// followEnds plays the job's user, who sees that the job cannot be finished and asks for another try once that may
// help.
func (w *world) followEnds(n *node) {
	v, ok := n.peer.View(w.id)
	if !ok || !v.Stuck {
		w.stuckAt = 0
		return
	}
	if w.stuckAt == 0 {
		w.stuckAt = w.now
		w.res.Faults.Stuck++
		w.keepsCommitted()
	}
	if w.now >= w.mended() && w.now-w.stuckAt >= time.Second {
		w.stuckAt = w.now
		w.trace.printf(w.now, n, "RETRY")
		w.step(n, engine.RetryJob{ID: w.id})
	}
}

// keepsCommitted checks that everything committed of a job which cannot be finished is still on some disk.
func (w *world) keepsCommitted() {
	var have tasks.Cover
	for _, n := range w.nodes {
		for _, b := range n.disk.kept {
			have = have.Union(tasks.CoverOf(b.packets...))
		}
	}
	if lost := w.truth.Minus(have); !lost.Empty() && len(w.harmed) == 0 {
		w.fail("units %v were committed, and nobody keeps them while the job cannot be finished", lost)
	}
}
