package jobs

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// What is spent is found as by looking at each unit.
func TestSpent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "units")
		deps := make([][]int64, n)
		for u := 1; u < n; u++ {
			deps[u] = rapid.SliceOfN(rapid.Int64Range(0, int64(u-1)), 0, 4).Draw(t, "takes")
		}
		var done, want tasks.Cover
		for u := range int64(n) {
			if rapid.Bool().Draw(t, "done") {
				done = done.Add(tasks.R(u, u+1))
			}
		}
		var l links
		cut := rapid.IntRange(0, n).Draw(t, "first append")
		for _, r := range []tasks.Range{tasks.R(0, int64(cut)), tasks.R(int64(cut), int64(n))} {
			of := taken{units: r, at: []uint32{0}}
			for u := r.First; u < r.Last; u++ {
				of.on = append(of.on, deps[u]...)
				of.at = append(of.at, uint32(len(of.on)))
			}
			l.takes = append(l.takes, of)
		}
		for on := range int64(n) {
			users, open := 0, 0
			for u, takes := range deps {
				if slices.Contains(takes, on) {
					users++
					if !done.Has(int64(u)) {
						open++
					}
				}
			}
			if users > 0 && open == 0 {
				want = want.Add(tasks.R(on, on+1))
			}
		}
		if got := l.spent(done); !got.Equal(want) {
			t.Fatalf("spent: %v, want %v", got, want)
		}
	})
}
