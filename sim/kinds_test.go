package sim

import (
	"slices"
	"testing"
	"time"
)

// TestKinds plays seeds of three jobs of different kinds at once, with faults, on nodes that can run one of them, two
// or none. Each is done, exactly once, by those that can.
func TestKinds(t *testing.T) {
	if raceEnabled {
		goTest(t, "-run", "^TestKinds$", ".")
		return
	}
	var all tally
	for s := range seeds(t, 12) {
		all.add(checkSeed(t, Kinds(uint64(s))))
	}
	t.Log(&all)
}

// TestSlotsAreSharedByJobs has three jobs of one size on nodes that can run one of them, two or none, submitted one
// after the other. None waits for the others to end: each takes at most twice as long as it would alone on the nodes
// that can run the job which the fewest can.
func TestSlotsAreSharedByJobs(t *testing.T) {
	for s := range uint64(12) {
		c := Config{
			Seed:     s,
			Nodes:    24,
			Slots:    1 + int(s%3),
			Units:    60_000,
			Files:    6,
			UnitTime: 2 * time.Millisecond,
			Replicas: 3,
			Latency:  time.Millisecond,
			Deal:     s%2 == 0,
			Kinds:    true,
			Apart:    time.Duration(s%3) * 1500 * time.Millisecond,
		}
		res := checkSeed(t, c)
		if len(res.Sides) != kindsOfWork-1 {
			t.Errorf("seed %d: %d side jobs ended", s, len(res.Sides))
		}
		alone := time.Duration(float64(c.Units) * float64(c.UnitTime) / (res.Able * float64(c.Slots)))
		took := []time.Duration{res.Makespan}
		for _, side := range res.Sides {
			took = append(took, side.Took)
		}
		for _, d := range took {
			if d > 2*alone+2*time.Second {
				t.Errorf("seed %d: one of three jobs takes %v, and would take %v alone where the fewest can run it", s, d, alone)
			}
		}
		t.Logf("seed %d: %v, alone at most %v", s, took, alone)
	}
}

// TestJobsWhoseWorkIsElsewhereAreNotLeftOut has long jobs submitted one after the other, some of which are not dealt.
// Nodes that have nothing of a job ask for some though their slots are full, so that none waits for the others to end:
// where they do not, the last one takes half as long again as it would alone where the fewest can run it.
func TestJobsWhoseWorkIsElsewhereAreNotLeftOut(t *testing.T) {
	for s := range uint64(8) {
		c := Config{
			Seed:     s,
			Nodes:    24,
			Slots:    1 + int(s%3),
			Units:    240_000,
			Files:    6,
			UnitTime: 2 * time.Millisecond,
			Replicas: 3,
			Latency:  time.Millisecond,
			Kinds:    true,
			Apart:    10 * time.Second,
			Deal:     true,
		}
		res := checkSeed(t, c)
		alone := time.Duration(float64(c.Units) * float64(c.UnitTime) / (res.Able * float64(c.Slots)))
		took := []time.Duration{res.Makespan}
		for _, side := range res.Sides {
			took = append(took, side.Took)
		}
		if longest := slices.Max(took); longest > alone*14/10+time.Second {
			t.Errorf("seed %d: one of three jobs takes %v, and would take %v alone where the fewest can run it", s, longest,
				alone)
		}
		t.Logf("seed %d: %v, alone at most %v", s, took, alone)
	}
}
