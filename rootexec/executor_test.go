package rootexec

import (
	"context"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"
)

func TestLoadRefusesBadClasses(t *testing.T) {
	e := executor(t)
	for class, msg := range map[string]string{
		"NoSuch":         "the selectors there are: AborterCut, Apart, Arrays",
		"NoSelector":     "does not derive from TSelector",
		"BadConstructor": "SIGABRT",
	} {
		_, err := e.Load(t.Context(), suite.lib, class)
		if f := asFailure(err); f == nil || f.Kind != exec.KindCode || !strings.Contains(f.Msg, msg) {
			t.Errorf("%s: %v; want code with %q", class, err, msg)
		}
	}
}

func TestLoadTwiceIsOneProcess(t *testing.T) {
	if a, b := load(t, "Hists"), load(t, "Hists"); a != b {
		t.Error("loaded twice")
	}
}

// TestSourceThatEndsTooEarly: a brace that is missing, for which ROOT's own tools wait for ever, is told by the
// compiler.
func TestSourceThatEndsTooEarly(t *testing.T) {
	e := executor(t)
	src := Source{Main: "Cut.C", Files: map[string][]byte{"Cut.C": []byte(`#include "TSelector.h"
class Cut : public TSelector {
public:
  Bool_t Process(Long64_t) override { return true;
`)}}
	_, err := e.Compile(t.Context(), src)
	f := asFailure(err)
	if f == nil || f.Kind != exec.KindCode || !strings.Contains(f.Msg, "ends too early") ||
		!strings.Contains(f.Tail, "Cut.C:4") {
		t.Fatal(explain(err))
	}
}

// TestCompileLimit ends a compilation that takes too long, and says so.
func TestCompileLimit(t *testing.T) {
	executor(t) // has the child built
	cfg := suiteConfig(t.TempDir())
	cfg.CompileLimit = 10 * time.Millisecond
	quick, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(explain(err))
	}
	t.Cleanup(func() { _ = quick.Close() })
	src := Source{
		Main: "Late.C",
		Files: map[string][]byte{"Late.C": []byte("#include \"TSelector.h\"\nclass Late : public TSelector { " +
			"ClassDefOverride(Late, 0) };\n")},
	}
	_, err = quick.Compile(t.Context(), src)
	if f := asFailure(err); f == nil || f.Kind != exec.KindCode || !strings.Contains(f.Msg, "not compiled within 10ms") {
		t.Fatal(explain(err))
	}
}

func TestCompileError(t *testing.T) {
	e := executor(t)
	src := Source{
		Main: "Wrong.C",
		Files: map[string][]byte{"Wrong.C": []byte("#include <TSelector.h>\nclass Wrong : public TSelector { nosuchtype x; " +
			"};\n")},
	}
	_, err := e.Compile(t.Context(), src)
	f := asFailure(err)
	if f == nil || f.Kind != exec.KindCode || !strings.Contains(f.Tail, "nosuchtype") ||
		!strings.Contains(f.Tail, "Wrong.C") {
		t.Fatal(explain(err))
	}
	if _, ok := e.Compiled(src); ok {
		t.Error("what did not compile is in the cache")
	}
	src.Files["../evil.h"] = nil
	if _, err := e.Compile(t.Context(), src); err == nil || asFailure(err) != nil {
		t.Errorf("a file name that leads out: %v", err)
	}
}

// TestHelperParent is not a test: TestChildrenDieWithTheParent runs it as a process of its own and
// kills it.
func TestHelperParent(t *testing.T) {
	dir := os.Getenv("DTPNODE_TEST_PARENT")
	if dir == "" {
		t.Skip("only as a helper")
	}
	executor(t)
	input, _ := mustBegin(t, "Bad", map[string]string{"bad": "sleep", "at": "700"})
	file := makeData(t, "bad.root", 1000, 0)
	r := newRecorder()
	g, err := load(t, "Bad").Start(context.Background(), exec.GenSpec{Dir: dir, Input: input}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Lease(exec.Packet{ID: 1, File: file, Part: "T", Last: 1000}); err != nil {
		t.Fatal(err)
	}
	waitEntry(t, g, 700)
	pids := strconv.Itoa(suite.e.base.PID()) + " " + strconv.Itoa(load(t, "Bad").proc.PID()) + " " + strconv.Itoa(g.PID())
	if err := os.WriteFile(filepath.Join(dir, "tmp"), []byte(pids), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "pids")); err != nil {
		t.Fatal(err)
	}
	select {} // until it is killed
}

