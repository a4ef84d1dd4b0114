package pyexec

import (
	"context"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec/child"
)

// spare keeps one process of a program that waits to become a generation, so that whoever waits for a single item need
// not wait for a fork. It goes when no generation was started for a while.
type spare struct {
	fork func(ctx context.Context) (*child.Process, error)
	wait time.Duration // of a process; no process waits if it is not positive

	mu      sync.Mutex
	proc    *child.Process // nil if there is none
	forking bool
	closed  bool
	idle    *time.Timer    // ends proc; nil until the first
	tasks   sync.WaitGroup // forks that are under way
}

// spareFor is how long a process waits for its generation if nothing else is said.
const spareFor = 5 * time.Second

// take returns a process that has not run anything, and has the next one forked meanwhile.
func (s *spare) take(ctx context.Context) (*child.Process, error) {
	s.mu.Lock()
	proc := s.proc
	s.proc = nil
	s.mu.Unlock()
	defer s.refill()
	if proc != nil {
		select {
		case <-proc.Exited(): // somebody has killed it
			proc.Close()
		default:
			return proc, nil
		}
	}
	return s.fork(ctx)
}

// refill forks a process, unless there is one.
func (s *spare) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wait <= 0 || s.closed || s.forking || s.proc != nil {
		return
	}
	s.forking = true
	s.tasks.Go(func() {
		proc, err := s.fork(context.Background())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forking = false
		switch {
		case err != nil: // the next generation is told why, if that still fails
		case s.closed:
			proc.Close()
		default:
			s.proc = proc
			if s.idle == nil {
				s.idle = time.AfterFunc(s.wait, s.drop)
			} else {
				s.idle.Reset(s.wait)
			}
		}
	})
}

// drop ends the process that waits.
func (s *spare) drop() {
	s.mu.Lock()
	proc := s.proc
	s.proc = nil
	s.mu.Unlock()
	if proc != nil {
		proc.Close()
	}
}

// close ends the process that waits, and returns when there will be no other.
func (s *spare) close() {
	s.mu.Lock()
	s.closed = true
	if s.idle != nil {
		s.idle.Stop()
	}
	s.mu.Unlock()
	s.tasks.Wait()
	s.drop()
}
