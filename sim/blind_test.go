package sim

import (
	"slices"
	"testing"
	"time"
)

// TestHalvesSeen has four nodes that each see a different half of the files, and two nodes see each file. The median
// time over the seeds is at most 1.2 times that of four nodes that see everything.
func TestHalvesSeen(t *testing.T) {
	var ratios []float64
	for s := range uint64(40) {
		c := Config{
			Seed:     s,
			Nodes:    4,
			Slots:    2,
			Units:    80_000,
			Files:    8,
			UnitTime: time.Millisecond,
			Latency:  time.Millisecond,
			Deal:     s%2 == 0,
			Even:     s%4 < 2,
			Replicas: 3,
		}
		all := checkSeed(t, c)
		c.Halves = true
		half := checkSeed(t, c)
		if len(half.Lost) > 0 || !half.Finished || half.Unread == 0 {
			t.Fatalf("seed %d: %+v", s, half)
		}
		ratios = append(ratios, float64(half.Makespan)/float64(all.Makespan))
	}
	slices.Sort(ratios)
	t.Logf("least %.3f, median %.3f, most %.3f", ratios[0], ratios[len(ratios)/2], ratios[len(ratios)-1])
	if m := ratios[len(ratios)/2]; m > 1.2 {
		t.Errorf("the median is %.3f times the time of nodes that see all", m)
	}
}

// TestOneBlindOfFour has one node of four that sees nothing: the others do its part, in about the time of three.
func TestOneBlindOfFour(t *testing.T) {
	for s := range uint64(20) {
		c := Config{
			Seed:     3*s + 1,
			Nodes:    3,
			Slots:    2,
			Units:    60_000,
			Files:    8,
			UnitTime: time.Millisecond,
			Latency:  time.Millisecond,
			Deal:     s%2 == 0,
			Even:     true,
			Replicas: 3,
		}
		three := checkSeed(t, c)
		c.Nodes, c.Halves = 4, false
		c.Blind = 1 // node 3, which never sees its files again
		c.Calm = 0
		four := checkSeed(t, c)
		if len(four.Lost) > 0 || !four.Finished || four.Makespan > three.Makespan*110/100 {
			t.Errorf("seed %d: %v with a blind fourth, %v with three; lost %v", c.Seed, four.Makespan, three.Makespan, four.Lost)
		}
	}
}

// TestHiddenFile has a file that vanishes for all nodes after planning: it is given up in bounded time, and the rest is
// done.
func TestHiddenFile(t *testing.T) {
	for s := range uint64(10) {
		c := Config{
			Seed:     s,
			Nodes:    4,
			Slots:    2,
			Units:    8_000,
			Files:    8,
			UnitTime: time.Millisecond,
			Latency:  time.Millisecond,
			Deal:     s%2 == 0,
			Replicas: 3,
			Hidden:   2,
			Blind:    int(s % 3),
		}
		res := checkSeed(t, c)
		if !res.Finished || len(res.Lost) != 2 || res.Makespan > 20*time.Second {
			t.Errorf("seed %d: %v, lost %v", s, res.Makespan, res.Lost)
		}
		for _, l := range res.Lost {
			if len(l.Nodes) != 4 || l.Host == "" {
				t.Errorf("seed %d: not all were asked: %+v", s, l)
			}
		}
	}
}

// TestHostsThatLackAFriend has two nodes of four on which everything fails, as if by the entries: the others do all the
// work, and the two are set aside.
func TestHostsThatLackAFriend(t *testing.T) {
	lacked := 0
	for s := range uint64(40) {
		c := Config{
			Seed:     s,
			Nodes:    4,
			Slots:    2,
			Units:    40_000,
			Files:    8,
			UnitTime: time.Millisecond,
			Latency:  time.Millisecond,
			Deal:     s%2 == 0,
			Even:     s%4 < 2,
			Replicas: 3,
			Lacking:  2,
		}
		res := checkSeed(t, c)
		if !res.Finished || len(res.Lost) > 0 {
			t.Fatalf("seed %d: %+v", s, res)
		}
		lacked += res.Lacked
		if res.Lacked > 60 {
			t.Errorf("seed %d: %d generations failed on nodes that can do nothing", s, res.Lacked)
		}
	}
	t.Logf("%d generations failed in all", lacked)
}
