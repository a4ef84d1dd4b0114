package rootexec

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/tasks"
)

// startBad starts a generation of the class that misbehaves at entry 700 of a file of 1000.
func startBad(t *testing.T, bad string, spec exec.GenSpec) (*Generation, *recorder, string) {
	t.Helper()
	file := makeData(t, "bad.root", 1000, 0)
	spec.Input, _ = mustBegin(t, "Bad", map[string]string{"bad": bad, "at": "700"})
	spec.Dir = t.TempDir()
	r := newRecorder()
	g, err := load(t, "Bad").Start(t.Context(), spec, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	for _, p := range []exec.Packet{
		{ID: 1, File: file, Part: "T", Last: 500},
		{ID: 2, File: file, Part: "T", First: 500, Last: 1000},
	} {
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
	}
	return g, r, file
}

func TestBadCode(t *testing.T) {
	for _, c := range []struct {
		bad    string
		kind   exec.Kind
		signal unix.Signal
		exit   int
		msg    string
		spec   exec.GenSpec
	}{
		{bad: "segv", kind: exec.KindSignal, signal: unix.SIGSEGV, msg: "SIGSEGV"},
		{bad: "abortsig", kind: exec.KindSignal, signal: unix.SIGABRT, msg: "SIGABRT"},
		{bad: "overflow", kind: exec.KindSignal, signal: unix.SIGSEGV, msg: "SIGSEGV"},
		{bad: "exit", kind: exec.KindExit, exit: 7, msg: "exit(7)"},
		{bad: "_exit", kind: exec.KindExit, exit: 9, msg: "9"},
		{bad: "throw", kind: exec.KindException, msg: "std::runtime_error: something is wrong"},
		{bad: "throwint", kind: exec.KindException, msg: "int"},
		{
			bad:  "loop",
			kind: exec.KindStall,
			msg:  "no progress",
			spec: exec.GenSpec{Limits: exec.Limits{Stall: 400 * time.Millisecond}},
		},
		{
			bad:  "sleep",
			kind: exec.KindStall,
			msg:  "no progress",
			spec: exec.GenSpec{Limits: exec.Limits{Stall: 400 * time.Millisecond}},
		},
		{
			bad:  "memory",
			kind: exec.KindMemory,
			msg:  "(std::bad_alloc); the limit is 1024 MiB (--memory)",
			spec: exec.GenSpec{Limits: exec.Limits{Memory: 1 << 30}},
		},
		{
			bad:  "malloc",
			kind: exec.KindMemory,
			msg:  "a null pointer was used (SIGSEGV); the limit is 1024 MiB (--memory)",
			spec: exec.GenSpec{Limits: exec.Limits{Memory: 1 << 30}},
		},
		{
			bad:  "bigmalloc",
			kind: exec.KindMemory,
			msg:  "the limit is 1024 MiB (--memory)",
			spec: exec.GenSpec{Limits: exec.Limits{Memory: 1 << 30}},
		},
		{
			bad:  "loop",
			kind: exec.KindLimit,
			msg:  "CPU time, the limit is 500ms",
			spec: exec.GenSpec{Limits: exec.Limits{EntryCPU: 500 * time.Millisecond}},
		},
		{
			bad:  "processes",
			kind: exec.KindLimit,
			msg:  "processes, the limit is 20",
			spec: exec.GenSpec{Limits: exec.Limits{Processes: 20}},
		},
		{
			bad:  "file",
			kind: exec.KindLimit,
			msg:  "a file of more than 2048 KiB",
			spec: exec.GenSpec{Limits: exec.Limits{FileSize: 2 << 20}},
		},
		{
			bad:  "scratch",
			kind: exec.KindLimit,
			msg:  "the limit is 4096 KiB",
			spec: exec.GenSpec{Limits: exec.Limits{Scratch: 4 << 20}},
		},
		{bad: "abort", kind: exec.KindAbort, msg: "Abort"},
	} {
		// a name that comes twice gets a #, in its folder too, and ROOT writes elsewhere
		t.Run(c.bad+"-"+string(c.kind), func(t *testing.T) {
			g, r, file := startBad(t, c.bad, c.spec)
			if d := r.wait(t); d.ID != 1 || d.Last != 500 {
				t.Errorf("first packet: %+v", d)
			}
			f := r.waitFailure(t)
			<-g.Done()
			if f.Kind != c.kind || f.Entry != 700 || f.File != file || f.Op != "Process" {
				t.Errorf("%v (kind %s, entry %d, file %s); want kind %s at entry 700 of %s", f, f.Kind, f.Entry, f.File, c.kind,
					file)
			}
			if f.Signal != int(c.signal) && c.kind == exec.KindSignal || f.Exit != c.exit || !strings.Contains(f.Msg, c.msg) {
				t.Errorf("signal %d, exit %d, message %q; want %d, %d, %q", f.Signal, f.Exit, f.Msg, c.signal, c.exit, c.msg)
			}
			if want := tasks.R(700, 701); f.Kind != exec.KindAbort && f.Blame != want {
				t.Errorf("blames %v, want %v", f.Blame, want)
			}
			if !strings.Contains(f.Tail, "about to be bad: "+c.bad) {
				t.Errorf("tail %q lacks what was printed last", f.Tail)
			}
			if c.kind == exec.KindSignal && !strings.Contains(f.Stack, "Bad::") {
				t.Errorf("stack lacks the function:\n%s", f.Stack)
			}
			if err := g.Lease(exec.Packet{ID: 3}); !errors.Is(err, exec.ErrEnded) {
				t.Errorf("lease after the end: %v", err)
			}
		})
	}
}

func TestEscapedProcessIsKilled(t *testing.T) {
	file, pidFile := makeData(t, "bad.root", 1000, 0), filepath.Join(t.TempDir(), "pid")
	input, _ := mustBegin(t, "Bad", map[string]string{"bad": "escape", "at": "0", "pid": pidFile})
	r := newRecorder()
	g, err := load(t, "Bad").Start(t.Context(), exec.GenSpec{Dir: t.TempDir(), Input: input}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	if err := g.Lease(exec.Packet{ID: 1, File: file, Part: "T", Last: 500}); err != nil {
		t.Fatal(err)
	}
	if f := r.waitFailure(t); f.Kind != exec.KindSignal {
		t.Errorf("failed as %v", f)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); unix.Kill(pid, 0) == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			_ = unix.Kill(pid, unix.SIGKILL)
			t.Fatalf("process %d, which left its session, lives on after its generation", pid)
		}
	}
}

