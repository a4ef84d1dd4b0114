package e2e

import (
	"slices"
	"testing"
)

// TestVerySlowNode compares, in pairs, a cluster of three with one of the same three and a node that takes ten
// times as long for everything. It prints what the slow one costs.
func TestVerySlowNode(t *testing.T) {
	without := ownCluster(t, abc...)
	with := ownCluster(t, append(slices.Clone(abc), nodeSpec{name: "slow", wrap: []string{"env", "DTPNODE_TEST_SLOW=10"}})...)
	var ratios []float64
	for range 1 { // more pairs tell more, and take 17 s each
		var took [2]float64
		for i, c := range []*cluster{without, with} {
			o := c.nodes[0].run(t, paced(t, 300)) // 8 s of three slots
			o.wantWhole(t)
			took[i] = o.st.Seconds
			if w := o.work(t, "slow"); i == 1 && w.Units > o.st.Units/10 {
				t.Errorf("the slow node did %d of %d entries: %s", w.Units, o.st.Units, o.describe())
			}
		}
		ratios = append(ratios, took[1]/took[0])
	}
	slices.Sort(ratios)
	t.Logf("with a node ten times slower a job takes %.3f of the time (median; %.3f to %.3f)", ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1])
}
