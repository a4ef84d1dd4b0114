package rootexec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// TestNamesAreTakenAsTheyAre: ROOT reads names as URLs, options, members of archives, lists, patterns of the shell and
// variables; a job's files are what the system calls so. Beside each there is the file that ROOT would read instead.
func TestNamesAreTakenAsTheyAre(t *testing.T) {
	e, dir := executor(t), t.TempDir()
	right, wrong := makeData(t, "right.root", 30, 0), makeData(t, "wrong.root", 7, 0)
	t.Setenv("DTPNODE_X", "a")
	link := func(from, name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Link(from, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, decoy := range []string{"a", "a.root", "aa.root", "ab.root", "b.root", "x y.root", "xy.root"} {
		link(wrong, decoy)
	}
	input, _ := mustBegin(t, "Bad", map[string]string{"bad": "name", "at": "5"})
	for _, name := range []string{
		"a#b.root", "a#0", "a.root#a.root", "a?.root", "a.root?filetype=raw", "a*.root", "a[ab].root", "{a,b}.root",
		"a|b.root",
		"a.root|b.root", "~", "$DTPNODE_X.root", "${DTPNODE_X}.root", "$(echo a).root", "`echo a`.root", "x\ty.root",
		"x  y.root", " a.root", "a.root ",
		"a%62.root", "a%23b.root", "a&b=c.root", `a\b.root`, `"a.root"`, "'a.root'", "a;b.root", "a.root;1", "(a).root",
		"<a>.root",
		"a\n.root", "\na.root", "größe.root", "a:b.root", "root:a.root", "file:a.root", "http:a.root", "a@b.root",
		"a::b.root", "-a.root", "a^b!.root", "a,b+c=.root",
		"d#1/a.root", "d?x/a.root", "castor/a.root", "pnfs/a.root", strings.Repeat("x", 240) + "#.root",
	} {
		path := link(right, name)
		p, err := e.Plan(t.Context(), path, "T", 0)
		if err != nil || p.Entries != 30 {
			t.Errorf("%q: %d entries, %v", name, p.Entries, err)
			continue
		}
		if units, printed := readAs(t, exec.GenSpec{
			Job:   1,
			Input: input,
		}, path); units != 30 || !strings.Contains(printed, "reads "+path) {
			t.Errorf("%q: %d units, printed %q", name, units, printed)
		}
	}
}

// readAs has a generation read 30 entries of a file, and returns what it counted and printed.
func readAs(t *testing.T, spec exec.GenSpec, path string) (units int64, printed string) {
	t.Helper()
	r := newRecorder()
	spec.Dir = t.TempDir()
	g, err := load(t, "Bad").Start(t.Context(), spec, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Lease(exec.Packet{ID: 1, File: path, Part: "T", Last: 30, Entries: 30}); err != nil {
		t.Fatal(err)
	}
	r.wait(t)
	sealed, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "partial"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed.Units, r.until(t, "reads ")
}

// TestResultsAreWrittenAsNamed: a result's name means no more than that of an input.
func TestResultsAreWrittenAsNamed(t *testing.T) {
	dir := t.TempDir()
	partial := runPackets(t, load(t, "Hists"), exec.GenSpec{Job: 1},
		cut(makeData(t, "a.root", 30, 0), 30, 20, 0, new(uint64)))
	for _, name := range []string{"out#1.root", "a?x=1.root", "a|b.root", "$HOME.root", "a .root ", "*", "~",
		"größe\n.root", "d#1/e?f/$x.root"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, "Hists").StartClient(t.Context(), ClientSpec{Dir: t.TempDir()}, func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = c.Finish(t.Context(), []string{partial.Path}, path)
		c.Close()
		left, _ := os.ReadDir(filepath.Dir(path))
		if info, gone := os.Lstat(path); err != nil || gone != nil || info.Size() == 0 || len(left) != 1 {
			t.Errorf("%q: %v, %v, %v", name, err, gone, left)
		}
		if err := os.RemoveAll(filepath.Join(dir, strings.Split(name, "/")[0])); err != nil {
			t.Fatal(err)
		}
	}
}
