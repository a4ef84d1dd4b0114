package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/bench"
)

// TestBench runs one case of the suite as a user would, the one that needs two daemons and the large data set, so that
// what jobs are refused for is noticed here before it is noticed by who wants to measure. It looks at no figure.
func TestBench(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	check(t, os.Mkdir(filepath.Join(dir, "bench"), 0o700))
	check(t, os.Symlink(suite.cache, filepath.Join(dir, "bench", "cache"))) // where the child is built already
	cmd := exec.CommandContext(t.Context(), suite.binary, "bench", "--case", "packets", "--pairs", "1", "--root",
		suite.root,
		"--dir", filepath.Join(dir, "bench"), "--data", filepath.Join(suite.cache, "demo", "data"), "--json", path)
	cmd.Env = append(os.Environ(), "DTPNODE_CACHE="+suite.cache)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bench failed: %v\n%s", err, out)
	}
	text, err := os.ReadFile(path)
	check(t, err)
	var report bench.Report
	check(t, json.Unmarshal(text, &report))
	if len(report.Results) == 0 {
		t.Error("nothing was measured")
	}
}
