package steal

import (
	"slices"
	"time"
)

// The jobs that have work on a node share its slots, whatever the age of each: a free slot goes to the job with the
// fewest generations (hungriest). If one job has taken all slots, no slot may become free for long. So its generations
// make way for another job, one after the other, as soon as each has had its turn.
//
// A turn ends when a unit does, which may be minutes later. So what is shared is time, and not turns: a generation
// makes way only for a job that has had no more of the slots than its own.

// charge adds the time since the last step to what each job has had of the slots. A job that wants none gains nothing
// by that: it counts as if it had had as much as the one that has had the least of those that want some. No job has to
// make up for more than maxStretch.
func (s *Scheduler) charge() {
	past := s.now - s.charged
	s.charged = s.now
	least := time.Duration(-1)
	for _, j := range s.jobs {
		j.had += past * time.Duration(len(j.gens))
		if (len(j.gens) > 0 || s.startable(j)) && (least < 0 || j.had < least) {
			least = j.had
		}
	}
	if least < 0 {
		return
	}
	s.least = least
	for _, j := range s.jobs {
		if len(j.gens) == 0 && !s.startable(j) {
			j.had = max(j.had, least)
		}
		j.had = min(j.had, least+maxStretch)
	}
}

// turns is how many turns there are in the lifetime of a generation. With more of them jobs would share sooner, and
// make more and smaller partials.
const turns = 8

// turn is how long a generation runs at least before it makes way. It is long enough to be worth sealing an output.
func (s *Scheduler) turn(j *job) time.Duration {
	return max(s.lifetime(j)/turns, min(sealShare*j.sealTook, maxStretch))
}

// hasHadItsTurn reports whether a generation may make way for one of another job: it has run for a turn, and no slot is
// free or about to become free.
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
		return k != g.job && fewer && k.had <= g.job.had && s.startable(k)
	})
}

// isLeftOut reports whether a job has neither a generation here nor work to begin one with, while another job, which
// has had no less of the slots, has a generation that has had its turn. This node then asks for work of the job though
// its slots are full. Otherwise a job whose work is elsewhere, such as what is appended to an open job at its home,
// would get no slot here until all other jobs are done.
func (s *Scheduler) isLeftOut(j *job) bool {
	return s.lacks(j) && slices.ContainsFunc(s.jobs, func(k *job) bool {
		return k != j && j.had <= k.had && slices.ContainsFunc(k.gens, s.hasHadItsTurn)
	})
}

// lacks reports whether a job has neither a generation nor work here, and could use work.
func (s *Scheduler) lacks(j *job) bool { return len(j.gens) == 0 && s.wantsMore(j) && !s.startable(j) }

// nextTurn is when the next generation will have had its turn, if a job lacks work here; otherwise -1.
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
