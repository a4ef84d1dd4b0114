package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestInputs gives a selector parameters of several types and an object of a file, to which its Begin adds a large one,
// and has it give up each file at an entry. Every process on three nodes has all of it, what each changes is its own,
// and what is left out is the same each time, and in one file the same as in ROOT's own process.
func TestInputs(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := fourFiles(t)
	j := job{Job: roottest.Job{Selector: roottest.Selector(t, "Inputs.C"), Tree: "Events", Files: files}}
	j.args = []string{"--param", "at:long=99"}
	first := c.nodes[1].run(t, j)
	wantGivenUp(t, first, files, 99)
	wantLines(t, first, "weight 1000", "sum 400000 of 400")

	j.args = []string{"--param", "at=4999", "--param", "one:int=1", "--param", "ten=10", "--input", first.out + ":weights"}
	for _, n := range []int{0, 2} {
		o := c.nodes[n].run(t, j)
		wantGivenUp(t, o, files, 4999)
		wantLines(t, o, "weight 1111", "sum 22220000 of 20000")
	}
	r := c.nodes[0].dtpnode(t, t.TempDir(), "status", first.st.ID)
	if want := "at entry 99"; !strings.Contains(r.stdout, want) || !strings.Contains(r.stdout, "enough of it") {
		t.Errorf("status does not say %q and why: %s", want, r.stdout)
	}

	j.args, j.Files, j.Params = nil, files[:1], map[string]string{"at": "3000"}
	o := c.nodes[0].run(t, j)
	wantGivenUp(t, o, files[:1], 3000)
	root := roottest.Find(t)
	want := filepath.Join(t.TempDir(), "want.root")
	root.Reference(t, j.Job, want)
	root.Compare(t, o.out, want)
}

func wantLines(t *testing.T, o outcome, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !slices.Contains(o.lines, line) {
			t.Errorf("want the line %q: %s", line, o.describe())
		}
	}
}

// wantGivenUp fails the test unless a job is done, and each of its files was given up at an entry.
func wantGivenUp(t *testing.T, o outcome, files []string, at int64) {
	t.Helper()
	if o.code != 0 || o.st.State != api.Done || o.st.Committed != o.st.Units {
		t.Fatalf("want it done: %s", o.describe())
	}
	left := o.st.Units - int64(len(files))*(at+1)
	if o.st.SkippedFiles != len(files) || o.st.SkippedEntries != left {
		t.Errorf("%d entries of %d files are skipped, want %d of %d: %s", o.st.SkippedEntries, o.st.SkippedFiles, left,
			len(files), o.describe())
	}
	for _, s := range o.st.Skipped {
		if !slices.Contains(files, s.File) || s.Entry != at || s.First != at+1 || s.Reason != "enough of it" || s.Ran != 0 {
			t.Errorf("skipped is %+v", s)
		}
	}
}

// TestAbortFileAsksForWholeFiles has code give a file up that does not name it in its source: without --whole-files
// that would leave a number to chance, and so ends the job; with it, all before that entry counts.
func TestAbortFileAsksForWholeFiles(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := fourFiles(t)
	j := misbehave(t, "abortfile", filepath.Base(files[2]), 12_345, files...)
	o := c.nodes[1].run(t, j)
	o.wantError(t, "--whole-files", "Misbehave aborts the file", filepath.Base(files[2]), "12345")
	j.args = []string{"--whole-files"}
	o = c.nodes[1].run(t, j)
	if o.code != 0 || o.st.State != api.Done || len(o.st.Skipped) != 1 || o.st.Skipped[0].Entry != 12_345 {
		t.Fatalf("want it done, with entries skipped: %s", o.describe())
	}
	if ran := rootEntries(t, o.out); ran+o.st.SkippedEntries != o.st.Units {
		t.Errorf("%d entries are in the histogram, and %d of %d were skipped", ran, o.st.SkippedEntries, o.st.Units)
	}
	note := fmt.Sprint(o.st.Notes)
	if !strings.Contains(note, "each file is read by one process") {
		t.Errorf("the user is not told that files are whole: %s", note)
	}
}

// TestInputOutlivesTheDaemon kills the only node of a job, and starts it again: every process of the job has what Begin
// had made, as before.
func TestInputOutlivesTheDaemon(t *testing.T) {
	t.Parallel()
	specs := often("a")
	c := ownCluster(t, specs...)
	n := c.nodes[0]
	j := paced(t, 100)
	selector, err := filepath.Abs(filepath.Join("testdata", "Begun.C"))
	check(t, err)
	j.Selector = selector
	d := n.detach(t, j)
	n.committed(t, d.id, 0.1)
	n.crash(t)
	n.restart(t, specs[0])
	_, st := c.waitFinal(t, d.id, commandLimit)
	if st.State != api.Done || !strings.Contains(st.Stdout, "sum 560000 of 80000") {
		t.Errorf("want each entry to weigh 7: %s\n%s", st.State, st.Stdout)
	}
}
