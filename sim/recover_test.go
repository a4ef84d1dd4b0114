package sim

import "testing"

// TestRecovering loses two of three replicas of each job, for good or for long, and has it recovered from the third.
// $DTPNODE_SEEDS says how many seeds.
func TestRecovering(t *testing.T) {
	if raceEnabled {
		goTest(t, "-run", "^TestRecovering$", ".")
		return
	}
	n := seeds(t, 40)
	var all tally
	for s := range n {
		all.add(checkSeed(t, Recovering(uint64(s))))
	}
	t.Log(&all)
	if all.sums["Recoveries"] < int64(n)*9/10 || all.sums["Returns"] < int64(n)/2 {
		t.Errorf("only %d of %d runs had a recovery, and %d replicas came back", all.sums["Recoveries"], n,
			all.sums["Returns"])
	}
}
