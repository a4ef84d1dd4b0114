package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/internal/faultnet"
	"github.com/dtpnode/dtpnode/node/api"
)

// faultyCluster is a cluster of daemons without ROOT, each on a host of its own, over a network that can be
// made to fail.
func faultyCluster(t *testing.T, hosts int) (*cluster, *faultnet.Net) {
	t.Helper()
	if err := faultnet.Possible(); err != nil {
		t.Skip("NOT TESTED: ", err)
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

// share waits until so much of a job is done.
func (n *node) share(t testing.TB, id string, fraction float64) {
	t.Helper()
	n.until(t, id, fmt.Sprintf("%.0f%% of it is done", 100*fraction), func(st api.JobStatus) bool {
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
		end   bool               // and until most of the nodes have done all of it
	}{
		{name: "minority cut off", amid: cut(func() { net.Partition(3, 4) }, home, 3)},
		{name: "minority cut off to the end", amid: cut(func() { net.Partition(1, 4) }, 2, 3), end: true},
		{name: "home cut off", amid: cut(func() { net.Partition(home) }, home, 1)},
		{name: "home in the minority to the end", amid: cut(func() { net.Partition(home, 1) }, 2, 3), end: true},
		{name: "a worker does not hear the home", amid: cut(deaf(3, home), 3, 4)},
		{name: "the home does not hear a worker", amid: cut(deaf(home, 3), home, 4)},
		{name: "the home hears nobody", amid: cut(deaf(home, 1, 2, 3, 4), home, 1)},
		{name: "200 ms of delay", whole: faultnet.Path{Delay: 200 * time.Millisecond}},
		{name: "5% of loss", whole: faultnet.Path{Loss: 0.05}},
		{name: "delay and loss", whole: faultnet.Path{Delay: 50 * time.Millisecond, Loss: 0.05}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			net.SetAll(tc.whole)
			id := c.nodes[home].submit(t, job.request(t)).ID
			if tc.amid != nil {
				c.nodes[home].share(t, id, 0.1)
				tc.amid(t)
				if tc.end {
					c.nodes[2].share(t, id, 1)
				}
				net.SetAll(faultnet.Path{})
			}
			n, st := c.waitFinal(t, id, commandLimit)
			job.wantCounted(t, n, st)
			net.SetAll(faultnet.Path{})
			if lost := net.Count(home, 3).Lost.Swap(0); tc.whole.Loss > 0 && lost == 0 {
				t.Error("nothing was lost between the home and a worker")
			}
			c.wantSettled(t, id)
			t.Logf("%.1f s for 10 s of work, %d units ran again, %.1f s in all", st.Working, processed(st)-st.Units, time.Since(begin).Seconds())
		})
	}
}
