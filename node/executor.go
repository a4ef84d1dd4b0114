package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/rootexec"
)

// Backend is what a daemon runs user code with: ROOT (package rootexec), or in tests of the protocol
// something that only sleeps and counts (package exec/fakeexec).
type Backend interface {
	// Find looks for it and starts nothing: peers are told its version before it is ready.
	Find(ctx context.Context) (*rootexec.Root, error)
	// Open makes it ready to run code, which may take minutes the first time.
	Open(ctx context.Context, root *rootexec.Root, cfg ExecutorConfig) (Executor, error)
	// Counted reads the units and the canary that a partial's own objects show. It needs no executor.
	Counted(path string) (units int64, canary uint64, err error)
}

// ExecutorConfig says where an executor works.
type ExecutorConfig struct {
	Scratch string // folder for working directories
	Cache   string // folder for what is compiled; shared by a user's daemons
	Log     *slog.Logger
	// Progress is told what takes its time while an executor is opened; nil if nobody wants to know.
	Progress func(step string)
}

// Executor plans files, compiles selectors and loads them. Its failures are *exec.Failure where they
// are the file's or the code's.
type Executor interface {
	// Plan reads a file's entries and clusters, within a time: zero for exec.DefaultOpen.
	Plan(ctx context.Context, file, tree string, within time.Duration) (exec.Plan, error)
	Compiled(src rootexec.Source) (rootexec.Library, bool)
	Compile(ctx context.Context, src rootexec.Source) (rootexec.Library, error)
	// Unpacked finds the library that src became on another node in the cache. Such a library is for jobs of the
	// submitter alone that signed it.
	Unpacked(src rootexec.Source, from rootexec.Origin) (rootexec.Library, bool)
	// Unpack puts such a library, as its Pack returned it, into the cache.
	Unpack(ctx context.Context, src rootexec.Source, from rootexec.Origin, packed []byte) (rootexec.Library, error)
	// Forget drops the libraries that came from a submitter.
	Forget(submitter string) error
	Load(ctx context.Context, lib rootexec.Library, class string) (Selector, error)
	Close() error
}

// Selector is a loaded selector; Release gives it back.
type Selector interface {
	Alive() bool // if not, it was killed and is to be loaded again
	Probe(ctx context.Context, spec exec.GenSpec, file, tree string) error
	Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (Generation, error)
	Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error)
	StartClient(ctx context.Context, spec rootexec.ClientSpec, out func(line string)) (Client, error)
	Save(ctx context.Context, partials []string, outPath string) (exec.Finished, error)
	Release()
}

// Generation is one run of a selector over packets, of which two may be leased at a time; its sink is
// told of their end.
type Generation interface {
	Lease(exec.Packet) error
	Preempt()
	Seal(ctx context.Context, path string) (exec.Partial, error)
	Kill()
	Done() <-chan struct{}
}

// Client is the submitting side of a job, where Begin and Terminate run.
type Client interface {
	Begin(ctx context.Context) (input []byte, err error)
	Finish(ctx context.Context, partials []string, outPath string) (exec.Finished, error)
	Close()
}

// rootBackend is ROOT.
type rootBackend struct {
	opt     rootexec.FindOptions
	install bool
	log     *slog.Logger
}

func (b rootBackend) Find(ctx context.Context) (*rootexec.Root, error) {
	root, err := rootexec.Find(ctx, b.opt)
	if errors.Is(err, rootexec.ErrNoROOT) && b.install && b.opt.Prefix == "" { // one that was named is not replaced
		root, err = rootexec.Install(ctx, b.opt.Cache, func(msg string) { b.log.Info("installing ROOT", "step", msg) })
	}
	return root, err
}

func (rootBackend) Open(ctx context.Context, root *rootexec.Root, cfg ExecutorConfig) (Executor, error) {
	exe, err := rootexec.BuildChild(ctx, root, cfg.Cache, func(msg string) {
		cfg.Log.Info("building the child", "step", msg)
		if cfg.Progress != nil {
			cfg.Progress(msg)
		}
	})
	if err != nil {
		return nil, err
	}
	e, err := rootexec.Open(ctx, rootexec.Config{Exe: exe, Root: root, Scratch: cfg.Scratch, Cache: cfg.Cache, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	return rootExecutor{e, cfg.Cache, root.Platform}, nil
}

func (rootBackend) Counted(path string) (units int64, canary uint64, err error) {
	return rootexec.Counted(path)
}

// rootExecutor and rootSelector return the interfaces of this file where rootexec returns its own types.
type rootExecutor struct {
	*rootexec.Executor
	cache, platform string
}

func (e rootExecutor) Unpack(ctx context.Context, src rootexec.Source, from rootexec.Origin, packed []byte) (rootexec.Library, error) {
	return rootexec.Unpack(ctx, e.cache, rootexec.LibraryKey(src, e.platform), from, packed)
}

func (e rootExecutor) Load(ctx context.Context, lib rootexec.Library, class string) (Selector, error) {
	s, err := e.Executor.Load(ctx, lib, class)
	if err != nil {
		return nil, err
	}
	return rootSelector{s}, nil
}

type rootSelector struct{ *rootexec.Selector }

func (s rootSelector) Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (Generation, error) {
	g, err := s.Selector.Start(ctx, spec, sink)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (s rootSelector) StartClient(ctx context.Context, spec rootexec.ClientSpec, out func(line string)) (Client, error) {
	c, err := s.Selector.StartClient(ctx, spec, out)
	if err != nil {
		return nil, err
	}
	return c, nil
}
