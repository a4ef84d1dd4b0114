package progress

import (
	"fmt"
	"io"

	"github.com/mattn/go-runewidth"
)

// Stage shows what a command is waiting for just now: on a terminal in a line that is rewritten in place and gone at
// the end, elsewhere in a line for each stage.
type Stage struct {
	W     io.Writer
	What  string     // is being done on the whole, as "checking"
	Width func() int // of the terminal, 0 if unknown; nil if W is none on which lines can be rewritten
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

// Close takes the line away.
func (s *Stage) Close() {
	if s.Width != nil && s.shown != "" {
		fmt.Fprint(s.W, erase)
	}
}
