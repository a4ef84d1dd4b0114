package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// audits remembers what the last audits have found. Units that Config.Audits audits in a row have missed are lost.
type audits struct {
	last      time.Duration        // when the last audit was; at first, when the home began to lead
	doubtedAt time.Duration        // when doubtAll last looked for units that are held for too long
	count     int                  // how many audits there were
	missing   []tasks.Cover        // units that each of the last audits missed, the oldest first; below Config.Audits
	twice     map[pair]tasks.Cover // the units that the last audit found with two nodes
}

// auditDue reports whether it is time for an audit: enough time has passed, and all nodes have reported since the last
// one. Work that goes from one node to another may be in the reports of neither. For two audits in a row to miss it,
// it would have to go on at just the right moments, each time from a node that has yet to report to one that has.
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

// slack is how much longer the time between reports is than in a small cluster. Whatever waits for reports waits longer
// by a multiple of it.
func (ns *nodes) slack() time.Duration { return ns.every() - ns.cfg.Report }

// auditEvery is the time between two audits.
func (ns *nodes) auditEvery() time.Duration { return ns.cfg.Audit + ns.slack() }

// auditWait is how long an audit waits at most for nodes that have yet to report.
func (ns *nodes) auditWait() time.Duration { return ns.cfg.AuditWait + 2*ns.slack() }

// yieldBelow is the longest time between reports with which they are new enough to tell that two nodes hold a unit.
const yieldBelow = 2 * time.Second

// audit looks for units that no node has reported to hold for several audits in a row, and puts them back to work. Of
// two nodes that hold the same units it tells one to forget them.
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
	h.askForLinks()
	h.doom()
}

// misses takes the units that an audit has missed, and returns those that so many audits in a row have missed.
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

// answered is the units that are accounted for though no node reports to hold them: they are offered, were given away
// lately, are being merged, or are suspects.
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
			s.at = "" // its trial was lost, and it is tried again
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

// pair is two nodes, in the order of their names.
type pair [2]tasks.PeerID

// sweep runs over all units that the nodes hold, and returns their union and those that two nodes hold.
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
	reach := -1 // index of the range that ends last, of those so far
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

// yield tells one of two holders, in turn, to forget units that both hold, as far as it has not begun them. Units that
// the two did not both hold at the last audit are left alone, since they may be on their way between the two.
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
