package roottest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Macro runs ROOT's macros, such as `Make.C+("a.root", 1)`, one after the other in one process that works in dir, and
// returns what they print. Sources are copied into dir first, since ACLiC writes beside them.
func (r *ROOT) Macro(t testing.TB, dir string, sources []string, calls ...string) string {
	t.Helper()
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(source)), text, 0o600)
		}
		if err != nil {
			t.Fatalf("could not copy a macro: %v", err)
		}
	}
	cmd := exec.Command(filepath.Join(r.Dir, "bin", "root.exe"), append([]string{"-b", "-l", "-q"}, calls...)...)
	cmd.Dir = dir
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("could not run %q: %v\n%s", calls, err, text)
	}
	return string(text)
}

// MakeStyles writes two files into dir with the tree "deep/styles" of StyleEvent.h, and returns them.
func (r *ROOT) MakeStyles(t testing.TB, dir string) []string {
	t.Helper()
	r.Macro(t, dir, []string{Selector(t, "MakeStyles.C"), Selector(t, "StyleEvent.h")},
		`MakeStyles.C+("styles_1.root", 1, 1500, 400)`, `MakeStyles.C+("styles_2.root", 2, 1000, 700)`)
	return []string{filepath.Join(dir, "styles_1.root"), filepath.Join(dir, "styles_2.root")}
}
