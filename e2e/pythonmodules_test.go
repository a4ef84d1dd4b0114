package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestPythonModuleMissing: a node whose Python lacks a module that the code imports takes no part, and the job's user
// is told which one and what to do; the others do the job.
func TestPythonModuleMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "only_on_some.py"), []byte("TWO = 2\n"), 0o600))
	specs := pythonSpecs("has", "lacks")
	specs[0].env = append(specs[0].env, "PYTHONPATH="+dir)
	c := ownCluster(t, specs...)
	req := pythonJob(t, `
import time
import only_on_some

def process(x):
    time.sleep(0.01)
    return only_on_some.TWO
`)
	req.StaysOpen = true
	at := c.nodes[0]
	id := at.submit(t, req).ID
	more := api.AppendRequest{Seq: 1, Items: 200, Close: true}
	(&growing{t: t, id: id}).appendRequest(c, at, more)
	_, st := c.waitFinal(t, id, commandLimit)
	if st.State != api.Done || !slices.Equal(workers(st), []string{"has"}) {
		t.Errorf("ended as %s by %v: %s", st.State, workers(st), st.Error)
	}
	notes := strings.Join(st.Notes, "\n")
	for _, says := range []string{"node lacks: it takes no part", "No module named 'only_on_some'", "install it there"} {
		if !strings.Contains(notes, says) {
			t.Errorf("the notes are %q, want %q", notes, says)
		}
	}
}
