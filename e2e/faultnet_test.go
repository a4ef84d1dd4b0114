package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/internal/faultnet"
	"github.com/dtpnode/dtpnode/node/api"
)

// faultyCluster is a cluster of daemons without ROOT, each on a host of its own, over a network that can be
// made to fail.
func faultyCluster(t *testing.T, hosts int) (*cluster, *faultnet.Net) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: separate hosts need network namespaces, and they root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("separate hosts are made with `ip`: install iproute2")
	}
	specs := fakeSpecs(t, hosts)
	var names []string
	for i := range specs {
		name := fmt.Sprintf("dtpf%d-%d", os.Getpid(), i)
		ip(t, "netns", "add", name)
		t.Cleanup(func() { ip(t, "netns", "del", name) })
		names = append(names, name)
	}
	const seed = 20261122
	net, addrs, err := faultnet.Join(seed, names...)
	check(t, err)
	t.Cleanup(func() { check(t, net.Close()) })
	for i := range specs {
		specs[i].wrap = []string{"ip", "netns", "exec", names[i]}
		specs[i].args = []string{"--listen", addrs[i].String() + ":0"}
	}
	return ownCluster(t, specs...), net
}

// until polls until a node tells that a job is so.
func (n *node) until(t testing.TB, id, what string, so func(api.JobStatus) bool) api.JobStatus {
	t.Helper()
	var st api.JobStatus
	err := poll(commandLimit, func() (bool, error) {
		var err error
		if st, err = n.job(t.Context(), id); err != nil {
			return false, nil // a node that is cut off from the home knows nothing of the job
		}
		if so(st) {
			return true, nil
		}
		if st.State.Final() {
			return false, fmt.Errorf("the job ended as %s", st.State)
		}
		return false, nil
	})
	if err != nil {
		t.Fatalf("not so: %s: %v: %+v", what, err, st)
	}
	return st
}

// share waits until so much of a job is done.
func (n *node) share(t testing.TB, id string, fraction float64) api.JobStatus {
	t.Helper()
	return n.until(t, id, fmt.Sprintf("%.0f%% are done", 100*fraction), func(st api.JobStatus) bool {
		return st.Units > 0 && float64(st.Done) >= fraction*float64(st.Units)
	})
}

// TestFaultyNetwork runs jobs on five hosts while the network between them fails. Each time the result is
// exact, and all find one another again.
func TestFaultyNetwork(t *testing.T) {
	t.Parallel()
	const hosts = 5
	c, net := faultyCluster(t, hosts)
	const home = 0
	job := paceOf(hosts, 10*time.Second)
	// cut changes the network and waits until the node says that it sees so many members.
	cut := func(change func(), node, up int) func(*testing.T) {
		return func(t *testing.T) {
			change()
			c.wantUp(t, c.nodes[node], up)
		}
	}
	deaf := func(who int, to ...int) func() {
		return func() {
			for _, k := range to {
				net.Set(k, who, faultnet.Path{Cut: true})
			}
		}
	}
	for _, tc := range []struct {
		name  string
		whole faultnet.Path      // for the whole job
		amid  func(t *testing.T) // when a part of it is done, until it has been noticed
	}{
		{"minority cut off", faultnet.Path{}, cut(func() { net.Partition(3, 4) }, home, 3)},
		{"home cut off", faultnet.Path{}, cut(func() { net.Partition(home) }, home, 1)},
		{"home in the minority", faultnet.Path{}, cut(func() { net.Partition(home, 1) }, 3, 3)},
		{"a worker does not hear the home", faultnet.Path{}, cut(deaf(3, home), 3, 4)},
		{"the home does not hear a worker", faultnet.Path{}, cut(deaf(home, 3), home, 4)},
		{"the home hears nobody", faultnet.Path{}, cut(deaf(home, 1, 2, 3, 4), home, 1)},
		{"200 ms of delay", faultnet.Path{Delay: 200 * time.Millisecond}, nil},
		{"5% of loss", faultnet.Path{Loss: 0.05}, nil},
		{"delay and loss", faultnet.Path{Delay: 50 * time.Millisecond, Loss: 0.05}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			net.SetAll(tc.whole)
			id := c.nodes[home].submit(t, job.request(t)).ID
			if tc.amid != nil {
				c.nodes[home].share(t, id, 0.1)
				tc.amid(t)
				net.SetAll(faultnet.Path{})
			}
			n, st := c.waitFinal(t, id, commandLimit)
			job.wantCounted(t, n, st)
			net.SetAll(faultnet.Path{})
			if lost := net.Count(home, 3).Lost.Swap(0); tc.whole.Loss > 0 && lost == 0 {
				t.Error("nothing was lost between the home and a worker")
			}
			for _, n := range c.nodes {
				c.wantUp(t, n, hosts)
			}
			t.Logf("%.1f s for 10 s of work, %d units ran again, %.1f s in all", st.Working, processed(st)-st.Units, time.Since(begin).Seconds())
		})
	}
}
