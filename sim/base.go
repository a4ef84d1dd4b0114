package sim

import (
	"math/rand/v2"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job may begin with outputs of an earlier one, as a retry does. They are on the submitter's disk as if it had just
// made them, are committed like any others, and only what they do not cover must run. At the end each unit must count
// once, from them or from a run; those that are lost before they are committed run again.

// Retried returns a hostile run of a job that an earlier one has done in part, or entirely.
func Retried(seed uint64) Config {
	c := hostile(seed)
	c.Appends = 0
	c.Base, c.BaseShare = 1+int(seed%12), []float64{0.5, 0.95, 0.1, 1}[seed/2%4]
	return c
}

// basePiece is how many consecutive units of an earlier job are either done or missing together.
const basePiece = 250

// base makes the outputs with which the job begins, if any. They never have units that nobody can do.
func (w *world) base() (parts []merge.Partial) {
	if w.cfg.Base == 0 {
		return nil
	}
	// This is not the world's source, so that runs without a base stay as they were.
	rng := rand.New(rand.NewPCG(w.cfg.Seed, 0xba5e))
	packets := make([][]tasks.Range, w.cfg.Base)
	for at := w.job.Want.First; at < w.job.Want.Last; at += basePiece {
		piece, to := tasks.R(at, min(at+basePiece, w.job.Want.Last)), rng.IntN(w.cfg.Base)
		if rng.Float64() < w.cfg.BaseShare && !w.undone(piece) {
			packets[to] = append(packets[to], piece)
		}
	}
	n := w.nodes[home]
	for i, did := range packets {
		if len(did) == 0 {
			continue
		}
		b := blob{sha: w.sha(), packets: did}
		for _, r := range did {
			b.canary += tasks.Canary(w.id.Seed(), r)
		}
		p := merge.Partial{
			Job:    w.id,
			ID:     merge.ID{Node: n.id, Seq: uint64(i + 1)},
			Cover:  tasks.CoverOf(did...),
			Units:  b.units(),
			Canary: b.canary,
			Holder: n.id,
			SHA256: b.sha,
			Size:   w.size(b),
		}
		w.store(n, p.ID, b)
		w.before = w.before.Union(p.Cover)
		parts = append(parts, p)
	}
	return parts
}

// undone reports whether an earlier job cannot have done all of some units.
func (w *world) undone(r tasks.Range) bool {
	for u := r.First; u < r.Last; u++ {
		if w.poison[u] || w.hidden(u) {
			return true
		}
	}
	return false
}
