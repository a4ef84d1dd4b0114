package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go-hep.org/x/hep/groot"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestMisbehaviourAtOneEntry has a selector go wrong at entry 12,345 of the third of four files. That
// entry alone is missing, and told with all that is known; the result is ROOT's own without it.
func TestMisbehaviourAtOneEntry(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := fourFiles(t)
	base := filepath.Base(files[2])
	for i, tc := range []struct {
		do, kind string
		says     string // in the reason
		tail     string // among the last lines
		args     []string
	}{
		{do: "segfault", kind: "signal", says: "SIGSEGV"},
		{do: "quiet", kind: "signal", says: "SIGSEGV", tail: "last words of Misbehave"},
		{do: "throw", kind: "exception", says: "Misbehave throws"},
		{do: "exit", kind: "exit", says: "exit(7)"},
		{do: "loop", kind: "stall", says: "no progress", args: []string{"--stall", "2s"}},
		{do: "memory", kind: "memory", says: "memory", args: []string{"--memory", "1G"}},
	} {
		t.Run(tc.do, func(t *testing.T) {
			roottest.LongBut(t, tc.do, "segfault", "loop", "memory")
			j := misbehave(t, tc.do, base, 12_345, files...)
			j.args = tc.args
			o := c.nodes[i%3].run(t, j)
			m := o.wantMissing(t, tc.kind, files[2], 12_345, 12_346)
			if !strings.Contains(m.Reason, tc.says) || !strings.Contains(m.Tail, tc.tail) {
				t.Errorf("want %q as reason and %q at the end of %q: %s", tc.says, tc.tail, m.Tail, o.describe())
			}
			if m.Tries < 3 || len(m.Nodes) < 2 { // the third node may be busy with other tests
				t.Errorf("want three tries on two nodes at least: %s", o.describe())
			}
			if tc.kind == "signal" && !strings.Contains(m.Stack, "Misbehave::") {
				t.Errorf("the stack does not name the function: %s", o.describe())
			}
			if o.st.Committed != 79_999 {
				t.Errorf("want all entries but one: %s", o.describe())
			}
			o.equals(t, without(t, base, 12_345, 12_346, files...))
		})
	}
}

// TestMisbehaviourIsTold reads what the user reads: file, entry, signal, node and last lines.
func TestMisbehaviourIsTold(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := fourFiles(t)
	j := misbehave(t, "quiet", filepath.Base(files[1]), 777, files...)
	dir := t.TempDir()
	r := c.nodes[0].dtpnode(t, dir, j.arguments("out.root")...)
	if r.code != 3 || strings.Count(r.stdout, files[1]) == 0 {
		t.Errorf("want exit 3: %+v", r)
	}
	for _, s := range []string{"partial: 79,999 of 80,000", "entry 777", "SIGSEGV", "last words of Misbehave",
		"Misbehave::"} {
		if !strings.Contains(r.stdout, s) {
			t.Errorf("the summary does not say %q: %+v", s, r)
		}
	}
	// A fourth try may be under way when the third fails.
	if !regexp.MustCompile(`tries: [3-9], on \w+, \w+, \w+\n`).MatchString(r.stdout) {
		t.Errorf("the summary does not tell three tries on three nodes: %+v", r)
	}
	outcome{out: filepath.Join(dir, "out.root")}.equals(t, without(t, filepath.Base(files[1]), 777, 778, files...))
}

