package e2e

import (
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/e2e/faultnet"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// faultyHosts numbers the network namespaces of this process.
var faultyHosts atomic.Int64

// faultyCluster is a cluster of daemons without ROOT, each on a host of its own, over a network that can be
// made to fail.
func faultyCluster(t *testing.T, hosts int) (*cluster, *faultnet.Net) {
	t.Helper()
	if err := faultnet.Possible(); err != nil {
		t.Skip("NOT TESTED: ", err)
	}
	specs := fakeSpecs(t, hosts)
	var names []string
	for range specs {
		name := fmt.Sprintf("dtpf%d-%d", os.Getpid(), faultyHosts.Add(1))
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

// Roles of the five nodes for a job; nodes without a name have no part but to work.
const (
	home     = iota
	replica1 // of the ledger, beside the home
	replica2
	worker1
	worker2
)

// roles maps roles to nodes: which of them have the ledger differs from job to job.
func (c *cluster) roles(t testing.TB, id string) (at []int) {
	t.Helper()
	var st api.JobStatus
	c.nodes[0].until(t, id, "three nodes have its ledger", func(now api.JobStatus) bool {
		st = now
		return st.Safe && len(st.Replicas) == 3
	})
	at = []int{0}
	for _, wanted := range []bool{true, false} {
		for i, n := range c.nodes[1:] {
			if slices.Contains(st.Replicas, n.name) == wanted {
				at = append(at, i+1)
			}
		}
	}
	return at
}

// networkFault is something that befalls the network while a job runs.
type networkFault struct {
	long  bool // left out where roottest.Everything() is not to run
	name  string
	whole faultnet.Path                     // for the whole job
	amid  func(net *faultnet.Net, at []int) // when a part of it is done,
	seen  int                               // until this role
	up    int                               // says that it sees so many members
	end   int                               // and until this role knows that all of it is done; 0 for not
}

// off cuts these roles off from the others.
func off(roles ...int) func(*faultnet.Net, []int) {
	return func(net *faultnet.Net, at []int) {
		var nodes []int
		for _, r := range roles {
			nodes = append(nodes, at[r])
		}
		net.Partition(nodes...)
	}
}

// deaf keeps what others send from one.
func deaf(who int, to ...int) func(*faultnet.Net, []int) {
	return func(net *faultnet.Net, at []int) {
		for _, r := range to {
			net.Set(at[r], at[who], faultnet.Path{Cut: true})
		}
	}
}

// TestFaultyNetworkCut cuts hosts off from one another.
func TestFaultyNetworkCut(t *testing.T) {
	t.Parallel()
	testFaultyNetwork(t,
		networkFault{long: true, name: "minority cut off", amid: off(replica2, worker2), seen: home, up: 3},
		networkFault{name: "minority cut off to the end", amid: off(replica2, worker2), seen: replica1, up: 3, end: replica1},
		networkFault{long: true, name: "home cut off", amid: off(home), seen: home, up: 1},
		networkFault{name: "home in the minority to the end", amid: off(home, worker1), seen: replica1, up: 3, end: replica1},
	)
}

// TestFaultyNetworkOneWay cuts them off in one direction.
func TestFaultyNetworkOneWay(t *testing.T) {
	t.Parallel()
	testFaultyNetwork(t,
		networkFault{long: true, name: "a worker does not hear the home", amid: deaf(worker1, home), seen: worker1, up: 4},
		networkFault{name: "a replica does not hear the home", amid: deaf(replica1, home), seen: replica1, up: 4},
		networkFault{long: true, name: "the home does not hear a worker", amid: deaf(home, worker1), seen: home, up: 4},
		networkFault{
			name: "the home hears nobody",
			amid: deaf(home, replica1, replica2, worker1, worker2),
			seen: home,
			up:   1,
		},
	)
}

// TestFaultyNetworkSlow delays and loses packets.
func TestFaultyNetworkSlow(t *testing.T) {
	t.Parallel()
	testFaultyNetwork(t,
		networkFault{long: true, name: "200 ms of delay", whole: faultnet.Path{Delay: 200 * time.Millisecond}},
		networkFault{long: true, name: "5% of loss", whole: faultnet.Path{Loss: 0.05}},
		networkFault{name: "delay and loss", whole: faultnet.Path{Delay: 50 * time.Millisecond, Loss: 0.05}},
	)
}

// testFaultyNetwork runs jobs on five hosts while the network between them fails. Each time the result is
// exact, and all find one another again.
func testFaultyNetwork(t *testing.T, faults ...networkFault) {
	t.Helper()
	const hosts = 5
	c, net := faultyCluster(t, hosts)
	job := paceOf(hosts, 10*time.Second)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if f.long {
				roottest.Long(t)
			}
			begin := time.Now()
			net.SetAll(f.whole)
			id := c.nodes[home].submit(t, job.request(t)).ID
			if f.amid != nil {
				c.nodes[home].share(t, id, 0.1)
				at := c.roles(t, id)
				f.amid(net, at)
				c.wantUp(t, c.nodes[at[f.seen]], f.up)
				if f.end > 0 {
					c.nodes[at[f.end]].share(t, id, 1)
				}
				net.SetAll(faultnet.Path{})
			}
			n, st := c.waitFinal(t, id, commandLimit)
			job.wantCounted(t, n, st)
			net.SetAll(faultnet.Path{})
			if lost := net.Count(home, 3).Lost.Swap(0); f.whole.Loss > 0 && lost == 0 {
				t.Error("nothing was lost between the home and a worker")
			}
			c.wantSettled(t, id)
			t.Logf("%.1f s for 10 s of work, %d units ran again, %.1f s in all", st.Working, processed(st)-st.Units,
				time.Since(begin).Seconds())
		})
	}
}
