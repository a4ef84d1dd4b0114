package e2e

import (
	"syscall"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestSeedLocal seeds a whole job on the node that submits. The others come by their work through steals
// alone.
func TestSeedLocal(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	for i, n := range c.nodes { // any node submits
		j := paced(t, 300)
		j.args = append(j.args, "--seed-local")
		o := n.run(t, j)
		o.wantWhole(t)
		if processed(o.st) != o.st.Units {
			t.Errorf("%d units ran for %d: %s", processed(o.st), o.st.Units, o.describe())
		}
		for k, other := range c.nodes {
			w := o.work(t, other.name)
			if w.Units < o.st.Units/10 || w.Packets == 0 || w.Rate <= 0 || (k != i && w.Steals == 0) {
				t.Errorf("%s has not stolen its share: %s", other.name, o.describe())
			}
		}
		if st, err := c.nodes[(i+1)%3].status(); err != nil || st.Steal.Count == 0 || st.Packet.Count == 0 {
			t.Errorf("the daemon's histograms are empty: %+v %v", st, err)
		}
	}
}

// TestSlowNode has one node that takes five times as long for everything. Its work ends up elsewhere,
// also where it submits.
func TestSlowNode(t *testing.T) {
	t.Parallel()
	slow := nodeSpec{name: "c", wrap: []string{"env", "DTPNODE_TEST_SLOW=5"}}
	c := ownCluster(t, abc[0], abc[1], slow)
	for _, tc := range []struct {
		home int
		args []string
	}{{home: 0}, {home: 2, args: []string{"--seed-local"}}} {
		j := paced(t, 120)
		j.args = tc.args
		o := c.nodes[tc.home].run(t, j)
		o.wantWhole(t)
		// By rates it would do 1/11 of the work.
		if w := o.work(t, "c"); w.Units == 0 || w.Units > o.st.Units/6 {
			t.Errorf("the slow node did %d of %d units: %s", w.Units, o.st.Units, o.describe())
		}
	}
}

// TestJoinDuringJob adds a node to a cluster at work, which is given its part.
func TestJoinDuringJob(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	late, err := startNode(t.TempDir(), abc[2])
	check(t, err)
	r := c.nodes[0].begin(t, paced(t, 600)) // 24 s of two slots
	r.part(t, 0.1)
	c.nodes = append(c.nodes, late) // its end is the cluster's
	inv := c.nodes[0].dtpnode(t, t.TempDir(), "invite", "--rights", "worker,submitter,admin")
	if j := late.dtpnode(t, t.TempDir(), "join", firstLine(inv.stdout)); j.code != 0 {
		t.Fatalf("could not join: %+v", j)
	}
	joined := r.until(t, "the late node had a packet done", func(st api.JobStatus) bool {
		return outcome{st: st}.work(t, "c").Packets > 0
	})
	o := r.end(t)
	o.wantWhole(t)
	if w := o.work(t, "c"); w.Units < (o.st.Units-joined.Done)/6 {
		t.Errorf("the late node had %d of the last %d units: %s", w.Units, o.st.Units-joined.Done, o.describe())
	}
}

// TestLeaveDuringJob has nodes leave politely, by command and by signal. What they had done counts, what
// waited goes to others, and nothing runs twice.
func TestLeaveDuringJob(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	r := c.nodes[0].begin(t, paced(t, 300))
	r.partBy(t, 0.3, "b")
	down := c.nodes[1].dtpnode(t, t.TempDir(), "down")
	if down.code != 0 {
		t.Errorf("could not leave: %+v", down)
	}
	r.partBy(t, 0.6, "c")
	signal(t, syscall.SIGTERM, c.nodes[2].pid(t))
	<-c.nodes[2].ended
	o := r.end(t)
	o.wantWhole(t)
	if processed(o.st) != o.st.Units {
		t.Errorf("%d units ran for %d: %s", processed(o.st), o.st.Units, o.describe())
	}
	for _, name := range []string{"b", "c"} {
		if w := o.work(t, name); w.Units == 0 || w.Up {
			t.Errorf("want work of %s, and that it has left: %s", name, o.describe())
		}
	}
}