func TestChildrenDieWithTheParent(t *testing.T) {
	executor(t) // so that the helper finds all built
	dir := t.TempDir()
	cmd := osexec.Command(os.Args[0], "-test.run=^TestHelperParent$")
	cmd.Env = append(os.Environ(), "DTPNODE_TEST_PARENT="+dir)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := waitPIDs(t, filepath.Join(dir, "pids"))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, pid := range pids {
		waitGone(t, pid)
	}
}

func waitPIDs(t *testing.T, path string) (pids []int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && time.Now().Before(end) {
			poll(t)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		return pids
	}
}

// waitGone waits until a process is no more, or is a zombie that nobody here can reap.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); unix.Kill(pid, 0) == nil; {
		if time.Now().After(end) {
			t.Fatalf("process %d lives on", pid)
		}
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if _, rest, ok := strings.Cut(string(b), ") "); ok && rest[0] == 'Z' {
			return
		}
		poll(t)
	}
}

// poll lets time pass for another process.
func poll(t *testing.T) {
	t.Helper()
	select {
	case <-time.After(5 * time.Millisecond):
	case <-t.Context().Done():
		t.Fatal("the test ended")
	}
}

func TestBaseIsStartedAnew(t *testing.T) {
	executor(t)
	e, err := Open(t.Context(), suiteConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := e.Load(t.Context(), suite.lib, "Hists")
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	g, err := s.Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	old := e.base.PID()
	if err := unix.Kill(old, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if f := r.waitFailure(t); f.Kind != exec.KindKilled {
		t.Errorf("%v; want killed", f)
	}
	<-g.Done()
	s.Release()
	s, err = e.Load(t.Context(), suite.lib, "Hists")
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
}

func TestCloseEndsEverything(t *testing.T) {
	executor(t)
	e, err := Open(t.Context(), suiteConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(t.Context(), suite.lib, "Bad")
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	g, err := s.Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{e.base.PID(), s.proc.PID(), g.PID()}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	<-g.Done()
	if f := r.waitFailure(t); f.Kind != exec.KindKilled {
		t.Errorf("%v; want killed", f)
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, 0); err == nil {
			t.Errorf("process %d is still there", pid)
		}
	}
	if _, err := e.Plan(t.Context(), "x", "T", 0); !errors.Is(err, exec.ErrClosed) {
		t.Errorf("plan after close: %v", err)
	}
}

func TestSourcesInFoldersAndDataFiles(t *testing.T) {
	src := Source{Main: "sel/Reader.C", Files: map[string][]byte{
		"common/name.h":        []byte("inline const char *dataName() { return \"cal/w.txt\"; }\n"),
		DataDir + "/cal/w.txt": []byte("17"),
		"sel/Reader.C": []byte(`#include "../common/name.h"
#include <TSelector.h>
#include <fstream>
#include <iostream>
class Reader : public TSelector {
 public:
  void SlaveBegin(TTree *) override {
    int x = 0;
    std::ifstream(dataName()) >> x;
    std::cout << "read " << x << std::endl;
    std::ofstream(dataName()) << "0";
  }
  ClassDefOverride(Reader, 0);
};
`)}}
	e := executor(t)
	lib, err := e.Compile(t.Context(), src)
	if err != nil {
		t.Fatal(explain(err))
	}
	s, err := e.Load(t.Context(), lib, "Reader")
	if err != nil {
		t.Fatal(explain(err))
	}
	defer s.Release()
	for range 2 { // what the first writes is its own
		g, err := s.Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, newRecorder())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); err != nil {
			t.Fatal(explain(err))
		}
		<-g.Done() // what it printed may come later than its answer
		if !strings.Contains(g.Output(), "read 17") {
			t.Errorf("it printed %q", g.Output())
		}
	}
}
