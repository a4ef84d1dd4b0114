package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// takeoverLimit is how long a job may be without a home.
const takeoverLimit = 10 * time.Second

// often are daemons with a slot each whose children hand in what they have done every three seconds, so that
// much is committed while a job still runs.
func often(names ...string) (specs []nodeSpec) {
	for _, name := range names {
		specs = append(specs, nodeSpec{name: name, args: []string{"--commit-every", "3s"}})
	}
	return specs
}

// detached is a job that was submitted with --detach.
type detached struct {
	id  string
	out string // where it was asked to go
	at  *node
}

// detach submits a job and returns when it is said to be safe.
func (n *node) detach(t testing.TB, j job) detached {
	t.Helper()
	d := detached{out: filepath.Join(t.TempDir(), "out.root"), at: n}
	j.args = append(slices.Clone(j.args), "--detach")
	r := n.dtpnode(t, t.TempDir(), j.arguments(d.out)...)
	if d.id = strings.TrimSpace(r.stdout); r.code != 0 || len(d.id) != 32 {
		t.Fatalf("could not submit: %+v", r)
	}
	return d
}

// byName is the node of that name.
func (c *cluster) byName(t testing.TB, name string) *node {
	t.Helper()
	i := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		t.Fatalf("no node %q", name)
	}
	return c.nodes[i]
}

// but are all nodes but some.
func (c *cluster) but(some ...*node) []*node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node) bool { return slices.Contains(some, n) })
}

// wantHome waits, for as long as it may take, until a node tells that a job has a home that is none of dead.
func (c *cluster) wantHome(t testing.TB, asked *node, id string, dead ...*node) (*node, api.JobStatus) {
	t.Helper()
	begin := time.Now()
	var st api.JobStatus
	var last error
	err := poll(takeoverLimit, func() (bool, error) {
		st, last = asked.job(t.Context(), id)
		return last == nil && st.State != api.Waiting && !slices.ContainsFunc(dead, func(n *node) bool {
			return n.name == st.HomeName
		}), nil
	})
	if err != nil {
		t.Fatalf("no new home: %v, %v: %+v", err, last, st)
	}
	t.Logf("%s leads after %.1f s, term %d, %d of %d committed", st.HomeName, time.Since(begin).Seconds(), st.Term,
		st.Committed, st.Units)
	return c.byName(t, st.HomeName), st
}

// wantEnd waits until a node tells that a job is done, fetches the result from it and compares it.
func (n *node) wantEnd(t *testing.T, id string) outcome {
	t.Helper()
	o := outcome{out: filepath.Join(t.TempDir(), "got.root")}
	var last error
	err := poll(commandLimit, func() (bool, error) {
		var st api.JobStatus
		if st, last = n.job(t.Context(), id); last == nil {
			o.st = st
		}
		return last == nil && o.st.State.Final(), nil
	})
	if err != nil {
		t.Fatalf("the job does not end, as %s tells: %v, %v: %s", n.name, err, last, o.describe())
	}
	o.result = n.dtpnode(t, t.TempDir(), "get", id, "-o", o.out)
	o.wantWhole(t)
	return o
}

// units is what each of some nodes has processed.
func units(st api.JobStatus, of []*node) (n int64) {
	for _, w := range st.Nodes {
		if slices.ContainsFunc(of, func(n *node) bool { return n.name == w.Name }) {
			n += w.Units
		}
	}
	return n
}

// wantKept fails the test if some nodes, which ran all the time, have done more since a job stood at before than
// was not committed then. What they reported may be a second and a half old.
func wantKept(t *testing.T, before, after api.JobStatus, ran []*node) {
	t.Helper()
	late := 0.0
	for _, w := range before.Nodes {
		late += 1.5 * w.Rate
	}
	since := units(after, ran) - units(before, ran)
	if open := before.Units - before.Committed; since > open+int64(late) {
		t.Errorf("%d entries ran, of which %d were not committed: from %+v to %+v", since, open, before, after)
	}
	t.Logf("%d entries ran from then on, %d were not committed", since, before.Units-before.Committed)
}

// when waits until a node tells that a job is so, and returns how it stands then.
func (n *node) when(t testing.TB, id, what string, so func(api.JobStatus) bool) (at api.JobStatus) {
	t.Helper()
	n.until(t, id, what, func(st api.JobStatus) bool {
		at = st
		return so(st)
	})
	return at
}

// committed waits until so much of a job is committed.
func (n *node) committed(t testing.TB, id string, fraction float64) api.JobStatus {
	t.Helper()
	return n.when(t, id, fmt.Sprintf("%.0f%% are committed", 100*fraction), func(st api.JobStatus) bool {
		return st.Units > 0 && float64(st.Committed) >= fraction*float64(st.Units)
	})
}

