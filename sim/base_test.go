package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRetried plays jobs that begin with outputs of an earlier one, with every fault. $DTPNODE_SEEDS says how many
// seeds, and $DTPNODE_FIRST the first one.
func TestRetried(t *testing.T) {
	if raceEnabled {
		goTest(t, "-run", "^TestRetried$", ".")
		return
	}
	var mu sync.Mutex
	var all tally
	var before, redone int64
	var wg sync.WaitGroup
	next := atomic.Int64{}
	next.Store(int64(setting(t, "DTPNODE_FIRST", 0)))
	last := next.Load() + int64(seeds(t, 40))
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := next.Add(1) - 1; s < last; s = next.Add(1) - 1 {
				cfg := Retried(uint64(s))
				res := checkSeed(t, cfg)
				mu.Lock()
				all.add(res)
				before, redone = before+res.Before, redone+res.Redone
				mu.Unlock()
				if cfg.gentle() && res.Redone > 0 {
					t.Errorf("seed %d: %d units ran again that the job had from an earlier one", s, res.Redone)
				}
			}
		})
	}
	wg.Wait()
	t.Log(&all)
	t.Logf("%d units were there before, %d of them ran again", before, redone)
	if before == 0 || 2*redone > before {
		t.Errorf("%d of %d units ran again that the jobs had from earlier ones", redone, before)
	}
}
