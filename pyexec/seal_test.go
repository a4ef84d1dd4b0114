package pyexec

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// ranOver starts a generation of code in a folder, which runs the items, and returns what it tells with them.
func ranOver(t *testing.T, code, dir string, items ...string) (exec.Generation, exec.Done) {
	t.Helper()
	g, dones := runsOver(t, code, dir, items...)
	return g, <-dones
}

// runsOver is ranOver that returns where the generation tells what became of packets.
func runsOver(t *testing.T, code, dir string, items ...string) (exec.Generation, <-chan exec.Done) {
	t.Helper()
	sink := dones{t, make(chan exec.Done, 1)}
	return runsInto(t, sink, code, dir, items...), sink.done
}

// runsInto starts a generation of code in a folder, which runs the items and tells the sink of them.
func runsInto(t *testing.T, sink exec.Sink, code, dir string, items ...string) exec.Generation {
	t.Helper()
	rt := openRuntime(t)
	d, err := describe(t, rt, writeFile(t, "code.py", []byte(code)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Program.Release)
	packed := make([][]byte, len(items))
	for i, item := range items {
		packed[i] = []byte(item)
	}
	blob, err := exec.PackItems(packed)
	if err != nil {
		t.Fatal(err)
	}
	g, err := d.Program.Start(t.Context(), exec.GenSpec{Job: 1, Dir: dir}, sink)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	n := int64(len(items))
	if err := g.Lease(exec.Packet{Items: writeFile(t, "items", blob), Last: n, Entries: n}); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestValuesAreWrittenOnce has the file in which a process holds values become the partial as it is.
func TestValuesAreWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	g, done := ranOver(t, `
MODE = "values"

def process(item):
    return item * 300_000
`, dir, "a", "b")
	if done.Held == nil {
		t.Fatal("the values are in no file")
	}
	held, err := done.Held.File.(*os.File).Stat()
	if err != nil {
		t.Fatal(err)
	}
	made, err := g.Seal(t.Context(), filepath.Join(dir, "partial"))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := os.Stat(made.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(held, sealed) || made.Units != 2 {
		t.Errorf("the partial of %d units is a copy", made.Units)
	}
}

// TestSealWithoutTaken gives up what was written of values that were taken.
func TestSealWithoutTaken(t *testing.T) {
	dir := t.TempDir()
	g, _ := ranOver(t, `
MODE = "values"

def process(item):
    return item * 300_000
`, dir, "a", "b", "c")
	made, err := g.(exec.Taker).SealWithout(t.Context(), filepath.Join(dir, "partial"), tasks.CoverOf(tasks.R(1, 3)))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	err = (&Finder{}).Values(t.Context(), made.Path, tasks.CoverOf(tasks.R(0, 3)), func(_ int64, value []byte) error {
		sizes = append(sizes, len(value))
		return nil
	})
	if err != nil || made.Units != 3 || len(sizes) != 3 || sizes[0] < 300_000 || sizes[1] != 1 || sizes[2] != 1 {
		t.Errorf("%d units of %v bytes: %v", made.Units, sizes, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left beside it: %v, %v", left, err)
	}
}

// TestValuesThatFillTheDisk has a generation whose values find no room tell so, and seal those that have. The last of
// them makes room for the index where there is none left.
func TestValuesThatFillTheDisk(t *testing.T) {
	filled := func(most int64) (last int64, made exec.Partial) {
		dir := t.TempDir()
		g, dones := runsOver(t, fmt.Sprintf(`
import resource, signal
MODE = "values"

def process(item):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (%d, resource.RLIM_INFINITY))  # in the place of a disk
    return item * 1_000_000
`, most), dir, "a", "b", "c", "d")
		done := <-dones
		if !strings.Contains(done.Full, "takes no values") || done.Held.Len() != int(done.Last) {
			t.Errorf("with %d bytes it says %q, and has run to %d", most, done.Full, done.Last)
		}
		if err := g.Lease(exec.Packet{ID: 9, First: 1, Last: 4, Entries: 4}); err != nil {
			t.Fatal(err)
		}
		if next := <-dones; next.Last != 1 || next.Full == "" {
			t.Errorf("it has run %+v behind that", next)
		}
		made, err := g.Seal(t.Context(), filepath.Join(dir, "partial"))
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		err = (&Finder{}).Values(t.Context(), made.Path, tasks.CoverOf(tasks.R(0, 4)), func(_ int64, value []byte) error {
			if len(value) > 1_000_000 {
				n++
			}
			return nil
		})
		if err != nil || n != done.Last || made.Units != done.Last {
			t.Errorf("with %d bytes %d of %d values are in %d units: %v", most, n, done.Last, made.Units, err)
		}
		return done.Last, made
	}
	last, made := filled(2_500_000)
	if last != 2 {
		t.Errorf("%d values have room", last)
	}
	if last, _ = filled(made.Size - 1); last != 1 {
		t.Errorf("%d values have room without the index", last)
	}
}
