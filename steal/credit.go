package steal

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// A victim cannot check what a thief says of its slots and its rate, nor whether the thief will do what it takes. So
// a victim gives work on credit, which is a run time on the thief:
//
//   - It counts no more slots than the thief is known for, and no more than maxFaster times its own rate for each.
//   - The credit is small at first, and doubles each time that the thief comes back when it may have done what it took.
//   - After the home's audit has found that nobody holds units which the thief took, the thief is given nothing for a
//     moment. It may have given the units away itself, which the home sees from all nodes' reports.
//   - A thief of which the home says that it loses what it takes (Loser) is given next to nothing and, from then on, as
//     much as it delivers.
//
// So a node that lies, or loses what it takes, delays a job by about the time of one audit, and not again and again.
const (
	firstCredit = 2 * time.Second         // the credit of a thief at first
	maxCredit   = time.Hour               // the largest credit
	lastCredit  = 250 * time.Millisecond  // what a Loser has besides what it delivers, times maxFaster
	maxFaster   = 8                       // how many times this node's rate for a slot a thief is believed to have
	lostPause   = 1500 * time.Millisecond // how long a thief is given nothing after it lost units
	maxAway     = 1024                    // how many of a thief's takings are remembered
	surelyGone  = time.Second             // units that an audit missed were taken at least so long before it
	maxBlames   = 16                      // how many thieves Blames lists
)

// Loser is a node that has lost much of what it took of a job.
type Loser struct {
	ID        tasks.PeerID `msgpack:"i"`
	Delivered int64        `msgpack:"d"` // how many units it has ever delivered
}

// Blame is a victim's report about a thief: how many of the units that the thief took were found to be held by nobody.
type Blame struct {
	ID    tasks.PeerID `msgpack:"i"`
	Units int64        `msgpack:"u"`
}

// credit is what a victim of a job knows of one thief.
type credit struct {
	size  time.Duration // the credit: how much run time the thief may have of this node's work at once
	busy  time.Duration // until when the thief should be busy with what it took
	away  []given       // what it took and has not come back to this node, the oldest first
	lost  int64         // how many units that it took were ever lost
	again time.Duration // the thief is given nothing before

	loser     bool  // the home says that the thief is a Loser
	atFirst   int64 // how many units it had delivered when the home said so first
	delivered int64 // how many units it has delivered now, as the home says
	lent      int64 // how many units it was given since the home said so
}

func (j *job) creditOf(id tasks.PeerID) *credit {
	c := j.credits[id]
	if c == nil {
		c = &credit{size: firstCredit}
		j.credits[id] = c
	}
	return c
}

// slotsKnown is how many slots a peer is believed to have that claims a number of them: no more than it is known for.
func (s *Scheduler) slotsKnown(id tasks.PeerID, claimed int) int {
	return min(max(claimed, 1), max(s.known[id].slots, 1))
}

// believed is the rate, in units a second, that a thief with so many slots is believed to have if it claims a rate. A
// claim of 0 means that the thief does not know its rate.
func (j *job) believed(slots int, claimed float64) float64 {
	own := j.rate * float64(slots)
	switch {
	case own == 0: // the same guess as that of timeFor
		return 1000 * float64(slots)
	case claimed <= 0:
		return own
	}
	return min(claimed, maxFaster*own)
}

// allows is how many units of a job a thief may be given now that has so many slots and a rate. A single unit may take
// longer than any credit lasts. So a thief that should have finished what it took may always have one unit for each
// slot, at most maxFaster times this node's slots, since the number is the thief's own claim. A Loser may have one.
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
		return max(units(lastCredit)/maxFaster+2*(c.delivered-c.atFirst)-c.lent, min(least, 1))
	}
	return max(units(c.size-max(c.busy-s.now, 0)), least)
}

// lend charges a thief's credit for units that it is given.
func (s *Scheduler) lend(j *job, to tasks.PeerID, units int64, rate float64) {
	c := j.creditOf(to)
	if c.busy > 0 && c.busy <= s.now+c.size/4 {
		c.size = min(2*c.size, maxCredit)
	}
	c.busy = max(c.busy, s.now) + time.Duration(float64(units)/rate*float64(time.Second))
	c.lent += units
}

// took remembers the ranges whose grant a thief has acknowledged.
func (j *job) took(id tasks.PeerID, ranges tasks.Cover, now time.Duration) {
	c := j.creditOf(id)
	c.away = append(c.away, given{id, ranges, now})
	c.away = c.away[max(len(c.away)-maxAway, 0):]
}

// take removes ranges from what the thief took before a time, and returns how many units it removed.
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

// back forgets that any thief took ranges that have come back to this node.
func (j *job) back(ranges tasks.Cover, now time.Duration) {
	for _, c := range j.credits {
		c.take(ranges, now+1)
	}
}

// lostWork lowers the credit of the thieves that took ranges which nobody holds, as the home found out some time ago.
func (s *Scheduler) lostWork(j *job, ranges tasks.Cover, ago time.Duration) {
	for _, c := range j.credits {
		if units := c.take(ranges, s.now-ago-surelyGone); units > 0 {
			c.lost += units
			c.size, c.again = min(c.size, firstCredit), max(c.again, s.now+lostPause)
		}
	}
}

// setLosers takes over the home's list of all Losers. A thief that is not in it any more begins with a new credit.
func (j *job) setLosers(all []Loser) {
	for id, c := range j.credits {
		if c.loser && !slices.ContainsFunc(all, func(l Loser) bool { return l.ID == id }) {
			*c = credit{size: firstCredit, away: c.away, lost: c.lost}
		}
	}
	for _, l := range all {
		c := j.creditOf(l.ID)
		if !c.loser {
			c.loser, c.atFirst, c.lent = true, l.Delivered, 0
		}
		c.delivered = l.Delivered
	}
}

// Blames lists the thieves that have lost units of a job which they took from this node, those that lost most first.
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
