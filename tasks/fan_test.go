package tasks

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestFan: all nodes are in a group, in order, and no two groups differ by more than one.
func TestFan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.SliceOfN(rapid.Int(), 0, 100).Draw(t, "nodes")
		fan := rapid.IntRange(1, 10).Draw(t, "fan")
		groups := Fan(nodes, fan)
		least, most := len(nodes), 0
		for _, g := range groups {
			least, most = min(least, len(g)), max(most, len(g))
		}
		if len(groups) > fan || len(groups) > 0 && (least == 0 || most-least > 1) ||
			!slices.Equal(slices.Concat(groups...), nodes) {
			t.Fatalf("%v", groups)
		}
	})
}
