package steal

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// What a thief says of its slots and its rate cannot be checked, nor that it does what it takes. So a victim gives on
// credit:
//
//   - for no more slots than the thief is known for, and at no more than maxFaster times this node's rate for each;
//   - little at first, and more each time that it comes back in a time in which it could have done that;
//   - nothing for a moment once the home's audit has found that what it took is held by nobody: it may have given that
//     away itself, and its home sees from all nodes' reports whether it did;
//   - to one that the home says loses what it takes (Loser): next to nothing, and then in step with what it delivers.
//
// So a node that lies or loses what it takes holds a job up for about the time of an audit, and not again and again.
const (
	firstCredit = 2 * time.Second        // run time, on the thief, of what one is given at first
	maxCredit   = time.Hour              // and in the end
	lastCredit  = 250 * time.Millisecond // and to one that has lost what it took
	maxFaster   = 8                      // times this node's rate for a slot that a thief is believed
	lostPause   = 1500 * time.Millisecond
	maxAway     = 1024        // takings remembered of a thief
	surelyGone  = time.Second // what an audit misses was taken longer ago
	maxBlames   = 16
)

// Loser is a node that has lost much of what it took, and what it has delivered, ever.
type Loser struct {
	ID        tasks.PeerID `msgpack:"i"`
	Delivered int64        `msgpack:"d"` // units
}

// Blame tells how many units, ever, of what a node took from the one that reports it were found to be held by nobody.
type Blame struct {
	ID    tasks.PeerID `msgpack:"i"`
	Units int64        `msgpack:"u"`
}

// credit is what a victim of a job knows of one thief.
type credit struct {
	size  time.Duration // run time that the thief may have of this node's work at once
	busy  time.Duration // until when it has something to do
	away  []given       // what it took, and has not come back, the oldest first
	lost  int64         // units of it that were lost, ever
	again time.Duration // nothing is given before

	loser           bool  // the home says so
	since, so, gave int64 // what it had delivered when that began, and now; and what it was given since
}

func (j *job) creditOf(id tasks.PeerID) *credit {
	c := j.credits[id]
	if c == nil {
		c = &credit{size: firstCredit}
		j.credits[id] = c
	}
	return c
}

// slotsKnown bounds the slots that a peer claims.
func (s *Scheduler) slotsKnown(id tasks.PeerID, claimed int) int {
	return min(max(claimed, 1), max(s.known[id].slots, 1))
}

// believed is the rate, of the whole node, at which a thief of so many slots is taken to work.
func (j *job) believed(slots int, claimed float64) float64 {
	own := j.rate * float64(slots)
	switch {
	case own == 0: // as timeFor guesses
		return 1000 * float64(slots)
	case claimed <= 0:
		return own
	}
	return min(claimed, maxFaster*own)
}

// allows is how many units of a job a thief that works at a rate on so many slots may be given now. Units may take
// longer than any credit: one that should have nothing left of what it was given may have one for each slot, but for no
// more than some times this node's slots, since it says itself how many it has; or one if it is a loser.
func (s *Scheduler) allows(j *job, to tasks.PeerID, slots int, rate float64) int64 {
	c := j.creditOf(to)
	units := func(d time.Duration) int64 { return int64(d.Seconds() * rate) }
	least := int64(0)
	if c.busy <= s.now {
		least = int64(min(slots, maxFaster*s.cfg.Slots))
	}
	switch {
	case mutant.On(mutant.EndlessCredit):
		return units(maxCredit)
	case s.now < c.again:
		return 0
	case c.loser:
		return max(units(lastCredit)/maxFaster+2*(c.so-c.since)-c.gave, min(least, 1))
	}
	return max(units(c.size-max(c.busy-s.now, 0)), least)
}

// lend books units that a thief is given.
func (s *Scheduler) lend(j *job, to tasks.PeerID, units int64, rate float64) {
	c := j.creditOf(to)
	if c.busy > 0 && c.busy <= s.now+c.size/4 {
		c.size = min(2*c.size, maxCredit)
	}
	c.busy = max(c.busy, s.now) + time.Duration(float64(units)/rate*float64(time.Second))
	c.gave += units
}

// took remembers what a thief has acknowledged.
func (j *job) took(id tasks.PeerID, ranges tasks.Cover, now time.Duration) {
	c := j.creditOf(id)
	c.away = append(c.away, given{id, ranges, now})
	c.away = c.away[max(len(c.away)-maxAway, 0):]
}

// take takes ranges out of what was taken before a time, and returns how many units were there.
func (c *credit) take(ranges tasks.Cover, before time.Duration) (units int64) {
	for i := range c.away {
		if g := &c.away[i]; g.at < before && g.ranges.Intersects(ranges) {
			units += g.ranges.Intersect(ranges).Len()
			g.ranges = g.ranges.Minus(ranges)
		}
	}
	c.away = slices.DeleteFunc(c.away, func(g given) bool { return g.ranges.Empty() })
	return units
}

// back forgets that anybody has what has come back here.
func (j *job) back(ranges tasks.Cover, now time.Duration) {
	for _, c := range j.credits {
		c.take(ranges, now+1)
	}
}

// lostWork holds it against those who took it that nobody has it, as was found some time ago.
func (s *Scheduler) lostWork(j *job, ranges tasks.Cover, ago time.Duration) {
	for _, c := range j.credits {
		if units := c.take(ranges, s.now-ago-surelyGone); units > 0 {
			c.lost += units
			c.size, c.again = min(c.size, firstCredit), max(c.again, s.now+lostPause)
		}
	}
}

// setLosers believes the home who loses what it takes.
func (j *job) setLosers(all []Loser) {
	for id, c := range j.credits {
		if c.loser && !slices.ContainsFunc(all, func(l Loser) bool { return l.ID == id }) {
			*c = credit{size: firstCredit, away: c.away, lost: c.lost}
		}
	}
	for _, l := range all {
		c := j.creditOf(l.ID)
		if !c.loser {
			c.loser, c.since, c.gave = true, l.Delivered, 0
		}
		c.so = l.Delivered
	}
}

// Blames are those who have lost most of what they took of a job from this node.
func (s *Scheduler) Blames(id tasks.JobID) (out []Blame) {
	if j := s.job(id); j != nil {
		for p, c := range j.credits {
			if c.lost > 0 {
				out = append(out, Blame{p, c.lost})
			}
		}
	}
	slices.SortFunc(out, func(a, b Blame) int { return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(a.ID, b.ID)) })
	return out[:min(len(out), maxBlames)]
}
