package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// replicas waits until a job's ledger is kept by so many nodes, none of them gone.
func (n *node) replicas(t *testing.T, id string, count int, gone ...*node) api.JobStatus {
	t.Helper()
	begin := time.Now()
	st := n.when(t, id, "the replicas have been replaced", func(st api.JobStatus) bool {
		return st.Safe && len(st.Replicas) == count && !slices.ContainsFunc(gone, func(n *node) bool {
			return slices.Contains(st.Replicas, n.name)
		})
	})
	t.Logf("%q keep the ledger after %.1f s", st.Replicas, time.Since(begin).Seconds())
	return st
}

// admit joins a node to a cluster.
func (c *cluster) admit(t *testing.T, spec nodeSpec) *node {
	t.Helper()
	late, err := startNode(t.TempDir(), spec)
	check(t, err)
	c.nodes = append(c.nodes, late)
	inv := c.nodes[0].dtpnode(t, t.TempDir(), "invite", "--rights", "worker,submitter,admin")
	if r := late.dtpnode(t, t.TempDir(), "join", firstLine(inv.stdout)); r.code != 0 {
		t.Fatalf("could not join: %+v", r)
	}
	return late
}

// TestReplicaReplaced kills a replica of a job on four nodes for good: the fourth takes its place.
func TestReplicaReplaced(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, often("a", "b", "c", "d")...)
	d := c.nodes[0].detach(t, paced(t, 700))
	st := c.nodes[0].replicas(t, d.id, 3)
	i := slices.IndexFunc(st.Replicas, func(name string) bool { return name != st.HomeName })
	victim := c.byName(t, st.Replicas[i])
	victim.crash(t)
	asked := c.but(c.nodes[0], victim)[0]
	asked.replicas(t, d.id, 3, victim)
	c.nodes[0].crash(t)
	_, _ = c.wantHome(t, asked, d.id, c.nodes[0])
	asked.wantEnd(t, d.id)
}

// TestTooFewReplicas kills two of three nodes, one after the other: the home goes on alone. A node that joins is
// its replica, and another, and then the home may die.
func TestTooFewReplicas(t *testing.T) {
	t.Parallel()
	t.Run("alone", func(t *testing.T) {
		roottest.Long(t)
		t.Parallel()
		c := ownCluster(t, often("a", "b", "c")...)
		d := c.nodes[0].detach(t, paced(t, 400))
		c.nodes[2].crash(t)
		c.nodes[0].replicas(t, d.id, 1, c.nodes[2])
		c.nodes[1].crash(t)
		c.nodes[0].wantEnd(t, d.id)
	})
	t.Run("joined", func(t *testing.T) {
		t.Parallel()
		c := ownCluster(t, often("a", "b", "c")...)
		d := c.nodes[1].detach(t, paced(t, 800))
		c.nodes[2].crash(t)
		c.nodes[1].replicas(t, d.id, 1, c.nodes[2])
		c.admit(t, often("late")[0])
		c.nodes[1].replicas(t, d.id, 3, c.nodes[2])
		st := c.nodes[1].when(t, d.id, "others keep all that is committed", func(st api.JobStatus) bool { return st.Safe })
		c.nodes[1].crash(t)
		_, _ = c.wantHome(t, c.nodes[0], d.id, c.nodes[1])
		end := c.nodes[0].wantEnd(t, d.id)
		wantKept(t, st, end.st, c.but(c.nodes[1], c.nodes[2]))
	})
}

// TestSteeredAfterTakeOver stops and cancels jobs whose home has changed, from a node that is neither.
func TestSteeredAfterTakeOver(t *testing.T) {
	t.Parallel()
	specs := often("a", "b", "c")
	c := ownCluster(t, specs...)
	for _, tc := range []struct {
		args []string
		want api.JobState
	}{{[]string{"--keep"}, api.Partial}, {nil, api.Cancelled}} {
		first := c.nodes[0]
		d := first.detach(t, paced(t, 1000))
		first.committed(t, d.id, 0.05)
		first.crash(t)
		home, _ := c.wantHome(t, c.nodes[1], d.id, first)
		third := c.but(first, home)[0]
		if r := third.dtpnode(t, t.TempDir(), append([]string{"cancel", d.id[:12]}, tc.args...)...); r.code != 0 {
			t.Errorf("could not cancel: %+v", r)
		}
		for _, n := range []*node{home, third} {
			st := n.when(t, d.id, "the job has ended", func(st api.JobStatus) bool { return st.State.Final() })
			if st.State != tc.want || st.Committed == 0 {
				t.Errorf("%s tells that the job is %s with %d committed: %s", n.name, st.State, st.Committed, st.Error)
			}
			n.wantIdle(t)
		}
		first.restart(t, specs[0])
		c.wantUp(t, home, 3)
		st := first.when(t, d.id, "the job has ended", func(st api.JobStatus) bool { return st.State.Final() })
		if st.State != tc.want {
			t.Errorf("the old home tells that the job is %s", st.State)
		}
		first.wantIdle(t)
	}
}
