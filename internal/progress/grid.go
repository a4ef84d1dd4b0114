package progress

import (
	"io"
	"strings"

	"github.com/mattn/go-runewidth"
)

// cells measures text as terminals show it: wide characters take two places. It does not go by the locale, so that the
// same table looks the same everywhere.
var cells = &runewidth.Condition{StrictEmojiNeutral: true}

// leastColumn is what a column is never made narrower than.
const leastColumn = 8

// Grid writes rows, of which the first is the heading, as columns that take so many places of a terminal together. Where
// they would take more the widest columns are cut, cell by cell, with an ellipsis. Control characters are dropped.
func Grid(w io.Writer, width int, rows [][]string) {
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
	fit(columns, width)
	for _, row := range clean {
		var b strings.Builder
		for j, text := range row {
			b.WriteString(cells.FillRight(cells.Truncate(text, columns[j], "…"), columns[j]))
			b.WriteString("  ")
		}
		_, _ = io.WriteString(w, strings.TrimRight(b.String(), " ")+"\n")
	}
}

// fit narrows the widest columns until all fit, with two places between them.
func fit(columns []int, width int) {
	sum := 2 * (len(columns) - 1)
	for _, c := range columns {
		sum += c
	}
	for ; sum > width; sum-- {
		widest := 0
		for j, c := range columns {
			if c > columns[widest] {
				widest = j
			}
		}
		if columns[widest] <= leastColumn {
			return
		}
		columns[widest]--
	}
}
