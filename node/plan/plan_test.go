package plan

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
)

func TestPlansAreKeptForUnchangedFilesOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := durable.Write(path, []byte("one")); err != nil {
		t.Fatal(err)
	}
	c := newPlanCache()
	k, local, err := KeyOf(path, "T")
	if err != nil || !local {
		t.Fatal(local, err)
	}
	c.put(planKey{file: k}, exec.Plan{Entries: 7})
	if err := durable.Write(path, []byte("other")); err != nil {
		t.Fatal(err)
	}
	k2, _, err := KeyOf(path, "T")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.get(planKey{file: k2}); ok {
		t.Error("a changed file has the old plan")
	}
	if p, ok := c.get(planKey{file: k}); !ok || p.Entries != 7 {
		t.Error("the plan is gone")
	}
	if _, ok := c.get(planKey{kind: "ROOT", version: "6.38.00", file: k}); ok {
		t.Error("one runtime has the plan of another")
	}
	if _, _, err := KeyOf(path+"x", "T"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
