package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLiars plays seeds in which a member lies about its work: see Lying and check. $DTPNODE_SEEDS says how many.
func TestLiars(t *testing.T) { playLiars(t, Lying) }

// TestUsurpers plays seeds in which a member lies about who it is in the job, too: see Usurping.
func TestUsurpers(t *testing.T) { playLiars(t, Usurping) }

func playLiars(t *testing.T, config func(seed uint64) Config) {
	if raceEnabled {
		t.Skip("one goroutine each; runs without the race detector")
	}
	n, first := seeds(t, 100), setting(t, "DTPNODE_FIRST", 0)
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
		if a.runs >= 50 && (a.sums["Lies"] == 0 || a.sums["Violations"] == 0) {
			t.Errorf("a lying %s: no lie was told, or none was named", role)
		}
	}
}
