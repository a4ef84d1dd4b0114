package exectest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// patience is how long a test waits for what must come: beyond it something hangs.
const patience = 2 * time.Minute

// reporter is what helpers need of a test, or of a check of package rapid.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// seed is that of the canaries.
const seed = 42

// job is a program that was made ready, with what its session has handed over.
type job struct {
	e     *env
	rt    exec.Runtime
	desc  exec.Description
	prog  exec.Program
	input string // path of what Begin has made; empty for nothing
	begun string // its content
}

// job makes code ready for the time of a test, and runs its Begin.
func (e *env) job(t *testing.T, c Code) *job {
	t.Helper()
	j := e.describe(t, e.rt, c)
	s := j.session(t, nil)
	defer s.Close()
	var err error
	if j.begun, err = begin(t.Context(), s); err != nil {
		t.Fatalf("could not begin: %s", explain(err))
	}
	if j.begun != "" {
		j.input = filepath.Join(t.TempDir(), "begun")
		if err := os.WriteFile(j.input, []byte(j.begun), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// begin runs a session's Begin, and returns what it has made, whose file it removes.
func begin(ctx context.Context, s exec.Session) (made string, err error) {
	path, err := s.Begin(ctx)
	if err != nil || path == "" {
		return "", err
	}
	b, err := os.ReadFile(path)
	return string(b), errors.Join(err, os.Remove(path))
}

// describe makes code ready.
func (e *env) describe(t *testing.T, rt exec.Runtime, c Code) *job {
	t.Helper()
	desc, err := rt.Describe(t.Context(), e.request(t, c))
	if err != nil {
		t.Fatalf("could not make the code ready: %s", explain(err))
	}
	t.Cleanup(desc.Program.Release)
	return &job{e: e, rt: rt, desc: desc, prog: desc.Program}
}

func (e *env) request(t *testing.T, c Code) exec.Request {
	r := e.Request(t, c)
	if r.Tell == nil {
		r.Tell = func(string) {}
	}
	return r
}

// order is the job as another node sees it.
func (j *job) order(t *testing.T) exec.Order {
	t.Helper()
	blobs := map[string][]byte{}
	o := exec.Order{Submitter: "the submitter", Work: j.desc.Work}
	for _, b := range j.desc.Blobs {
		content, err := b.Pack()
		if err != nil {
			t.Fatalf("could not pack %s: %v", b.Name, err)
		}
		sum := sha256.Sum256(content)
		blobs[b.Name] = content
		o.Work.Ships = append(o.Work.Ships, tasks.Ship{
			Name: b.Name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content)), Keep: b.Keep,
		})
	}
	o.Fetch = func(ctx context.Context, name string) ([]byte, error) {
		content, ok := blobs[name]
		if !ok {
			return nil, fmt.Errorf("no blob %q", name)
		}
		return content, ctx.Err()
	}
	return o
}

// session starts the submitting side. lines may be nil.
func (j *job) session(t *testing.T, lines *lines) exec.Session {
	t.Helper()
	if lines == nil {
		lines = newLines()
	}
	s, err := j.prog.Session(t.Context(), exec.SessionSpec{Dir: t.TempDir(), Out: lines.add})
	if err != nil {
		t.Fatalf("could not start a session: %s", explain(err))
	}
	return s
}

// listed are the names of what is in a folder.
func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// finish ends the job over partials, and returns the path of its output.
func (j *job) finish(t reporter, dir string, partials []string) (exec.Finished, string) {
	t.Helper()
	ctx := context.Background()
	s, err := j.prog.Session(ctx, exec.SessionSpec{Dir: dir, Out: func(string) {}})
	if err != nil {
		t.Fatalf("could not start a session: %s", explain(err))
	}
	defer s.Close()
	if _, err := begin(ctx, s); err != nil {
		t.Fatalf("could not begin: %s", explain(err))
	}
	out := filepath.Join(dir, "out")
	fin, err := s.Finish(ctx, partials, out)
	if err != nil {
		t.Fatalf("could not finish: %s", explain(err))
	}
	return fin, out
}

// generation is one with its sink.
type generation struct {
	exec.Generation
	*sink
}

// start begins a generation in a folder of its own.
func (j *job) start(t reporter, dir string, limits exec.Limits) *generation {
	t.Helper()
	sink := newSink()
	g, err := j.prog.Start(context.Background(), exec.GenSpec{Job: seed, Input: j.input, Dir: dir, Limits: limits}, sink)
	if err != nil {
		t.Fatalf("could not start a generation: %s", explain(err))
	}
	return &generation{g, sink}
}

// begin is start for a test, at whose end the generation is killed.
func (j *job) begin(t *testing.T, limits exec.Limits) *generation {
	t.Helper()
	g := j.start(t, t.TempDir(), limits)
	t.Cleanup(g.Kill)
	return g
}

// lease gives packets to a generation that has room for them.
func (g *generation) lease(t reporter, packets ...exec.Packet) {
	t.Helper()
	for _, p := range packets {
		if err := g.Lease(p); err != nil {
			t.Fatalf("could not lease packet %d: %v", p.ID, err)
		}
	}
}

// work runs packets of which two are leased at a time.
func (g *generation) work(t reporter, packets []exec.Packet) {
	t.Helper()
	for i, p := range packets {
		if i >= 2 {
			g.wait(t)
		}
		g.lease(t, p)
	}
	for range min(2, len(packets)) {
		g.wait(t)
	}
}

// seal ends a generation and checks what it says of its partial.
func (g *generation) seal(t reporter, e *env, path string, packets []exec.Packet) exec.Partial {
	t.Helper()
	p, err := g.Seal(context.Background(), path)
	if err != nil {
		t.Fatalf("could not seal: %s", explain(err))
	}
	e.checkPartial(t, p, path, packets)
	return p
}

// checkPartial compares a partial with the packets that are in it.
func (e *env) checkPartial(t reporter, p exec.Partial, path string, packets []exec.Packet) {
	t.Helper()
	units, canary := sum(packets)
	if p.Path != path || p.Units != units || p.Canary != canary {
		t.Fatalf("partial %+v; want %d units and the canary %x at %s", p, units, canary, path)
	}
	content, err := os.ReadFile(path)
	if err != nil || int64(len(content)) != p.Size || sha256.Sum256(content) != p.SHA256 {
		t.Fatalf("the file of %+v has other bytes, %d of them: %v", p, len(content), err)
	}
	u, c, err := e.Finder.Counted(path)
	if err != nil || u != units || c != canary {
		t.Fatalf("counted are %d units and the canary %x: %v; want %d and %x", u, c, err, units, canary)
	}
}

// sum is what packets add up to.
func sum(packets []exec.Packet) (units int64, canary uint64) {
	for _, p := range packets {
		units += p.Last - p.First
		canary += tasks.Canary(seed, tasks.R(p.Base+p.First, p.Base+p.Last))
	}
	return units, canary
}

// sink keeps what a generation reports.
type sink struct {
	*lines
	done  chan exec.Done
	fails chan *exec.Failure

	mu    sync.Mutex
	ended bool
	after []string // calls after the last one
}

func newSink() *sink {
	return &sink{lines: newLines(), done: make(chan exec.Done, 1000), fails: make(chan *exec.Failure, 10)}
}

func (s *sink) call(name string, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		s.after = append(s.after, name)
	}
	s.ended = s.ended || last
}

