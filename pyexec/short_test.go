package pyexec

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// valuesIn are the values of a partial with so many units.
func valuesIn(t *testing.T, path string, n int64) []string {
	t.Helper()
	var out []string
	err := (&Finder{}).Values(t.Context(), path, tasks.CoverOf(tasks.R(0, n)), func(_ int64, value []byte) error {
		out = append(out, string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// fails hands on how a generation fails.
type fails struct{ failed chan *exec.Failure }

func (s fails) PacketDone(exec.Done)   { s.failed <- &exec.Failure{Msg: "it goes on"} }
func (s fails) Failed(f *exec.Failure) { s.failed <- f }
func (fails) Output(string)            {}

// TestMemoryErrorIsAValue: an item that asks for more memory than there is has raised what Python says of it, and its
// process goes on.
func TestMemoryErrorIsAValue(t *testing.T) {
	dir := t.TempDir()
	g, done := ranOver(t, `
MODE = "values"

def process(item):
    if item == b"large":
        raise MemoryError("Unable to allocate 71.1 PiB")
    return "fits"
`, dir, "large", "small")
	if done.Last != 2 {
		t.Fatalf("it has stopped: %+v", done)
	}
	made, err := g.Seal(t.Context(), filepath.Join(dir, "partial"))
	if err != nil {
		t.Fatal(err)
	}
	values := valuesIn(t, made.Path, 2)
	if values[0][0] != 1 || !strings.Contains(values[0], "Unable to allocate 71.1 PiB") ||
		!strings.Contains(values[0], "in process") || values[1][0] != 0 {
		t.Errorf("the values are %q", values)
	}
}

// TestMemoryLeft: where items have left next to no memory to the one behind them, this one has raised nothing, and
// another process is to run it.
func TestMemoryLeft(t *testing.T) {
	for _, c := range []struct{ name, mode string }{{"values", `MODE = "values"`}, {"sum", `MODE = "sum"`}} {
		t.Run(c.name, func(t *testing.T) {
			sink := fails{make(chan *exec.Failure, 1)}
			runsInto(t, sink, c.mode+`
import resource
kept = []

def process(item):
    if item == b"next":
        raise MemoryError("none is left")
    kept.append(b"x" * (64 << 20))
    resource.setrlimit(resource.RLIMIT_DATA, (96 << 20, 96 << 20))
    return 1
`, t.TempDir(), "keeps", "next")
			f := <-sink.failed
			if f.Kind != exec.KindMemory || !strings.Contains(f.Msg, "MemoryError: none is left") {
				t.Fatalf("it ends with %v", f)
			}
			if c.name == "sum" && !strings.Contains(f.Tail, `raise MemoryError("none is left")`) {
				t.Errorf("the traceback is not in %q", f.Tail)
			}
		})
	}
}

// TestDescriptorsLeft: items that leave all descriptors open, or lower their number, have values all the same; and
// where the process can open nothing at all, the disk is not to blame.
func TestDescriptorsLeft(t *testing.T) {
	leaking := func(limit string) (exec.Partial, error) {
		dir := t.TempDir()
		g, done := ranOver(t, `
import os, resource
MODE = "values"
kept = []

def process(item):
    resource.setrlimit(resource.RLIMIT_NOFILE, `+limit+`)
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))
`, dir, "a", "b")
		if done.Last != 2 {
			t.Fatalf("it has stopped: %+v", done)
		}
		return g.Seal(t.Context(), filepath.Join(dir, "partial"))
	}
	for _, limit := range []string{"(100, 100)", "(5, 100)"} {
		made, err := leaking(limit)
		if err != nil {
			t.Fatalf("with the limit %s: %v", limit, err)
		}
		for _, value := range valuesIn(t, made.Path, 2) {
			if value[0] != 1 || !strings.Contains(value, "Too many open files") {
				t.Errorf("with the limit %s a value is %q", limit, value)
			}
		}
	}
	_, err := leaking("(3, 3)")
	var f *exec.Failure
	if !errors.As(err, &f) || f.Kind != exec.KindLimit || !strings.Contains(f.Msg, "no more files (limit 3)") {
		t.Errorf("without any descriptor: %v", err)
	}
}
