package e2e

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// whole is ROOT's own result of a paced job.
var whole struct {
	once sync.Once
	path string
}

// wantWhole fails the test unless a paced job is done, exactly, whatever happened to its nodes.
func (o outcome) wantWhole(t testing.TB) {
	t.Helper()
	o.wantDone(t)
	r := roottest.Find(t)
	whole.once.Do(func() {
		path := filepath.Join(suite.dir, "whole.root")
		r.Reference(t, tally(t, fourFiles(t)...).Job, path)
		whole.path = path
	})
	if whole.path == "" {
		t.Fatal("there is no reference")
	}
	r.Compare(t, o.out, whole.path)
}

// abc are three daemons with a slot each.
var abc = []nodeSpec{{name: "a"}, {name: "b"}, {name: "c"}}

// TestKilledChildren kills, in the middle of jobs, processes whose daemons live on. Only what those
// processes were at is done again.
func TestKilledChildren(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	for _, tc := range []struct {
		name   string
		victim int // its daemon; 0 is the home
		pids   func(t *testing.T, n *node) []int
	}{
		{"generation", 1, func(t *testing.T, n *node) []int { return []int{n.generation(t)} }},
		{"generation at home", 0, func(t *testing.T, n *node) []int { return []int{n.generation(t)} }},
		{"selector zygote", 1, func(t *testing.T, n *node) []int { return n.processes(t).sel[:1] }},
		{"base zygote", 1, func(t *testing.T, n *node) []int { return []int{n.processes(t).base} }},
		{"base zygote at home", 0, func(t *testing.T, n *node) []int { return []int{n.processes(t).base} }},
		{"all", 1, func(t *testing.T, n *node) []int { return n.processes(t).below }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			roottest.LongBut(t, tc.name, "generation", "base zygote at home", "all")
			j := paced(t, 120) // 80,000 of these take three slots 3.2 s
			r := c.nodes[0].begin(t, j)
			r.part(t, 0.3)
			n := c.nodes[tc.victim]
			n.generation(t)
			pids := tc.pids(t, n)
			kill(t, pids...)
			o := r.end(t)
			o.wantWhole(t)
			again := processed(o.st) - o.st.Units
			var failures int64
			for _, w := range o.st.Nodes {
				failures += w.Failures
				if w.Name != n.name && w.Failures > 0 {
					t.Errorf("%s failed too: %s", w.Name, o.describe())
				}
			}
			if failures == 0 || again > o.work(t, n.name).Units {
				t.Errorf("%d units ran again after %d failures: %s", again, failures, o.describe())
			}
			if w := o.work(t, n.name); w.Generations == 0 {
				t.Errorf("%s did not work again: %s", n.name, o.describe())
			}
			wantGone(t, pids)
		})
	}
}

// TestKilledDaemon kills a daemon that works for another's job: alone, and with all its processes. It
// comes back, with what it left on disk, and works for the next job.
func TestKilledDaemon(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	for i, alone := range []bool{true, false} {
		victim := c.nodes[1+i]
		j := paced(t, 240)
		r := c.nodes[0].begin(t, j)
		r.partBy(t, 0.3, victim.name)
		tr := victim.processes(t)
		if alone {
			kill(t, tr.daemon)
		} else {
			kill(t, append([]int{tr.daemon}, tr.below...)...)
		}
		o := r.end(t)
		o.wantWhole(t)
		if w := o.work(t, victim.name); w.Up || w.Units == 0 {
			t.Errorf("want what %s did, and that it is gone: %s", victim.name, o.describe())
		}
		wantGone(t, append(tr.below, tr.daemon))
		victim.restart(t, nodeSpec{name: victim.name})
		check(t, poll(settleLimit, func() (bool, error) {
			st, err := c.nodes[0].status()
			return st.Up == 3, err
		}))
	}
	wide(t, c.nodes[2], paced(t, 60), len(c.nodes)).wantWhole(t) // all came back
	for _, n := range c.nodes {
		n.wantIdle(t)
	}
}

// TestPausedNode stops a daemon and its children for 30 s. The job ends without it or, if it is long, takes
// it back; nothing counts twice.
func TestPausedNode(t *testing.T) {
	t.Parallel()
	for name, us := range map[string]int{"ends before": 300, "goes on": 1400} { // 12 s and 55 s of two slots
		t.Run(name, func(t *testing.T) {
			if name == "ends before" {
				roottest.Long(t)
			}
			t.Parallel()
			c := ownCluster(t, abc...)
			j := paced(t, us)
			r := c.nodes[0].begin(t, j)
			r.part(t, 0.1)
			tr := c.nodes[1].processes(t)
			all := append([]int{tr.daemon}, tr.below...)
			signal(t, syscall.SIGSTOP, all...)
			resumed := make(chan struct{})
			time.AfterFunc(30*time.Second, func() {
				for _, pid := range all {
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
				close(resumed)
			})
			o := r.end(t)
			o.wantWhole(t)
			<-resumed
			check(t, poll(settleLimit, func() (bool, error) {
				st, err := c.nodes[1].status()
				return err == nil && st.Up == 3, nil
			}))
			for _, n := range c.nodes {
				n.wantIdle(t)
			}
			again := paced(t, 30)
			o = c.nodes[1].run(t, again)
			o.wantWhole(t)
		})
	}
}

// TestRandomKills kills what chance picks, a daemon, a zygote, a child, of nodes that are not the home,
// again and again.
func TestRandomKills(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	rng := rand.New(rand.NewPCG(20261122, 3))
	j := paced(t, 300) // 8 s of three slots
	r := c.nodes[0].begin(t, j)
	r.part(t, 0.02)
	ctx, stop := context.WithCancel(t.Context())
	type done struct {
		what string
		pids []int
	}
	result := make(chan []done, 1)
	go func() { // ends with the job
		var all []done
		defer func() { result <- all }()
		for ctx.Err() == nil {
			n := c.nodes[1+rng.IntN(2)]
			if _, err := n.status(); err != nil {
				continue
			}
			tr := n.processes(t)
			d := done{what: "nothing of " + n.name}
			switch pick := rng.IntN(6); {
			case pick == 0:
				d = done{"daemon " + n.name, append([]int{tr.daemon}, tr.below...)}
				_ = syscall.Kill(tr.daemon, syscall.SIGKILL)
				n.restart(t, nodeSpec{name: n.name})
			case pick == 1 && tr.base != 0:
				d = done{"base zygote of " + n.name, []int{tr.base}}
				_ = syscall.Kill(tr.base, syscall.SIGKILL)
			case len(tr.below) > 0:
				pid := tr.below[rng.IntN(len(tr.below))]
				d = done{"process of " + n.name, []int{pid}}
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			all = append(all, d)
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(500+rng.IntN(1000)) * time.Millisecond):
			}
		}
	}()
	o := r.end(t)
	stop()
	var pids []int
	for _, d := range <-result {
		t.Logf("killed: %s", d.what)
		pids = append(pids, d.pids...)
	}
	o.wantWhole(t)
	wantGone(t, pids)
	t.Logf("%d of %d units ran again", processed(o.st)-o.st.Units, o.st.Units)
}
