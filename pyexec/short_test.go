package pyexec

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// valuesIn are the values of a partial with so many units.
func valuesIn(t *testing.T, path string, n int64) []string {
	t.Helper()
	var out []string
	err := (&Finder{}).Values(t.Context(), path, tasks.CoverOf(tasks.R(0, n)), func(_ int64, value []byte) error {
		out = append(out, string(value))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestDescriptorsLeft: items that leave all descriptors open, or lower their number, have values all the same; and where
// the process can open nothing at all, the disk is not to blame.
func TestDescriptorsLeft(t *testing.T) {
	leaking := func(limit string) (exec.Partial, error) {
		dir := t.TempDir()
		g, done := ranOver(t, `
import os, resource
MODE = "values"
kept = []

def process(item):
    resource.setrlimit(resource.RLIMIT_NOFILE, `+limit+`)
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))
`, dir, "a", "b")
		if done.Last != 2 {
			t.Fatalf("it has stopped: %+v", done)
		}
		return g.Seal(t.Context(), filepath.Join(dir, "partial"))
	}
	for _, limit := range []string{"(100, 100)", "(5, 100)"} {
		made, err := leaking(limit)
		if err != nil {
			t.Fatalf("with the limit %s: %v", limit, err)
		}
		for _, value := range valuesIn(t, made.Path, 2) {
			if value[0] != 1 || !strings.Contains(value, "Too many open files") {
				t.Errorf("with the limit %s a value is %q", limit, value)
			}
		}
	}
	_, err := leaking("(3, 3)")
	var f *exec.Failure
	if !errors.As(err, &f) || f.Kind != exec.KindLimit || !strings.Contains(f.Msg, "no more files (limit 3)") {
		t.Errorf("without any descriptor: %v", err)
	}
}
