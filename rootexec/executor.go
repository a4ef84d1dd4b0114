package rootexec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// Config says what an Executor works with.
type Config struct {
	Exe          string       // the built child, from BuildChild
	Root         *Root        // the ROOT it was built with
	Scratch      string       // folder for working directories of children; must exist
	Cache        string       // folder for compiled selectors, shared by the user's daemons
	Log          *slog.Logger // default: nothing is logged
	MaxSelectors int          // libraries kept loaded between jobs, default 4
	Planners     int          // files planned at once, default twice the cores

	// CompileLimit ends a compilation that takes longer; default 10 min. After SyntaxAfter, default 20 s, the compiler
	// alone is asked whether the source ends where it should.
	CompileLimit, SyntaxAfter time.Duration
}

func (c *Config) validate() error {
	if c.Exe == "" || c.Root == nil {
		return errors.New("could not start ROOT: no child executable, or no ROOT named")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxSelectors <= 0 {
		c.MaxSelectors = 4
	}
	if c.CompileLimit <= 0 {
		c.CompileLimit = 10 * time.Minute
	}
	if c.SyntaxAfter <= 0 {
		c.SyntaxAfter = 20 * time.Second
	}
	if c.Planners <= 0 {
		c.Planners = 2 * runtime.GOMAXPROCS(0)
	}
	for _, dir := range []string{c.Scratch, c.Cache} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("could not make folder %q: %w", dir, err)
		}
	}
	return nil
}

// Executor runs user code, in forks of a ROOT that is loaded once. Its methods may be called from several goroutines.
type Executor struct {
	cfg  Config
	base *child.Base

	mu     sync.Mutex
	closed bool

	planners  chan struct{}    // semaphore
	idle      []*child.Process // planners without work
	selectors selectorCache

	endPruning context.CancelFunc
	pruning    sync.WaitGroup // the goroutine that prunes the cache
}

// tempName is a path in the scratch folder that no other call returns. What is put there is removed with the folder if
// nobody does so before.
func (e *Executor) tempName(prefix string) (string, error) {
	f, err := os.CreateTemp(e.cfg.Scratch, prefix)
	if err != nil {
		return "", &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
	}
	return f.Name(), f.Close()
}

// Open starts the base zygote and returns once it is warm. Close must be called.
func Open(ctx context.Context, cfg Config) (*Executor, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	base, err := child.Open(ctx, driverConfig(&cfg))
	if err != nil {
		return nil, err
	}
	e := &Executor{cfg: cfg, base: base, planners: make(chan struct{}, cfg.Planners)}
	e.selectors.init(cfg.MaxSelectors)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	e.endPruning = end
	e.pruning.Go(func() { e.pruneCache(life) })
	return e, nil
}

// Close kills and reaps every process of e. Generations and clients in use fail with KindKilled.
func (e *Executor) Close() error {
	e.mu.Lock()
	e.closed = true
	idle := e.idle
	e.idle = nil
	e.mu.Unlock()
	e.endPruning()
	e.pruning.Wait()
	e.selectors.closeAll()
	for _, p := range idle {
		p.Close()
	}
	e.base.Close()
	return nil
}
