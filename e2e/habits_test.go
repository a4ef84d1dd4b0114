package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHabits runs what selectors do out of habit: count files in Notify, where each process that reads a part of one
// would count it; merge a folder; use ROOT's benchmark; read a file of the working folder and a
// variable of the environment, and write a file. A directory in the output, which cannot be merged, ends the job
// at once, and it is said what to do.
func TestHabits(t *testing.T) {
	n, files, dir := threeNodes.get(t).nodes[0], fourFiles(t), t.TempDir()
	t.Setenv("HABITS_FACTOR", "2")
	selector, err := filepath.Abs("testdata/Habits.C")
	check(t, err)
	run := func(args ...string) result {
		args = append([]string{"run", selector + "+", "--tree", "Events", "-o", "out.root"}, args...)
		for _, f := range files {
			args = append(args, "--files", f)
		}
		return n.dtpnode(t, dir, args...)
	}
	check(t, os.WriteFile(filepath.Join(dir, "weight.txt"), []byte("3"), 0o600))
	old, err := os.ReadFile(emptyFile(t)) // of an earlier analysis, without a job
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "habits.root"), old, 0o600))
	for range 2 { // the second time the code is known
		got := run()
		if got.code != 0 || !strings.Contains(got.stdout, "80000 inside\n4 files, 80000 entries, sum 480000\n") ||
			!strings.Contains(got.stderr, "weight.txt") || !strings.Contains(got.stderr, "HABITS_FACTOR") ||
			!strings.Contains(got.stderr, "the code names") ||
			!strings.Contains(got.stderr, "Init or Notify adds to files, once for each file") {
			t.Errorf("%+v", got)
		}
	}
	have := keys(t, filepath.Join(dir, "out.root"))
	for _, name := range []string{"files", "folder", "tag"} {
		if have[name] != 1 {
			t.Errorf("%d objects %s, want one", have[name], name)
		}
	}
	got := run("--option", "directory")
	for _, want := range []string{`"plots"`, "TFolder", "TProofOutputFile"} {
		if got.code != 1 || !strings.Contains(got.stderr, want) {
			t.Errorf("want exit 1 and %s: %+v", want, got)
		}
	}
	if strings.Contains(got.stdout, "files,") {
		t.Errorf("Terminate ran: %+v", got)
	}
}
