package roottest

import (
	"os/exec"
	"strconv"
	"testing"
)

// Drawing is an expression for TTree::Draw, with its selection.
type Drawing struct{ Expression, Selection string }

// Draw has ROOT's own TTree::Draw draw expressions of a chain, with an option beside goff, and writes what comes of
// them to out.
func (r *ROOT) Draw(t testing.TB, tree string, files []string, option string, drawings []Drawing, out string) {
	t.Helper()
	args := []string{tree, out, option, strconv.Itoa(len(drawings))}
	for _, d := range drawings {
		args = append(args, d.Expression, d.Selection)
	}
	cmd := exec.Command(r.program(t, "drawref"), append(args, files...)...)
	cmd.Dir = t.TempDir()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("TTree::Draw: %v\n%s", err, text)
	}
}
