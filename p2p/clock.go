package p2p

import (
	"encoding/binary"
	"sync"
	"time"
)

// Members send each other the time with each heartbeat, so that users learn of a clock that is wrong: ages, expiries
// and the order of jobs are shown by clocks, though nothing is decided by them.

// clockSamples is how many of a peer's last clock frames are kept. A frame that was delayed makes the peer's clock seem
// behind, so the sample by which it is the furthest ahead is the best one.
const clockSamples = 8

// skew estimates how far a peer's clock is ahead of this host's, from its last clock frames.
type skew struct {
	mu    sync.Mutex
	last  [clockSamples]time.Duration
	heard int
}

// clockFrame encodes the time: Unix milliseconds, big-endian.
func clockFrame(now time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())) //nolint:gosec // the receiver converts it back
}

// add takes a clock frame from the peer, which was underway for about half a round trip.
func (s *skew) add(payload []byte, now time.Time, rtt time.Duration) {
	if len(payload) != 8 {
		return
	}
	theirs := time.UnixMilli(int64(binary.BigEndian.Uint64(payload))) //nolint:gosec // nonsense shows as a wrong clock
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[s.heard%clockSamples] = theirs.Sub(now) + rtt/2
	s.heard++
}

// ahead is how far the peer's clock is ahead, negative if it is behind, and 0 if the peer has sent no time.
func (s *skew) ahead() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(s.heard, clockSamples)
	if n == 0 {
		return 0
	}
	most := s.last[0]
	for _, d := range s.last[1:n] {
		most = max(most, d)
	}
	return most
}
