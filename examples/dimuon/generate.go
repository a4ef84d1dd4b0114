package dimuon

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options says what Generate makes. Zero fields take the demo's values.
type Options struct {
	Dir           string // where the files go
	Files         int    // default 8
	EventsPerFile int    // default 500,000
	Parallel      int    // ROOT processes at a time, default 2
}

func (o Options) withDefaults() Options {
	if o.Files == 0 {
		o.Files = 8
	}
	if o.EventsPerFile == 0 {
		o.EventsPerFile = 500_000
	}
	if o.Parallel == 0 {
		o.Parallel = 2
	}
	return o
}

func (o Options) path(i int) string {
	return filepath.Join(o.Dir, fmt.Sprintf("events_%d.root", i))
}

// Generate makes the demo's data set in opts.Dir with the ROOT in rootDir, and returns its files in
// order. A file that is there already is kept: files appear under their names only when complete. A data
// set made by another generator, or of another size, is made anew. progress (may be nil) is told events
// done and wanted, from several goroutines but never at once.
func Generate(ctx context.Context, rootDir string, opts Options, progress func(done, total int)) ([]string, error) {
	opts = opts.withDefaults()
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("could not create data directory %q: %w", opts.Dir, err)
	}
	if err := dropStale(opts); err != nil {
		return nil, err
	}
	var files []string
	var missing []int
	for i := range opts.Files {
		files = append(files, opts.path(i))
		if _, err := os.Stat(opts.path(i)); err != nil {
			missing = append(missing, i)
		}
	}
	count := newCounter(opts, opts.Files-len(missing), progress)
	if len(missing) == 0 {
		return files, nil
	}
	g := generator{root: rootDir, opts: opts, count: count}
	return files, g.run(ctx, missing)
}

// dropStale removes files that another version of the generator, or another size, has left.
func dropStale(o Options) error {
	text, err := sources.ReadFile("make_events.C")
	if err != nil {
		return fmt.Errorf("could not read embedded %q: %w", "make_events.C", err)
	}
	want := fmt.Sprintf("%x events-per-file %d\n", sha256.Sum256(text), o.EventsPerFile)
	stamp := filepath.Join(o.Dir, ".make_events")
	if old, err := os.ReadFile(stamp); err == nil && string(old) == want {
		return nil
	}
	stale, err := filepath.Glob(filepath.Join(o.Dir, "events_*.root"))
	if err != nil {
		return fmt.Errorf("could not list %q: %w", o.Dir, err)
	}
	for _, f := range stale {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("could not remove stale data %q: %w", f, err)
		}
	}
	if err := os.WriteFile(stamp, []byte(want), 0o644); err != nil {
		return fmt.Errorf("could not write %q: %w", stamp, err)
	}
	return nil
}

// counter adds up events over the running processes.
type counter struct {
	mu     sync.Mutex
	done   int
	total  int
	report func(done, total int)
}

func newCounter(o Options, complete int, report func(done, total int)) *counter {
	c := &counter{total: o.Files * o.EventsPerFile, report: report}
	c.add(complete * o.EventsPerFile)
	return c
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.report != nil {
		c.report(c.done, c.total)
	}
}

// generator runs the macro, compiled once, for each missing file.
type generator struct {
	root  string
	opts  Options
	build string // directory of the compiled macro
	count *counter
}

func (g *generator) run(ctx context.Context, missing []int) error {
	build, err := os.MkdirTemp(g.opts.Dir, ".build-")
	if err != nil {
		return fmt.Errorf("could not create build directory: %w", err)
	}
	defer os.RemoveAll(build)
	g.build = build
	if err := writeSource(build, "make_events.C"); err != nil {
		return err
	}
	if err := g.rootExe(ctx, nil, `gSystem->Exit(!gSystem->CompileMacro("make_events.C", "kO"))`); err != nil {
		return fmt.Errorf("could not compile %q: %w", "make_events.C", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(g.opts.Parallel)
	for _, i := range missing {
		group.Go(func() error { return g.file(ctx, i) })
	}
	return group.Wait()
}

func (g *generator) file(ctx context.Context, i int) error {
	temp := filepath.Join(g.build, fmt.Sprintf("%d.root", i))
	seen := 0
	onLine := func(line string) {
		var n int
		if _, err := fmt.Sscanf(line, "events %d", &n); err == nil && n > seen {
			g.count.add(n - seen)
			seen = n
		}
	}
	call := fmt.Sprintf(`gSystem->Exit(make_events("%s", %d, %d))`, filepath.Base(temp), i, g.opts.EventsPerFile)
	if err := g.rootExe(ctx, onLine, `if (gSystem->Load("./make_events_C.so") < 0) gSystem->Exit(1)`, call); err != nil {
		return fmt.Errorf("could not generate %q: %w", g.opts.path(i), err)
	}
	if err := os.Rename(temp, g.opts.path(i)); err != nil {
		return fmt.Errorf("could not put %q in place: %w", g.opts.path(i), err)
	}
	g.count.add(g.opts.EventsPerFile - seen)
	return nil
}

// rootExe runs ROOT in the build directory on the given statements, feeding its lines to onLine.
func (g *generator) rootExe(ctx context.Context, onLine func(string), statements ...string) error {
	args := []string{"-b", "-l", "-q", "-n"}
	for _, s := range statements {
		args = append(args, "-e", s)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(g.root, "bin", "root.exe"), args...)
	cmd.Dir = g.build
	// ROOT starts compilers: end them with it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if onLine != nil {
			onLine(lines.Text())
		}
	}
	if err := errors.Join(lines.Err(), cmd.Wait()); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s", err, lastLines(errs.String(), 10))
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
