package e2e

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/dtpnode/dtpnode/node/api"
)

// bare is a daemon on a host without ROOT: cheap, and a member like any other.
func bare(t testing.TB, name string, args ...string) *node {
	t.Helper()
	n, err := launchNode(t.TempDir(), nodeSpec{name: name, args: append([]string{"--root", t.TempDir()}, args...)})
	check(t, err)
	t.Cleanup(func() {
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
	check(t, poll(settleLimit, func() (bool, error) { _, err := n.status(); return err == nil, nil }))
	return n
}

// invite makes a token with further arguments.
func (n *node) invite(t testing.TB, args ...string) string {
	t.Helper()
	r := n.dtpnode(t, t.TempDir(), append([]string{"invite"}, args...)...)
	if r.code != 0 || r.stdout == "" {
		t.Fatalf("no invitation: %+v", r)
	}
	return firstLine(r.stdout)
}

// join joins and returns what the command did.
func (n *node) join(t testing.TB, token string) result {
	t.Helper()
	return n.dtpnode(t, t.TempDir(), "join", token)
}

// wantRefused fails the test unless a command failed with a message that says all of that.
func (r result) wantRefused(t testing.TB, says ...string) {
	t.Helper()
	if r.code != 1 || r.stdout != "" {
		t.Errorf("want exit 1 and nothing on standard output: %+v", r)
	}
	for _, s := range says {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("the error does not say %q: %+v", s, r)
		}
	}
}

func TestInvitations(t *testing.T) {
	t.Parallel()
	first, second, third := bare(t, "first"), bare(t, "second"), bare(t, "third")
	good := first.invite(t)
	t.Run("damaged", func(t *testing.T) {
		for _, token := range []string{"nonsense", good[:len(good)-4], good + "x",
			strings.Replace(good, good[20:24], "0000", 1)} {
			second.join(t, token).wantRefused(t, "token is damaged", "copy it again")
		}
	})
	t.Run("expired", func(t *testing.T) {
		var inv api.Invite
		r := first.dtpnode(t, t.TempDir(), "invite", "--ttl", "1ms", "--output", "json")
		check(t, json.Unmarshal([]byte(r.stdout), &inv))
		token := inv.Token
		check(t, poll(settleLimit, func() (bool, error) { return time.Now().After(inv.Expires), nil }))
		second.join(t, token).wantRefused(t, "expired", "dtpnode invite")
	})
	t.Run("good", func(t *testing.T) {
		if r := second.join(t, "  "+good+"\n"); r.code != 0 {
			t.Fatalf("could not join: %+v", r)
		}
	})
	t.Run("used", func(t *testing.T) { third.join(t, good).wantRefused(t, "already used", "dtpnode invite") })
	t.Run("again", func(t *testing.T) { second.join(t, first.invite(t)).wantRefused(t, "already a member") })
	t.Run("other cluster", func(t *testing.T) {
		fourth := bare(t, "fourth")
		if r := fourth.join(t, third.invite(t)); r.code != 0 {
			t.Fatalf("could not join: %+v", r)
		}
		fourth.join(t, first.invite(t)).wantRefused(t, "another state folder")
	})
	t.Run("no right", func(t *testing.T) {
		r := second.dtpnode(t, t.TempDir(), "invite")
		r.wantRefused(t, "right")
	})
	t.Run("unreachable", func(t *testing.T) {
		gone := bare(t, "gone")
		token := gone.invite(t)
		check(t, gone.stop())
		bare(t, "fifth").join(t, token).wantRefused(t, "no connection to the inviting node")
	})
	t.Run("usage", func(t *testing.T) {
		for _, args := range [][]string{{"invite", "--rights", "king"}, {"invite", "--ttl", "-1s"}, {"join"}, {"join", ""}} {
			if r := first.dtpnode(t, t.TempDir(), args...); r.code != 2 {
				t.Errorf("%q: want exit 2: %+v", args, r)
			}
		}
	})
}

// TestRights gives one node the right to work and another one the right to submit.
func TestRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var nodes []*node
	for _, spec := range []nodeSpec{{name: "all"}, {name: "worker"}, {name: "submitter"}} {
		n, err := launchNode(dir, spec)
		check(t, err)
		nodes = append(nodes, n)
	}
	c := &cluster{nodes: nodes}
	t.Cleanup(func() { check(t, c.stop()) })
	c.showLogs(t)
	for i, n := range nodes {
		check(t, n.waitReady())
		if i > 0 {
			if r := n.join(t, nodes[0].invite(t, "--rights", n.name)); r.code != 0 {
				t.Fatalf("could not join: %+v", r)
			}
		}
	}
	for _, n := range nodes {
		check(t, poll(settleLimit, func() (bool, error) { st, err := n.status(); return st.Up == 3, err }))
	}
	j := paced(t, 20)
	refused := nodes[1].run(t, j)
	refused.wantError(t, "no right to submit")
	if !strings.Contains(refused.hint, "dtpnode invite --rights") {
		t.Errorf("the hint does not help: %s", refused.describe())
	}
	for _, n := range []*node{nodes[0], nodes[2]} {
		o := wide(t, n, j, 2)
		o.wantWhole(t)
		if o.work(t, "worker").Units == 0 || o.work(t, "all").Units == 0 {
			t.Errorf("those who may work have not: %s", o.describe())
		}
		if n == nodes[0] && o.work(t, "submitter").Units > 0 {
			t.Errorf("the submitter worked for another: %s", o.describe())
		}
	}
	r := nodes[1].begin(t, paced(t, 100)) // the refusal comes before any work
	if o := r.end(t); o.code != 1 {
		t.Errorf("want exit 1: %s", o.describe())
	}
}

