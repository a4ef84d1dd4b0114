package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// auditDue reports whether the time has come and every node has spoken since the last audit. Work that
// moves between two nodes may be in the reports of neither; but it must move again, from a node that
// has yet to speak to one that has spoken, to be missed by the next audit too.
func (h *Home) auditDue() bool {
	since := h.now - h.audited
	return since >= h.auditEvery() && (h.unheard == 0 || since >= h.auditWait())
}

// Every is the time between a node's reports: longer the more nodes there are, since one home hears them all.
func (h *Home) Every() time.Duration {
	return max(h.cfg.Report, time.Duration(len(h.nodes))*time.Second/time.Duration(h.cfg.Reports))
}

// slack is by how much reports are rarer than in a small cluster; all that waits for reports waits longer by
// that.
func (h *Home) slack() time.Duration { return h.Every() - h.cfg.Report }

func (h *Home) auditEvery() time.Duration { return h.cfg.Audit + h.slack() }

func (h *Home) auditWait() time.Duration { return h.cfg.AuditWait + 2*h.slack() }

// yieldBelow is the time between reports above which they are too old to tell who holds a unit twice.
const yieldBelow = 2 * time.Second

// audit finds units that nobody answers for, several times in a row, and puts them back to work; and
// units that two nodes hold, of which one is told to forget them.
func (h *Home) audit() {
	h.unheard = 0
	for _, n := range h.nodes {
		n.spoke = false
		if n.heard {
			h.unheard++
		}
	}
	if h.stopped {
		return
	}
	h.stopAgain()
	h.audits++
	h.rankBusy()
	h.lookAgain(true, nil)
	h.doubtAll()
	h.auditedAt = h.now
	held, twice := h.sweep()
	open := h.open().Minus(held)
	if !open.Empty() {
		open = open.Minus(h.answered())
	}
	h.yield(twice)
	h.missing = append(h.missing, open)
	if len(h.missing) >= h.cfg.Audits {
		lost := h.missing[0]
		for _, m := range h.missing[1:] {
			lost = lost.Intersect(m)
		}
		h.missing = h.missing[1:]
		h.mend(lost)
	}
	h.retry()
	h.giveUpDark()
}

// answered is what nodes need not hold: it is offered, given away lately, merged, or a suspect to be tried.
func (h *Home) answered() tasks.Cover {
	var rs []tasks.Range
	for _, o := range h.offers {
		if !h.shady(o.Holder) || o.state == proposed {
			rs = append(rs, o.Cover...)
		}
	}
	for _, id := range h.order {
		rs = append(rs, h.nodes[id].also()...)
	}
	for _, s := range h.suspects {
		if s.at == "" {
			rs = append(rs, s.Range)
		}
	}
	return tasks.CoverOf(rs...)
}

// mend puts lost units back to work.
func (h *Home) mend(lost tasks.Cover) {
	if lost.Empty() || mutant.On(mutant.NoAudit) {
		return
	}
	h.missing = nil
	for _, s := range h.suspects {
		if r := (tasks.Cover{s.Range}); lost.Intersects(r) {
			lost = lost.Minus(r)
			if s.vain == nil {
				s.vain = map[tasks.PeerID]int{}
			}
			s.vain[s.at]++
			s.at = "" // its trial was lost: try again
		}
	}
	h.reissue(lost)
}

func (h *Home) reissue(c tasks.Cover) {
	if !c.Empty() && !h.stopped {
		h.counts.Reissued += c.Len()
		if again := c.Intersect(h.record.Undone); !again.Empty() {
			h.emit(Undone{Cover: again})
		}
		h.emit(Reissue{Ranges: c})
	}
}

// holding is a range and who holds it.
type holding struct {
	tasks.Range
	by tasks.PeerID
}

// pair is two nodes, in order.
type pair [2]tasks.PeerID

// sweep runs over all that the nodes hold: the union, and where two hold the same.
func (h *Home) sweep() (held tasks.Cover, twice map[pair][]tasks.Range) {
	var all []holding
	for _, id := range h.order {
		for _, r := range h.nodes[id].held() {
			all = append(all, holding{r, id})
		}
	}
	slices.SortStableFunc(all, func(a, b holding) int { return cmp.Compare(a.First, b.First) })
	ranges := make([]tasks.Range, len(all))
	twice = map[pair][]tasks.Range{}
	reach := -1 // of all so far, the one that ends last
	for i, a := range all {
		ranges[i] = a.Range
		if reach >= 0 && a.First < all[reach].Last {
			both := pair{min(a.by, all[reach].by), max(a.by, all[reach].by)}
			twice[both] = append(twice[both], tasks.R(a.First, min(a.Last, all[reach].Last)))
		}
		if reach < 0 || a.Last > all[reach].Last {
			reach = i
		}
	}
	return tasks.CoverOf(ranges...), twice
}

// yield tells one of two holders, in turn, to forget what both hold and it has not begun. What the same two
// did not hold at the last audit may be on its way between them.
func (h *Home) yield(twice map[pair][]tasks.Range) {
	if h.Every() > yieldBelow {
		return
	}
	of, now := map[tasks.PeerID]tasks.Cover{}, map[pair]tasks.Cover{}
	for both, rs := range twice {
		now[both] = tasks.CoverOf(rs...)
		by := both[h.audits%2]
		of[by] = of[by].Union(now[both].Intersect(h.twice[both]))
	}
	for _, id := range h.order {
		if c := of[id].Intersect(h.open()); !c.Empty() {
			h.counts.Yields++
			h.emit(Yield{To: id, Cover: c})
		}
	}
	h.twice = now
}
