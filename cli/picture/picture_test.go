package picture_test

import (
	"math"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"
	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/cli/picture"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestDraw: a triangle rises and falls, its largest value and the ends of its axis are named, and nothing that a name
// holds reaches the terminal as a command.
func TestDraw(t *testing.T) {
	p := api.Picture{
		Name: "h\x1b[2J", Class: "TH1F", Entries: 25, Mean: 2, RMS: 1, X: api.Axis{Bins: 5, Min: 0, Max: 5},
		Values: []float64{1, 4, 8, 4, 0},
	}
	got := strings.Join(picture.Draw(p, 40), "\n")
	want := strings.Join([]string{
		"        8 │    ██",
		"          │    ██",
		"          │    ██",
		"          │    ██",
		"          │  ██████",
		"          │  ██████",
		"          │  ██████",
		"        0 │████████",
		"          └──────────",
		"           0        5",
	}, "\n")
	if _, rest, _ := strings.Cut(got, "\n"); rest != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(got, "\x1b") || !strings.Contains(got, "25 entries") {
		t.Errorf("the first line is %q", got)
	}
}

// TestDrawFits: whatever a member tells, each line fits into the width, and all are drawn in bounded time.
func TestDrawFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Float64(), rapid.Just(math.Inf(1)), rapid.Just(math.NaN()))
		p := api.Picture{
			Name: rapid.String().Draw(t, "name"), Class: rapid.String().Draw(t, "class"),
			Entries: value.Draw(t, "entries"), Mean: value.Draw(t, "mean"), Under: value.Draw(t, "under"),
			X: api.Axis{Bins: rapid.IntRange(-2, 300).Draw(t, "x"), Min: value.Draw(t, "min"), Max: value.Draw(t, "max")},
			Y: api.Axis{Bins: rapid.IntRange(-2, 80).Draw(t, "y"), Max: value.Draw(t, "ymax")},
		}
		n := max(p.X.Bins, 0) * max(p.Y.Bins, 1)
		p.Values = rapid.SliceOfN(value, 0, 20).Draw(t, "values")
		for len(p.Values) > 0 && len(p.Values) < n && rapid.Bool().Draw(t, "whole") {
			p.Values = append(p.Values, p.Values...)
		}
		if len(p.Values) > n {
			p.Values = p.Values[:n]
		}
		width := rapid.IntRange(1, 200).Draw(t, "width")
		lines := picture.Draw(p, width)
		if len(lines) == 0 || len(lines) > 20 {
			t.Fatalf("%d lines", len(lines))
		}
		for _, line := range lines {
			if runewidth.StringWidth(line) > max(width, 1) || strings.ContainsAny(line, "\x1b\n") {
				t.Fatalf("%q does not fit into %d columns", line, width)
			}
		}
	})
}
