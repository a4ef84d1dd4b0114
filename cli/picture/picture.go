// Package picture draws histograms with characters, as wide as a terminal is.
package picture

import (
	"fmt"
	"math"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// Rows of a picture of one dimension and of two, without the lines above and below it.
const (
	rows  = 8
	rows2 = 12
)

// Line is an object in one line: its name, class and numbers.
func Line(p api.Picture) string {
	name := oneLine(p.Name)
	switch {
	case p.Text != "":
		return fmt.Sprintf("%s  %s", name, oneLine(p.Text))
	case p.Entries < 0:
		return fmt.Sprintf("%s  %s", name, oneLine(p.Class))
	case p.X.Bins == 0:
		return fmt.Sprintf("%s  %s entries", name, number(p.Entries))
	case p.Y.Bins > 0:
		return fmt.Sprintf("%s  %s entries  mean x %s  rms x %s", name, number(p.Entries), number(p.Mean), number(p.RMS))
	}
	return fmt.Sprintf("%s  %s entries  mean %s  rms %s  under %s  over %s", name, number(p.Entries), number(p.Mean),
		number(p.RMS), number(p.Under), number(p.Over))
}

// oneLine is text of others that is no command of the terminal, without ends of lines.
func oneLine(text string) string { return strings.Join(strings.Fields(progress.Clean(text)), " ") }

// Draw is an object as lines of at most width columns: one line of numbers and, if it can be drawn, a picture. Nothing
// of a name or title is taken for a command of the terminal.
func Draw(p api.Picture, width int) []string {
	head := Cut(Line(p), width)
	n := p.X.Bins * max(p.Y.Bins, 1)
	if n <= 0 || len(p.Values) != n || width < 20 {
		return []string{head}
	}
	draw := draw1
	if p.Y.Bins > 0 {
		draw = draw2
	}
	lines := []string{head}
	for _, line := range draw(p, width) {
		lines = append(lines, Cut(line, width))
	}
	return lines
}

// eighths fill a cell from below.
var eighths = []rune(" ▁▂▃▄▅▆▇█")

// draw1 draws columns from zero up; where there are values below zero the lowest of them is the ground.
func draw1(p api.Picture, width int) (out []string) {
	cols := columns(p.Values, min(width-12, 2*len(p.Values)))
	low, high := 0.0, 0.0
	for _, v := range cols {
		low, high = math.Min(low, v), math.Max(high, v)
	}
	for row := rows - 1; row >= 0; row-- {
		var line strings.Builder
		for _, v := range cols {
			full := 0.0
			if high > low {
				full = (v - low) / (high - low) * rows
			}
			part := int(math.Round((full - float64(row)) * 8))
			if row == 0 && v > low && part < 1 { // what is there is seen
				part = 1
			}
			line.WriteRune(eighths[min(max(part, 0), 8)])
		}
		label := ""
		switch row {
		case rows - 1:
			label = number(high)
		case 0:
			label = number(low)
		}
		out = append(out, fmt.Sprintf("%9s │%s", label, strings.TrimRight(line.String(), " ")))
	}
	return append(out, axis(p.X, len(cols))...)
}

// columns shares values out to n columns: each column has the largest value of what it shows, so that no peak is lost.
func columns(values []float64, n int) []float64 {
	n = max(n, 1)
	out := make([]float64, n)
	for i := range out {
		first := i * len(values) / n
		last := max((i+1)*len(values)/n, first+1)
		out[i] = values[first]
		for _, v := range values[first:last] {
			if math.Abs(v) > math.Abs(out[i]) {
				out[i] = v
			}
		}
	}
	return out
}

// shades are from nothing to the largest value.
var shades = []rune(" ░▒▓█")

func draw2(p api.Picture, width int) (out []string) {
	n := min(width-12, p.X.Bins*2)
	high := 0.0
	for _, v := range p.Values {
		high = math.Max(high, v)
	}
	lines := min(rows2, p.Y.Bins)
	for row := lines - 1; row >= 0; row-- {
		sums := make([]float64, p.X.Bins)
		for y := row * p.Y.Bins / lines; y < (row+1)*p.Y.Bins/lines; y++ {
			for x := range sums {
				sums[x] = math.Max(sums[x], p.Values[y*p.X.Bins+x])
			}
		}
		var line strings.Builder
		for _, v := range columns(sums, n) {
			shade := 0
			if v > 0 && high > 0 {
				shade = min(max(1+int(v/high*float64(len(shades)-1)), 1), len(shades)-1)
			}
			line.WriteRune(shades[shade])
		}
		label := ""
		switch row {
		case lines - 1:
			label = number(p.Y.Max)
		case 0:
			label = number(p.Y.Min)
		}
		out = append(out, fmt.Sprintf("%9s │%s", label, strings.TrimRight(line.String(), " ")))
	}
	return append(out, axis(p.X, n)...)
}

// axis is the line below n columns, and its ends.
func axis(a api.Axis, n int) []string {
	left, right := number(a.Min), number(a.Max)
	gap := max(n-len(left)-len(right), 1)
	return []string{
		fmt.Sprintf("%9s └%s", "", strings.Repeat("─", n)),
		fmt.Sprintf("%9s  %s%s%s", "", left, strings.Repeat(" ", gap), right),
	}
}

func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		if v >= 1e5 {
			return progress.Count(int64(v))
		}
		return fmt.Sprintf("%d", int64(v))
	}
	return fmt.Sprintf("%.4g", v)
}

// Cut is a text of at most width columns.
func Cut(text string, width int) string { return runewidth.Truncate(text, width, "…") }
