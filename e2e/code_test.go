package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestCode runs selectors that are not one source: a class of a library that ROOT itself has compiled, by its name and
// by the library's, and a macro that only the interpreter takes, with a package. What cannot run says what to do.
func TestCode(t *testing.T) {
	t.Parallel()
	n, files, dir := threeNodes.get(t).nodes[0], fourFiles(t), t.TempDir()
	r := roottest.Find(t)
	j := tally(t, files...)
	want := filepath.Join(dir, "want.root")
	r.Reference(t, j.Job, want)
	library := r.Library(t, j.Selector)
	out := filepath.Join(dir, "out.root")
	run := func(args ...string) result {
		args = append(append([]string{"run"}, args...), "--tree", "Events", "-o", out)
		for _, f := range files {
			args = append(args, "--files", f)
		}
		return n.dtpnode(t, dir, args...)
	}
	for _, args := range [][]string{{library}, {"Tally", "--lib", library}} {
		if got := run(args...); got.code != 0 {
			t.Fatalf("%q: %+v", args, got)
		}
		r.Compare(t, out, want)
	}
	t.Run("macro and package", func(t *testing.T) {
		par := filepath.Join(dir, "loose.par")
		packPackage(t, par)
		loose, err := filepath.Abs("testdata/Loose.C")
		check(t, err)
		got := n.dtpnode(t, dir, "package", "add", par)
		if got.code != 0 || !strings.Contains(got.stdout, "--package loose") {
			t.Errorf("add: %+v", got)
		}
		got = run(loose, "--package", "loose:what was built")
		if got.code != 0 || !strings.Contains(got.stdout, "what was built and set up 80000") ||
			!strings.Contains(got.stderr, "Loose.C is interpreted") {
			t.Errorf("%+v", got)
		}
		if got = run(loose + "+"); got.code != 1 || !strings.Contains(got.stderr, "Loose.C:2") {
			t.Errorf("asked for compilation: %+v", got)
		}
		if got = n.dtpnode(t, dir, "package", "rm", "loose"); got.code != 0 {
			t.Errorf("rm: %+v", got)
		}
		if got = run(loose, "--package", "loose"); got.code != 1 || !strings.Contains(got.stderr, "package add") {
			t.Errorf("removed: %+v", got)
		}
	})
	t.Run("errors", func(t *testing.T) {
		lacking := []byte("int nowhere(void); int f(void) { return nowhere(); }")
		check(t, os.WriteFile(filepath.Join(dir, "lacks.c"), lacking, 0o600))
		cc := exec.Command("cc", "-shared", "-fPIC", "-o", "liblacks.so", "lacks.c")
		cc.Dir = dir
		if text, err := cc.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, c := range []struct {
			args []string
			code int
			want string
		}{
			{[]string{"Tally", "--lib", library, "--lib", "liblacks.so"}, 1, "liblacks.so lacks the symbol nowhere"},
			{[]string{"Tall", "--lib", library}, 1, "the selectors there are: Tally"},
			{[]string{j.Selector, "--source", library}, 2, "give it with --lib"},
			{[]string{j.Selector, "--lib", j.Selector}, 1, "give it with --source"},
			{[]string{"liblacks.so", "--allow-missing-symbols"}, 1, "no selector in the libraries"},
		} {
			if got := run(c.args...); got.code != c.code || !strings.Contains(got.stderr, c.want) {
				t.Errorf("%q: %+v, want %d, %q", c.args, got, c.code, c.want)
			}
		}
	})
}

// packPackage makes a PAR package whose SETUP() joins its argument to what BUILD.sh has written.
func packPackage(t *testing.T, par string) {
	t.Helper()
	folder := t.TempDir()
	inf := filepath.Join(folder, "loose", "PROOF-INF")
	check(t, os.MkdirAll(inf, 0o700))
	build := []byte("echo '#define BUILT \" and set up\"' > built.h\n")
	check(t, os.WriteFile(filepath.Join(inf, "BUILD.sh"), build, 0o700))
	check(t, os.WriteFile(filepath.Join(inf, "SETUP.C"), []byte("#include \"built.h\"\nint SETUP(const char *text) {\n"+
		"  gSystem->Setenv(\"LOOSE_SAYS\", TString(text) + BUILT);\n  return 0;\n}\n"), 0o600))
	tar := exec.Command("tar", "czf", par, "-C", folder, "loose")
	if text, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}
