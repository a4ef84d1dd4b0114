package e2e

import (
	"slices"
	"testing"
)

// slowOne takes ten times as long for everything.
var slowOne = nodeSpec{name: "slow", wrap: []string{"env", "DTPNODE_TEST_SLOW=10"}}

// pacedSlots is a job of 8 s for three slots.
const pacedSlots = 300

// TestVerySlowNode gives a job to three nodes and one that is ten times slower: most of its share ends up elsewhere.
func TestVerySlowNode(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, append(slices.Clone(abc), slowOne)...)
	o := c.nodes[0].run(t, paced(t, pacedSlots))
	o.wantWhole(t)
	if w := o.work(t, "slow"); w.Units > o.st.Units/10 {
		t.Errorf("the slow node did %d of %d entries: %s", w.Units, o.st.Units, o.describe())
	}
}

// BenchmarkVerySlowNode compares, in pairs, a cluster of three with one of the same three and a node ten times slower.
// It reports the median ratio of the times.
func BenchmarkVerySlowNode(b *testing.B) {
	clusters := []*cluster{ownCluster(b, abc...), ownCluster(b, append(slices.Clone(abc), slowOne)...)}
	var ratios []float64
	for range b.N {
		var took [2]float64
		for i, c := range clusters {
			o := c.nodes[0].run(b, paced(b, pacedSlots))
			o.wantWhole(b)
			took[i] = o.st.Seconds
		}
		ratios = append(ratios, took[1]/took[0])
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "with/without")
	b.ReportMetric(0, "ns/op")
}
