package steal

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Some units are cheaper on one node than on all others: it has run the same items before, and still has in a cache
// what they read. Such a node is called near them, and what one of them takes longer elsewhere is its cost. Who
// submits the work may say which node is near which units; that is a hint, and costs time alone where it is wrong.
//
// This is delay scheduling (Zaharia et al., EuroSys 2010), with two rules that make waiting no worse than twice what it
// may save. Units wait at the home for the node near them, in a set of their own that nobody else is given, but only
// for as long as that node would take for all of them without its cache. From then on they are everybody's. On the node
// that is near them they are stolen like others, but only when its queue outlasts the cost of one.

// Near says that a node is near units.
type Near struct {
	To     tasks.PeerID
	Ranges tasks.Cover
	Cost   time.Duration // how much longer one unit takes elsewhere
}

// MaxNear bounds the cost of a unit that is believed, whoever tells it.
const MaxNear = time.Minute

// maxKept bounds how long units wait for a node that does not come for them.
const maxKept = 30 * time.Second

// kept is work that waits here for the node near it.
type kept struct {
	Near
	until time.Duration // when it is everybody's
}

// keepFor takes units out of the pool that a node is near. Those to which this node itself is near stay there, and so
// do those of nodes that cannot come for them. A hint is of ranges as they come, and so divides no file that is to stay
// whole.
func (s *Scheduler) keepFor(j *job, all []Near) {
	if j.data.Whole {
		return
	}
	for _, n := range all {
		n.Cost = min(n.Cost, MaxNear)
		n.Ranges = n.Ranges.Intersect(j.pool)
		switch {
		case n.Cost <= 0 || n.Ranges.Empty():
		case n.To == s.cfg.Self:
			j.mark(n.Ranges, n.Cost)
		case s.connected(n.To) && j.isAble(n.To):
			j.pool = j.pool.Minus(n.Ranges)
			j.kept = append(j.kept, kept{n, s.now + s.patience(n)})
		}
	}
}

// patience is how long work waits for the node near it: as long as that node would take for it without its cache.
func (s *Scheduler) patience(n Near) time.Duration {
	slots := max(s.known[n.To].slots, 1)
	units := min(n.Ranges.Len(), int64(maxKept/max(n.Cost, 1))*int64(slots)+int64(slots)) // far from an overflow
	return min(max(n.Cost*time.Duration(units)/time.Duration(slots), n.Cost), maxKept)
}

// mark notes that this node is near units. Their cost is the mean of all that are marked.
func (j *job) mark(c tasks.Cover, cost time.Duration) {
	j.near = j.near.Intersect(tasks.CoverOf(j.here()...)) // it grows with what waits here, and not with the job
	was, more := float64(j.near.Len()), float64(c.Len())
	j.near = j.near.Union(c)
	j.nearCost = time.Duration((float64(j.nearCost)*was + float64(cost)*more) / max(was+more, 1))
}

// waitsFor is what waits here for a node, without the units in not, and the cost of one of them.
func (j *job) waitsFor(to tasks.PeerID, not tasks.Cover) (out tasks.Cover, cost time.Duration) {
	for _, k := range j.kept {
		if k.To == to {
			out, cost = out.Union(k.Ranges.Minus(not)), max(cost, k.Cost)
		}
	}
	return out, cost
}

// collect takes what waits here for a node, for that node. One that has lost what it took gets none: what it does not
// come for is everybody's some time later. All others are given it without regard to their credit, which goes by rates
// that a cache changes, and since what they have run before is known.
func (s *Scheduler) collect(j *job, to tasks.PeerID, not tasks.Cover) (out tasks.Cover, cost time.Duration) {
	if c := j.creditOf(to); c.loser || s.now < c.again {
		return nil, 0
	}
	if out, cost = j.waitsFor(to, not); out.Empty() {
		return nil, 0
	}
	j.unkeep(out)
	for i := range j.kept {
		if k := &j.kept[i]; k.To == to { // it comes for them, and may have its reasons not to take all
			k.until = s.now + s.patience(k.Near)
		}
	}
	return out, cost
}

// unkeep removes units from what waits here for the nodes near it.
func (j *job) unkeep(c tasks.Cover) {
	for i := range j.kept {
		j.kept[i].Ranges = j.kept[i].Ranges.Minus(c)
	}
	j.kept = slices.DeleteFunc(j.kept, func(k kept) bool { return k.Ranges.Empty() })
}

// allKept are the units that wait here for nodes near them.
func (j *job) allKept() (out tasks.Cover) {
	for _, k := range j.kept {
		out = out.Union(k.Ranges)
	}
	return out
}

// release makes work everybody's that has waited long enough for the node near it, or whose node cannot come.
func (s *Scheduler) release() {
	for _, j := range s.jobs {
		j.kept = slices.DeleteFunc(j.kept, func(k kept) bool {
			over := s.now >= k.until || !s.connected(k.To) || !j.isAble(k.To) || s.leaving || j.shunned
			if over {
				j.pool = j.pool.Union(k.Ranges)
			}
			return over
		})
	}
}

// nearShare is how many of the waiting units that this node is near to give a thief with so many slots. It is none
// unless this node's queue outlasts what one costs the thief, and then so many that both end at the same time. While
// nothing was measured here the queue is not known, but that a unit runs for longer than the cost says that the cache
// is of no use.
func (s *Scheduler) nearShare(j *job, slots int) int64 {
	waiting := j.waiting()
	if j.shunned || s.leaving || s.full || s.now < j.paused || s.cfg.Slots == 0 {
		return waiting
	}
	rate := s.Rate(j.id)
	if rate == 0 {
		if !s.ranFor(j, j.nearCost) {
			return 0
		}
		rate = 1 / j.nearCost.Seconds()
	}
	mine, theirs := rate*float64(s.cfg.Slots), float64(slots)/(1/rate+j.nearCost.Seconds())
	if left := float64(waiting-1) / mine; left < j.nearCost.Seconds() {
		return 0
	}
	return int64(float64(waiting) * theirs / (mine + theirs))
}

// ranFor reports whether a packet of j has run for longer than d.
func (s *Scheduler) ranFor(j *job, d time.Duration) bool {
	return slices.ContainsFunc(j.gens, func(g *gen) bool { return len(g.leases) > 0 && s.now-g.since > d })
}
