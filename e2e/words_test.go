package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestDownThenUp starts a daemon again as soon as `down` has returned, with a job under way that it has to put away.
func TestDownThenUp(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 1)...)
	n := c.nodes[0]
	check(t, n.stop())
	dir := t.TempDir()
	up := []string{"up", "--detach", "--name", n.name, "--slots", "2", "--root", suite.root}
	t.Cleanup(func() { _, _ = n.command(context.WithoutCancel(t.Context()), dir, "down") })
	for i := range 3 {
		if r := n.dtpnode(t, dir, up...); r.code != 0 {
			t.Fatalf("up does not work after down, the %d. time: %+v", i+1, r)
		}
		n.submit(t, paceOf(2, time.Minute).request(t))
		if r := n.dtpnode(t, dir, "down"); r.code != 0 {
			t.Fatalf("down: %+v", r)
		}
	}
}

// TestCancelledTellsWhatWasDone cancels a job of which nothing is committed yet.
func TestCancelledTellsWhatWasDone(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 2)...)
	home := c.nodes[0]
	st := home.submit(t, paceOf(2, time.Minute).request(t))
	before := home.when(t, st.ID, "some of it is done", func(st api.JobStatus) bool { return st.Done > 1000 })
	if r := c.nodes[1].dtpnode(t, t.TempDir(), "cancel", st.ID[:12]); r.code != 0 {
		t.Fatalf("cancel: %+v", r)
	}
	for _, n := range c.nodes {
		end := n.when(t, st.ID, "it is cancelled", func(st api.JobStatus) bool { return st.State.Final() })
		if end.State != api.Cancelled || end.Done < before.Done {
			t.Errorf("%s tells of %d entries done (state %s), where %d were before", n.name, end.Done, end.State, before.Done)
		}
	}
}
