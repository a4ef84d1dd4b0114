package rootexec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"

	"go.uber.org/goleak"

	"github.com/dtpnode/dtpnode/tasks"
)

// The tests need a real ROOT: DTPNODE_ROOT names one, else the usual places are searched, else the
// pinned one is installed into the user's cache. What is built is kept there between runs.

func TestMain(m *testing.M) { goleak.VerifyTestMain(closingMain{m}) }

// closingMain closes the shared executor before goroutines are counted.
type closingMain struct{ *testing.M }

func (m closingMain) Run() int {
	code := m.M.Run()
	if suite.e != nil {
		_ = suite.e.Close()
	}
	return code
}

// suite is what all tests share: an executor and the compiled selectors of testdata.
var suite struct {
	once sync.Once
	root *Root
	exe  string
	e    *Executor
	lib  Library
	err  error
}

func testCache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "dtpnode"), err
}

func openSuite() error {
	ctx := context.Background()
	cache, err := testCache()
	if err != nil {
		return err
	}
	log := func(msg string) { fmt.Fprintln(os.Stderr, msg) }
	if suite.root, err = Find(ctx, FindOptions{
		Prefix: os.Getenv("DTPNODE_ROOT"),
		Cache:  cache,
	}); errors.Is(err, ErrNoROOT) {
		suite.root, err = Install(ctx, cache, log)
	}
	if err != nil {
		return err
	}
	if suite.exe, err = BuildChild(ctx, suite.root, cache, log); err != nil {
		return err
	}
	if suite.e, err = Open(ctx, suiteConfig(os.TempDir())); err != nil {
		return err
	}
	src, err := suiteSource()
	if err != nil {
		return err
	}
	suite.lib, err = suite.e.Compile(ctx, src)
	return err
}

func suiteConfig(scratch string) Config {
	cache, _ := testCache()
	return Config{
		Exe:          suite.exe,
		Root:         suite.root,
		Scratch:      scratch,
		Cache:        cache,
		MaxSelectors: 20,
		SyntaxAfter:  3 * time.Second,
		Log:          slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
}

func suiteSource() (Source, error) {
	src := Source{Main: "Suite.C", Files: map[string][]byte{}}
	for _, name := range []string{"Suite.C", "Suite.h"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			return src, err
		}
		src.Files[name] = b
	}
	return src, nil
}

// executor returns the shared executor.
func executor(t testing.TB) *Executor {
	t.Helper()
	suite.once.Do(func() { suite.err = openSuite() })
	if suite.err != nil {
		t.Fatal(explain(suite.err))
	}
	return suite.e
}

// explain adds to a failure what the child said.
func explain(err error) string {
	if f := asFailure(err); f != nil {
		return fmt.Sprintf("%v\n%s\n%s", f, f.Stack, f.Tail)
	}
	return err.Error()
}

// load loads a class of the suite for the time of a test.
func load(t testing.TB, class string) *Selector {
	t.Helper()
	s, err := executor(t).Load(t.Context(), suite.lib, class)
	if err != nil {
		t.Fatal(explain(err))
	}
	t.Cleanup(s.Release)
	return s
}

// begin runs a class's Begin and returns the input list and what it printed.
func begin(t testing.TB, class string, params map[string]string) (input string, out string, err error) {
	t.Helper()
	c, err := load(t, class).StartClient(t.Context(), ClientSpec{Params: params, Dir: t.TempDir()}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	input, err = c.Begin(t.Context())
	c.Close()
	return input, c.Output(), err
}

func mustBegin(t testing.TB, class string, params map[string]string) (input string, out string) {
	t.Helper()
	input, out, err := begin(t, class, params)
	if err != nil {
		t.Fatalf("%s: %v\n%s", class, err, out)
	}
	return input, out
}

// makeData writes a file with a tree T whose ids count from base.
func makeData(t testing.TB, name string, entries, base int64, more ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	params := map[string]string{"file": path, "entries": fmt.Sprint(entries), "base": fmt.Sprint(base)}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	mustBegin(t, "MakeData", params)
	return path
}

// recorder is a Sink for tests.
type recorder struct {
	mu    sync.Mutex
	lines []string
	done  chan exec.Done
	fails chan *exec.Failure

	printed chan struct{} // a line has come since it was last read
}

func newRecorder() *recorder {
	return &recorder{
		done:    make(chan exec.Done, 1000),
		fails:   make(chan *exec.Failure, 10),
		printed: make(chan struct{}, 1),
	}
}

func (r *recorder) PacketDone(d exec.Done) {
	if d.Refused != nil {
		r.fails <- d.Refused
		return
	}
	r.done <- d
}
func (r *recorder) Failed(f *exec.Failure) { r.fails <- f }
func (r *recorder) Output(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	select {
	case r.printed <- struct{}{}:
	default: // whoever waits looks at all lines
	}
}

// until waits for a line with a text, and returns all lines: what a child prints may come after the end of its packets.
func (r *recorder) until(t testing.TB, text string) string {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		r.mu.Lock()
		all := strings.Join(r.lines, "\n")
		r.mu.Unlock()
		if strings.Contains(all, text) {
			return all
		}
		select {
		case <-r.printed:
		case <-late:
			t.Fatalf("%q is not among what was printed: %q", text, all)
		}
	}
}

