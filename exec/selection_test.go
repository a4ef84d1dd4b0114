package exec_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/exec"
)

func listed(t *rapid.T, r exec.Runs) (out []int64) {
	if err := r.Each(func(first, last int64) {
		for e := first; e < last; e++ {
			out = append(out, e)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func set(entries []int64) []int64 {
	out := slices.Clone(entries)
	slices.Sort(out)
	return slices.Compact(out)
}

// TestRunsAreSets compares Runs with sorted slices: as made of entries in any order, united, clipped, and by the
// clusters that they touch.
func TestRunsAreSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOf(rapid.Int64Range(0, 60))
		a, b := entries.Draw(t, "a"), entries.Draw(t, "b")
		ra, rb := exec.RunsOf(slices.Clone(a)), exec.RunsOf(slices.Clone(b))
		if got, want := listed(t, ra), set(a); !slices.Equal(got, want) {
			t.Fatalf("listed %v, want %v", got, want)
		}
		n, end, err := ra.Len()
		if want := set(a); err != nil || n != int64(len(want)) || n > 0 && end != want[n-1]+1 {
			t.Fatalf("%d entries up to %d, %v, of %v", n, end, err, want)
		}
		both, err := ra.Union(rb)
		if got, want := listed(t, both), set(append(slices.Clone(a), b...)); err != nil || !slices.Equal(got, want) {
			t.Fatalf("union %v, %v, want %v", got, err, want)
		}
		first := rapid.Int64Range(0, 60).Draw(t, "first")
		last := rapid.Int64Range(first, 61).Draw(t, "last")
		part, err := ra.Clip(first, last)
		var want []int64
		for _, e := range set(a) {
			if e >= first && e < last {
				want = append(want, e-first)
			}
		}
		if got := listed(t, part); err != nil || !slices.Equal(got, want) {
			t.Fatalf("clipped to [%d, %d): %v, %v, want %v", first, last, got, err, want)
		}
		clusters := append([]int64{0}, set(rapid.SliceOf(rapid.Int64Range(1, 60)).Draw(t, "clusters"))...)
		var begins []int64
		before := -1
		for i, e := range set(a) {
			c, _ := slices.BinarySearch(clusters, e+1)
			if c != before {
				begins, before = append(begins, int64(i)), c
			}
		}
		if got, err := ra.Clusters(clusters); err != nil || !slices.Equal(got, begins) {
			t.Fatalf("clusters of %v by %v begin at %v, %v, want %v", set(a), clusters, got, err, begins)
		}
	})
}

// TestBrokenRuns sees that what is no list is refused.
func TestBrokenRuns(t *testing.T) {
	for _, r := range []exec.Runs{{1}, {1, 0}, {0x80}, {1, 1, 0xff}} {
		if err := r.Each(func(int64, int64) {}); err == nil {
			t.Errorf("%v was taken for a list", r)
		}
	}
}