// TestNoFile opens what never answers: a pipe without a writer, and a server that accepts and says nothing.
func TestNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.root")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	dumb, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer dumb.Close()
	silent := "root://" + dumb.Addr().String() + "//file.root"
	for _, c := range []struct {
		file, msg string
		host      exec.Cause
	}{{pipe, "no regular file", ""}, {silent, "opening takes longer than 2s", exec.CauseUnreachable}} {
		_, err := executor(t).Plan(t.Context(), c.file, "T", 2*time.Second)
		if f := asFailure(err); f == nil || f.Kind != exec.KindOpen || f.Host != c.host || f.File != c.file ||
			!strings.Contains(f.Msg, c.msg) {
			t.Errorf("planning %s: %v; want %q", c.file, err, c.msg)
		}
		r := newRecorder()
		g, err := load(t, "Hists").Start(t.Context(), exec.GenSpec{
			Dir:    t.TempDir(),
			Limits: exec.Limits{Open: 2 * time.Second},
		}, Told{}, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Lease(exec.Packet{ID: 1, File: c.file, Part: "T", Last: 500}); err != nil {
			t.Fatal(err)
		}
		if f := r.waitFailure(t); f.Kind != exec.KindOpen || f.Host != c.host || f.File != c.file ||
			!strings.Contains(f.Msg, c.msg) {
			t.Errorf("processing %s: %+v; want %q", c.file, f, c.msg)
		}
		g.Kill()
	}
}

