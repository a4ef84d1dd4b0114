package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// limit is the lower limit of a job's time: bare ROOT processes that loop over equal shares of the entries, loaded and
// open before the clock starts.
type limit struct {
	processes []*process
}

// process is one process of a limit. A line written to in starts a pass.
type process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	errs bytes.Buffer
}

// startLimit starts n processes and runs the first pass, which is not counted.
func (s *suite) startLimit(ctx context.Context, class string, files []string, n int) (*limit, error) {
	program, err := s.program(ctx, "limit")
	if err != nil {
		return nil, err
	}
	l := &limit{}
	for i := range n {
		last := fmt.Sprintf("%d/%d", i+1, n)
		args := append([]string{s.library(class), class, "Events", fmt.Sprintf("%d/%d", i, n), last, ""}, files...)
		p, err := startProcess(exec.CommandContext(ctx, program, args...))
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.processes = append(l.processes, p)
	}
	for _, p := range l.processes {
		if err := p.wait("ready"); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	if _, err := l.pass(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd}
	cmd.Stderr = &p.errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("could not connect to reference process: %w", err)
	}
	p.out = bufio.NewReader(out)
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("could not connect to reference process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("could not start reference process: %w", err)
	}
	return p, nil
}

// wait reads lines until one starts with word, since selectors print too.
func (p *process) wait(word string) error {
	for {
		line, err := p.out.ReadString('\n')
		if err != nil {
			return fmt.Errorf("could not read %q from reference process: %w: %s", word, err, p.errs.String())
		}
		if strings.HasPrefix(line, word) {
			return nil
		}
	}
}

// pass starts all processes at once and returns the seconds until the last is done.
func (l *limit) pass() (float64, error) {
	start := time.Now()
	for _, p := range l.processes {
		if _, err := io.WriteString(p.in, "go\n"); err != nil {
			return 0, fmt.Errorf("could not start a pass: %w", err)
		}
	}
	for _, p := range l.processes {
		if err := p.wait("done"); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds(), nil
}

// close ends the processes and waits for them.
func (l *limit) close() error {
	var errs []error
	for _, p := range l.processes {
		errs = append(errs, p.in.Close(), p.cmd.Wait())
	}
	return errors.Join(errs...)
}
