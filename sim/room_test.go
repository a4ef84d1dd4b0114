package sim

import (
	"testing"
	"time"
)

// TestLittleRoom plays jobs on nodes with room for few uncommitted outputs: the jobs end, with faults too, and without
// faults no node ever keeps more than it may.
func TestLittleRoom(t *testing.T) {
	if raceEnabled {
		t.Skip("a program of one goroutine")
	}
	const flat = 1000 // bytes of an output
	for s := range uint64(seeds(t, 25)) {
		c := Hostile(s)
		c.Flat, c.PerUnit, c.Keep = flat, 0, flat*int64(5+s%6)/2
		checkSeed(t, c)
	}
	for s := range uint64(40) {
		c := Config{
			Seed:       s,
			Nodes:      1 + int(s%5),
			Slots:      4,
			Units:      40_000,
			Files:      3,
			UnitTime:   time.Millisecond,
			Latency:    time.Millisecond,
			Replicas:   3,
			Deal:       s%2 == 0,
			Generation: 500 * time.Millisecond,
			Flat:       flat,
			Keep:       flat * int64(5+s%6) / 2,
		}
		if res := checkSeed(t, c); res.MostOpen > c.Keep || res.MostOpen == 0 {
			t.Errorf("seed %d: %d bytes are kept at once, want at most %d", s, res.MostOpen, c.Keep)
		}
	}
}