// crash kills a daemon and waits until it is gone.
func (n *node) crash(t testing.TB) {
	t.Helper()
	kill(t, n.cmd.Process.Pid)
	<-n.ended
}

// TestKilledHome kills the daemon that leads a job, and the command that follows it there learns how to go on.
// Another node leads, nothing that is committed runs again, and the dead one hears of all when it is back.
func TestKilledHome(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, often("a", "b", "c")...)
	home := c.nodes[2]
	r := home.begin(t, paced(t, 400)) // 11 s of three slots
	st := r.until(t, "a fifth is committed", func(st api.JobStatus) bool { return st.Committed >= 16_000 })
	if !st.Safe || len(st.Replicas) != 3 {
		t.Errorf("not on three nodes: %+v", st)
	}
	tr := home.processes(t)
	home.crash(t)
	_, _ = c.wantHome(t, c.nodes[0], st.ID, home)
	o := r.end(t)
	o.wantError(t, "daemon went away")
	if !strings.Contains(o.hint, "dtpnode attach "+st.ID[:12]) {
		t.Errorf("the hint does not help: %s", o.describe())
	}
	wantGone(t, append(tr.below, tr.daemon))
	end := c.nodes[0].wantEnd(t, st.ID)
	wantKept(t, st, end.st, c.but(home))
	c.nodes[1].wantEnd(t, st.ID)
	for _, n := range c.nodes[:2] {
		n.wantIdle(t)
	}
	home.restart(t, nodeSpec{name: home.name})
	home.wantEnd(t, st.ID)
	home.wantIdle(t)
	delivered := outcome{st: end.st, out: r.out.out}
	check(t, poll(settleLimit, func() (bool, error) { return fileExists(delivered.out), nil }))
	delivered.wantWhole(t)
	home.run(t, paced(t, 30)).wantWhole(t)
}

// TestKilledRun kills the command that submitted: the job goes on, as its help says, and its output is
// written where it was asked for.
func TestKilledRun(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	j := paced(t, 60)
	r := c.nodes[0].begin(t, j)
	st := r.part(t, 0.2)
	kill(t, r.cmd.Process.Pid)
	_ = r.cmd.Wait()
	o := r.out
	check(t, poll(commandLimit, func() (bool, error) {
		var err error
		o.st, err = c.nodes[1].client.Job(t.Context(), st.ID)
		return o.st.State.Final(), err
	}))
	o.wantWhole(t)
}

// TestKilledHomeAndRun kills the home and the command that submitted at once.
func TestKilledHomeAndRun(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	c := ownCluster(t, often("a", "b", "c")...)
	home := c.nodes[0]
	r := home.begin(t, paced(t, 400))
	st := r.until(t, "a fifth is committed", func(st api.JobStatus) bool { return st.Committed >= 16_000 })
	kill(t, r.cmd.Process.Pid, home.cmd.Process.Pid)
	_ = r.cmd.Wait()
	<-home.ended
	_, _ = c.wantHome(t, c.nodes[1], st.ID, home)
	end := c.nodes[2].wantEnd(t, st.ID)
	wantKept(t, st, end.st, c.but(home))
}

// TestKilledReplica kills a node that keeps a copy of the ledger and works: the home stays.
func TestKilledReplica(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, often("a", "b", "c")...)
	d := c.nodes[0].detach(t, paced(t, 400))
	st := c.nodes[0].committed(t, d.id, 0.2)
	c.nodes[1].crash(t)
	end := c.nodes[2].wantEnd(t, d.id)
	if end.st.HomeName != "a" {
		t.Errorf("the home moved to %s", end.st.HomeName)
	}
	wantKept(t, st, end.st, c.but(c.nodes[1]))
	delivered := outcome{st: end.st, out: d.out}
	delivered.wantWhole(t)
}

// TestKilledHomes kills the home, and the one that follows it as soon as it leads: two of the four nodes, one
// after the other.
func TestKilledHomes(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, often("a", "b", "c", "d")...)
	first := c.nodes[0]
	d := first.detach(t, paced(t, 800)) // 16 s of four slots, 32 s of two
	st := first.committed(t, d.id, 0.15)
	first.crash(t)
	asked := c.nodes[1]
	second, now := c.wantHome(t, asked, d.id, first)
	wantKept(t, st, now, c.but(first))
	// The dead one still counts as a replica: without a third, another death would stop the job for as long.
	st = asked.when(t, d.id, "the dead home has been replaced", func(st api.JobStatus) bool {
		return len(st.Replicas) == 3 && !slices.Contains(st.Replicas, first.name)
	})
	second.crash(t)
	rest := c.but(first, second)
	_, _ = c.wantHome(t, rest[0], d.id, first, second)
	end := rest[1].wantEnd(t, d.id)
	wantKept(t, st, end.st, rest)
	for _, n := range []*node{first, second} {
		n.restart(t, nodeSpec{name: n.name})
		n.wantEnd(t, d.id)
		n.wantIdle(t)
	}
	check(t, poll(settleLimit, func() (bool, error) { return fileExists(d.out), nil }))
}