// wait returns the next report.
func (r *recorder) wait(t testing.TB) exec.Done {
	t.Helper()
	select {
	case d := <-r.done:
		return d
	case f := <-r.fails:
		t.Fatalf("failed: %v\n%s\n%s", f, f.Stack, f.Tail)
	case <-time.After(2 * time.Minute):
		t.Fatal("no report")
	}
	return exec.Done{}
}

func (r *recorder) waitFailure(t testing.TB) *exec.Failure {
	t.Helper()
	select {
	case f := <-r.fails:
		return f
	case d := <-r.done:
		t.Fatalf("done: %+v", d)
	case <-time.After(2 * time.Minute):
		t.Fatal("no failure reported")
	}
	return nil
}

// runPackets runs one generation over packets and seals it.
func runPackets(t testing.TB, s *Selector, spec exec.GenSpec, packets []exec.Packet) exec.Partial {
	t.Helper()
	return runTold(t, s, spec, Told{}, packets)
}

func runTold(t testing.TB, s *Selector, spec exec.GenSpec, told Told, packets []exec.Packet) exec.Partial {
	t.Helper()
	r := newRecorder()
	spec.Dir = t.TempDir()
	g, err := s.Start(t.Context(), spec, told, r)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		if i >= child.QueueDepth {
			r.wait(t)
		}
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
	}
	for range min(child.QueueDepth, len(packets)) {
		r.wait(t)
	}
	sealed, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "partial"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// cut slices [0,n) of a file into packets of size step.
func cut(file string, n, step, base int64, id *uint64) []exec.Packet {
	var out []exec.Packet
	for at := int64(0); at < n; at += step {
		*id++
		out = append(out, exec.Packet{ID: *id, File: file, Part: "T", First: at, Last: min(at+step, n), Base: base})
	}
	return out
}

// finish merges partials and terminates.
func finish(t testing.TB, class string, partials []string) (exec.Finished, string, string) {
	t.Helper()
	c, err := load(t, class).StartClient(t.Context(), ClientSpec{Dir: t.TempDir()}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out.root")
	fin, err := c.Finish(t.Context(), partials, out)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return fin, out, c.Output()
}

func sum(job uint64, packets []exec.Packet) (units int64, canary uint64) {
	for _, p := range packets {
		units += p.Last - p.First
		canary += tasks.Canary(job, tasks.R(p.Base+p.First, p.Base+p.Last))
	}
	return units, canary
}

func TestGenerationEqualsChain(t *testing.T) {
	a, b := makeData(t, "a.root", 2000, 0), makeData(t, "b.root", 1500, 2000, "cluster", "170")
	for _, class := range []string{"Hists", "HistsOld"} {
		t.Run(class, func(t *testing.T) {
			s := load(t, class)
			var id uint64
			pa, pb := cut(a, 2000, 130, 0, &id), cut(b, 1500, 700, 2000, &id)
			first := append(append([]exec.Packet{}, pa[:8]...), pb[1:]...)
			second := append(append([]exec.Packet{}, pb[:1]...), pa[8:]...)
			input, _ := mustBegin(t, class, nil)
			spec := exec.GenSpec{Job: 42, Input: input}
			p1, p2 := runPackets(t, s, spec, first), runPackets(t, s, spec, second)
			units, canary := sum(42, append(pa, pb...))
			if p1.Units+p2.Units != units || p1.Canary+p2.Canary != canary {
				t.Fatalf("units %d, canary %x; want %d, %x", p1.Units+p2.Units, p1.Canary+p2.Canary, units, canary)
			}
			fin, out, printed := finish(t, class, []string{p1.Path, p2.Path})
			if fin.Units != units || fin.Canary != canary || len(fin.Apart) > 0 {
				t.Errorf("finished %+v; want %d units, canary %x, nothing apart", fin, units, canary)
			}
			ref := filepath.Join(t.TempDir(), "ref.root")
			mustBegin(t, "Reference", map[string]string{"files": a + "," + b, "class": class, "out": ref})
			mustBegin(t, "Compare", map[string]string{"a": ref, "b": out})
			if class == "Hists" && !strings.Contains(printed, "renamed=3500 count=3500 nested=1 fromBegin=yes") {
				t.Errorf("members not bound in Terminate: %s", printed)
			}
		})
	}
}
