package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// audits are what the last few of them found. What missing has in each of Config.Audits audits in a row is lost.
type audits struct {
	last      time.Duration        // when the last audit was, or the home began to lead
	doubtedAt time.Duration        // when units that are held for long were last looked for
	count     int                  // of audits
	missing   []tasks.Cover        // what each of the last ones missed, the oldest first; fewer than Config.Audits
	twice     map[pair]tasks.Cover // what the last one found with two nodes
}

// auditDue reports whether the time has come and every node has spoken since the last audit. Work that
// moves between two nodes may be in the reports of neither; but it must move again, from a node that
// has yet to speak to one that has spoken, to be missed by the next audit too.
func (h *Home) auditDue() bool {
	since := h.now - h.audits.last
	return since >= h.nodes.auditEvery() && (h.nodes.pending == 0 || since >= h.nodes.auditWait())
}

// Every is the time between a node's reports: longer the more nodes there are, since one home hears them all.
func (h *Home) Every() time.Duration { return h.nodes.every() }

// every is the time between a node's reports.
func (ns *nodes) every() time.Duration {
	return max(ns.cfg.Report, time.Duration(len(ns.byID))*time.Second/time.Duration(ns.cfg.Reports))
}

// slack is how much longer the time between reports is than in a small cluster. Everything that waits for reports waits
// longer by a multiple of it.
func (ns *nodes) slack() time.Duration { return ns.every() - ns.cfg.Report }

// auditEvery is the time between two audits.
func (ns *nodes) auditEvery() time.Duration { return ns.cfg.Audit + ns.slack() }

// auditWait is how long an audit waits at most for nodes that have yet to speak.
func (ns *nodes) auditWait() time.Duration { return ns.cfg.AuditWait + 2*ns.slack() }

// yieldBelow is the time between reports above which they are too old to tell who holds a unit twice.
const yieldBelow = 2 * time.Second

// audit finds units that nobody answers for, several times in a row, and puts them back to work; and
// units that two nodes hold, of which one is told to forget them.
func (h *Home) audit() {
	h.nodes.startAudit()
	if h.stopping.begun {
		return
	}
	h.stopAgain()
	h.audits.count++
	h.nodes.rankBusy()
	h.lookAgain(true, nil)
	h.doubtAll()
	h.audits.doubtedAt = h.now
	held, twice := h.nodes.sweep()
	open := h.open().Minus(held)
	if !open.Empty() {
		open = open.Minus(h.answered())
	}
	h.yield(twice)
	h.mend(h.audits.misses(open, h.cfg.Audits))
	h.retry()
	h.giveUpUnread()
}

// misses takes what an audit misses and returns what so many in a row have missed.
func (as *audits) misses(open tasks.Cover, inARow int) (lost tasks.Cover) {
	as.missing = append(as.missing, open)
	if len(as.missing) < inARow {
		return nil
	}
	lost = as.missing[0]
	for _, m := range as.missing[1:] {
		lost = lost.Intersect(m)
	}
	as.missing = as.missing[1:]
	return lost
}

// answered is what nodes need not hold: it is offered, given away lately, merged, or a suspect to be tried.
func (h *Home) answered() tasks.Cover {
	var rs []tasks.Range
	for _, o := range h.offers.all {
		if !h.standings.shady(o.Holder) || o.state == proposed {
			rs = append(rs, o.Cover...)
		}
	}
	for _, id := range h.nodes.order {
		rs = append(rs, h.nodes.byID[id].also()...)
	}
	for _, s := range h.blame.suspects {
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
	h.audits.missing = nil
	for _, s := range h.blame.suspects {
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

// reissue puts units to work on this node, from where others steal them.
func (h *Home) reissue(c tasks.Cover) {
	if !c.Empty() && !h.stopping.begun {
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
func (ns *nodes) sweep() (held tasks.Cover, twice map[pair][]tasks.Range) {
	var all []holding
	for _, id := range ns.order {
		for _, r := range ns.byID[id].held() {
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
		by := both[h.audits.count%2]
		of[by] = of[by].Union(now[both].Intersect(h.audits.twice[both]))
	}
	for _, id := range h.nodes.order {
		if c := of[id].Intersect(h.open()); !c.Empty() {
			h.counts.Yields++
			h.emit(Yield{To: id, Cover: c})
		}
	}
	h.audits.twice = now
}
