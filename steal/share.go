package steal

import (
	"slices"
	"time"
)

// The slots of a node are shared by the jobs that have work here, whatever the age of each: a free slot goes to the job
// with the fewest generations (hungriest). None is free for long where one job has taken all of them, so its
// generations make way, one after the other, as soon as each has had its turn.

// turns is how many turns there are in the lifetime of a generation. More of them would have jobs share sooner, and
// make more and smaller partials.
const turns = 8

// turn is how long a generation runs at least before it makes way: not less than sealing its output is worth.
func (s *Scheduler) turn(j *job) time.Duration {
	return max(s.lifetime(j)/turns, min(sealShare*j.sealTook, maxStretch))
}

// hasHadItsTurn reports whether a generation could make way for one of another job: no slot is free or about to be.
func (s *Scheduler) hasHadItsTurn(g *gen) bool {
	if len(s.jobs) < 2 || g.solo || len(s.gens) < s.cfg.Slots || s.now-g.started <= s.turn(g.job) {
		return false
	}
	for _, j := range s.jobs {
		if slices.ContainsFunc(j.gens, func(o *gen) bool { return o.sealing }) {
			return false
		}
	}
	return true
}

// overShare reports whether a generation is to make way for one of another job, which has fewer of them and work to
// begin.
func (s *Scheduler) overShare(g *gen) bool {
	return s.hasHadItsTurn(g) && slices.ContainsFunc(s.jobs, func(k *job) bool {
		fewer := len(k.gens) == 0 || len(k.gens)+1 < len(g.job.gens)
		return k != g.job && fewer && s.startable(k)
	})
}

// isLeftOut reports whether a job has nothing here, neither a generation nor work to begin one with, while another has
// a generation that has had its turn. Others may have more of its work than their slots are worth, so this node asks
// for some though its slots are full: else a job whose work came to be elsewhere, as what is appended to an open one
// comes to its home, would have no slot here until all others are done.
func (s *Scheduler) isLeftOut(j *job) bool {
	return s.lacks(j) && slices.ContainsFunc(s.jobs, func(k *job) bool {
		return k != j && slices.ContainsFunc(k.gens, s.hasHadItsTurn)
	})
}

// lacks reports whether a job has nothing here, and would take some.
func (s *Scheduler) lacks(j *job) bool { return len(j.gens) == 0 && s.wantsMore(j) && !s.startable(j) }

// nextTurn is when the first generation will have had its turn, if a job lacks work here until then; -1 if none does.
func (s *Scheduler) nextTurn() time.Duration {
	next := time.Duration(-1)
	if len(s.jobs) < 2 || !slices.ContainsFunc(s.jobs, s.lacks) {
		return next
	}
	for _, j := range s.jobs {
		for _, g := range j.gens {
			if at := g.started + s.turn(j) + time.Millisecond; !g.solo && at > s.now && (next < 0 || at < next) {
				next = at
			}
		}
	}
	return next
}
