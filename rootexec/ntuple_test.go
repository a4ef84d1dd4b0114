package rootexec_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestNoTreeButAnRNTuple: a file of today may have an RNTuple under the name that is asked for, which is no TObject.
func TestNoTreeButAnRNTuple(t *testing.T) {
	dir := t.TempDir()
	roottest.Find(t).Macro(t, dir, []string{roottest.Selector(t, "MakeNTuple.C")}, `MakeNTuple.C("n.root")`)
	file := filepath.Join(dir, "n.root")
	for tree, want := range map[string]string{
		"T": "of the class ROOT::RNTuple, and a selector reads a TTree",
		"":  "no tree in the file",
	} {
		_, err := rootexec.SharedExecutor(t).Plan(t.Context(), file, tree, 0)
		var f *exec.Failure
		if !errors.As(err, &f) || f.Kind != exec.KindSchema || !strings.Contains(f.Msg, want) {
			t.Errorf("tree %q: %v; want %q", tree, err, want)
		}
	}
}