// TestRevoked puts a node out in the middle of a job. Its work is done by others.
func TestRevoked(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	r := c.nodes[0].begin(t, paced(t, 120))
	r.part(t, 0.2)
	if out := c.nodes[0].dtpnode(t, t.TempDir(), "revoke", "c"); out.code != 0 {
		t.Errorf("could not revoke: %+v", out)
	}
	o := r.end(t)
	o.wantWhole(t)
	c.nodes[2].wantIdle(t)
	check(t, poll(settleLimit, func() (bool, error) {
		ms, err := c.nodes[1].client.Members(t.Context())
		return len(ms) == 2, err
	}))
}

// otherROOT is a folder that looks like another version of ROOT.
func otherROOT(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"include/TTree.h": "", "lib/libCore.so": "", "bin/rootcling": "",
		"include/RVersion.h": fmt.Sprintf("#define ROOT_RELEASE %q\n", version)} {
		check(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	return dir
}

// TestOtherROOT has a node of another ROOT join: it is told at once what to do, all see why it does not
// work, and it does no harm.
func TestOtherROOT(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	cxx := filepath.Join(t.TempDir(), "cxx") // never done with the child
	check(t,
		os.WriteFile(cxx, []byte("#!/bin/sh\n[ \"$1\" = --version ] && echo 'g++ 12.2.0' && exit\nexec sleep 3600\n"), 0o755))
	odd, err := launchNode(t.TempDir(), nodeSpec{name: "odd", wrap: []string{"env", "CXX=" + cxx},
		args: []string{"--root", otherROOT(t, "6.99.01"), "--cache", t.TempDir()}})
	check(t, err)
	c.nodes = append(c.nodes, odd)
	check(t, poll(settleLimit, func() (bool, error) { _, err := odd.status(); return err == nil, nil }))
	r := odd.join(t, c.nodes[0].invite(t))
	if r.code != 0 || !strings.Contains(r.stdout, "6.99.01") || !strings.Contains(r.stdout, "install the same version") {
		t.Errorf("the join does not say what to do: %+v", r)
	}
	check(t, poll(settleLimit, func() (bool, error) {
		ms, err := c.nodes[1].client.Members(t.Context())
		return slices.ContainsFunc(ms, func(m api.Member) bool {
			return m.Name == "odd" && strings.Contains(m.Note, "6.99.01") && strings.Contains(m.Note, "install the same version")
		}), err
	}))
	j := paced(t, 30)
	o := c.nodes[1].run(t, j)
	o.wantWhole(t)
	if o.work(t, "odd").Units > 0 {
		t.Errorf("a node of another ROOT worked: %s", o.describe())
	}
}

// TestClosedByDefault looks at a daemon that was told nothing: it listens on loopback only, and only its
// user can steer it.
func TestClosedByDefault(t *testing.T) {
	t.Parallel()
	n := bare(t, "default")
	st, err := n.status()
	check(t, err)
	if len(st.Addrs) == 0 {
		t.Error("no address")
	}
	for _, a := range st.Addrs {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			t.Errorf("listens on %s", a)
		}
	}
	if st.Members != 1 {
		t.Errorf("it has %d members", st.Members)
	}
	r := n.dtpnode(t, t.TempDir(), "invite")
	if r.code != 0 || !strings.Contains(r.stderr, "--listen") {
		t.Errorf("an invitation that works here alone is not told: %+v", r)
	}
	for path, want := range map[string]os.FileMode{api.SocketPath(n.state): 0o600, n.state: 0o700} {
		info, err := os.Stat(path)
		check(t, err)
		if info.Mode().Perm()&^want != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

// TestHostileConnections throws bytes at the ports of nodes at work, and comes as a libp2p peer that is
// no member. The job does not mind and nothing is answered.
func TestHostileConnections(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	r := c.nodes[0].begin(t, paced(t, 300))
	r.part(t, 0.1)
	st, err := c.nodes[0].status()
	check(t, err)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { garbage(st.Addrs[0], i) })
	}
	wg.Wait()
	stranger(t, st)
	o := r.end(t)
	o.wantWhole(t)
	if o.work(t, "b").Units == 0 {
		t.Errorf("the members lost touch: %s", o.describe())
	}
	after, err := c.nodes[0].status()
	if err != nil || after.PID != st.PID || after.Up != 2 || after.RSS > 150<<20 {
		t.Errorf("the daemon suffered: %+v %v", after, err)
	}
}

