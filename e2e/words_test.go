package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestDownThenUp starts a daemon again as soon as `down` has returned, with a job under way that it has to put away.
func TestDownThenUp(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 1)...)
	n := c.nodes[0]
	check(t, n.stop())
	dir := t.TempDir()
	up := []string{"up", "--detach", "--name", n.name, "--slots", "2", "--root", suite.root}
	t.Cleanup(func() { _, _ = n.command(context.WithoutCancel(t.Context()), dir, "down") })
	for i := range 3 {
		if r := n.dtpnode(t, dir, up...); r.code != 0 {
			t.Fatalf("up does not work after down, the %d. time: %+v", i+1, r)
		}
		n.submit(t, paceOf(2, time.Minute).request(t))
		if r := n.dtpnode(t, dir, "down"); r.code != 0 {
			t.Fatalf("down: %+v", r)
		}
	}
}

// TestCancelledTellsWhatWasDone cancels a job of which nothing is committed yet.
func TestCancelledTellsWhatWasDone(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 2)...)
	home := c.nodes[0]
	st := home.submit(t, paceOf(2, time.Minute).request(t))
	before := home.when(t, st.ID, "some of it is done", func(st api.JobStatus) bool { return st.Done > 1000 })
	if r := c.nodes[1].dtpnode(t, t.TempDir(), "cancel", st.ID[:12]); r.code != 0 {
		t.Fatalf("cancel: %+v", r)
	}
	for _, n := range c.nodes {
		end := n.when(t, st.ID, "it is cancelled", func(st api.JobStatus) bool { return st.State.Final() })
		if end.State != api.Cancelled || end.Done < before.Done {
			t.Errorf("%s tells of %d entries done (state %s), where %d were before", n.name, end.Done, end.State, before.Done)
		}
	}
}

// follower is a `dtpnode attach` under way.
type follower struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	mu     sync.Mutex
	stdout bytes.Buffer
}

// Write takes what the command prints.
func (f *follower) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stdout.Write(b)
}

// attach follows a job in the background.
func (n *node) attach(t *testing.T, id string, args ...string) *follower {
	t.Helper()
	f := &follower{ended: make(chan struct{})}
	f.cmd = exec.CommandContext(t.Context(), n.bin, append([]string{"attach", id}, args...)...)
	f.cmd.Env = append(os.Environ(), "DTPNODE_STATE="+n.state, "DTPNODE_CACHE="+suite.cache)
	f.cmd.Dir, f.cmd.Stdout, f.cmd.Stderr = t.TempDir(), f, f
	check(t, f.cmd.Start())
	go func() { // ends with the command
		_ = f.cmd.Wait()
		close(f.ended)
	}()
	return f
}

// text is what the command has printed until now.
func (f *follower) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stdout.String()
}

// prints waits until the command has printed all of it, in this order.
func (f *follower) prints(t *testing.T, all ...string) {
	t.Helper()
	err := poll(commandLimit, func() (bool, error) {
		rest, found := f.text(), true
		for _, s := range all {
			_, rest, found = strings.Cut(rest, s)
			if !found {
				break
			}
		}
		return found, nil
	})
	if err != nil {
		t.Fatalf("%q is not in this order in: %s", all, f.text())
	}
}

// widow starts three daemons with a job at the first, whose ledger all of them keep, and kills the other two.
func widow(t *testing.T, j fakeJob) (c *cluster, home *node, id string, followers []*follower) {
	t.Helper()
	c = ownCluster(t, fakeSpecs(t, 3)...)
	home = c.nodes[0]
	id = home.submit(t, j.request(t)).ID
	home.when(t, id, "it is safe", func(st api.JobStatus) bool { return st.Safe && len(st.Replicas) == 3 && st.Done > 0 })
	followers = []*follower{home.attach(t, id), home.attach(t, id, "--output", "json")}
	followers[0].prints(t, "running")
	followers[1].prints(t, `"running"`)
	for _, n := range c.nodes[1:] { // at once, so that no majority can do without them
		kill(t, n.cmd.Process.Pid)
	}
	for _, n := range c.nodes[1:] {
		<-n.ended
	}
	return c, home, id, followers
}

// listed is a job as `dtpnode ps` lists it.
func (n *node) listed(t *testing.T, id string) (api.JobStatus, bool) {
	t.Helper()
	r := n.dtpnode(t, t.TempDir(), "ps", "--output", "json")
	var all []api.JobStatus
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil {
		t.Fatalf("ps: %v: %+v", err, r)
	}
	i := slices.IndexFunc(all, func(st api.JobStatus) bool { return st.ID == id })
	if i < 0 {
		return api.JobStatus{}, false
	}
	return all[i], true
}

