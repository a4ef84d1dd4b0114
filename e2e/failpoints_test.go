package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/internal/failpoint"
)

// crash is a step at which a daemon dies: the home's (0) or one of the other two, when it comes to the step
// for the n-th time.
type crash struct {
	step failpoint.Step
	node int
	n    int
}

// crashes are the steps and where they are taken. A home's first entries in its journal are the job itself,
// of which nobody has been promised anything yet.
var crashes = []crash{
	{failpoint.JournalBeforeWrite, 1, 1}, {failpoint.JournalBeforeWrite, 1, 4}, {failpoint.JournalBeforeWrite, 0, 6},
	{failpoint.JournalAfterSync, 1, 1}, {failpoint.JournalAfterSync, 1, 4}, {failpoint.JournalAfterSync, 0, 6},
	{failpoint.BlobBeforeSync, 1, 1}, {failpoint.BlobBeforeSync, 0, 1},
	{failpoint.BlobAfterSync, 1, 1},
	{failpoint.OfferBefore, 1, 1},
	{failpoint.OfferAfter, 1, 1},
	{failpoint.ProposeBefore, 0, 1},
	{failpoint.CommitBeforeAnswer, 0, 1},
	{failpoint.GrantBefore, 1, 1},
	{failpoint.GrantAfter, 1, 1},
	{failpoint.GrantBeforeAck, 1, 1},
	{failpoint.MergeBefore, 1, 1},
	{failpoint.MergeAfter, 1, 1},
	{failpoint.FoldBefore, 0, 2},
	{failpoint.FoldMade, 0, 1},
	{failpoint.FoldBeforeWrite, 0, 1}, {failpoint.FoldBeforeWrite, 1, 2},
	{failpoint.FoldAfterWrite, 0, 1}, {failpoint.FoldAfterWrite, 1, 2},
	{failpoint.FreeBefore, 0, 1}, {failpoint.FreeBefore, 1, 5},
	{failpoint.SnapshotBefore, 0, 2}, {failpoint.SnapshotBefore, 1, 1},
	{failpoint.SnapshotAfter, 0, 1}, {failpoint.SnapshotAfter, 1, 2},
	{failpoint.EndBefore, 0, 1},
	{failpoint.ResultBefore, 0, 1},
	{failpoint.ResultAfter, 0, 1},
	{failpoint.EndAfter, 0, 1}, {failpoint.EndAfter, 1, 1},
}

// TestFailpoints lets a daemon die at each step of the protocol. It comes back, and the result is exact.
func TestFailpoints(t *testing.T) {
	t.Parallel()
	for _, step := range failpoint.Steps() {
		if !slices.ContainsFunc(crashes, func(c crash) bool { return c.step == step }) {
			t.Errorf("no crash is tried at %s", step)
		}
	}
	for _, cr := range crashes {
		t.Run(fmt.Sprintf("%s at node %d, time %d", cr.step, cr.node, cr.n), func(t *testing.T) {
			t.Parallel()
			cr.try(t)
		})
	}
}

func (cr crash) try(t *testing.T) {
	specs := fakeSpecs(t, 3, "failpoints")
	for i := range specs {
		specs[i].slots = 6 // several end together, and their partials are merged
	}
	slow := 0 // from which the others steal
	if cr.step == failpoint.GrantBefore || cr.step == failpoint.GrantAfter {
		slow = cr.node
	}
	specs[slow].env = []string{fakeexec.EnvSlow + "=3"}
	usual := specs[cr.node]
	specs[cr.node].env = append(slices.Clone(usual.env), fmt.Sprintf("DTPNODE_FAILPOINT=%s:%d", cr.step, cr.n))
	if cr.ofLongJobs() { // many commits, and few entries to a snapshot
		for i := range specs {
			specs[i].args = []string{"--commit-every", "40ms"}
			specs[i].env = append(specs[i].env, "DTPNODE_SNAPSHOT=24")
		}
		usual = specs[cr.node]
		usual.env = slices.DeleteFunc(slices.Clone(usual.env), func(v string) bool {
			return strings.HasPrefix(v, "DTPNODE_FAILPOINT=")
		})
	}
	c := ownCluster(t, specs...)
	j := paceOf(18, 2*time.Second)
	const most = 10 // jobs: not each of them comes to every step on every node
	for range most {
		id := c.nodes[0].submit(t, j.request(t)).ID
		died := cr.wait(t, c, id)
		if died {
			c.nodes[cr.node].relaunch(t, usual)
		}
		n, st := c.waitFinal(t, id, commandLimit)
		j.wantCounted(t, n, st)
		if died {
			c.wantSettled(t, id)
			return
		}
	}
	t.Fatalf("node %d did not come to the step in %d jobs", cr.node, most)
}

// ofLongJobs reports whether it is a step of jobs that have made many commits.
func (cr crash) ofLongJobs() bool {
	return slices.ContainsFunc([]string{"fold", "free", "snapshot"}, func(of string) bool {
		return strings.HasPrefix(string(cr.step), of)
	})
}

// wait waits until the daemon has died, which must be of SIGKILL, or the job has ended on all nodes.
func (cr crash) wait(t *testing.T, c *cluster, id string) (died bool) {
	t.Helper()
	n := c.nodes[cr.node]
	err := poll(commandLimit, func() (bool, error) {
		select {
		case <-n.ended:
			died = true
			return true, nil
		default:
		}
		for _, o := range c.nodes {
			if st, err := o.job(t.Context(), id); err != nil || !st.State.Final() {
				return false, nil // the last steps may be still to come
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatalf("neither has %s died nor the job ended: %v", n.name, err)
	}
	if !died {
		return false
	}
	ws, ok := n.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Fatalf("%s ended by itself: %v\n%s", n.name, n.cmd.ProcessState, n.logTail(0))
	}
	return true
}
