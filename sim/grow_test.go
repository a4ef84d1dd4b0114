package sim

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestGrowing plays seeds of jobs that grow, with the faults of TestExactlyOnce; see Growing. $DTPNODE_SEEDS is how
// many seeds.
func TestGrowing(t *testing.T) {
	all := playSeeds(t, 12, Growing)
	if all.runs >= 12 && (all.sums["HomeCrashes"] == 0 || all.sums["PowerCuts"] == 0 || all.sums["Compacted"] == 0) {
		t.Error("no home crashed, no power went, or no log was compacted while jobs grew")
	}
}

// playSeeds plays runs, side by side, as many as usual or $DTPNODE_SEEDS says.
func playSeeds(t *testing.T, usual int, config func(seed uint64) Config) *tally {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine each; runs without the race detector")
	}
	n, first := seeds(t, usual), setting(t, "DTPNODE_FIRST", 0)
	var mu sync.Mutex
	var all tally
	var wg sync.WaitGroup
	next := atomic.Int64{}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := int(next.Add(1)) - 1; s < n; s = int(next.Add(1)) - 1 {
				res := checkSeed(t, config(uint64(first+s)))
				mu.Lock()
				all.add(res)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Log(&all)
	return &all
}