func TestOutputFlood(t *testing.T) {
	g, r, _ := startBad(t, "flood", exec.GenSpec{})
	r.wait(t)
	if d := r.wait(t); d.Last != 1000 {
		t.Errorf("second packet ended at %d", d.Last)
	}
	g.Kill()
	if n := len(g.Output()); n < 128<<10 || n > 128<<10+100 {
		t.Errorf("kept %d bytes of a gigabyte", n)
	}
	if !strings.Contains(g.Output(), "bytes left out") {
		t.Error("does not say that output was left out")
	}
}

func TestSlaveBeginCrashIsTheCode(t *testing.T) {
	_, r, _ := startBad(t, "slavebegin", exec.GenSpec{})
	if f := r.waitFailure(t); f.Kind != exec.KindCode || f.Op != "SlaveBegin" || f.Signal != int(unix.SIGSEGV) ||
		!f.Blame.Empty() {
		t.Errorf("%+v", f)
	}
}

func TestSlaveBeginAbortNamesIt(t *testing.T) {
	_, r, _ := startBad(t, "slaveabort", exec.GenSpec{})
	if f := r.waitFailure(t); f.Kind != exec.KindAbort || f.Op != "SlaveBegin" ||
		!strings.Contains(f.Tail, "no data here") {
		t.Errorf("%+v", f)
	}
}

func TestKilledFromOutside(t *testing.T) {
	g, r, _ := startBad(t, "loop", exec.GenSpec{})
	r.wait(t)
	if err := unix.Kill(g.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if f := r.waitFailure(t); f.Kind != exec.KindKilled {
		t.Errorf("%v", f)
	}
}

func TestPreempt(t *testing.T) {
	file := makeData(t, "p.root", 1000, 0)
	r, letGo := newRecorder(), filepath.Join(t.TempDir(), "go")
	input, _ := mustBegin(t, "Bad", map[string]string{"bad": "hold", "at": "700", "go": letGo})
	g, err := load(t, "Bad").Start(t.Context(), exec.GenSpec{Job: 9, Dir: t.TempDir(), Input: input}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	packets := []exec.Packet{
		{ID: 1, File: file, Part: "T", Last: 900, Base: 10},
		{ID: 2, File: file, Part: "T", First: 900, Last: 1000, Base: 10},
	}
	for _, p := range packets {
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
	}
	waitEntry(t, g, 700)
	g.Preempt()
	if err := os.WriteFile(letGo, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first, second := r.wait(t), r.wait(t)
	if first.ID != 1 || first.Last != 701 || second.ID != 2 || second.Last != 900 {
		t.Fatalf("%+v, %+v: want the first cut short and the second undone", first, second)
	}
	rest := exec.Packet{ID: 3, File: file, Part: "T", First: 900, Last: 950, Base: 10}
	if err := g.Lease(rest); err != nil {
		t.Fatal(err)
	}
	if d := r.wait(t); d.Last != 950 {
		t.Errorf("a packet after the preemption ended at %d", d.Last)
	}
	sealed, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p"))
	if err != nil {
		t.Fatal(err)
	}
	want := tasks.Canary(9, tasks.R(10, 10+first.Last)) + tasks.Canary(9, tasks.R(910, 960))
	if sealed.Units != first.Last+50 || sealed.Canary != want {
		t.Errorf("%d units, canary %x; want %d, %x", sealed.Units, sealed.Canary, first.Last+50, want)
	}
}

// waitEntry waits until a generation is at an entry, which must hold it up.
func waitEntry(t *testing.T, g *Generation, want int64) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; poll(t) {
		_, entry := g.Progress()
		switch {
		case entry == want:
			return
		case time.Now().After(end):
			t.Fatalf("it is at entry %d, and does not come to %d", entry, want)
		}
	}
}

func TestQueueOfTwo(t *testing.T) {
	g, _, _ := startBad(t, "loop", exec.GenSpec{})
	if err := g.Lease(exec.Packet{ID: 3}); !errors.Is(err, exec.ErrQueueFull) && err != nil {
		t.Errorf("third lease: %v", err)
	}
}
