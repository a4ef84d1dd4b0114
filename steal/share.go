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

// overShare reports whether a generation is to make way for one of another job: that has fewer of them and work to
// begin, and no slot is free or about to be.
func (s *Scheduler) overShare(g *gen) bool {
	if len(s.jobs) < 2 || g.solo || len(s.gens) < s.cfg.Slots || s.now-g.started <= s.turn(g.job) {
		return false
	}
	for _, j := range s.jobs {
		if slices.ContainsFunc(j.gens, func(o *gen) bool { return o.sealing }) {
			return false
		}
	}
	return slices.ContainsFunc(s.jobs, func(k *job) bool {
		fewer := len(k.gens) == 0 || len(k.gens)+1 < len(g.job.gens)
		return k != g.job && fewer && s.startable(k)
	})
}
