package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var jobPattern = regexp.MustCompile(`job ([0-9a-f]{12})`)

// TestLosses runs code whose losses ROOT tells in a line of a log, or not at all: two objects of one name in fOutput, a
// file that came along and was changed, Abort in SlaveTerminate and in Terminate. The summary, the status and the exit
// status say so.
func TestLosses(t *testing.T) {
	t.Parallel()
	n, dir := threeNodes.get(t).nodes[0], t.TempDir()
	selector, err := filepath.Abs("testdata/Losses.C")
	check(t, err)
	old, err := os.ReadFile(emptyFile(t))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "sums.root"), old, 0o600))
	run := func(option string) result {
		return n.dtpnode(t, dir, "run", selector+"+", "--cycles", "1000", "--option", option, "-o", option+".root")
	}
	told := map[string]string{}
	for option, says := range map[string][]string{
		"twice":  {`Note: fOutput takes one object of a name`, `"n" (1)`, "NAME;1"},
		"update": {"not kept", "sums.root (in ", "RECREATE", "Terminate"},
	} {
		got := run(option)
		told[option] = got.stdout
		if got.code != 0 {
			t.Errorf("%s: %+v", option, got)
		}
		for _, s := range says {
			if !strings.Contains(got.stdout, s) {
				t.Errorf("%s: the summary lacks %q: %+v", option, s, got)
			}
		}
	}
	if have := keys(t, filepath.Join(dir, "twice.root")); have["n"] != 2 {
		t.Errorf("%d objects n came back, want 2", have["n"])
	}
	if now, err := os.ReadFile(filepath.Join(dir, "sums.root")); err != nil || string(now) != string(old) {
		t.Errorf("the file of the user was changed: %v", err)
	}
	id := jobPattern.FindStringSubmatch(told["twice"])
	if len(id) != 2 {
		t.Fatalf("no name of a job in %q", told["twice"])
	}
	if st := n.dtpnode(t, dir, "status", id[1]); !strings.Contains(st.stdout, "fOutput takes one object of a name") {
		t.Errorf("the status does not tell of the two objects: %+v", st)
	}
	if got := n.dtpnode(t, dir, "get", id[1], "-o", "-"); got.code != 0 || !strings.HasPrefix(got.stdout, "root") ||
		!strings.Contains(got.stderr, "without 1 file that the job has written") {
		t.Errorf("exit %d, %d bytes: %s", got.code, len(got.stdout), got.stderr)
	}
	for option, says := range map[string][]string{
		"late": {"SlaveTerminate", "the selector called Abort()", "too late"},
		"end":  {"Terminate", "the selector called Abort()", "at the end", "dtpnode get"},
	} {
		got := run(option)
		if got.code != 1 {
			t.Errorf("%s: want exit 1: %+v", option, got)
		}
		for _, s := range says {
			if !strings.Contains(got.stderr, s) {
				t.Errorf("%s: the error lacks %q: %+v", option, s, got)
			}
		}
	}
}
