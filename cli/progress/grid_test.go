package progress

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestGridFits: whatever the cells contain, no line is wider than requested, and columns are aligned.
func TestGridFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(1, 9).Draw(t, "columns")
		cell := rapid.OneOf(rapid.String(), rapid.StringN(0, 70, 70),
			rapid.SampledFrom([]string{"", "計算ノード計算ノード計算ノード計算ノード", "a\tb\nc", "\x1b[2J", "e\u0301e\u0301",
				strings.Repeat("x", 200)}))
		rows := rapid.SliceOfN(rapid.SliceOfN(cell, columns, columns), 1, 20).Draw(t, "rows")
		var b strings.Builder
		Grid(&b, 100, rows)
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != len(rows) {
			t.Fatalf("%d lines of %d rows:\n%q", len(lines), len(rows), b.String())
		}
		for _, l := range lines {
			if w := cells.StringWidth(l); w > 100 {
				t.Fatalf("%d places: %q", w, l)
			}
		}
	})
}

func TestGrid(t *testing.T) {
	var b strings.Builder
	Grid(&b, 30, [][]string{
		{"NAME", "ID", "ADDRESS"},
		{"計算ノード", "1", "192.0.2.1:4001"},
		{"a-very-long-name-indeed", "22", ""},
	})
	want := "NAME          ID  ADDRESS\n計算ノード    1   192.0.…:4001\na-very…ndeed  22\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestGridOfNames: only names are cut, in the middle. If they cannot be cut further the gaps between columns shrink,
// and if that does not suffice lines wrap, but no digit is lost.
func TestGridOfNames(t *testing.T) {
	long, wide := "worker-"+strings.Repeat("x", 50)+"-number-0007", strings.Repeat("計算", 32)
	rows := [][]string{
		{"JOB", "OF", "EVENTS", "NODE"},
		{"3fa9c2d417e8", long, "4,000,000", wide},
		{"3fa9c2d417e9", "bob", "1", "b"},
	}
	for _, width := range []int{0, 60, 45, 38, 10} {
		var b strings.Builder
		Grid(&b, width, rows, 1, 3)
		for _, l := range strings.Split(b.String(), "\n") {
			if w := cells.StringWidth(l); width > 30 && w > width {
				t.Errorf("%d places of %d: %q", w, width, l)
			}
		}
		for _, whole := range []string{"JOB", "OF", "EVENTS", "NODE", "3fa9c2d417e8", "4,000,000"} {
			if !strings.Contains(b.String(), whole) {
				t.Errorf("width %d: %s is lost:\n%s", width, whole, b.String())
			}
		}
	}
	var b strings.Builder
	Grid(&b, 45, rows, 1, 3)
	if want := "JOB           OF         EVENTS     NODE\n3fa9c2d417e8  work…0007  4,000,000  計算…計算\n3fa9c2d417e9  bob  " +
		"      1          b\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