// late are the calls that came after Failed, of which there must be none.
func (s *sink) late() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.after
}

func (s *sink) PacketDone(d exec.Done) {
	s.call("PacketDone", false)
	s.done <- d
}

func (s *sink) Failed(f *exec.Failure) {
	s.call("Failed", true)
	s.fails <- f
}

func (s *sink) Output(line string) {
	s.call("Output", false)
	s.add(line)
}

// wait returns the next report.
func (s *sink) wait(t reporter) exec.Done {
	t.Helper()
	select {
	case d := <-s.done:
		return d
	case f := <-s.fails:
		if len(s.done) > 0 { // it was told before the failure, which is for the next who waits
			s.fails <- f
			return <-s.done
		}
		t.Fatalf("failed: %s", explain(f))
	case <-time.After(patience):
		t.Fatalf("no packet is done")
	}
	return exec.Done{}
}

// waitFailure returns the failure of the generation.
func (s *sink) waitFailure(t reporter) *exec.Failure {
	t.Helper()
	select {
	case f := <-s.fails:
		return f
	case <-time.After(patience):
		t.Fatalf("no failure is reported")
	}
	return nil
}

// lines are what code prints.
type lines struct {
	marked chan struct{} // closed at the line with the mark

	mu  sync.Mutex
	all []string
	bad bool // marked is closed
}

func newLines() *lines { return &lines{marked: make(chan struct{})} }

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) < 1000 {
		l.all = append(l.all, line)
	}
	if !l.bad && strings.Contains(line, Mark) {
		l.bad = true
		close(l.marked)
	}
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// waitMark waits until code is about to do what it was told.
func (l *lines) waitMark(t reporter) {
	t.Helper()
	waitFor(t, l.marked, "the code prints nothing of what it is about to do")
}

// waitFor waits until a channel is closed.
func waitFor(t reporter, c <-chan struct{}, otherwise string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s", otherwise)
	}
}

// asFailure finds the failure in an error; it is nil if there is none.
func asFailure(err error) *exec.Failure {
	var f *exec.Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}

// explain adds to a failure what the code printed.
func explain(err error) string {
	if f := asFailure(err); f != nil {
		return fmt.Sprintf("%v\n%s\n%s", f, f.Stack, f.Tail)
	}
	return err.Error()
}

// cut slices an input into packets.
func (e *env) cut(file string, entries, step, base int64, id *uint64) (out []exec.Packet) {
	for at := int64(0); at < entries; at += step {
		*id++
		out = append(out, exec.Packet{
			ID: *id, File: file, Part: e.Part, First: at, Last: min(at+step, entries), Base: base, Entries: entries,
		})
	}
	return out
}