// TestCrashNamesTheLine compiles with g: the stacks of a crash in an entry, of one that takes too long and of one in
// Terminate name the lines of the source, in the summary and, though the process has printed nothing, in the logs, with
// reason and node.
func TestCrashNamesTheLine(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := fourFiles(t)
	at := func(selector, text string) string {
		t.Helper()
		source, err := os.ReadFile(roottest.Selector(t, selector))
		check(t, err)
		before, _, ok := strings.Cut(string(source), text)
		if !ok {
			t.Fatalf("%s does not hold %q", selector, text)
		}
		return fmt.Sprintf("%s:%d", filepath.Base(selector), 1+strings.Count(before, "\n"))
	}
	crash := at("bad/Misbehave.C", "*static_cast<volatile int *>(nullptr) = 1;")
	for _, tc := range []struct {
		aclic, do string
		stack     []string
	}{
		{"+g", "segfault",
			[]string{"Misbehave::Misdo() at " + crash + " in ",
				"Misbehave::Process(long long) at " + at("bad/Misbehave.C", "Misdo();\n   }")}},
		{"++Og", "segfault", []string{"Misbehave::Misdo() at Misbehave.C:"}}, // one store for several, says the optimiser
		{"+", "segfault", []string{"Misbehave::"}},
		{"+g", "loop", []string{"Misbehave::Misdo() at Misbehave.C:"}},
	} {
		t.Run(tc.do+tc.aclic, func(t *testing.T) {
			roottest.LongBut(t, tc.do+tc.aclic, "segfault+", "loop+g")
			j := misbehave(t, tc.do, filepath.Base(files[1]), 777, files[:2]...)
			j.aclic, j.args = tc.aclic, []string{"--stall", "2s"}
			o := c.nodes[1].run(t, j)
			if o.code != 3 || len(o.st.Missing) != 1 {
				t.Fatalf("want one entry missing: %s", o.describe())
			}
			m, logs := o.st.Missing[0], c.nodes[0].dtpnode(t, t.TempDir(), "logs", o.st.ID)
			for _, s := range tc.stack {
				if !strings.Contains(m.Stack, s) ||
					!strings.Contains(logs.stdout, "\n    "+s) && !strings.Contains(logs.stdout, s) {
					t.Errorf("want %q in the stack and the logs:\n%s\n%+v", s, m.Stack, logs)
				}
			}
			for _, n := range m.Nodes {
				if want := "dtpnode: failed on " + n + ": Process " + files[1] + " entry 777: " + m.Kind +
					": "; !strings.Contains(logs.stdout, want) {
					t.Errorf("want %q in the logs: %+v", want, logs)
				}
			}
		})
	}
	t.Run("Terminate", func(t *testing.T) {
		roottest.Long(t)
		j := tally(t, manyFiles(t)...)
		j.Selector, j.aclic = roottest.Selector(t, "bad/CrashTerminate.C"), "+g"
		o := c.nodes[0].run(t, j)
		o.wantError(t, "Terminate", "SIGSEGV", "CrashTerminate.C:")
		if r := c.nodes[2].dtpnode(t, t.TempDir(), "logs", o.st.ID); !strings.Contains(r.stdout,
			"dtpnode: failed on a: Terminate: ") || !strings.Contains(r.stdout, "CrashTerminate.C:") {
			t.Errorf("the logs do not tell of it: %+v", r)
		}
		check(t, func() error { _, err := c.nodes[0].client.Cancel(t.Context(), o.st.ID); return err }())
	})
}

// TestMisbehaviourAtSeveralEntries has two bad entries in one cluster and one at each end of a file.
func TestMisbehaviourAtSeveralEntries(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := manyFiles(t)
	t.Run("two in a row", func(t *testing.T) {
		j := misbehave(t, "throw", filepath.Base(files[7]), 41, files...)
		j.Params["last"] = "43"
		o := c.nodes[1].run(t, j)
		if o.code != 3 || o.st.Committed != 19_998 || len(o.st.Missing) == 0 {
			t.Errorf("want two entries missing: %s", o.describe())
		}
		o.equals(t, without(t, filepath.Base(files[7]), 41, 43, files...))
	})
	for _, entry := range []int64{0, 99} {
		t.Run(fmt.Sprint("entry ", entry), func(t *testing.T) {
			roottest.Long(t)
			file := files[199*entry/99]
			o := c.nodes[2].run(t, misbehave(t, "segfault", filepath.Base(file), entry, files...))
			o.wantMissing(t, "signal", file, entry, entry+1)
			o.equals(t, without(t, filepath.Base(file), entry, entry+1, files...))
		})
	}
}

// TestCrashEverywhere gives up clearly instead of trying 80,000 entries three times each.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := misbehave(t, "quiet", "", 0, fourFiles(t)...)
	j.Params["last"] = "1000000"
	o := c.nodes[0].run(t, j)
	if o.code != 1 || o.st.State != api.Failed {
		t.Errorf("want exit 1 and no result: %s", o.describe())
	}
	for _, s := range []string{"given up", "SIGSEGV", "last words of Misbehave"} {
		if !strings.Contains(o.err, s) {
			t.Errorf("the error does not say %q: %s", s, o.describe())
		}
	}
}

