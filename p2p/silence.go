package p2p

import "time"

// silence measures how long a peer has said nothing, without the time in which this node itself was late: one that has
// no processor, or was stopped, has not read what was sent to it. If it took its peers for gone, each would have to
// connect anew, which takes more of what there is too little of, and so has all others be late too. That a member
// first doubts itself is what Lifeguard adds to SWIM (Dadgar, Phillips, Currey, 2018).
type silence struct {
	period time.Duration // from one tick to the next, where this node is not late

	last    time.Duration // of the ticks
	heard   time.Duration // when the peer was last heard
	excused time.Duration // how late this node was since then
}

// tick takes note of a tick, and of when the peer was last heard, and returns how long that is ago. Times are counted
// from one beginning.
func (s *silence) tick(now, heard time.Duration) time.Duration {
	if heard != s.heard {
		s.heard, s.excused = heard, 0
	}
	from := max(s.last, heard)
	s.excused += max(0, now-from-s.period)
	s.last = now
	return now - heard - s.excused
}
