package rootexec

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// Selector is one class of one library, loaded in a process that forks generations, mergers and
// clients. It stays loaded until Release, and for some time after.
type Selector struct {
	e     *Executor
	key   string
	class string

	ready chan struct{} // closed when data, proc and zygote, or err, are set
	err   error
	data  string // folder of the data files; it need not exist
	packs []packageFrame
	proc  *child.Process
	z     *child.Zygote

	// Guarded by the cache's mutex.
	refs int
	used uint64
}

// selectorCache keeps loaded selectors; those in use are never dropped.
type selectorCache struct {
	mu     sync.Mutex
	max    int
	clock  uint64
	loaded map[string]*Selector
	closed bool
}

func (c *selectorCache) init(max int) {
	c.max = max
	c.loaded = map[string]*Selector{}
}

// Load loads class from lib, or returns it loaded as it is from an earlier call. That the class derives
// from TSelector and that an object of it can be made is checked, the latter in a process of its own.
// A *Failure of KindCode says what is wrong with the code. The caller must Release what it got.
func (e *Executor) Load(ctx context.Context, lib Library, class string) (*Selector, error) {
	for {
		s, mine, err := e.selectors.acquire(e, loadedKey(lib, class), class)
		if err != nil {
			return nil, err
		}
		if mine {
			s.err = s.open(ctx, lib)
			close(s.ready)
			e.selectors.trim()
		}
		if err := s.wait(ctx); err != nil {
			s.Release()
			return nil, err
		}
		if s.err == nil {
			return s, nil
		}
		e.selectors.drop(s)
		// That another job was cancelled while it loaded the selector says nothing about the selector.
		if mine || ctx.Err() != nil || !errors.Is(s.err, context.Canceled) {
			return nil, s.err
		}
	}
}

// loadedKey names a class of a library among those that are loaded.
func loadedKey(lib Library, class string) string {
	if lib.Proof {
		class += "/proof"
	}
	return lib.Key + "/" + class
}

// wait waits until s is loaded, or has failed to: that goes before the end of ctx.
func (s *Selector) wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	default:
	}
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("could not load %q: %w", s.class, ctx.Err())
	}
}

func (c *selectorCache) acquire(e *Executor, key, class string) (s *Selector, mine bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, fmt.Errorf("could not load %q: %w", class, exec.ErrClosed)
	}
	c.clock++
	s = c.loaded[key]
	if s != nil && s.dead() {
		delete(c.loaded, key) // its users, if any, release it
		if s.refs == 0 {
			go s.close()
		}
		s = nil
	}
	if s == nil {
		s = &Selector{e: e, key: key, class: class, ready: make(chan struct{})}
		c.loaded[key] = s
		mine = true
	}
	s.refs++
	s.used = c.clock
	return s, mine, nil
}

// dead reports whether the selector's process has gone, which only a loaded one can.
func (s *Selector) dead() bool {
	select {
	case <-s.ready:
		return s.err == nil && !s.z.Alive()
	default:
		return false
	}
}

// Alive reports whether children can still be forked. If not, the selector's process was killed: Load it
// again, and Release this one.
func (s *Selector) Alive() bool { return s.z.Alive() }

// open forks and loads; it runs in the one Load that came first.
func (s *Selector) open(ctx context.Context, lib Library) error {
	if err := lib.Check(); err != nil {
		return fmt.Errorf("could not load selector %q: %w", s.class, err)
	}
	proof, err := s.e.proofFor(ctx, lib)
	if err != nil {
		return fmt.Errorf("could not load selector %q: %w", s.class, err)
	}
	p, err := s.e.base.Fork(ctx, roleSelector)
	if err != nil {
		return err
	}
	load := loadFrame{
		Op: "load", So: lib.So, Dir: lib.Sources, Class: s.class, Proof: proof, Lacking: lib.Shape.Lacking,
		Code: s.e.codeFrame(lib.Shape, lib.Dir, !lib.Shape.Interpreted),
	}
	if lib.Shape.Interpreted {
		load.Macro, load.Macros = filepath.Join(lib.Dir, filepath.FromSlash(lib.Main)), under(lib.Dir, lib.Shape.Parts)
	}
	if _, err := p.Call(ctx, load); err != nil {
		p.Close()
		return s.codeFailure(err)
	}
	s.proc, s.z, s.data, s.packs = p, p.Zygote(), filepath.Join(lib.Dir, DataDir), load.Code.Packages
	if err := s.check(ctx); err != nil {
		s.close()
		return s.codeFailure(err)
	}
	return nil
}

// check makes an object in a process that is thrown away, so that a constructor that crashes is found
// here and not in every generation.
func (s *Selector) check(ctx context.Context) error {
	p, err := s.z.Fork(ctx, roleCheck)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Call(ctx, makeFrame{Op: "make"})
	return err
}

// codeFailure makes the code the culprit: nothing else runs while a library is loaded.
func (s *Selector) codeFailure(err error) error {
	f := asFailure(err)
	if f == nil {
		return fmt.Errorf("could not load selector %q: %w", s.class, err)
	}
	switch f.Kind {
	case exec.KindSignal, exec.KindException, exec.KindExit:
		f.Kind = exec.KindCode
		return f
	}
	return explainLoad(f)
}

// Release gives s back. It stays loaded for a later Load while there is room.
func (s *Selector) Release() {
	c := &s.e.selectors
	c.mu.Lock()
	s.refs--
	orphan := s.refs == 0 && c.loaded[s.key] != s
	c.mu.Unlock()
	if orphan {
		s.close()
		return
	}
	c.trim()
}

// drop forgets a selector that could not be loaded.
func (c *selectorCache) drop(s *Selector) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.refs--
	if c.loaded[s.key] == s {
		delete(c.loaded, s.key)
	}
}

// forget closes the selectors of libraries whose keys begin so, those in use when their users release them.
func (c *selectorCache) forget(prefix string) {
	var out []*Selector
	c.mu.Lock()
	for key, s := range c.loaded {
		if strings.HasPrefix(key, prefix) {
			delete(c.loaded, key)
			if s.refs == 0 {
				out = append(out, s)
			}
		}
	}
	c.mu.Unlock()
	for _, s := range out {
		s.close()
	}
}

// trim closes the selectors longest unused beyond the limit.
func (c *selectorCache) trim() {
	var out []*Selector
	c.mu.Lock()
	for len(c.loaded) > c.max {
		var oldest *Selector
		for _, s := range c.loaded {
			if s.refs == 0 && (oldest == nil || s.used < oldest.used) {
				oldest = s
			}
		}
		if oldest == nil {
			break
		}
		delete(c.loaded, oldest.key)
		out = append(out, oldest)
	}
	c.mu.Unlock()
	for _, s := range out {
		s.close()
	}
}

func (c *selectorCache) closeAll() {
	c.mu.Lock()
	c.closed = true
	all := c.loaded
	c.loaded = map[string]*Selector{}
	c.mu.Unlock()
	for _, s := range all {
		<-s.ready
		if s.err == nil {
			s.close()
		}
	}
}

// close ends the selector's process and all its children. It may be called more than once.
func (s *Selector) close() {
	if s.proc == nil {
		return
	}
	s.z.Close()
	s.proc.Close()
}

// asFailure finds the *exec.Failure in err; it is nil if there is none.
func asFailure(err error) *exec.Failure {
	var f *exec.Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}
