package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// Deadlines of what is waited for. They end a test that hangs, and are no measure of anything.
const (
	startLimit   = 8 * time.Minute // the first start on a host builds the ROOT child
	settleLimit  = 5 * time.Minute // fifty daemons on two busy processors take theirs
	commandLimit = 10 * time.Minute
	leaveLimit   = 30 * time.Second
)

// node is one daemon, a child of the test that ends with it.
type node struct {
	name  string
	dir   string // of the test's, not the daemon's
	state string
	log   string
	wrap  []string // how commands reach the daemon, before the binary's name; usually nothing
	bin   string   // the binary

	cmd    *exec.Cmd
	stdin  io.Closer // the daemon ends when it is closed
	ended  chan struct{}
	client *api.Client
}

// nodeSpec says how a daemon is started, where it is not as usual.
type nodeSpec struct {
	name   string
	slots  int      // default 1
	args   []string // further arguments of up
	wrap   []string // before the binary: a command that runs a command
	inside func(pid int) []string
	state  string   // default a new folder
	binary string   // default the suite's
	env    []string // added to the environment
}

// startNode starts a daemon and returns when it can run jobs.
func startNode(dir string, spec nodeSpec) (*node, error) {
	n, err := launchNode(dir, spec)
	if err != nil {
		return nil, err
	}
	if err := n.waitReady(); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return n, nil
}

// launchNode starts a daemon and does not wait for it.
func launchNode(dir string, spec nodeSpec) (*node, error) {
	n := &node{
		name:  spec.name,
		dir:   dir,
		state: spec.state,
		log:   filepath.Join(dir, spec.name+".log"),
		ended: make(chan struct{}),
	}
	if n.state == "" {
		n.state = filepath.Join(dir, spec.name)
	}
	if n.bin = spec.binary; n.bin == "" {
		n.bin = suite.binary
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) // a daemon that starts again adds to it
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append([]string{}, spec.wrap...)
	args = append(args, n.bin, "up", "--ephemeral", "--state", n.state, "--cache", suite.cache,
		"--name", spec.name, "--slots", fmt.Sprint(max(spec.slots, 1)))
	if !slices.Contains(spec.args, "--root") {
		args = append(args, "--root", suite.root)
	}
	args = append(args, spec.args...)
	n.cmd = exec.Command(args[0], args[1:]...)
	n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr = dir, log, log
	n.cmd.Env = append(os.Environ(), spec.env...)
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("could not start daemon %s: %w", n.name, err)
	}
	go func() { // ends with the daemon; stop waits for it
		_ = n.cmd.Wait()
		close(n.ended)
	}()
	if spec.inside != nil {
		n.wrap = spec.inside(n.cmd.Process.Pid)
	}
	n.client = api.NewClient(api.SocketPath(n.state))
	return n, nil
}

// waitReady polls until the daemon runs and its ROOT is warm.
func (n *node) waitReady() error {
	last := "no answer"
	err := poll(startLimit, func() (bool, error) {
		select {
		case <-n.ended:
			return false, fmt.Errorf("%s\ndaemon %s ended", n.logTail(0), n.name)
		default:
		}
		st, err := n.status()
		if err != nil {
			last = err.Error()
			return false, nil
		}
		last = st.Problem
		return len(st.Runtimes) > 0 && st.Problem == "", nil
	})
	if err != nil {
		return fmt.Errorf("%s\ndaemon %s is not ready (%s): %w", n.logTail(0), n.name, last, err)
	}
	return nil
}

// status asks the daemon, by a command where its socket cannot be seen from here.
func (n *node) status() (api.NodeStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
	defer cancel()
	if len(n.wrap) == 0 {
		return n.client.Status(ctx)
	}
	r, err := n.command(ctx, n.dir, "status", "--output", "json")
	if err != nil {
		return api.NodeStatus{}, err
	}
	var st api.NodeStatus
	if err := json.Unmarshal([]byte(r.stdout), &st); err != nil {
		return st, fmt.Errorf("could not read the status of %s: %w: %+v", n.name, err, r)
	}
	return st, nil
}

// stop ends the daemon, politely at first, and waits for it.
func (n *node) stop() error {
	n.client.Close()
	_ = n.stdin.Close()
	timer := time.NewTimer(leaveLimit)
	defer timer.Stop()
	select {
	case <-n.ended:
		return nil
	case <-timer.C:
	}
	err := n.cmd.Process.Kill()
	<-n.ended
	return errors.Join(fmt.Errorf("%s\ndaemon %s did not end by itself", n.logTail(0), n.name), err)
}

