package exectest

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// checkNoGenerations sees that there are no processes beside those from before, and those of programs that are loaded.
func (e *env) checkNoGenerations(t *testing.T, before map[int]bool) {
	t.Helper()
	// A program's process is below the runtime's; what it forked, a generation, would be below that. What code has
	// started is killed by others than its generation, which may take a moment.
	var left []int
	for end := time.Now().Add(patience); ; {
		left = nil
		for _, pid := range newProcesses(before) {
			children := map[int]bool{}
			addProcesses(children, pid)
			left = slices.AppendSeq(left, maps.Keys(children))
		}
		if len(left) == 0 || time.Now().After(end) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for _, pid := range left {
		t.Errorf("left behind: process %d, %s", pid, commandOf(pid))
	}
}

// testFailedAtAnEntry has code fail in each way at one entry.
func testFailedAtAnEntry(t *testing.T, e *env) {
	for _, c := range []struct {
		how    How
		kind   exec.Kind
		limits exec.Limits
	}{
		{how: Crash, kind: exec.KindSignal},
		{how: Escape, kind: exec.KindSignal},
		{how: Exit, kind: exec.KindExit},
		{how: Throw, kind: exec.KindException},
		{how: Loop, kind: exec.KindStall, limits: exec.Limits{Stall: 400 * time.Millisecond}},
		{how: Hoard, kind: exec.KindMemory, limits: exec.Limits{Memory: Memory}},
	} {
		t.Run(string(c.how), func(t *testing.T) {
			before := processes()
			j := e.job(t, Code{How: c.how, At: 1160})
			file := e.Input(t, "bad", 300, 1000)
			g := j.begin(t, c.limits)
			var id uint64
			packets := e.cut(file, 300, 100, 1000, &id)
			g.lease(t, packets[:2]...)
			if d := g.wait(t); d.ID != packets[0].ID || d.Last != packets[0].Last || d.Refused != nil {
				t.Errorf("done before is %+v", d)
			}
			f := g.waitFailure(t)
			waitFor(t, g.Done(), "a generation that failed does not end")
			checkFailure(t, f, c.kind, file)
			checkEnded(t, g)
			e.checkNoGenerations(t, before)
		})
	}
}

// checkFailure looks at the failure of the entry 160 of an input.
func checkFailure(t *testing.T, f *exec.Failure, kind exec.Kind, file string) {
	t.Helper()
	if f.Kind != kind || f.File != file || f.Entry != 160 || f.Blame != tasks.R(160, 161) || f.Host != "" {
		t.Errorf("%+v; want the kind %s, and the entry 160 of %s to blame", f, kind, file)
	}
	if f.Op == "" || f.Msg == "" || strings.Contains(f.Msg, "\n") {
		t.Errorf("%q failed for the reason %q; want one line each", f.Op, f.Msg)
	}
	if !strings.Contains(f.Tail, Mark) {
		t.Errorf("the tail lacks what was printed last: %q", f.Tail)
	}
	if kind == exec.KindSignal && f.Signal == 0 || kind != exec.KindExit && f.Exit != 0 ||
		kind == exec.KindExit && f.Exit != ExitStatus {
		t.Errorf("signal %d, exit status %d", f.Signal, f.Exit)
	}
}

// checkEnded sees that a generation that failed has told so once, and takes no more work.
func checkEnded(t *testing.T, g *generation) {
	t.Helper()
	if err := g.Lease(exec.Packet{ID: 9, Last: 1}); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("leased after a failure: %v", err)
	}
	if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "x")); !errors.Is(err, exec.ErrEnded) {
		t.Errorf("sealed after a failure: %v", err)
	}
	g.Kill()
	if len(g.fails)+len(g.done) > 0 {
		t.Error("something is reported after the failure")
	}
	if late := g.late(); len(late) > 0 {
		t.Errorf("called after the failure: %v", late)
	}
}

