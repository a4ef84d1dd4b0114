package exec

import (
	"fmt"
	"strconv"
	"strings"
)

// Dropped counts what a process has printed and nobody has, since it came faster than it was taken.
type Dropped struct {
	Lines int64
	Bytes int64 // with an end of line for each
}

// droppedMark begins the line that stands for dropped ones on their way to a Sink. The character in front is a
// separator that text hardly has.
const droppedMark = "\x1edropped "

// Line is what a Sink's Output is given where lines were dropped.
func (d Dropped) Line() string { return fmt.Sprintf("%s%d %d", droppedMark, d.Lines, d.Bytes) }

// DroppedIn reads a line that Dropped.Line has made; false if it is any other.
func DroppedIn(line string) (d Dropped, ok bool) {
	rest, ok := strings.CutPrefix(line, droppedMark)
	if !ok {
		return d, false
	}
	_, err := fmt.Sscanf(rest, "%d %d", &d.Lines, &d.Bytes)
	return d, err == nil && d.Lines >= 0 && d.Bytes >= 0
}

// Add counts more.
func (d Dropped) Add(o Dropped) Dropped { return Dropped{d.Lines + o.Lines, d.Bytes + o.Bytes} }

// Minus counts less.
func (d Dropped) Minus(o Dropped) Dropped { return Dropped{d.Lines - o.Lines, d.Bytes - o.Bytes} }

// Text is the line that users see in the place of dropped ones: what printed them, and why they were dropped.
func (d Dropped) Text(of, why string) string {
	lines, were := "lines", "were"
	if d.Lines == 1 {
		lines, were = "line", "was"
	}
	return fmt.Sprintf("... %s %s (%s bytes) of %s %s dropped here (%s)",
		grouped(d.Lines), lines, grouped(d.Bytes), of, were, why)
}

// grouped is a number with a comma after each three digits.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
