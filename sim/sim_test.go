package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// hostile is a run with every fault that the protocol promises to survive, in an amount and of a shape
// that the seed decides.
func hostile(seed uint64) Config {
	c := Config{Seed: seed, Nodes: 200, Slots: 1 + int(seed%2), Units: 200_000 + int64(seed%7)*10_000, Files: 40,
		Packet: 400 * time.Millisecond, UnitTime: 5 * time.Millisecond, Latency: time.Duration(1+seed%5) * time.Millisecond, Calm: 8 * time.Second,
		Drop: 0.05, Repeat: 0.05, Crashes: int(seed % 30), Pauses: int(seed % 7), Kills: 20, Leaves: int(seed % 5),
		Late: int(seed % 20), Slow: int(seed % 11), Deal: seed%2 == 0}
	if seed%4 == 1 {
		c.Poison = []int64{17, 123_456}
	}
	return c
}

func seeds(t *testing.T, def int) int {
	if s := os.Getenv("DTPNODE_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return def
}

func checkSeed(t *testing.T, cfg Config) Result {
	res := Run(cfg)
	if res.Err != nil {
		t.Errorf("seed %d: %v (after %v)", cfg.Seed, res.Err, res.Makespan)
	}
	if len(res.Lost) != len(cfg.Poison) {
		t.Errorf("seed %d: lost %v, poisoned are %v", cfg.Seed, res.Lost, cfg.Poison)
	}
	for i, l := range res.Lost {
		if i < len(cfg.Poison) && (l.Range.First != cfg.Poison[i] || l.Range.Len() != 1) {
			t.Errorf("seed %d: lost %v, poisoned is %d", cfg.Seed, l.Range, cfg.Poison[i])
		}
	}
	return res
}

// TestExactlyOnce ends every seed with exactly one count of every unit.
func TestExactlyOnce(t *testing.T) {
	for part := range 4 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			t.Parallel()
			for s := part; s < seeds(t, 300); s += 4 {
				checkSeed(t, hostile(uint64(s)))
			}
		})
	}
}

// TestSameSeedSameTrace replays seeds.
func TestSameSeedSameTrace(t *testing.T) {
	for s := uint64(0); s < 5; s++ {
		if a, b := Run(hostile(s)), Run(hostile(s)); a.Hash != b.Hash || a.Makespan != b.Makespan {
			t.Errorf("seed %d: traces %x after %v and %x after %v", s, a.Hash, a.Makespan, b.Hash, b.Makespan)
		}
	}
}

// TestCleanRunIsFast holds a run without faults against the ideal: all slots busy all the time.
func TestCleanRunIsFast(t *testing.T) {
	for _, deal := range []bool{true, false} {
		c := Config{Seed: 1, Nodes: 50, Slots: 2, Units: 1_000_000, Files: 20, UnitTime: time.Millisecond,
			Latency: time.Millisecond, Deal: deal}
		res := checkSeed(t, c)
		ideal := time.Duration(c.Units) * c.UnitTime / time.Duration(c.Nodes*c.Slots)
		if res.Makespan > ideal*3/2 || res.Rerun > 0 {
			t.Errorf("deal %v: %v, ideal %v, rerun %.3f", deal, res.Makespan, ideal, res.Rerun)
		}
		t.Logf("deal %v: makespan %v, ideal %v, steals %d, messages %d", deal, res.Makespan, ideal, res.Steals, res.Messages)
	}
}
