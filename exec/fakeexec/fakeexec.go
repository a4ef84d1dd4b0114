// Package fakeexec is the runtime of jobs of the kind "test" (exec.Finder), for tests of the real daemon: a generation
// sleeps for each entry, counts it in a histogram and fails on order. Everything else, planning, code that is shipped,
// partials on disk, merges, Begin and Terminate, goes the way it goes with ROOT.
//
//	fakeexec.go    what is found and opened, planning   spec.go    the user's code, and data files
//	program.go     code made ready, merges, sessions    output.go  partials and results
//	generation.go  packets
//
// It is in no released binary: cmd/dtpnode has it when it is built with the tag "fakeexec".
package fakeexec

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Environment of a daemon with this executor.
const (
	EnvSlow     = "DTPNODE_FAKE_SLOW"     // entries take so many times as long here
	EnvBroken   = "DTPNODE_FAKE_BROKEN"   // every generation fails here, with this exec.Kind
	EnvUnopened = "DTPNODE_FAKE_UNOPENED" // the runtime cannot be opened while there is a file with this path
	EnvHide     = "DTPNODE_FAKE_HIDE"     // a file that names the data files, one a line, that are hidden here
	// of each job a bit of the first n partials that are sealed here flips on disk afterwards
	EnvFlip = "DTPNODE_FAKE_FLIP"
)

// Kind is the word for the jobs of this runtime.
const Kind = "test"

// Finder finds the one runtime that there is on every host, as it is on this one.
type Finder struct {
	Slow   float64   // entries take so many times as long; 0 means 1
	Broken exec.Kind // of the failure of every generation; empty: they work
	// Unopened is a path: while there is such a file the runtime cannot be opened. Empty: it can.
	Unopened string
	Hide     string // path of the list of data files that this host does not see; empty: it sees all
	Flip     int    // of each job a bit of the first n partials flips on disk
}

// FromEnv is the finder that the environment describes.
func FromEnv() (Finder, error) {
	f := Finder{Slow: 1, Broken: exec.Kind(os.Getenv(EnvBroken)), Hide: os.Getenv(EnvHide)}
	f.Unopened = os.Getenv(EnvUnopened)
	if s := os.Getenv(EnvSlow); s != "" {
		var err error
		if f.Slow, err = strconv.ParseFloat(s, 64); err != nil || f.Slow <= 0 {
			return f, fmt.Errorf("could not use %s=%q: want a number above zero: %w", EnvSlow, s, err)
		}
	}
	if s := os.Getenv(EnvFlip); s != "" {
		var err error
		if f.Flip, err = strconv.Atoi(s); err != nil || f.Flip <= 0 {
			return f, fmt.Errorf("could not use %s=%q: want a number above zero: %w", EnvFlip, s, err)
		}
	}
	return f, nil
}

// info is the runtime, the same on every host.
func info() exec.Info { return exec.Info{Kind: Kind, Version: "1", Platform: "any", Dir: "none"} }

// Kind is that of jobs that sleep and count.
func (Finder) Kind() string { return Kind }

// Suffix says that outputs are JSON.
func (Finder) Suffix() string { return ".json" }

// Find lists the one runtime.
func (Finder) Find(context.Context) ([]exec.Info, error) { return []exec.Info{info()}, nil }

// Open makes the runtime ready; it costs nothing.
func (f Finder) Open(context.Context, exec.Info, exec.Config) (exec.Runtime, error) {
	if f.Unopened != "" {
		if _, err := os.Stat(f.Unopened); err == nil {
			return nil, fmt.Errorf("could not open the runtime of tests: %s is there", f.Unopened)
		}
	}
	r := &runtime{finder: f, sealed: map[uint64]int{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r, nil
}

// Counted reads a partial's units and canary.
func (Finder) Counted(path string) (units int64, canary uint64, err error) {
	out, err := ReadOutput(path)
	return out.Units, out.Canary, err
}

// TakesItems says that programs run over items too (exec.Itemized).
func (Finder) TakesItems() {}

// Values reads the values of a partial (exec.Values).
func (Finder) Values(
	ctx context.Context, path string, units tasks.Cover, each func(unit int64, value []byte) error,
) error {
	out, err := ReadOutput(path)
	switch {
	case err != nil:
		return err
	case out.Values == nil:
		return exec.ErrNoValues
	}
	for _, unit := range slices.Sorted(maps.Keys(out.Values)) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("could not read the values in %q: %w", path, err)
		}
		if !units.Covers(tasks.CoverOf(tasks.R(unit, unit+1))) {
			continue
		}
		if err := each(unit, out.Values[unit]); err != nil {
			return err
		}
	}
	return nil
}

// runtime is one daemon's; generations end when ctx does.
type runtime struct {
	finder Finder
	ctx    context.Context // of all generations, beside its cancel
	cancel context.CancelFunc

	mu     sync.Mutex
	sealed map[uint64]int // partials by job
}

func (r *runtime) Info() exec.Info { return info() }

// Forget has nothing to drop: code is prepared anew for each job.
func (r *runtime) Forget(string) error { return nil }

// Complaint tells a warning by how it begins.
func (r *runtime) Complaint(line string) bool { return strings.HasPrefix(line, "warning: ") }

func (r *runtime) Close() error {
	r.cancel()
	return nil
}

// closed is an error once the runtime was closed.
func (r *runtime) closed() error {
	if r.ctx.Err() != nil {
		return fmt.Errorf("could not use the runtime: %w", exec.ErrClosed)
	}
	return nil
}

// flips reports whether the next partial of a job is to be damaged.
func (r *runtime) flips(job uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sealed[job]++
	return r.sealed[job] <= r.finder.Flip
}

func (r *runtime) Plan(_ context.Context, file, part string, _ time.Duration) (exec.Plan, error) {
	if err := r.closed(); err != nil {
		return exec.Plan{}, err
	}
	if fail := r.finder.hidden(file, true); fail != nil {
		return exec.Plan{}, fail
	}
	d, err := parseDataset(file)
	if err != nil {
		return exec.Plan{}, &exec.Failure{Kind: exec.KindOpen, Op: "open", File: file, Entry: -1, Msg: err.Error()}
	}
	return exec.Plan{File: file, Part: part, Entries: d.entries, Clusters: d.clusters(), Bytes: d.entries}, nil
}

// hidden fails to open a data file that this host is not to see. What it sees for planning alone is listed as "NAME
// later". The list is read at each opening.
func (f Finder) hidden(file string, plan bool) *exec.Failure {
	if f.Hide == "" {
		return nil
	}
	list, _ := os.ReadFile(f.Hide)
	for name := range strings.Lines(string(list)) {
		name, later := strings.CutSuffix(strings.TrimSpace(name), " later")
		if name != "" && !(plan && later) && strings.HasPrefix(file, "fake://"+name+"?") {
			return &exec.Failure{
				Kind:  exec.KindOpen,
				Host:  exec.CauseMissing,
				Op:    "open",
				File:  file,
				Entry: -1,
				Msg:   "No such file or directory",
			}
		}
	}
	return nil
}
