package steal

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// A host may be unable to read some files that others can. Such a node is called blind for their units. Units for which
// a node is blind wait there in a set of their own, unseen: the node neither runs them nor counts them as its work, and
// gives all of them to the first thief that can read them. A thief says with each request what it cannot read, so no
// units move from one blind node to another.

// see sets which units this host cannot read. Units in unseen that can be read again go back to the pool; sift moves
// those that cannot be read any more.
func (j *job) see(blind tasks.Cover) {
	j.blind = blind
	if back := j.unseen.Minus(blind); !back.Empty() {
		j.pool, j.unseen = j.pool.Union(back), j.unseen.Intersect(blind)
	}
}

// sift moves units that this host cannot read from pool and tasks to unseen. Packets that are leased already fail by
// themselves.
func (s *Scheduler) sift() {
	for _, j := range s.jobs {
		if j.blind.Empty() || mutant.On(mutant.BlindAgain) {
			continue
		}
		for _, g := range j.gens {
			if task := tasks.CoverOf(g.task); task.Intersects(j.blind) {
				j.pool, g.task = j.pool.Union(task), tasks.Range{}
			}
		}
		if len(j.solo) > 0 { // the home hears in a report that they cannot be read here, and tries them elsewhere
			j.solo = slices.DeleteFunc(j.solo, func(r tasks.Range) bool { return j.blind.Intersects(tasks.Cover{r}) })
		}
		if j.pool.Intersects(j.blind) {
			j.unseen = j.unseen.Union(j.pool.Intersect(j.blind))
			j.pool = j.pool.Minus(j.blind)
		}
	}
}

// handOn takes units out of unseen that a thief can read, which are all but those in not, and at most as many as it is
// allowed. Further thieves steal half of them from that thief.
func (s *Scheduler) handOn(j *job, not tasks.Cover, allowed int64) tasks.Cover {
	out := j.unseen.Minus(not)
	if out.Len() > allowed {
		out = tailOf(j.data, out, allowed, allowed/4)
	}
	j.unseen = j.unseen.Minus(out)
	return out
}

// waitingFor counts the units waiting here that could be given to a node that is blind for the units in not.
func (j *job) waitingFor(not tasks.Cover) int64 {
	n := j.waiting()
	if not.Empty() {
		return n
	}
	n -= j.pool.Intersect(not).Len()
	for _, g := range j.gens {
		n -= tasks.CoverOf(g.task).Intersect(not).Len()
	}
	return n
}

// blindFor is what the sender of a request cannot read of the i-th job in it. An invalid cover counts as empty.
func (r Request) blindFor(i int) tasks.Cover {
	if i >= len(r.Blind) || len(r.Blind[i]) > MaxBlind || !r.Blind[i].Valid(tasks.R(0, maxUnit)) {
		return nil
	}
	return r.Blind[i]
}

// maxUnit is above every unit.
const maxUnit = int64(^uint64(0) >> 1)

// lastOf is the last range of c, empty if there is none.
func lastOf(c tasks.Cover) tasks.Range {
	if len(c) == 0 {
		return tasks.Range{}
	}
	return c[len(c)-1]
}
