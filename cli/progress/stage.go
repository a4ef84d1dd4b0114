package progress

import (
	"fmt"
	"io"

	"github.com/mattn/go-runewidth"
)

// Stage shows what a command is waiting for: on a terminal in a line that is rewritten in place and removed at the end,
// elsewhere in a line for each stage.
type Stage struct {
	W     io.Writer
	What  string     // what the command does, such as "checking"
	Width func() int // width of the terminal, 0 if unknown; nil if lines on W cannot be rewritten
	shown string
}

// Show shows a stage.
func (s *Stage) Show(text string) {
	text = line(text)
	if text == s.shown || s.Width == nil && waitsFor(text) == waitsFor(s.shown) {
		return
	}
	s.shown = text
	if s.Width == nil {
		fmt.Fprintf(s.W, "%s  %s\n", s.What, text)
		return
	}
	text = s.What + "  " + text
	if width := s.Width(); width > 0 { // a line that wraps could not be rewritten
		text = runewidth.Truncate(text, max(width-1, 1), "~")
	}
	fmt.Fprint(s.W, erase+text)
}

// Close removes the line.
func (s *Stage) Close() {
	if s.Width != nil && s.shown != "" {
		fmt.Fprint(s.W, erase)
	}
}
