package progress

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Steps shows the steps of a longer command: each with what it is doing, then its outcome and the time it took.
type Steps struct {
	W        io.Writer
	Terminal bool             // W is a terminal: the line is rewritten in place
	Now      func() time.Time // the clock
}

// Run runs one step. f may report where it stands, from several goroutines; it returns its outcome in a
// few words.
func (s *Steps) Run(name string, f func(report func(string)) (string, error)) error {
	step := &step{Steps: s, name: name, start: s.Now()}
	step.shown = step.start
	if s.Terminal {
		fmt.Fprintf(s.W, "%-12s  ...", name)
	}
	outcome, err := f(step.report)
	step.end(outcome, err)
	return err
}

// RunSilent is Run for a step that shows its progress itself.
func (s *Steps) RunSilent(name string, f func() (string, error)) error {
	step := &step{Steps: s, name: name, start: s.Now()}
	outcome, err := f()
	step.end(outcome, err)
	return err
}

type step struct {
	*Steps
	name  string
	start time.Time

	mu    sync.Mutex
	shown time.Time
	over  bool
}

const erase = "\r\x1b[K"

// report shows the progress of a step, at a rate suitable for the eye, or for a log.
func (s *step) report(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := interval * time.Second
	if s.Terminal {
		wait = 100 * time.Millisecond
	}
	now := s.Now()
	if s.over || now.Sub(s.shown) < wait {
		return
	}
	s.shown = now
	if s.Terminal {
		fmt.Fprintf(s.W, "%s%-12s  ... %s", erase, s.name, cut(line(text), 60))
		return
	}
	fmt.Fprintf(s.W, "%-12s  ... %s\n", s.name, line(text))
}

func (s *step) end(outcome string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.Terminal {
		fmt.Fprint(s.W, erase)
	}
	if err != nil {
		outcome = "failed"
	}
	fmt.Fprintf(s.W, "%-12s  %s (%s)\n", s.name, line(outcome), Duration(s.Now().Sub(s.start)))
}

// cut shortens a text so that its line does not wrap.
func cut(text string, most int) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-1]) + "~"
}
