package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// hosts are network namespaces, each with one interface to a bridge in a namespace of its own: separate
// hosts as far as the network goes. Folders are shared with this host; daemons are given their own.
type hosts struct {
	bridge string
	names  []string
	addrs  []string
}

// networks counts them, for names of their own.
var networks atomic.Int32

// makeHosts makes n of them, on a network that is nowhere else.
func makeHosts(t *testing.T, n int) *hosts {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: separate hosts need network namespaces, and they root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("separate hosts are made with `ip`: install iproute2")
	}
	tag := fmt.Sprintf("dtp%d-%d", os.Getpid(), networks.Add(1))
	h := &hosts{bridge: tag + "-br"}
	h.add(t, h.bridge)
	ip(t, "-n", h.bridge, "link", "add", "br0", "type", "bridge")
	ip(t, "-n", h.bridge, "link", "set", "br0", "up")
	for i := range n {
		name, port := fmt.Sprintf("%s-%d", tag, i), fmt.Sprintf("port%d", i)
		h.add(t, name)
		h.names, h.addrs = append(h.names, name), append(h.addrs, fmt.Sprintf("10.213.77.%d", i+1))
		ip(t, "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", h.bridge)
		ip(t, "-n", name, "addr", "add", h.addrs[i]+"/24", "dev", "eth0")
		ip(t, "-n", name, "link", "set", "lo", "up")
		ip(t, "-n", name, "link", "set", "eth0", "up")
		ip(t, "-n", h.bridge, "link", "set", port, "master", "br0", "up")
	}
	return h
}