// TestAllKilled kills everything that runs on every node at once, and starts it again.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	for name, nodes := range map[string]int{"three nodes": 3, "two nodes": 2, "one node": 1} {
		t.Run(name, func(t *testing.T) {
			if nodes == 2 {
				roottest.Long(t)
			}
			t.Parallel()
			specs := often("a", "b", "c")[:nodes]
			c := ownCluster(t, specs...)
			d := c.nodes[0].detach(t, paced(t, 140*nodes))
			st := c.nodes[0].committed(t, d.id, 0.2)
			var all []int
			for _, n := range c.nodes {
				tr := n.processes(t)
				all = append(append(all, tr.daemon), tr.below...)
			}
			kill(t, all...)
			begin := time.Now()
			for i, n := range c.nodes {
				n.relaunch(t, specs[i])
			}
			for _, n := range c.nodes {
				check(t, n.waitReady())
			}
			t.Logf("all are up after %.1f s", time.Since(begin).Seconds())
			_, _ = c.wantHome(t, c.nodes[0], d.id)
			end := c.nodes[0].wantEnd(t, d.id)
			none := st
			none.Nodes = nil // all have begun to count anew
			wantKept(t, none, end.st, c.nodes)
			check(t, poll(settleLimit, func() (bool, error) { return fileExists(d.out), nil }))
			outcome{st: end.st, out: d.out}.wantWhole(t)
			for _, n := range c.nodes {
				n.wantEnd(t, d.id)
				n.wantIdle(t)
			}
		})
	}
}

// TestTwoNodes kills one of two nodes: without the worker the home goes on, without the home the job waits, and
// the other says so.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	specs := often("a", "b")
	c := ownCluster(t, specs...)
	home, other := c.nodes[0], c.nodes[1]
	t.Run("worker", func(t *testing.T) {
		d := home.detach(t, paced(t, 200))
		st := home.when(t, d.id, "a third is done", func(st api.JobStatus) bool { return st.Done > 26_000 })
		other.crash(t)
		end := home.wantEnd(t, d.id)
		wantKept(t, st, end.st, c.but(other))
		other.restart(t, specs[1])
		c.wantUp(t, home, 2)
	})
	t.Run("home", func(t *testing.T) {
		d := home.detach(t, paced(t, 250)) // 10 s of two slots
		st := home.committed(t, d.id, 0.2)
		check(t, poll(settleLimit, func() (bool, error) { // it may not have had a processor yet
			st, err := other.status()
			return st.Busy > 0, err
		}))
		home.crash(t)
		var now api.JobStatus
		err := poll(takeoverLimit, func() (waits bool, err error) {
			now, err = other.job(t.Context(), d.id)
			return err == nil && now.State == api.Waiting && strings.Contains(now.Phase, "a,") &&
				strings.Contains(now.Hint, "on a again"), nil
		})
		if err != nil {
			t.Errorf("the other does not say that the job waits for a: %+v", now)
		}
		t.Logf("the other says: %s; %s", now.Phase, now.Hint)
		home.restart(t, specs[0])
		end := home.wantEnd(t, d.id)
		wantKept(t, st, end.st, c.but(home))
		other.wantEnd(t, d.id)
		home.wantIdle(t)
		other.wantIdle(t)
	})
}

// TestTerminateElsewhereIsTold kills the submitter for good: the status says on which other node Terminate ran and in
// which folder, which is there still, beside the result.
func TestTerminateElsewhereIsTold(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 3)...)
	j := paceOf(3, 4*time.Second)
	id := c.nodes[0].submit(t, j.request(t)).ID
	c.nodes[0].when(t, id, "it is safe", func(st api.JobStatus) bool { return st.Safe && len(st.Replicas) == 3 })
	c.nodes[0].crash(t)
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
	e := st.EndedIn
	if e == nil || e.Node == c.nodes[0].name {
		t.Fatalf("where Terminate ran is told as %+v", e)
	}
	if !slices.Equal(e.Files, []string{fakeexec.Left}) || !fileExists(filepath.Join(e.Folder, fakeexec.Left)) {
		t.Errorf("what Terminate has left is told as %+v", e)
	}
	if r := c.nodes[1].dtpnode(t, t.TempDir(), "status", id[:12]); !strings.Contains(r.stdout,
		"Terminate ran on "+e.Node+", since ") ||
		!strings.Contains(r.stdout, "it worked in "+e.Folder+" and left there "+fakeexec.Left) {
		t.Errorf("status does not say it: %+v", r)
	}
}
