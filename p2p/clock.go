package p2p

import (
	"encoding/binary"
	"sync"
	"time"
)

// Members tell each other what time it is, with each heartbeat, so that users hear of a clock that is wrong: ages,
// expiries and the order of jobs are shown by clocks, though nothing is decided by them.

// clockSamples is how many of a peer's last words about the time are looked at. What came late says that the peer's
// clock is behind, so that of several the one counts by which it is the furthest ahead.
const clockSamples = 8

// skew is by how much a peer's clock is ahead of this host's, as far as its last words tell.
type skew struct {
	mu    sync.Mutex
	last  [clockSamples]time.Duration
	heard int
}

// clockFrame is what this node says of the time.
func clockFrame(now time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli())) //nolint:gosec // taken back as it was
}

// hear takes what a peer says of the time, which was underway for about half a round trip.
func (s *skew) hear(payload []byte, now time.Time, rtt time.Duration) {
	if len(payload) != 8 {
		return
	}
	theirs := time.UnixMilli(int64(binary.BigEndian.Uint64(payload))) //nolint:gosec // nonsense is a clock that is far off
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[s.heard%clockSamples] = theirs.Sub(now) + rtt/2
	s.heard++
}

// ahead is by how much the peer's clock is ahead, negative if it is behind, and 0 if it has not told.
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