func (h *hosts) add(t *testing.T, name string) {
	t.Helper()
	ip(t, "netns", "add", name)
	t.Cleanup(func() { ip(t, "netns", "del", name) })
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// spec is a daemon on the i-th host, with a cache and a scratch folder of its own, reachable from others.
func (h *hosts) spec(i int, cache, scratch string) nodeSpec {
	name := fmt.Sprintf("host%d", i)
	return nodeSpec{name: name, wrap: []string{"ip", "netns", "exec", h.names[i]},
		args: []string{"--cache", cache, "--scratch", scratch, "--listen", h.addrs[i] + ":0"}}
}

// cut takes the i-th host off the network, heal puts it back.
func (h *hosts) cut(t *testing.T, i int) {
	ip(t, "-n", h.bridge, "link", "set", fmt.Sprintf("port%d", i), "down")
}
func (h *hosts) heal(t *testing.T, i int) {
	ip(t, "-n", h.bridge, "link", "set", fmt.Sprintf("port%d", i), "up")
}

// ownCaches are cache folders that hold the built ROOT child, which takes long, and nothing else.
func ownCaches(t *testing.T, n int) (dirs []string) {
	t.Helper()
	for range n {
		dir := t.TempDir()
		check(t, os.CopyFS(filepath.Join(dir, "child"), os.DirFS(filepath.Join(suite.cache, "child"))))
		built, err := filepath.Glob(filepath.Join(dir, "child", "*", "dtpnode-root"))
		check(t, err)
		for _, b := range built {
			check(t, os.Chmod(b, 0o755))
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// TestSeparateHosts joins four hosts over their network, runs jobs, of which the libraries must travel,
// and takes a host off the network for a while in the middle of one.
func TestSeparateHosts(t *testing.T) {
	t.Parallel()
	threeNodes.get(t) // has the child built
	const n = 4
	h := makeHosts(t, n)
	caches := ownCaches(t, n)
	var specs []nodeSpec
	for i := range n {
		specs = append(specs, h.spec(i, caches[i], t.TempDir()))
	}
	c := ownCluster(t, specs...)
	for i, node := range c.nodes {
		st, err := node.status()
		check(t, err)
		if len(st.Addrs) != 1 || !strings.HasPrefix(st.Addrs[0], h.addrs[i]+":") {
			t.Fatalf("%s listens on %q, want %s", node.name, st.Addrs, h.addrs[i])
		}
	}
	t.Run("run", func(t *testing.T) {
		o := c.nodes[3].run(t, paced(t, 400))
		o.wantWhole(t)
		for i, node := range c.nodes {
			if w := o.work(t, node.name); w.Units == 0 || w.Steals+w.Packets == 0 {
				t.Errorf("%s did nothing: %s", node.name, o.describe())
			}
			folder := filepath.Join("foreign", "*", "*") // the others run what the submitter has compiled
			if i == 3 {
				folder = filepath.Join("lib", "*")
			}
			libs, err := filepath.Glob(filepath.Join(caches[i], folder, "Paced_C.so"))
			if err != nil || len(libs) != 1 {
				t.Errorf("%s has %q of the library: %v", node.name, libs, err)
			}
		}
		for _, node := range c.nodes {
			if log := node.logTail(0); strings.Contains(log, "could not use the submitter's library") {
				t.Errorf("%s compiled for itself: %s", node.name, log)
			}
		}
	})
	for _, tc := range []struct {
		name string
		cut  int
		long bool
	}{{"worker cut off", 1, true}, {"home cut off", 0, false}} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.long {
				roottest.Long(t)
			}
			r := c.nodes[0].begin(t, paced(t, 500)) // 10 s of four slots
			r.part(t, 0.1)
			h.cut(t, tc.cut)
			c.wantUp(t, c.nodes[tc.cut], 1) // 5 s of silence say so
			lone := r.out.st.Done
			// A home that is cut off leads no longer, and hears no more of what is done: one of the others tells.
			rest := c.nodes[1-tc.cut]
			rest.until(t, r.out.st.ID, "the rest worked on", func(st api.JobStatus) bool { return st.Done > lone+st.Units/20 })
			h.heal(t, tc.cut)
			o := r.end(t)
			o.wantWhole(t)
			for _, node := range c.nodes {
				c.wantUp(t, node, n)
			}
			for _, node := range c.nodes {
				check(t, poll(settleLimit, func() (bool, error) { st, err := node.status(); return st.Busy == 0, err }))
			}
		})
	}
}

// wantUp waits until a node sees so many members up, itself included.
func (c *cluster) wantUp(t testing.TB, n *node, up int) {
	t.Helper()
	last := 0
	err := poll(settleLimit, func() (bool, error) {
		st, err := n.status()
		last = st.Up
		return last == up, err
	})
	if err != nil {
		for _, each := range c.nodes { // why is what they themselves say of each other
			r, err := each.command(context.Background(), os.TempDir(), "members")
			log, _ := os.ReadFile(filepath.Join(each.state, "dtpnode.log")) // of a daemon in the background
			t.Logf("members of %s: %+v, %v\n%s%s", each.name, r, err, each.logTail(0), log)
		}
		t.Fatalf("%s sees %d members up, want %d: %v", n.name, last, up, err)
	}
}

// TestJoinIsAllItTakes has hosts join as the README says, with nothing but the token: each must be reachable from all
// others, and the same node after a restart by a plain up.
func TestJoinIsAllItTakes(t *testing.T) {
	t.Parallel()
	h := makeHosts(t, 3)
	c := &cluster{}
	for i, name := range []string{"alice", "bob", "carol"} {
		n := &node{name: name, state: t.TempDir(), wrap: []string{"ip", "netns", "exec", h.names[i]}, bin: fakeBinary(t)}
		n.client = api.NewClient(api.SocketPath(n.state))
		c.nodes = append(c.nodes, n)
		t.Cleanup(func() {
			if r, err := n.command(context.Background(), os.TempDir(), "down"); err != nil || r.code != 0 {
				t.Errorf("%s: %+v, %v", n.name, r, err)
			}
		})
	}
	do := func(n *node, args ...string) result {
		t.Helper()
		r := n.dtpnode(t, n.state, args...)
		if r.code != 0 {
			t.Fatalf("%s: %q: %+v", n.name, args, r)
		}
		return r
	}
	do(c.nodes[0], "up", "--listen", h.addrs[0]+":0", "--name", "alice", "--detach")
	for i, n := range c.nodes[1:] {
		r := do(n, "join", firstLine(do(c.nodes[0], "invite").stdout), "--name", n.name)
		if !strings.Contains(r.stderr, "it listens on "+h.addrs[i+1]) {
			t.Errorf("join does not say where it listens: %+v", r)
		}
	}
	for _, n := range c.nodes {
		c.wantUp(t, n, 3)
	}
	bob := c.nodes[1]
	was, err := bob.status()
	check(t, err)
	do(bob, "down")
	do(bob, "up", "--detach")
	c.wantUp(t, bob, 3)
	if is, err := bob.status(); err != nil || is.ID != was.ID || is.Name != "bob" ||
		strings.Join(is.Addrs, " ") != strings.Join(was.Addrs, " ") {
		t.Errorf("after a restart %+v, before %+v: %v", is, was, err)
	}
	do(bob, "down")
	moved := strings.Replace(was.Addrs[0], h.addrs[1], "10.213.77.22", 1) // the network has given it another address
	ip(t, "-n", h.names[1], "addr", "add", "10.213.77.22/24", "dev", "eth0")
	ip(t, "-n", h.names[1], "addr", "del", h.addrs[1]+"/24", "dev", "eth0")
	// the second address of a network goes with the first, unless the kernel is told otherwise
	check(t, poll(settleLimit, func() (bool, error) {
		return exec.Command("ip", "-n", h.names[1], "addr", "replace", "10.213.77.22/24", "dev", "eth0").Run() == nil, nil
	}))
	do(bob, "up", "--detach")
	c.wantUp(t, bob, 3)
	if is, err := bob.status(); err != nil || len(is.Addrs) != 1 || is.Addrs[0] != moved {
		t.Errorf("with another address it listens on %+v, want %s: %v", is.Addrs, moved, err)
	}
	bobMoves(t, c, h, do)
	do(bob, "down")
	r := bob.join(t, "dtp1.nonsense")
	if r.code != 1 || !strings.Contains(r.stderr, "token is damaged") || strings.Contains(r.stderr, "started a daemon") {
		t.Errorf("%+v", r)
	}
}

// bobMoves gives the second host another address while its daemon runs, and starts that before there is a network: it
// is reached at what the host has, and says so.
func bobMoves(t *testing.T, c *cluster, h *hosts, do func(n *node, args ...string) result) {
	bob := c.nodes[1]
	listens := func(addr string) {
		t.Helper()
		var is api.NodeStatus
		err := poll(settleLimit, func() (bool, error) {
			var err error
			is, err = bob.status()
			return len(is.Addrs) == 1 && strings.HasPrefix(is.Addrs[0], addr+":"), err
		})
		if err != nil {
			t.Fatalf("bob listens on %+v, want %s: %v", is.Addrs, addr, err)
		}
	}
	ip(t, "-n", h.names[1], "addr", "flush", "dev", "eth0", "scope", "global")
	bob.says(t, []string{"status"}, "this host does not have the address of 10.213.77.22:",
		"as soon as the host has another")
	ip(t, "-n", h.names[1], "addr", "add", "10.213.77.23/24", "dev", "eth0")
	listens("10.213.77.23")
	c.wantUp(t, bob, 3)
	c.nodes[0].says(t, []string{"members"}, "10.213.77.23:")
	do(bob, "down")
	ip(t, "-n", h.names[1], "addr", "flush", "dev", "eth0", "scope", "global")
	do(bob, "up", "--detach")
	listens("127.0.0.1")
	ip(t, "-n", h.names[1], "addr", "add", "10.213.77.24/24", "dev", "eth0")
	listens("10.213.77.24")
	c.wantUp(t, bob, 3)
	c.nodes[2].says(t, []string{"members"}, "10.213.77.24:")
}
