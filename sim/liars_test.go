package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestLiars plays seeds in which a member lies about its work: see Lying and check. $DTPNODE_SEEDS says how many.
func TestLiars(t *testing.T) { playLiars(t, Lying) }

// TestUsurpers plays seeds in which a member also lies about its role: see Usurping.
func TestUsurpers(t *testing.T) { playLiars(t, Usurping) }

func playLiars(t *testing.T, config func(seed uint64) Config) {
	if raceEnabled {
		t.Skip("one goroutine each; runs without the race detector")
	}
	n, first := seeds(t, 40), setting(t, "DTPNODE_FIRST", 0)
	var mu sync.Mutex
	all := map[Role]*tally{}
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := int(next.Add(1)) - 1; s < n; s = int(next.Add(1)) - 1 {
				cfg := config(uint64(first + s))
				res := checkSeed(t, cfg)
				mu.Lock()
				if all[cfg.Liar] == nil {
					all[cfg.Liar] = &tally{}
				}
				all[cfg.Liar].add(res)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for role, a := range all {
		t.Logf("a lying %s: %v", role, a)
		if a.runs >= 50 && (a.sums["Lies"] == 0 || a.sums["Violations"]+a.sums["Defied"] == 0) {
			t.Errorf("a lying %s: no lie was told, or none was named", role)
		}
	}
}

// TestNobodyPutsItselfAbove: there are so many nodes that their reports are rare, and a liar deals some work to all
// others, as if it had to merge their partials. It is given partials only by those that the job's tree puts below it.
func TestNobodyPutsItselfAbove(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine; runs without the race detector")
	}
	for s := range uint64(4) {
		c := Config{
			Seed:       s,
			Nodes:      120 + 20*int(s),
			Slots:      1,
			Files:      10,
			UnitTime:   5 * time.Millisecond,
			Replicas:   3,
			Latency:    time.Millisecond,
			Packet:     200 * time.Millisecond,
			Generation: time.Second,
			Calm:       time.Second,
			Deal:       true,
			Liars:      1,
			Liar:       LyingWorker,
			Climbs:     true,
		}
		c.Units = int64(c.Nodes) * 2000 // 10 s of work for all of them
		res := checkSeed(t, c)
		t.Logf("seed %d: %d of %d nodes gave it partials, it was named %d times; %v", s, len(res.Climbed), c.Nodes,
			res.Faults.Violations, res.Makespan)
		if most := 3 * tasks.DealFan; len(res.Climbed) > most || res.Faults.Violations == 0 {
			t.Errorf("seed %d: %d nodes gave the liar partials, more than %d; it was named %d times", s, len(res.Climbed), most,
				res.Faults.Violations)
		}
	}
}

// TestRulers plays seeds in which a member with the right admin signs recoveries that nobody has asked for: see Ruling.
func TestRulers(t *testing.T) { playLiars(t, Ruling) }