// TestWaitingIsTold kills most replicas of a job: all commands tell that it waits, and why, and no rate or time left;
// when one is back it goes on, and they tell that.
func TestWaitingIsTold(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 12*time.Second)
	c, home, id, followers := widow(t, j)
	followers[0].prints(t, "waiting", "of the 3 nodes that keep its ledger", "cannot be reached")
	followers[1].prints(t, `"state":"waiting","phase":"`, "cannot be reached")
	check(t, poll(commandLimit, func() (bool, error) {
		st, ok := home.listed(t, id)
		return ok && st.State == api.Waiting &&
			(strings.Contains(st.Phase, "n1 and n2 cannot") || strings.Contains(st.Phase, "n2 and n1 cannot")) && st.Rate == 0 &&
			st.Units == j.units(), nil
	}))
	if r := home.dtpnode(t, t.TempDir(), "ps"); !strings.Contains(r.stdout, "waits: most of the 3 nodes") {
		t.Errorf("ps gives no reason: %s", r.stdout)
	}
	for _, args := range [][]string{{"status", id[:12]}, {"status", id[:12], "--output", "json"}} {
		r := home.dtpnode(t, t.TempDir(), args...)
		for _, s := range []string{"waiting", "of the 3 nodes that keep its ledger", "start dtpnode up there"} {
			if r.code != 0 || !strings.Contains(r.stdout, s) {
				t.Errorf("%v does not say %q: %+v", args, s, r)
			}
		}
	}
	_, after, _ := strings.Cut(followers[0].text(), "waiting ")
	if strings.Contains(after, "ETA") || strings.Contains(after, "events/s") {
		t.Errorf("a rate or a time left while it waits: %s", after)
	}
	c.nodes[1].restart(t, fakeSpecs(t, 3)[1])
	followers[0].prints(t, "waiting", "running", "done:")
	followers[1].prints(t, `"waiting"`, `"running"`, `"done"`)
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
}

// TestHungReplicasAreTold stops most replicas of a job, so that their links look whole: that it waits is told because
// they do not answer, before the links are closed for it; when they go on, so does the job.
func TestHungReplicasAreTold(t *testing.T) {
	t.Parallel()
	j := paceOf(3, 12*time.Second)
	c := ownCluster(t, fakeSpecs(t, 3)...)
	home := c.nodes[0]
	id := home.submit(t, j.request(t)).ID
	home.when(t, id, "it is safe", func(st api.JobStatus) bool { return st.Safe && len(st.Replicas) == 3 && st.Done > 0 })
	f := home.attach(t, id)
	f.prints(t, "running")
	c.nodes[1].suspended(t, func() {
		c.nodes[2].suspended(t, func() {
			f.prints(t, "waiting", "did not answer for two seconds")
			check(t, poll(commandLimit, func() (bool, error) {
				st, ok := home.listed(t, id)
				return ok && st.State == api.Waiting && st.Rate == 0, nil
			}))
		})
	})
	f.prints(t, "waiting", "running", "done:")
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
}

// TestCancelWhileWaiting cancels a job that waits: nothing says that it is cancelled before it is, and it is when most
// of its replicas are back, though the node that was asked has been killed meanwhile.
func TestCancelWhileWaiting(t *testing.T) {
	t.Parallel()
	c, home, id, followers := widow(t, paceOf(2, 2*time.Minute))
	followers[0].prints(t, "waiting")
	r := home.dtpnode(t, t.TempDir(), "cancel", id[:12])
	if r.code != 4 || strings.Contains(r.stdout, "cancelled") || !strings.Contains(r.stderr, "not cancelled yet") ||
		!strings.Contains(r.stderr, "may go on") {
		t.Errorf("cancel says: %+v", r)
	}
	if st, ok := home.listed(t, id); !ok || st.State.Final() {
		t.Errorf("ps tells: %v %+v", ok, st)
	}
	home.crash(t)
	for i, spec := range fakeSpecs(t, 3)[:2] {
		c.nodes[i].restart(t, spec)
	}
	for _, n := range c.nodes[:2] {
		if st := n.when(t, id, "it is cancelled", func(st api.JobStatus) bool {
			return st.State.Final()
		}); st.State != api.Cancelled {
			t.Errorf("%s tells: %+v", n.name, st)
		}
	}
	if r := home.dtpnode(t, t.TempDir(), "cancel", id[:12]); r.code != 1 || !strings.Contains(r.stderr, "ended") {
		t.Errorf("cancel of a cancelled job says: %+v", r)
	}
}

// TestEndedJobsAreTold: what is asked of a job that has ended, and does not go with that, is refused with how it has
// ended.
func TestEndedJobsAreTold(t *testing.T) {
	t.Parallel()
	n := ownCluster(t, fakeSpecs(t, 1)...).nodes[0]
	done := n.submit(t, fakeJob{
		Spec:     fakeexec.Spec{Entry: "10us", Bins: 10},
		files:    1,
		clusters: 10,
		entries:  1000,
	}.request(t)).ID
	n.when(t, done, "it is done", func(st api.JobStatus) bool { return st.State == api.Done })
	cancelled := n.submit(t, paceOf(1, time.Minute).request(t)).ID
	n.when(t, cancelled, "it runs", func(st api.JobStatus) bool { return st.Done > 0 })
	refused := func(says, not string, args ...string) {
		t.Helper()
		r := n.dtpnode(t, t.TempDir(), args...)
		if r.code != 1 || !strings.Contains(r.stderr, says) || strings.Contains(r.stderr, not) {
			t.Errorf("%q: want exit 1, %q and not %q: %+v", args, says, not, r)
		}
	}
	if r := n.dtpnode(t, t.TempDir(), "cancel", cancelled); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	refused("it was cancelled\n  nothing of it is kept", "dtpnode get", "get", "--partials", cancelled, "-o", "parts")
	refused("it is done\n  `dtpnode get "+done[:12], "lost", "get", "--partials", done, "-o", "parts")
	_ = n.stop()
	check(t, os.RemoveAll(filepath.Join(n.state, "ledgers"))) // which are dropped some time after the end
	n.restart(t, fakeSpecs(t, 1)[0])
	refused("it is done\n  `dtpnode get "+done[:12], "no member", "recover", done[:8], "--yes")
}
