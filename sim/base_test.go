package sim

import "testing"

// TestRetried plays jobs that begin with outputs of an earlier one, with every fault. $DTPNODE_SEEDS says how many
// seeds.
func TestRetried(t *testing.T) {
	if raceEnabled {
		goTest(t, "-run", "^TestRetried$", ".")
		return
	}
	var all tally
	var before, redone int64
	for s := range seeds(t, 60) {
		cfg := Retried(uint64(s))
		res := checkSeed(t, cfg)
		all.add(res)
		before, redone = before+res.Before, redone+res.Redone
		if cfg.gentle() && res.Redone > 0 {
			t.Errorf("seed %d: %d units ran again that the job had from an earlier one", s, res.Redone)
		}
	}
	t.Log(&all)
	t.Logf("%d units were there before, %d of them ran again", before, redone)
	if before == 0 || 2*redone > before {
		t.Errorf("%d of %d units ran again that the jobs had from earlier ones", redone, before)
	}
}
