// Package fakeexec is an executor without ROOT (node.Backend), for tests of the real daemon: a generation
// sleeps for each entry, counts it in a histogram and fails on order. Everything else, planning, libraries,
// partials on disk, merges, Begin and Terminate, goes the way it goes with ROOT.
//
//	fakeexec.go    what is found and opened, compiling   spec.go    selectors and data files
//	selector.go    merges, the submitting side           output.go  partials and results
//	generation.go  packets
//
// It is in no released binary: cmd/dtpnode has it when it is built with the tag "fakeexec".
package fakeexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"

	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/rootexec"
)

// Environment of a daemon with this executor.
const (
	EnvSlow   = "DTPNODE_FAKE_SLOW"   // entries take so many times as long here
	EnvBroken = "DTPNODE_FAKE_BROKEN" // every generation fails here, with this exec.Kind
	EnvHide   = "DTPNODE_FAKE_HIDE"   // a file that names, one a line, data files that this host does not see, see hidden
	EnvFlip   = "DTPNODE_FAKE_FLIP"   // of each job a bit of the first n partials that are sealed here flips on disk afterwards
)

// Backend is the executor of one daemon.
type Backend struct {
	Slow   float64   // entries take so many times as long; 0 means 1
	Broken exec.Kind // of the failure of every generation; empty: they work
	Hide   string    // path of the list of data files that this host does not see; empty: it sees all
	Flip   int       // of each job a bit of the first n partials flips on disk
}

// FromEnv is the backend that the environment describes.
func FromEnv() (Backend, error) {
	b := Backend{Slow: 1, Broken: exec.Kind(os.Getenv(EnvBroken)), Hide: os.Getenv(EnvHide)}
	if s := os.Getenv(EnvSlow); s != "" {
		var err error
		if b.Slow, err = strconv.ParseFloat(s, 64); err != nil || b.Slow <= 0 {
			return b, fmt.Errorf("could not use %s=%q: want a number above zero: %w", EnvSlow, s, err)
		}
	}
	if s := os.Getenv(EnvFlip); s != "" {
		var err error
		if b.Flip, err = strconv.Atoi(s); err != nil || b.Flip <= 0 {
			return b, fmt.Errorf("could not use %s=%q: want a number above zero: %w", EnvFlip, s, err)
		}
	}
	return b, nil
}

// Find describes what stands for ROOT, the same on every host.
func (Backend) Find(context.Context) (*rootexec.Root, error) {
	return &rootexec.Root{Dir: "none", Version: "fake", Platform: "any/fake/none"}, nil
}

// Open makes an executor; it costs nothing.
func (b Backend) Open(_ context.Context, root *rootexec.Root, cfg node.ExecutorConfig) (node.Executor, error) {
	ctx, cancel := context.WithCancel(context.Background())
	return &executor{backend: b, platform: root.Platform, cache: filepath.Join(cfg.Cache, "fake"), ctx: ctx, cancel: cancel, sealed: map[uint64]int{}}, nil
}

// Counted reads a partial's units and canary.
func (Backend) Counted(path string) (units int64, canary uint64, err error) {
	out, err := ReadOutput(path)
	return out.Units, out.Canary, err
}

// executor is one daemon's; generations end when ctx does.
type executor struct {
	backend  Backend
	platform string
	cache    string
	ctx      context.Context // of all generations, beside its cancel
	cancel   context.CancelFunc

	mu     sync.Mutex
	sealed map[uint64]int // partials by job
}

func (e *executor) Close() error {
	e.cancel()
	return nil
}

// flips reports whether the next partial of a job is to be damaged.
func (e *executor) flips(job uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sealed[job]++
	return e.sealed[job] <= e.backend.Flip
}

func (e *executor) Plan(_ context.Context, file, tree string, _ time.Duration) (exec.Plan, error) {
	if f := e.backend.hidden(file, true); f != nil {
		return exec.Plan{}, f
	}
	d, err := parseDataset(file)
	if err != nil {
		return exec.Plan{}, &exec.Failure{Kind: exec.KindOpen, Op: "open", File: file, Entry: -1, Msg: err.Error()}
	}
	return exec.Plan{File: file, Tree: tree, Entries: d.entries, Clusters: d.clusters(), Bytes: d.entries}, nil
}

// hidden fails to open a data file that this host is not to see. What it sees for planning alone is listed as "NAME later".
// The list is read at each opening.
func (b Backend) hidden(file string, plan bool) *exec.Failure {
	if b.Hide == "" {
		return nil
	}
	list, _ := os.ReadFile(b.Hide)
	for name := range strings.Lines(string(list)) {
		name, later := strings.CutSuffix(strings.TrimSpace(name), " later")
		if name != "" && !(plan && later) && strings.HasPrefix(file, "fake://"+name+"?") {
			return &exec.Failure{Kind: exec.KindOpen, Host: exec.CauseMissing, Op: "open", File: file, Entry: -1, Msg: "No such file or directory"}
		}
	}
	return nil
}

// The library of a selector is its source, checked and copied into the cache.
const libName = "selector.json"

func (e *executor) library(src rootexec.Source) rootexec.Library {
	key := rootexec.LibraryKey(src, e.platform)
	dir := filepath.Join(e.cache, key)
	return rootexec.Library{Key: key, Dir: dir, So: filepath.Join(dir, libName), Sources: dir, Platform: e.platform}
}

func (e *executor) Compiled(src rootexec.Source) (rootexec.Library, bool) {
	lib := e.library(src)
	_, err := os.Stat(lib.So)
	return lib, err == nil
}

func (e *executor) Compile(_ context.Context, src rootexec.Source) (rootexec.Library, error) {
	lib := e.library(src)
	if _, err := parseSpec(src.Files[src.Main]); err != nil {
		return lib, &exec.Failure{Kind: exec.KindCode, Op: "compile " + src.Main, Entry: -1, Msg: err.Error(), Tail: err.Error()}
	}
	if err := os.MkdirAll(lib.Dir, 0o700); err != nil {
		return lib, fmt.Errorf("could not make folder %q: %w", lib.Dir, err)
	}
	return lib, durable.Place(lib.So, func(f *os.File) error {
		_, err := f.Write(src.Files[src.Main])
		return err
	})
}

// Unpacked finds none: what is cached is the source.
func (e *executor) Unpacked(rootexec.Source, rootexec.Origin) (rootexec.Library, bool) {
	return rootexec.Library{}, false
}

// Forget has nothing to drop.
func (e *executor) Forget(string) error { return nil }

// Unpack has no use for the packed library beyond what the source says.
func (e *executor) Unpack(ctx context.Context, src rootexec.Source, _ rootexec.Origin, packed []byte) (rootexec.Library, error) {
	if len(packed) == 0 {
		return rootexec.Library{}, errors.New("could not unpack a library: it is empty")
	}
	return e.Compile(ctx, src)
}

func (e *executor) Load(_ context.Context, lib rootexec.Library, class string) (node.Selector, error) {
	text, err := os.ReadFile(lib.So)
	if err != nil {
		return nil, fmt.Errorf("could not load %q: %w", class, err)
	}
	spec, err := parseSpec(text)
	if err != nil {
		return nil, &exec.Failure{Kind: exec.KindCode, Op: "load", Entry: -1, Msg: err.Error()}
	}
	return &selector{e: e, spec: spec}, nil
}
