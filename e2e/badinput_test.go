package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestWrongNames names what is not there. All of it is found before workers start.
func TestWrongNames(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := fourFiles(t)
	dir := t.TempDir()
	gone := filepath.Join(dir, "gone.root")
	selector := func(name string) func(*job) { return func(j *job) { j.Selector = roottest.Selector(t, name) } }
	for _, tc := range []struct {
		name   string
		change func(*job)
		says   []string
	}{
		{"file", func(j *job) { j.Files = append(j.Files[:3:3], gone) }, []string{gone}},
		{"file URL", func(j *job) { j.Files = append(j.Files[:3:3], "file://"+gone) }, []string{gone}},
		{"folder", func(j *job) { j.Files = []string{dir} }, []string{dir, "folder"}},
		{"glob", func(j *job) { j.Files = []string{filepath.Join(dir, "*.root")} }, []string{filepath.Join(dir, "*.root")}},
		{"list", func(j *job) { j.Files = []string{"@" + filepath.Join(dir, "list.txt")} }, []string{"list.txt"}},
		{"tree", func(j *job) { j.Tree = "Evnts" }, []string{filepath.Dir(files[0]), `"Evnts"`, "Events"}},
		{"branch of a reader", selector("bad/MissingReader.C"), []string{"Tau_pt_typo", files[0]}},
		{"branch with an address", selector("bad/MissingAddress.C"), []string{"MET_typo", files[0]}},
		{"selector", func(j *job) { j.Selector = filepath.Join(dir, "None.C") }, []string{filepath.Join(dir, "None.C")}},
		{"class", func(j *job) { j.args = []string{"--class", "Tellee"} }, []string{"Tellee"}},
		{"no selector", selector("bad/NotASelector.C"), []string{"NotASelector", "TSelector"}},
		{"first entry", func(j *job) { j.First = 80_001 }, []string{"80001", "80000"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			j := tally(t, files...)
			tc.change(&j)
			o := c.nodes[1].run(t, j)
			o.wantError(t, tc.says...)
			o.wantNoWork(t)
			if _, err := os.Stat(o.out); err == nil {
				t.Errorf("there is an output file: %s", o.describe())
			}
		})
	}
}

// TestMissingBranchAllowed does as ROOT does: it prints the error and goes on.
func TestMissingBranchAllowed(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	both := roottest.Find(t).MakeEvents(t, roottest.EventFile{Path: filepath.Join(t.TempDir(), "one.root"), Entries: 2000})
	j := job{
		Job:  roottest.Job{Selector: example(t, "DiMuonOld.C"), Tree: "Events", Files: both},
		args: []string{"--allow-missing-branches"},
	}
	exact(t, c.nodes[0], j)
}

func TestUsage(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := tally(t, fourFiles(t)...)
	for _, args := range [][]string{
		{"--nonsense"},
		{"-n", "-2"},
		{"-n", "many"},
		{"--first", "-1"},
		{"--param", "x"},
		{"--memory", "lots"},
		{"--stall", "-1s"},
	} {
		bad := j
		bad.args = args
		if r := c.nodes[0].dtpnode(t, t.TempDir(), bad.arguments("out.root")...); r.code != 2 || r.stdout != "" ||
			!strings.HasPrefix(r.stderr, "dtpnode: ") {
			t.Errorf("%q: want exit 2 and a message: %+v", args, r)
		}
	}
}

// TestNoEntries has nothing to do, in several ways: the output holds the selector's empty objects.
func TestNoEntries(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	nothing := tally(t, emptyFile(t))
	for _, tc := range []struct {
		name string
		job  job
	}{
		{"empty file", nothing},
		{"none wanted", func() job { j := tally(t, fourFiles(t)...); j.args = []string{"-n", "0"}; return j }()},
		{"first at the end", func() job { j := tally(t, fourFiles(t)...); j.First = 80_000; return j }()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := c.nodes[2].run(t, tc.job)
			o.wantDone(t)
			o.equals(t, nothing)
		})
	}
	t.Run("empty among others", func(t *testing.T) {
		files := unevenFiles(t)
		exact(t, c.nodes[0], tally(t, emptyFile(t), files[0], files[1]))
	})
}