// garbage sends what no peer would. Errors are what it hopes for.
func garbage(addr string, kind int) {
	conn, err := net.DialTimeout("tcp", addr, settleLimit)
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	noise := make([]byte, 256<<10)
	_, _ = rand.Read(noise)
	switch kind % 5 {
	case 0:
		_, _ = conn.Write(noise)
	case 1:
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	case 2:
		_, _ = conn.Write(append([]byte("\x13/multistream/1.0.0\n"), noise...))
	case 3:
		_, _ = conn.Write(make([]byte, 1<<20))
	case 4: // says nothing
	}
	_, _ = conn.Read(noise)
}

// stranger is a libp2p peer that is no member; it must get no answer from any of the protocols.
func stranger(t *testing.T, st api.NodeStatus) {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs)
	check(t, err)
	defer h.Close()
	id, err := peer.Decode(st.ID)
	check(t, err)
	host, port, err := net.SplitHostPort(st.Addrs[0])
	check(t, err)
	addr, err := ma.NewMultiaddr("/ip4/" + host + "/tcp/" + port)
	check(t, err)
	if err := h.Connect(t.Context(), peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{addr}}); err != nil {
		return // turned away at the door
	}
	for _, p := range []protocol.ID{"/dtpnode/1/link", "/dtpnode/link", "/dtpnode/1/roster", "/dtpnode/1/request",
		"/dtpnode/1/blob", "/meshsub/1.1.0"} {
		s, err := h.NewStream(t.Context(), id, p)
		if err != nil {
			continue
		}
		_ = s.SetDeadline(time.Now().Add(2 * time.Second))
		_, _ = s.Write([]byte{0, 0, 0, 1, 0xc0})
		answer := make([]byte, 64)
		if n, err := s.Read(answer); err == nil && n > 0 {
			t.Errorf("protocol %s answers a stranger with %q", p, answer[:n])
		} else if err == nil {
			err = errors.New("nothing")
			t.Logf("%s: %v", p, err)
		}
		_ = s.Reset()
	}
}

// TestRequestsAreBounded sends the control interface what no command would.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	n := bare(t, "one")
	for _, body := range []string{"", "{", `{"no_such_field":1}`, `{"files":"x"}`, strings.Repeat("[", 100_000)} {
		conn, err := net.Dial("unix", api.SocketPath(n.state))
		check(t, err)
		_, err = fmt.Fprintf(conn, "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
			len(body), body)
		check(t, err)
		answer := make([]byte, 4096)
		k, err := conn.Read(answer)
		check(t, err)
		if !strings.HasPrefix(string(answer[:k]), "HTTP/1.1 400 ") {
			t.Errorf("%.20q is answered with %q", body, answer[:k])
		}
		conn.Close()
	}
	var st api.NodeStatus
	r := n.dtpnode(t, t.TempDir(), "status", "--output", "json")
	if err := json.Unmarshal([]byte(r.stdout), &st); err != nil || st.Name != "one" {
		t.Errorf("the daemon does not answer any more: %v %+v", err, r)
	}
}
