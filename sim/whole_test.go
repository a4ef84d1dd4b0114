package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWhole plays seeds of jobs whose files are not divided, with the faults of TestExactlyOnce; see Whole.
// $DTPNODE_SEEDS is how many seeds.
func TestWhole(t *testing.T) {
	if raceEnabled {
		t.Skip("one goroutine each; runs without the race detector")
	}
	n, first := seeds(t, 10), setting(t, "DTPNODE_FIRST", 0)
	var mu sync.Mutex
	var all tally
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := int(next.Add(1)) - 1; s < n; s = int(next.Add(1)) - 1 {
				res := checkSeed(t, Whole(uint64(first+s)))
				mu.Lock()
				all.add(res)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Log(&all)
	if all.runs >= 10 && (all.sums["HomeCrashes"] == 0 || all.sums["PowerCuts"] == 0 || all.sums["Kills"] == 0) {
		t.Error("no home crashed, no power went, or no generation was killed while files were whole")
	}
}