// TestBrokenFiles puts files that cannot be read at all among good ones. They are named; the rest is
// processed.
func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, path string)
		reason string
	}{
		{"truncated", func(t *testing.T, path string) { roottest.Truncate(t, path, 0.6) }, "truncated"},
		{"cut to its header", func(t *testing.T, path string) { roottest.Truncate(t, path, 0.0001) }, ""},
		{"empty", func(t *testing.T, path string) { roottest.Truncate(t, path, 0) }, "empty"},
		{"text", func(t *testing.T, path string) { replace(t, path, "event,pt,eta\n1,2,3\n") }, "not a ROOT file"},
		{"unreadable", func(t *testing.T, path string) { check(t, os.Chmod(path, 0)) }, "permission denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := copies(t, fourFiles(t)...)
			tc.damage(t, files[1])
			o := c.nodes[0].run(t, tally(t, files...))
			m := o.wantMissing(t, "open", files[1], 0, -1)
			if !strings.Contains(strings.ToLower(m.Reason), strings.ToLower(tc.reason)) {
				t.Errorf("the reason %q does not say %q", m.Reason, tc.reason)
			}
			if o.st.Unknown != 1 || o.st.Files != len(files) {
				t.Errorf("tells of %d files, %d of them of unknown length", o.st.Files, o.st.Unknown)
			}
			if o.st.Committed != 60_000 {
				t.Errorf("want the 60,000 entries of the other files: %s", o.describe())
			}
			o.equals(t, tally(t, files[0], files[2], files[3]))
		})
	}
	t.Run("nowhere", func(t *testing.T) { // which is refused unless the user says otherwise, see TestWrongNames
		files := copies(t, fourFiles(t)...)
		check(t, os.Remove(files[1]))
		j := tally(t, files...)
		j.args = []string{"--skip-missing"}
		o := c.nodes[0].run(t, j)
		if m := o.wantMissing(t, "open", files[1], 0, -1); !strings.Contains(strings.ToLower(m.Reason), "no such file") {
			t.Errorf("the reason is %q", m.Reason)
		}
		o.equals(t, tally(t, files[0], files[2], files[3]))
		j.First, j.N = 15_000, 30_000 // of the files that there are, as ROOT's own chain counts them
		o = c.nodes[0].run(t, j)
		o.wantMissing(t, "open", files[1], 0, -1)
		if notes := strings.Join(o.st.Notes, "\n"); !strings.Contains(notes, "count in the 3 files that can be read") {
			t.Errorf("it is not said what the range counts: %q", notes)
		}
		want := tally(t, files[0], files[2], files[3])
		want.First, want.N = j.First, j.N
		o.equals(t, want)
	})
	t.Run("without the tree", func(t *testing.T) { // as the result of another job
		files := copies(t, fourFiles(t)...)
		made := c.nodes[0].run(t, tally(t, files[0]))
		hists, err := os.ReadFile(made.out)
		check(t, err)
		replace(t, files[1], string(hists))
		o := c.nodes[0].run(t, tally(t, files...))
		if m := o.wantMissing(t, "schema", files[1], 0, -1); !strings.Contains(m.Reason, "no tree") {
			t.Errorf("the reason %q does not say that it has no tree", m.Reason)
		}
		o.equals(t, tally(t, files[0], files[2], files[3]))
		o = c.nodes[0].run(t, tally(t, files[1]))
		o.wantError(t, files[1], "no tree")
		o.wantNoWork(t)
	})
	t.Run("all", func(t *testing.T) {
		files := copies(t, fourFiles(t)[:1]...)
		roottest.Truncate(t, files[0], 0.6)
		o := c.nodes[0].run(t, tally(t, files...))
		o.wantError(t, files[0], "truncated")
		o.wantNoWork(t)
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

// TestCorruptedFile spoils the compressed bytes of one basket: one cluster is missing, and told.
func TestCorruptedFile(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := copies(t, fourFiles(t)...)
	first, last := roottest.Find(t).Corrupt(t, files[2], "Events", "event", 7_500)
	o := c.nodes[2].run(t, tally(t, files...))
	o.wantMissing(t, "data", files[2], first, last)
	if o.st.Units-o.st.Committed != last-first {
		t.Errorf("want all but %d entries: %s", last-first, o.describe())
	}
	o.equals(t, without(t, filepath.Base(files[2]), first, last, fourFiles(t)...))
	t.Run("text", func(t *testing.T) { // what the user reads
		r := c.nodes[2].dtpnode(t, t.TempDir(), tally(t, files...).arguments("out.root")...)
		for _, s := range []string{"partial: ", files[2], "entries [7000, 8000)", "data: ", "tries: "} {
			if r.code != 3 || !strings.Contains(r.stdout, s) {
				t.Errorf("want exit 3 and %q: %+v", s, r)
			}
		}
	})
}

// TestTreeMissingInOneFile has one file with a tree of another name: it is set aside, and the error names what it
// holds.
func TestTreeMissingInOneFile(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	other := roottest.Find(t).MakeEvents(t, roottest.EventFile{
		Path:    filepath.Join(t.TempDir(), "other.root"),
		Tree:    "Other",
		Entries: 500,
	})
	o := c.nodes[0].run(t, tally(t, fourFiles(t)[0], other[0]))
	m := o.wantMissing(t, "schema", other[0], 0, -1)
	for _, s := range []string{`no tree "Events"`, "there is: Other"} {
		if !strings.Contains(m.Reason, s) {
			t.Errorf("the reason %q does not say %q", m.Reason, s)
		}
	}
	o.equals(t, tally(t, fourFiles(t)[0]))
}

// TestChangedFile replaces a file by a shorter one between two jobs; what was planned is not believed.
func TestChangedFile(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	r := roottest.Find(t)
	path := filepath.Join(t.TempDir(), "changing.root")
	for _, n := range []int{3000, 1000, 2000} {
		r.MakeEvents(t, roottest.EventFile{Path: path, Entries: n})
		o := exact(t, c.nodes[n/1000-1], tally(t, path))
		if o.st.Units != int64(n) {
			t.Errorf("want %d entries: %s", n, o.describe())
		}
	}
}

// TestOutputPaths refuses results that could not be written before any work is done.
func TestOutputPaths(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := tally(t, manyFiles(t)[0])
	for _, out := range []string{"none/out.root", ".", os.DevNull} {
		r := c.nodes[0].dtpnode(t, t.TempDir(), j.arguments(out)...)
		if r.code != 1 || !strings.Contains(r.stderr, `"`+out+`"`) {
			t.Errorf("-o %s: want exit 1 and its name: %+v", out, r)
		}
	}
}

// TestResultKept leaves the output with the daemon until it is fetched, from another node.
func TestResultKept(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := tally(t, manyFiles(t)...)
	args := j.arguments("")
	for i, a := range args {
		if a == "-o" {
			args = append(args[:i:i], args[i+2:]...)
			break
		}
	}
	dir := t.TempDir()
	r := c.nodes[0].dtpnode(t, dir, append(args, "--detach")...)
	id := strings.TrimSpace(r.stdout)
	if r.code != 0 || id == "" {
		t.Fatalf("not submitted: %+v", r)
	}
	err := poll(settleLimit, func() (bool, error) {
		st, err := c.nodes[1].client.Job(t.Context(), id)
		return err == nil && st.State == api.Done, nil
	})
	check(t, err)
	if r := c.nodes[1].dtpnode(t, dir, "get", id, "-o", "got.root"); r.code != 0 {
		t.Fatalf("not fetched: %+v", r)
	}
	outcome{out: filepath.Join(dir, "got.root")}.equals(t, j)
}