// testFailedWhileSealing has a packet fail that was leased before the generation was sealed.
func testFailedWhileSealing(t *testing.T, e *env) {
	j := e.job(t, Code{How: Throw, At: 1160})
	file := e.Input(t, "bad", 300, 1000)
	g := j.begin(t, exec.Limits{})
	var id uint64
	g.lease(t, e.cut(file, 300, 150, 1000, &id)...)
	dir := t.TempDir()
	_, err := g.Seal(t.Context(), filepath.Join(dir, "partial"))
	checkFailure(t, g.waitFailure(t), exec.KindException, file)
	if f := asFailure(err); f != nil {
		checkFailure(t, f, exec.KindException, file)
	} else if !errors.Is(err, exec.ErrEnded) { // it had failed by then
		t.Fatalf("sealed: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// testCodeThatCannotBeMade describes code that is none.
func testCodeThatCannotBeMade(t *testing.T, e *env) {
	_, err := e.rt.Describe(t.Context(), e.request(t, Code{Step: AtBuild}))
	if f := asFailure(err); f == nil || f.Kind != exec.KindCode || !f.Blame.Empty() || f.File != "" {
		t.Errorf("described: %v", err)
	}
}

// testFailedSteps has code fail outside of entries: it is the code that is to blame.
func testFailedSteps(t *testing.T, e *env) {
	for _, how := range []How{Throw, Crash} {
		j := e.describe(t, e.rt, Code{How: how, Step: AtBegin})
		s := j.session(t, nil)
		_, err := begin(t.Context(), s)
		checkCode(t, "begun", asFailure(err))
		s.Close()

		j = e.job(t, Code{How: how, Step: AtStart})
		g := j.begin(t, exec.Limits{})
		f := g.waitFailure(t)
		checkCode(t, "started", f)
		if f.Stage != exec.StageStart {
			t.Errorf("%+v; want the stage %q", f, exec.StageStart)
		}
		waitFor(t, g.Done(), "a generation that failed does not end")
		f = asFailure(j.prog.Try(t.Context(), exec.GenSpec{Job: seed, Input: j.input, Dir: t.TempDir()},
			e.Input(t, "a", 10, 0), e.Part))
		checkCode(t, "tried", f)

		e.failedFinish(t, how)
	}
}

// failedFinish has the last step fail, and saves what there is.
func (e *env) failedFinish(t *testing.T, how How) {
	t.Helper()
	j := e.job(t, Code{How: how, Step: AtFinish})
	var id uint64
	packets := e.cut(e.Input(t, "a", 100, 0), 100, 100, 0, &id)
	g := j.begin(t, exec.Limits{})
	g.work(t, packets)
	p := g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
	s := j.session(t, nil)
	defer s.Close()
	if _, err := begin(t.Context(), s); err != nil {
		t.Fatal(explain(err))
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	_, err := s.Finish(t.Context(), []string{p.Path}, out)
	checkCode(t, "finished", asFailure(err))
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	fin, err := j.prog.Save(t.Context(), []string{p.Path}, out)
	if err != nil || fin.Units != p.Units || fin.Canary != p.Canary {
		t.Fatalf("saved is %+v of %+v: %v", fin, p, err)
	}
	_, want := e.job(t, Code{}).finish(t, t.TempDir(), []string{p.Path})
	if err := e.Same(t, want, out); err != nil {
		t.Errorf("saved is something else: %v", err)
	}
	if fin, err := j.prog.Save(t.Context(), []string{p.Path}, ""); err != nil || fin.Units != p.Units {
		t.Errorf("saved without a path is %+v: %v", fin, err)
	}
}

// checkCode looks at a failure that is the code's.
func checkCode(t *testing.T, what string, f *exec.Failure) {
	t.Helper()
	if f == nil || f.Kind != exec.KindCode || !f.Blame.Empty() || f.Op == "" || f.Msg == "" {
		t.Errorf("%s: %+v; want the code to blame", what, f)
	}
}

// testRefusedInputs leases packets of inputs that cannot be opened: the generation goes on.
func testRefusedInputs(t *testing.T, e *env) {
	j := e.job(t, Code{})
	g := j.begin(t, exec.Limits{})
	good, bad := e.Input(t, "good", 100, 0), e.Bad(t)
	var id uint64
	packets := e.cut(good, 100, 50, 0, &id)
	g.lease(t, packets[0])
	g.wait(t)
	for _, c := range []struct {
		file    string
		entries int64 // as planned
		cause   exec.Cause
	}{
		{e.Missing, 10, exec.CauseMissing},
		{bad, 10, ""},
		{e.Input(t, "changed", 70, 500), 80, exec.CauseDiffers},
	} {
		g.lease(t, exec.Packet{ID: 100, File: c.file, Part: e.Part, First: 2, Last: 10, Base: 5000, Entries: c.entries})
		d := g.wait(t)
		f := d.Refused
		if d.ID != 100 || d.Last != 2 || f == nil || f.Kind != exec.KindOpen || f.Host != c.cause || f.File != c.file {
			t.Errorf("a packet of %s: %+v, %+v; want it refused for the cause %q", c.file, d, f, c.cause)
		}
	}
	g.lease(t, packets[1])
	g.wait(t)
	g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
}

// testMergeRefuses merges what is no partial, and what is not there.
func testMergeRefuses(t *testing.T, e *env) {
	j := e.job(t, Code{})
	in := t.TempDir()
	good := filepath.Join(in, "good")
	j.begin(t, exec.Limits{}).seal(t, e, good, nil)
	bad := filepath.Join(in, "bad")
	if err := os.WriteFile(bad, []byte("no partial"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, inputs := range [][]string{{good, bad}, {good, bad + ".no"}} {
		if p, err := j.prog.Merge(t.Context(), inputs, filepath.Join(dir, "out")); err == nil {
			t.Errorf("merged is %+v", p)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
	if entries, _ := os.ReadDir(in); len(entries) != 2 {
		t.Errorf("of the inputs are left: %v", entries)
	}
}

// testFlood has code print far more than anybody reads.
func testFlood(t *testing.T, e *env) {
	j := e.job(t, Code{How: Flood, At: 1060})
	g := j.begin(t, exec.Limits{})
	var id uint64
	packets := e.cut(e.Input(t, "a", 200, 1000), 200, 100, 1000, &id)
	g.work(t, packets)
	g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
	waitFor(t, g.Done(), "a sealed generation does not end")
	if g.count() == 0 {
		t.Error("no line of it was told")
	}
}

// testSession runs a submitting side whose every step is well.
func testSession(t *testing.T, e *env) {
	j := e.job(t, Code{})
	var id uint64
	packets := e.cut(e.Input(t, "a", 100, 0), 100, 100, 0, &id)
	g := j.begin(t, exec.Limits{})
	g.work(t, packets)
	in := t.TempDir()
	p := g.seal(t, e, filepath.Join(in, "partial"), packets)
	out := newLines()
	dir := t.TempDir()
	s, err := j.prog.Session(t.Context(), exec.SessionSpec{Dir: dir, Out: out.add})
	if err != nil {
		t.Fatalf("could not start a session: %s", explain(err))
	}
	if input, err := begin(t.Context(), s); err != nil || input != j.begun {
		t.Errorf("begun again is %q, not %q: %v", input, j.begun, err)
	}
	other := t.TempDir()
	_, written := j.finish(t, other, []string{p.Path})
	if err := os.Remove(written); err != nil {
		t.Fatal(err)
	}
	want := [][]string{listed(t, "."), listed(t, other), listed(t, in)} // the code itself may write into its folder
	if fin, err := s.Finish(t.Context(), []string{p.Path}, ""); err != nil || fin.Units != p.Units {
		t.Errorf("finished without a path is %+v of %+v: %v", fin, p, err)
	}
	if fin, err := j.prog.Save(t.Context(), []string{p.Path}, ""); err != nil || fin.Units != p.Units {
		t.Errorf("saved without a path is %+v of %+v: %v", fin, p, err)
	}
	if got := [][]string{listed(t, "."), listed(t, dir), listed(t, in)}; !reflect.DeepEqual(got, want) {
		t.Errorf("without a path something is written, or the partial is taken: there are %v, not %v", got, want)
	}
	s.Close()
	s.Close() // of no effect
	if out.count() == 0 {
		t.Error("what it printed is not told")
	}
}

// begun is a session that stands in its Begin.
func (e *env) begun(t *testing.T) (s exec.Session, failed <-chan error, letGo func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "go")
	j := e.describe(t, e.rt, Code{How: Hold, Step: AtBegin, Go: file})
	out := newLines()
	s = j.session(t, out)
	result := make(chan error, 1)
	go func() {
		_, err := begin(context.Background(), s)
		result <- err
	}()
	out.waitMark(t)
	return s, result, func() { _ = os.WriteFile(file, nil, 0o600) }
}

// testSessionClosed closes a session that is busy.
func testSessionClosed(t *testing.T, e *env) {
	s, failed, _ := e.begun(t)
	s.Close()
	select {
	case err := <-failed:
		if err == nil {
			t.Error("it was closed, and has begun well")
		}
	case <-time.After(patience):
		t.Fatal("a session that was closed goes on")
	}
}

// testSessionKilled kills the process of a session from outside, if it has one.
func testSessionKilled(t *testing.T, e *env) {
	before := processes()
	s, failed, letGo := e.begun(t)
	defer s.Close()
	// The deepest is the session's own: a program's process forked it.
	pids := newProcesses(before)
	if len(pids) == 0 {
		letGo()
		if err := <-failed; err != nil {
			t.Error(explain(err))
		}
		return
	}
	for _, pid := range pids {
		if below := map[int]bool{}; len(below) == 0 {
			addProcesses(below, pid)
			if len(below) == 0 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	select {
	case err := <-failed:
		if f := asFailure(err); f == nil || f.Kind != exec.KindKilled {
			t.Errorf("begun in a process that was killed: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("a session whose process was killed goes on")
	}
}

// testProgramKilled kills the processes that programs consist of, if there are any: the program is prepared again.
func testProgramKilled(t *testing.T, e *env) {
	before := processes()
	rt, scratch := e.another(t)
	defer func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
		e.checkScratch(t, scratch)
	}()
	base := newProcesses(before)
	for _, pid := range base {
		before[pid] = true
	}
	j := e.describe(t, rt, Code{})
	pids := newProcesses(before)
	if len(pids) == 0 {
		return
	}
	for _, pid := range append(pids, base...) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	dir := t.TempDir()
	_, err := j.prog.Merge(t.Context(), nil, filepath.Join(dir, "x"))
	if !errors.Is(err, exec.ErrGone) {
		t.Errorf("merged by a program whose process was killed: %v", err)
	}
	g, err := j.prog.Start(t.Context(), exec.GenSpec{Job: seed, Dir: dir}, newSink())
	if !errors.Is(err, exec.ErrGone) || g != nil {
		t.Errorf("started by a program whose process was killed: %v", err)
	}
	prog, err := rt.Prepare(t.Context(), j.order(t))
	if err != nil {
		t.Fatalf("prepared again: %s", explain(err))
	}
	defer prog.Release()
	again := &job{e: e, rt: rt, desc: j.desc, prog: prog}
	s := again.session(t, nil)
	defer s.Close()
	if _, err := begin(t.Context(), s); err != nil {
		t.Errorf("the program that was prepared again: %s", explain(err))
	}
}
