package steal

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// A host may be unable to read some files that others can. What of them comes to a node that is blind for them
// waits apart: the node neither runs it nor counts on it, and gives all of it to the first thief that says that
// it can read it. A thief says with each request what it cannot read, so nothing moves from one blind node to
// another.

// see sets what this host cannot read; what waits here is sorted anew by sift.
func (j *job) see(blind tasks.Cover) {
	j.blind = blind
	if back := j.unseen.Minus(blind); !back.Empty() {
		j.pool, j.unseen = j.pool.Union(back), j.unseen.Intersect(blind)
	}
}

// sift puts aside what waits and cannot be read here; leases are left to fail by themselves.
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
		if len(j.solo) > 0 { // the home tries a suspect elsewhere when it hears that it cannot be read here
			j.solo = slices.DeleteFunc(j.solo, func(r tasks.Range) bool { return j.blind.Intersects(tasks.Cover{r}) })
		}
		if j.pool.Intersects(j.blind) {
			j.unseen = j.unseen.Union(j.pool.Intersect(j.blind))
			j.pool = j.pool.Minus(j.blind)
		}
	}
}

// handOn takes what waits here unreadable, and is not in not, for a thief that may have so many units. The next thief
// takes half of it from there.
func (s *Scheduler) handOn(j *job, not tasks.Cover, allowed int64) tasks.Cover {
	out := j.unseen.Minus(not)
	if out.Len() > allowed {
		out = tailOf(j.data, out, allowed, allowed/4)
	}
	j.unseen = j.unseen.Minus(out)
	return out
}

// waitingFor counts the units that a node which cannot read not could be given of what can be run here.
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

// blindFor is what the sender cannot read of its i-th job. Nonsense counts as nothing.
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