// logTail is the daemon's log from an offset on, the last of it if it is long. Errors have it before their words, which
// are then at the end, where whoever is shown only the end of an output finds them.
func (n *node) logTail(from int64) string {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	text = text[min(from, int64(len(text))):]
	return string(text[max(0, len(text)-most):])
}

func (n *node) logSize() int64 {
	info, err := os.Stat(n.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// dtpnode runs a command against the daemon, in a folder of its own.
func (n *node) dtpnode(t testing.TB, dir string, args ...string) result {
	t.Helper()
	r, err := n.command(t.Context(), dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (n *node) command(ctx context.Context, dir string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	all := append([]string{}, n.wrap...)
	if len(n.wrap) > 0 { // another mount namespace begins at its root
		all = append(all, "sh", "-c", `cd "$0" && exec "$@"`, dir)
	}
	all = append(append(all, n.bin), args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DTPNODE_STATE="+n.state, "DTPNODE_CACHE="+suite.cache)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result{}, fmt.Errorf("%s\n%s%sdtpnode %s hangs: %w", n.logTail(0), &stdout, &stderr, strings.Join(args, " "),
			ctx.Err())
	case err != nil && !errors.As(err, &exit):
		return result{}, fmt.Errorf("could not run dtpnode %s: %w", strings.Join(args, " "), err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}, nil
}

// poll asks until it is so, or an error, or the limit.
func poll(limit time.Duration, so func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		if ok, err := so(); ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not so after %s", limit)
		}
		time.Sleep(pause)
	}
}

// cluster is some daemons that are members of one cluster.
type cluster struct{ nodes []*node }

// startCluster starts daemons and joins them to the first one's cluster.
func startCluster(dir string, specs ...nodeSpec) (*cluster, error) {
	c := &cluster{}
	for _, spec := range specs {
		n, err := launchNode(dir, spec)
		if err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.waitReady(); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	if err := c.join(); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// join invites all others to the first one's cluster and waits until everyone sees everyone.
func (c *cluster) join() error {
	ctx := context.Background()
	for _, n := range c.nodes[1:] {
		inv, err := c.nodes[0].command(ctx, n.dir, "invite", "--rights", "worker,submitter,admin")
		if err != nil || inv.code != 0 {
			return fmt.Errorf("could not invite: %w %+v", err, inv)
		}
		if r, err := n.command(ctx, n.dir, "join", strings.TrimSpace(inv.stdout)); err != nil || r.code != 0 {
			return fmt.Errorf("could not join: %w %+v", err, r)
		}
	}
	for _, n := range c.nodes {
		up := 0
		err := poll(settleLimit, func() (bool, error) {
			st, err := n.status()
			up = st.Up
			return up == len(c.nodes), err
		})
		if err != nil {
			return fmt.Errorf("%s\n%s sees %d members of %d up: %w", n.logTail(0), n.name, up, len(c.nodes), err)
		}
	}
	return nil
}

func (c *cluster) stop() error {
	errs := make([]error, len(c.nodes))
	var wg sync.WaitGroup
	for i, n := range c.nodes {
		wg.Go(func() { errs[i] = n.stop() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// showLogs prints, should t fail, what the daemons logged from now on.
func (c *cluster) showLogs(t testing.TB) {
	from := make([]int64, len(c.nodes))
	for i, n := range c.nodes {
		from[i] = n.logSize()
	}
	t.Cleanup(func() {
		for i, n := range c.nodes {
			if i >= len(from) { // joined later
				from = append(from, 0)
			}
			if t.Failed() {
				t.Logf("log of %s:\n%s", n.name, n.logTail(from[i]))
			}
		}
	})
}

// ownCluster is a cluster for one test.
func ownCluster(t testing.TB, specs ...nodeSpec) *cluster {
	t.Helper()
	c, err := startCluster(t.TempDir(), specs...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	})
	c.showLogs(t)
	return c
}

// threeNodes is the cluster of three daemons, one slot each, that most tests share.
var threeNodes sharedCluster

type sharedCluster struct {
	once sync.Once
	c    *cluster
	err  error
}

func (s *sharedCluster) get(t testing.TB) *cluster {
	t.Helper()
	s.once.Do(func() {
		wrap := unprivileged()
		s.c, s.err = startCluster(suite.dir, nodeSpec{
			name: "a",
			wrap: wrap,
		}, nodeSpec{name: "b", wrap: wrap}, nodeSpec{name: "c", wrap: wrap})
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	s.c.showLogs(t)
	return s.c
}

func (s *sharedCluster) close() error {
	if s.c == nil {
		return nil
	}
	return s.c.stop()
}

// unprivileged makes a daemon of root's obey the rights of files, as any other user's would.
func unprivileged() []string {
	if os.Getuid() != 0 {
		return nil
	}
	return []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"}
}
