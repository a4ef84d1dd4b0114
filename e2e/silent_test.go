package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestLogsNameTheSilent kills a member that has worked for a job: logs prints what the others tell, and says whose
// lines may be missing.
func TestLogsNameTheSilent(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 3)...)
	j := paceOf(3, 2*time.Second)
	j.Print = "printed by a child"
	id := c.nodes[0].submit(t, j.request(t)).ID
	c.nodes[0].until(t, id, "it is done", func(st api.JobStatus) bool { return st.State == api.Done })
	last := c.nodes[2]
	if r := c.nodes[0].dtpnode(t, t.TempDir(), "logs", id); r.code != 0 || strings.Count(r.stdout, j.Print) == 0 ||
		!strings.Contains(r.stdout, "== "+last.name) {
		t.Fatalf("all are there: %+v", r)
	}
	kill(t, last.cmd.Process.Pid)
	<-last.ended
	c.wantUp(t, c.nodes[0], 2)
	r := c.nodes[0].dtpnode(t, t.TempDir(), "logs", id)
	if r.code != 3 || !strings.Contains(r.stdout, j.Print) || strings.Contains(r.stdout, "== "+last.name) ||
		!strings.Contains(r.stderr, "lines of these nodes may be missing: "+last.name+", which is not up: lost") {
		t.Errorf("want exit 3 and the name of %s: %+v", last.name, r)
	}
}
