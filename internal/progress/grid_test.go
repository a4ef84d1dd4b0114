package progress

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestGridFits: whatever the cells hold, no line is wider than asked for, and columns stand below each other.
func TestGridFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(1, 9).Draw(t, "columns")
		cell := rapid.OneOf(rapid.String(), rapid.StringN(0, 70, 70), rapid.SampledFrom([]string{"", "計算ノード計算ノード計算ノード計算ノード", "a\tb\nc", "\x1b[2J", "e\u0301e\u0301", strings.Repeat("x", 200)}))
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
	Grid(&b, 30, [][]string{{"NAME", "ID", "ADDRESS"}, {"計算ノード", "1", "192.0.2.1:4001"}, {"a-very-long-name-indeed", "22", ""}})
	want := "NAME          ID  ADDRESS\n計算ノード    1   192.0.2.1:4…\na-very-long…  22\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
