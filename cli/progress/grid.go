package progress

import (
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// cells measures text as terminals show it, where wide characters take two columns. It ignores the locale, so that the
// same table looks the same everywhere.
var cells = &runewidth.Condition{StrictEmojiNeutral: true}

// These are the least widths of a column of names: if that leaves room enough, and if columns must be narrower.
const (
	leastColumn = 8
	leastNames  = 4
)

// Width is the width in characters of the terminal that w writes to; 0 if w is not a terminal.
func Width(w io.Writer) int {
	f, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd())) //nolint:gosec // a file's number
	if err != nil {
		return 0
	}
	return width
}

// Grid writes rows, of which the first is the heading, as columns that fit into width characters of a terminal; 0 is
// unlimited. If they do not fit, the widest of the columns that names lists are cut, cell by cell, with an ellipsis in
// the middle, since names in one group often begin alike. Numbers and states are never cut and no column is left out;
// if there is still not enough room, lines wrap. Without names all columns may be cut. Control characters are removed.
func Grid(w io.Writer, width int, rows [][]string, names ...int) {
	if len(rows) == 0 {
		return
	}
	columns := make([]int, len(rows[0]))
	clean := make([][]string, len(rows))
	for i, row := range rows {
		for j := range columns {
			text := line(row[j])
			clean[i] = append(clean[i], text)
			columns[j] = max(columns[j], cells.StringWidth(text))
		}
	}
	if len(names) == 0 {
		for j := range columns {
			names = append(names, j)
		}
	}
	gap := ""
	for _, try := range []struct {
		gap     string
		least   int
		heading bool // the heading is never cut
	}{{"  ", leastColumn, true}, {" ", leastNames, true}, {" ", leastNames, false}} {
		gap = try.gap
		least := make([]int, len(columns))
		for j := range columns {
			if least[j] = try.least; try.heading {
				least[j] = max(least[j], cells.StringWidth(clean[0][j]))
			}
		}
		if width <= 0 || fit(columns, names, least, width-len(gap)*(len(columns)-1)) {
			break
		}
	}
	for _, row := range clean {
		var b strings.Builder
		for j, text := range row {
			b.WriteString(cells.FillRight(middle(text, columns[j]), columns[j]))
			b.WriteString(gap)
		}
		_, _ = io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
	}
}

// middle cuts a text to a width, with an ellipsis in its middle.
func middle(text string, width int) string {
	all := cells.StringWidth(text)
	if all <= width {
		return text
	}
	left := width / 2
	return cells.Truncate(text, left, "") + "…" + strings.TrimLeft(cells.TruncateLeft(text, all-(width-left-1), ""), " ")
}

// fit narrows the widest of the columns of names, but none below its least width, until the row fits, and reports
// whether it does.
func fit(columns, names, least []int, width int) bool {
	sum := 0
	for _, c := range columns {
		sum += c
	}
	for ; sum > width; sum-- {
		widest := -1
		for _, j := range names {
			if columns[j] > least[j] && (widest < 0 || columns[j] > columns[widest]) {
				widest = j
			}
		}
		if widest < 0 {
			return false
		}
		columns[widest]--
	}
	return true
}
