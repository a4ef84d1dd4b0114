package pyexec

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// The roles of forks, by their names in child/zygote.py.
var (
	importer   = child.Role{Name: "importer"}
	loader     = child.Role{Name: "loader"}
	generation = child.Role{Name: "generation"}
	merger     = child.Role{Name: "merger"}
	session    = child.Role{Name: "session"}
)

// phases are PHASES of child/frames.py, in its order.
var phases = []child.Phase{
	{Name: "idle"},
	{Name: "load", Code: true},
	{Name: "begin", Code: true},
	{Name: "start", Code: true, Stage: exec.StageStart},
	{Name: "open", Opens: true},
	{Name: "process"},
	{Name: "reduce", Adds: true},
	{Name: "seal"},
	{Name: "merge"},
	{Name: "finish", Code: true},
	{Name: "read", Adds: true},
	{Name: "add"},
	{Name: "process", Left: "it closed descriptors that its process needs: a call is to close only what it has opened " +
		"itself, and os.closerange closes all"},
}

// Runtime is an interpreter that runs, and forks what runs user code. It is an exec.Runtime.
type Runtime struct {
	info    exec.Info
	own     *place       // the interpreter itself
	child   string       // folder with the child's code
	held    *flock.Flock // keeps that from being removed; nil where it is not the cache's
	libs    string       // folder with libraries that the child needs and the interpreter lacks; empty for none
	envs    *envs
	scratch string
	log     *slog.Logger // nil for none
	spare   time.Duration

	ctx    context.Context // ends with the runtime
	cancel context.CancelFunc

	mostLoaded int // programs that have processes, beside those in use

	mu       sync.Mutex
	closed   bool
	programs map[*program]bool
	uses     uint64          // of programs
	killed   map[string]bool // keys of programs whose process with the code was killed
	places   places
}

// Open starts an interpreter, for which it installs what the child needs the first time.
func (f *Finder) Open(ctx context.Context, info exec.Info, cfg exec.Config) (exec.Runtime, error) {
	tell := func(step string) {
		if cfg.Log != nil {
			cfg.Log.Info("making Python ready", "python", info.Dir, "step", step)
		}
		if cfg.Progress != nil {
			cfg.Progress(step)
		}
	}
	dir, libs, err := f.ready(ctx, info, cfg.Cache, tell)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := &Runtime{
		info: info, child: dir, libs: libs, scratch: cfg.Scratch, log: cfg.Log, programs: map[*program]bool{},
		spare: cmp.Or(f.Spare, spareFor), mostLoaded: mostLoaded,
		envs:   &envs{dir: filepath.Join(cfg.Cache, "python", "envs"), most: f.EnvBytes, log: log},
		places: places{byKey: map[string]*place{}, failed: map[string]failedEnv{}, opening: map[string]*opening{}},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if f.child == "" {
		if r.held, err = holdChild(dir); err != nil {
			return nil, err
		}
	}
	base, err := r.openBase(ctx, info.Dir, libs, os.Environ())
	if err != nil {
		return nil, errors.Join(err, r.letGo())
	}
	r.own = &place{base: base, exe: info.Dir, warm: newWarm(base, log)}
	go r.envs.tidy("") // ends by itself
	return r, nil
}

// openBase starts an interpreter.
func (r *Runtime) openBase(ctx context.Context, exe, libs string, env []string) (*child.Base, error) {
	return child.Open(ctx, child.Config{
		Name:     "Python",
		Exe:      exe,
		Args:     []string{"-B", r.child, libs},
		Env:      env,
		Dir:      r.scratch,
		Log:      r.log,
		Phases:   phases,
		NoMemory: []string{"MemoryError"},
		Stall:    "stall= in Python, --stall on the command line",
		Stack:    func(text string) string { return userStack(text, r.child) },
	})
}

// Ready puts the child, and the libraries that it needs and an interpreter lacks, into the cache, as Open does.
func Ready(ctx context.Context, info exec.Info, cache string, tell func(step string)) error {
	_, _, err := new(Finder).ready(ctx, info, cache, tell)
	return err
}

func (f *Finder) ready(
	ctx context.Context, info exec.Info, cache string, tell func(string),
) (child, libs string, err error) {
	if child = f.child; child == "" {
		if child, err = placeChild(cache); err != nil {
			return "", "", err
		}
	}
	libs, err = findLibs(ctx, info, cache, tell)
	return child, libs, err
}

// Info describes the interpreter.
func (r *Runtime) Info() exec.Info { return r.info }

// Complaint reports whether a line is a warning of Python's.
func (r *Runtime) Complaint(line string) bool {
	return strings.Contains(line, "Warning: ") && strings.Contains(line, ".py:")
}

// Forget drops nothing: no code is kept that a program does not use.
func (r *Runtime) Forget(string) error { return nil }

// Close ends all processes.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	all := maps.Clone(r.programs)
	r.mu.Unlock()
	r.cancel() // environments that are being made
	for p := range all {
		p.Release()
	}
	r.own.warm.close()
	r.own.base.Close()
	return r.letGo()
}

// letGo says that the child's code is not used here any more.
func (r *Runtime) letGo() error {
	if r.held == nil {
		return nil
	}
	return r.held.Close()
}

// Plan reads how many items a file has, which is a blob of items (exec.PackItems).
func (r *Runtime) Plan(ctx context.Context, file, _ string, _ time.Duration) (exec.Plan, error) {
	r.mu.Lock()
	closed := r.closed
	r.mu.Unlock()
	if closed {
		return exec.Plan{}, exec.ErrClosed
	}
	return planOf(ctx, file)
}

func planOf(ctx context.Context, file string) (exec.Plan, error) {
	if err := ctx.Err(); err != nil {
		return exec.Plan{}, err
	}
	items, err := exec.OpenItems(file)
	if err != nil {
		return exec.Plan{}, planFailure(file, err)
	}
	defer func() { _ = items.Close() }() // it was only read
	p := exec.Plan{File: file, Entries: items.Len()}
	if p.Entries > 0 {
		p.Clusters = []int64{0}
	}
	if info, err := os.Stat(file); err == nil {
		p.Bytes = info.Size()
	}
	return p, nil
}

func planFailure(file string, err error) *exec.Failure {
	f := &exec.Failure{Kind: exec.KindOpen, Op: "open", File: file, Entry: -1, Msg: err.Error()}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Host = exec.CauseMissing
	case errors.Is(err, fs.ErrPermission):
		f.Host = exec.CauseDenied
	case errors.Is(err, exec.ErrItems):
	default:
		var no syscall.Errno
		if errors.As(err, &no) {
			f.Msg = no.Error()
		}
	}
	return f
}