// TestFlood prints 300 MB, more than a daemon may hold; it is only noise, and the daemons keep little of it.
func TestFlood(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := manyFiles(t)
	j := misbehave(t, "flood", filepath.Base(files[3]), 50, files...)
	o := c.nodes[1].run(t, j)
	o.wantDone(t)
	o.equals(t, tally(t, files...))
	if r := c.nodes[1].dtpnode(t, t.TempDir(), "logs", o.st.ID); r.code != 0 || len(r.stdout) > 2<<20 ||
		!strings.Contains(r.stdout, "xxxxxxxx") {
		t.Errorf("want some of what was printed: exit %d, %d bytes, %s", r.code, len(r.stdout), r.stderr)
	}
	for _, n := range c.nodes {
		if st, err := n.status(); err != nil || st.RSS > 200<<20 {
			t.Errorf("%s holds %d MB: %v", n.name, st.RSS>>20, err)
		}
	}
}

// TestAbort leaves the rest of a file out, or ends the job, as the selector asks.
func TestAbort(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	t.Run("process", func(t *testing.T) {
		files := manyFiles(t)
		o := c.nodes[0].run(t, misbehave(t, "abortprocess", filepath.Base(files[100]), 3, files...))
		o.wantError(t, "Abort", filepath.Base(files[100]))
	})
}

// TestCompileError shows the compiler's message, once, though three nodes might have compiled.
func TestCompileError(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := tally(t, manyFiles(t)...)
	j.Selector = roottest.Selector(t, "bad/NoCompile.C")
	o := c.nodes[2].run(t, j)
	o.wantError(t, "NoCompile.C:8", "undeclared_name")
	o.wantNoWork(t)
	if n := strings.Count(o.err, "error: "); n != 1 {
		t.Errorf("the compiler's message is there %d times: %s", n, o.describe())
	}
}

// TestCrashOutsideEntries crashes before the first entry, or after the last.
func TestCrashOutsideEntries(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := tally(t, manyFiles(t)...)
	t.Run("SlaveBegin", func(t *testing.T) {
		j := j
		j.Selector = roottest.Selector(t, "bad/CrashSlaveBegin.C")
		o := c.nodes[0].run(t, j)
		o.wantError(t, "SlaveBegin", "SIGSEGV")
		o.wantNoWork(t)
	})
	t.Run("Terminate", func(t *testing.T) {
		j := j
		j.Selector = roottest.Selector(t, "bad/CrashTerminate.C")
		o := c.nodes[0].run(t, j)
		o.wantError(t, "Terminate", "SIGSEGV", "last words of Terminate")
		dir := t.TempDir()
		if r := c.nodes[0].dtpnode(t, dir, "get", o.st.ID, "-o", "out.root"); r.code != 0 ||
			!strings.Contains(o.hint, "dtpnode get ") {
			t.Fatalf("the merged output was not kept, or nobody said so: %+v: %s", r, o.describe())
		}
		if k := keys(t, filepath.Join(dir, "out.root")); k["entries"] != 1 {
			t.Errorf("the output holds %v, want the histogram", k)
		}
	})
}

// TestUnmergeable keeps objects apart that ROOT cannot merge, and names them. The rest is merged.
func TestUnmergeable(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := job{Job: roottest.Job{Selector: roottest.Selector(t, "bad/Unmergeable.C"), Tree: "Events", Files: fourFiles(t)}}
	o := wide(t, c.nodes[0], j, 2)
	o.wantDone(t)
	if len(o.st.Apart) == 0 || !strings.Contains(strings.Join(o.st.Apart, " "), "note") {
		t.Errorf("does not name the object kept apart: %s", o.describe())
	}
	r := roottest.Find(t)
	want := filepath.Join(t.TempDir(), "want.root")
	r.Reference(t, j.Job, want)
	differences, err := r.Differences(t, o.out, want)
	if err != nil {
		t.Fatal(err)
	}
	if differences != "" { // the first of the objects kept apart is the reference's
		t.Errorf("the histogram beside it differs: %s", differences)
	}
	if n := keys(t, o.out)["note"]; n < 2 || keys(t, o.out)["entries"] != 1 {
		t.Errorf("the output holds %d objects note, want one of each generation, and one histogram: %v", n, keys(t, o.out))
	}
}

// keys counts the objects of each name in a ROOT file.
func keys(t *testing.T, path string) map[string]int {
	t.Helper()
	f, err := groot.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]int{}
	for _, k := range f.Keys() {
		out[k.Name()]++
	}
	return out
}
