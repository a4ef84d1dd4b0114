package e2e

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// checked runs `dtpnode run --check`, and fails the test if that leaves a job, a file or a process.
func (n *node) checked(t *testing.T, dir string, j job, args ...string) (c api.Check, r result) {
	t.Helper()
	out := filepath.Join(dir, "out.root")
	before, err := n.client.Jobs(t.Context())
	check(t, err)
	r = n.dtpnode(t, dir, append(append(j.arguments(out), "--check", "--output", "json"), args...)...)
	if r.code == 0 || r.code == 3 {
		check(t, json.Unmarshal([]byte(r.stdout), &c))
	}
	after, err := n.client.Jobs(t.Context())
	check(t, err)
	if len(after) != len(before) {
		t.Errorf("a check leaves %d jobs, of %d before", len(after), len(before))
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a check has written the output")
	}
	if left, _ := filepath.Glob(filepath.Join(n.state, "scratch", "check-*")); len(left) > 0 {
		t.Errorf("a check leaves %q", left)
	}
	return c, r
}

// TestCheck tries jobs with their first 1,000 entries: what came of it, what the whole will take, what is wrong.
func TestCheck(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...) // of which no other test submits jobs
	n, files, dir := c.nodes[1], fourFiles(t), t.TempDir()
	objects := func(c api.Check) string {
		var out []string
		for _, o := range c.Objects {
			out = append(out, o.Name)
		}
		return strings.Join(out, " ")
	}
	t.Run("well", func(t *testing.T) {
		got, r := n.checked(t, dir, tally(t, files...))
		if r.code != 0 || got.Entries != 1000 || got.Units != 80_000 || got.File != files[0] || got.Rate <= 0 ||
			got.Here <= got.Everywhere || got.AllSlots != 2 || len(got.Warnings) > 0 {
			t.Fatalf("%+v %+v", got, r)
		}
		if names := objects(got); names == "" {
			t.Errorf("no objects: %+v", got)
		}
		r = n.dtpnode(t, dir, append(tally(t, files...).arguments("x.root"), "--check")...)
		for _, s := range []string{"checked with 1,000 of 80,000 entries, of " + files[0], "nothing is kept",
			"entries/s in one process: the whole takes about", "(2 slots)", "OBJECT"} {
			if r.code != 0 || !strings.Contains(r.stdout, s) {
				t.Errorf("want %q: %+v", s, r)
			}
		}
	})
	t.Run("warnings", func(t *testing.T) {
		broken := copies(t, files...)
		roottest.Truncate(t, broken[0], 0.6)
		got, r := n.checked(t, dir, tally(t, broken...))
		if r.code != 0 || got.File != broken[1] || got.Units != 60_000 || len(got.Warnings) != 1 ||
			!strings.Contains(got.Warnings[0], broken[0]) {
			t.Errorf("a truncated file: %+v %+v", got, r)
		}
		j := job{Job: roottest.Job{Selector: roottest.Selector(t, "bad/Unmergeable.C"), Tree: "Events", Files: files}}
		if got, r := n.checked(t, dir, j); r.code != 0 ||
			!strings.Contains(strings.Join(got.Warnings, " "), "note cannot be merged") {
			t.Errorf("an object that cannot be merged: %+v %+v", got, r)
		}
		j = job{
			Job:  roottest.Job{Selector: roottest.Selector(t, "bad/MissingReader.C"), Tree: "Events", Files: files},
			args: []string{"--allow-missing-branches"},
		}
		if got, r := n.checked(t, dir, j); r.code != 0 || !strings.Contains(strings.Join(got.Warnings, " "), "Tau_pt_typo") {
			t.Errorf("a missing branch that is allowed: %+v %+v", got, r)
		}
	})
	for name, tc := range map[string]struct {
		job  job
		says []string
	}{
		"compile": {
			job{Job: roottest.Job{Selector: roottest.Selector(t, "bad/NoCompile.C"), Tree: "Events", Files: files}},
			[]string{"undeclared_name"},
		},
		"missing branch": {
			job{Job: roottest.Job{Selector: roottest.Selector(t, "bad/MissingAddress.C"), Tree: "Events", Files: files}},
			[]string{"MET_typo"},
		},
		"crash": {misbehave(t, "quiet", "", 700, files...),
			[]string{"Process", files[0] + " entry 700", "SIGSEGV", "Misbehave::", "last words of Misbehave"}},
		"Terminate": {
			job{Job: roottest.Job{Selector: roottest.Selector(t, "bad/CrashTerminate.C"), Tree: "Events", Files: files}},
			[]string{"Terminate", "SIGSEGV"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, r := n.checked(t, dir, tc.job)
			for _, s := range tc.says {
				if r.code != 1 || !strings.Contains(r.stderr, s) {
					t.Errorf("want exit 1 and %q: %+v", s, r)
				}
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		none := tally(t, files...)
		none.args = []string{"-n", "0"}
		for name, j := range map[string]job{"no entries wanted": none, "an empty tree": tally(t, emptyFile(t))} {
			got, r := n.checked(t, dir, j)
			if r.code != 3 || got.Entries != 0 || !strings.Contains(r.stderr, "nothing was checked") {
				t.Errorf("%s: want exit 3 and that nothing was checked: %+v", name, r)
			}
		}
	})
	t.Run("without a daemon", func(t *testing.T) {
		n, temp := alone(t, suite.binary)
		j := tally(t, files...)
		r := n.dtpnode(t, dir, append(withoutEmpty(j.arguments("")), "--check", "--root", suite.root, "--slots", "1")...)
		if r.code != 0 || !strings.Contains(r.stdout, "checked with 1,000 of 80,000") {
			t.Errorf("%+v", r)
		}
		n.wantKept(t)
		wantEmpty(t, temp)
	})
	if r := n.dtpnode(t, dir, append(tally(t, files...).arguments("x.root"), "--check", "--detach")...); r.code != 2 {
		t.Errorf("want exit 2: %+v", r)
	}
}

// TestCheckTellsItsStages: a check says what it waits for, in lines or on a terminal in one that is gone when it ends.
func TestCheckTellsItsStages(t *testing.T) {
	t.Parallel()
	n := ownCluster(t, fakeSpecs(t, 1)...).nodes[0]
	arguments := func() []string { // each with sources of its own, for they are compiled once
		req := fakeJob{
			Spec:     fakeexec.Spec{Entry: "10us", Bins: 10, Print: rand.Text()},
			files:    1,
			clusters: 10,
			entries:  5000,
		}.request(t)
		return []string{"run", req.Title, "--tree", req.Part, "--files", req.Files[0].URL, "--check"}
	}
	stages := []string{"checking  compiling count.json on n0", "checking  loading count.json on n0",
		"checking  reading the files", "checking  running Begin", "checking  running 1000 entries of 5000",
		"checking  merging and running Terminate"}
	r := n.dtpnode(t, t.TempDir(), arguments()...)
	if told := r.stderr; r.code != 0 || !strings.HasSuffix(told, strings.Join(stages, "\n")+"\n") {
		t.Errorf("want the stages %q: %+v", stages, r)
	}
	if !strings.Contains(r.stdout, "checked with 1,000 of 5,000 entries") || strings.Contains(r.stdout, "checking") {
		t.Errorf("want the outcome alone on standard output: %+v", r)
	}
	tty := openTerminal(t)
	cmd := n.onTerminal(t, tty, []string{"TERM=xterm"}, arguments()...)
	_ = cmd.Wait()
	<-tty.done
	for _, s := range stages {
		if !strings.Contains(tty.text(), s) {
			t.Errorf("the terminal does not show %q: %q", s, tty.text())
		}
	}
	shown := strings.Join(render(t, 160, tty.text()), "\n")
	if cmd.ProcessState.ExitCode() != 0 || strings.Contains(shown, "checking") ||
		!strings.HasPrefix(shown, "Begin\nTerminate: 1000 entries\nchecked with 1,000 of") {
		t.Errorf("what stays there: %s", shown)
	}
}
