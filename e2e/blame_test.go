package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestBadNode has a node that fails at everything, since its scratch disk is full: as a worker, and as the home of
// the job, where it is the first to fail. It is set aside by itself, and that is said; the others do the job.
func TestBadNode(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "256k")
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b"}, nodeSpec{
		name:   "bad",
		wrap:   wrap,
		inside: inside,
		args:   []string{"--scratch", small},
	})
	bad := c.nodes[2]
	bad.fill(t, small)
	j := paced(t, 0)
	j.Params, j.Option = nil, "300" // an empty fInput, which takes no room on the disk before code runs
	r := c.nodes[0].begin(t, j)
	st := r.until(t, "the bad node was set aside", func(st api.JobStatus) bool {
		return outcome{st: st}.work(t, "bad").Problem != ""
	})
	if p := (outcome{st: st}).work(t, "bad").Problem; !strings.Contains(p, "No space left") {
		t.Errorf("the reason is not told: %q", p)
	}
	o := r.end(t)
	o.wantWhole(t)
	c.nodes[0].wantLogged(t, 0, "set a node aside", "node=bad", "No space left")
	bad.wantLogged(t, 0, "taken from this node")
	for _, name := range []string{"a", "b"} {
		if w := o.work(t, name); w.Problem != "" || w.Units == 0 {
			t.Errorf("%s is said to be bad: %s", name, o.describe())
		}
	}
	if s := c.nodes[1].dtpnode(t, t.TempDir(), "status", st.ID[:12]); !strings.Contains(s.stdout, "bad was set aside") {
		t.Errorf("status does not say it: %+v", s)
	}
}
