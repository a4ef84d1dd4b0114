package sim

import "testing"

// TestLinked plays seeds of jobs whose units depend on others, with the faults of TestExactlyOnce; see Linked.
// $DTPNODE_SEEDS is how many seeds.
func TestLinked(t *testing.T) {
	all := playSeeds(t, 6, Linked)
	if all.runs >= 6 && (all.sums["HomeCrashes"] == 0 || all.sums["PowerCuts"] == 0) {
		t.Error("no home crashed, or no power went, while units waited for others")
	}
}
