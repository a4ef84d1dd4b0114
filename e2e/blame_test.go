package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestBadNode has a node whose scratch disk is full, so that it cannot even write down what Begin has made. It is set
// aside by itself, and that is said with the cause; the others do the job, and it takes part once it has room.
func TestBadNode(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "2m")
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b"}, nodeSpec{
		name:   "bad",
		wrap:   wrap,
		inside: inside,
		args:   []string{"--scratch", small},
	})
	bad := c.nodes[2]
	bad.fill(t, small)
	r := c.nodes[0].begin(t, paced(t, 800))
	st := r.until(t, "the bad node was set aside", func(st api.JobStatus) bool {
		return outcome{st: st}.work(t, "bad").Problem != ""
	})
	p := (outcome{st: st}).work(t, "bad").Problem
	if !strings.Contains(p, "o space left") || !strings.Contains(p, small) {
		t.Errorf("the reason is not told: %q", p)
	}
	c.nodes[0].wantLogged(t, 0, "set a node aside", "node=bad", "o space left")
	bad.wantLogged(t, 0, "taken from this node")
	for _, n := range c.nodes[:2] {
		s := n.dtpnode(t, t.TempDir(), "status", st.ID[:12])
		if !strings.Contains(s.stdout, "bad was set aside") || !strings.Contains(s.stdout, "o space left") {
			t.Errorf("status on %s does not say it: %+v", n.name, s)
		}
	}
	ps := c.nodes[1].dtpnode(t, t.TempDir(), "ps")
	if !strings.Contains(ps.stdout, "bad was set aside: ") || !strings.Contains(ps.stdout, "o space left") {
		t.Errorf("ps does not say it: %+v", ps)
	}
	bad.room(t, small)
	r.until(t, "the bad node works, since it has room", func(st api.JobStatus) bool {
		w := outcome{st: st}.work(t, "bad")
		return w.Problem == "" && w.Units > 0
	})
	o := r.end(t)
	o.wantWhole(t)
	for _, name := range []string{"a", "b"} {
		if w := o.work(t, name); w.Problem != "" || w.Units == 0 {
			t.Errorf("%s is said to be bad: %s", name, o.describe())
		}
	}
}
