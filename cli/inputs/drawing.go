package inputs

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// maxCells bounds the bins of a histogram that is drawn: each process has such a one.
const maxCells = 1 << 28

// CheckDrawing reports what of an expression for TTree::Draw, with an option, would be another drawing than the user
// seems to mean, or one of single rows, which no histogram holds: before any job is made. ROOT itself takes much of it
// without a word.
func CheckDrawing(expression, option string) error {
	drawn, target, named := cutTarget(expression)
	n := len(columnsOf(drawn))
	if err := checkOption(expression, option, n); err != nil || !named {
		return err
	}
	wrong := func(why string) error {
		return &api.Error{
			Message: fmt.Sprintf("could not draw %q: %s", expression, why),
			Hint: "behind >> stands a name, and in parentheses bins and limits: >>h(100,0,200), or >>h(20,0,1,30,-1,1) for " +
				"y:x",
		}
	}
	name, bins, binned := strings.Cut(target, "(")
	name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "+"))
	switch {
	case name == "" && !binned:
		return wrong("a name is missing behind >>")
	case strings.ContainsAny(name, "/;()"):
		return wrong(fmt.Sprintf("%q is no name that an object of a ROOT file can have", name))
	case !binned:
		return nil
	}
	list, rest, closed := strings.Cut(bins, ")")
	switch {
	case !closed:
		return wrong("the parenthesis is not closed")
	case strings.TrimSpace(rest) != "":
		return wrong(fmt.Sprintf("what is %q behind the parenthesis?", strings.TrimSpace(rest)))
	case strings.TrimSpace(drawn) == "":
		return wrong("a list of entries has no bins")
	}
	if why := checkBins(strings.Split(list, ","), n); why != "" {
		return wrong(why)
	}
	return nil
}

// checkBins says what is wrong with numbers of bins and limits of n columns; empty if nothing is.
func checkBins(fields []string, n int) string {
	if len(fields) > 3*n {
		return fmt.Sprintf("%d numbers are given for %d %s, which %s at most %d", len(fields), n,
			map[bool]string{true: "axis", false: "axes"}[n == 1], map[bool]string{true: "takes", false: "take"}[n == 1], 3*n)
	}
	cells := 1.
	for i, text := range fields {
		v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		switch {
		case err != nil:
			return fmt.Sprintf("%q is no number", strings.TrimSpace(text))
		case math.IsNaN(v) || math.IsInf(v, 0):
			return fmt.Sprintf("a limit must be finite, and not %s", strings.TrimSpace(text))
		case i%3 != 0:
			continue
		case v < 1 || v != math.Trunc(v):
			return fmt.Sprintf("%s is no number of bins", strings.TrimSpace(text))
		}
		cells *= v + 2
	}
	if cells > maxCells {
		return fmt.Sprintf("it would have %.3g bins in each process, of which there may be %d", cells, maxCells)
	}
	return ""
}

func checkOption(expression, option string, columns int) error {
	lower, what := strings.ToLower(option), ""
	for _, word := range []string{"para", "candle", "gl5d"} {
		if strings.Contains(lower, word) {
			what = "the option " + word
		}
	}
	if columns > 3 {
		what = fmt.Sprintf("it has %d columns, at most 3 can be drawn: more", columns)
	}
	if columns == 3 && strings.Contains(lower, "col") && !strings.Contains(lower, "prof") {
		what = "of three columns the option " + strings.TrimSpace(option)
	}
	if what == "" {
		return nil
	}
	return &api.Error{
		Message: fmt.Sprintf("could not draw %q: %s would show single rows, which no histogram holds", expression, what),
		Hint:    "draw fewer columns into histograms, or write the rows to a tree with a selector and draw that with ROOT",
	}
}

// cutTarget divides an expression at the last >>.
func cutTarget(expression string) (drawn, target string, named bool) {
	i := strings.LastIndex(expression, ">>")
	if i < 0 {
		return expression, "", false
	}
	return expression[:i], expression[i+2:], true
}

// CutSelection divides EXPRESSION;SELECTION at the first semicolon that stands in no text in quotes.
func CutSelection(text string) (expression, selection string, ok bool) {
	quoted := false
	for i := range len(text) {
		switch {
		case text[i] == '"':
			quoted = !quoted
		case text[i] == ';' && !quoted:
			return text[:i], text[i+1:], true
		}
	}
	return text, "", false
}

// columnsOf divides an expression at the colons that part columns: not at :: and not at those of ?:.
func columnsOf(text string) (out []string) {
	from, ternary := 0, false
	for i := range len(text) {
		switch {
		case text[i] == '?':
			ternary = true
		case text[i] != ':' || i > 0 && text[i-1] == ':' || i+1 < len(text) && text[i+1] == ':':
		case ternary:
			ternary = false
		default:
			out = append(out, text[from:i])
			from = i + 1
		}
	}
	return append(out, text[from:])
}
