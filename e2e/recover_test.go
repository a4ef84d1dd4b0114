package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// bereft is a cluster with a job of n0, some of it committed, of whose three replicas two are dead: all but the one
// that is returned. n3 and n4 have the right admin, n1 and n2 may work and submit. With self the submitter has the last
// copy; else it is dead.
func bereft(t *testing.T, j fakeJob, self bool) (c *cluster, id string, last *node, dead []*node) {
	t.Helper()
	specs := hasty(t, 5)
	c = rightfulOf(t, specs, "worker,submitter", "worker,submitter", "worker,admin", "worker,admin")
	owner := c.nodes[0]
	id = owner.submit(t, j.request(t)).ID
	st := owner.when(t, id, "some is committed on three nodes", func(st api.JobStatus) bool {
		return st.Safe && len(st.Replicas) == 3 && st.Committed > 0
	})
	c.nodes[1].dtpnode(t, t.TempDir(), "recover", id, "--yes").wantRefused(t, "n0's", "admin")
	if r := owner.dtpnode(t, t.TempDir(), "recover", id, "--yes"); r.code != 1 ||
		!strings.Contains(r.stderr, "goes on by itself") {
		t.Errorf("a job that runs: %+v", r)
	}
	last = owner
	for _, name := range st.Replicas {
		if n := c.byName(t, name); !self && n != owner {
			last = n
		}
	}
	for _, name := range st.Replicas {
		if n := c.byName(t, name); n != last {
			dead = append(dead, n)
			kill(t, n.cmd.Process.Pid)
		}
	}
	for _, n := range dead {
		n.client.Close()
		<-n.ended
	}
	return c, id, last, dead
}

// hasty are fake daemons that commit every second.
func hasty(t *testing.T, n int) []nodeSpec {
	specs := fakeSpecs(t, n)
	for i := range specs {
		specs[i].args = []string{"--commit-every", "1s"}
	}
	return specs
}

// hastySpec is one of them, to be started again.
func hastySpec(t *testing.T, n *node) nodeSpec {
	spec := hasty(t, 1)[0]
	spec.name = n.name
	return spec
}

// alive is the first of some nodes that lives, nil for none.
func alive(dead []*node, of ...*node) *node {
	if i := slices.IndexFunc(of, func(n *node) bool { return !slices.Contains(dead, n) }); i >= 0 {
		return of[i]
	}
	return nil
}

// waitsForRecovery waits until a node says that a job waits, and how it can be recovered.
func (n *node) waitsForRecovery(t *testing.T, id string, says ...string) {
	t.Helper()
	var r result
	err := poll(commandLimit, func() (bool, error) {
		r = n.dtpnode(t, t.TempDir(), "status", id)
		return !slices.ContainsFunc(append(says, "waits", "dtpnode recover "+id[:12]), func(s string) bool {
			return !strings.Contains(r.stdout+r.stderr, s)
		}), nil
	})
	if err != nil {
		t.Fatalf("it does not say that the job waits, and how it goes on: %+v", r)
	}
	if st, ok := n.listed(t, id); !ok || st.State != api.Waiting {
		t.Errorf("it is listed %v: %+v", ok, st)
	}
}

// recovered has a node recover a job, as soon as that may be.
func (n *node) recovered(t *testing.T, id string, further ...string) (says result) {
	t.Helper()
	err := poll(commandLimit, func() (bool, error) {
		says = n.dtpnode(t, t.TempDir(), append([]string{"recover", id, "--yes"}, further...)...)
		return says.code == 0, nil
	})
	if err != nil {
		t.Fatalf("not recovered: %+v", says)
	}
	return says
}

// TestRecover destroys two of three replicas of a job: it waits, says what its user can do, and is done once that was
// done, with each entry counted once. Nobody else may.
func TestRecover(t *testing.T) {
	t.Parallel()
	j := paceOf(5, 20*time.Second)
	c, id, owner, dead := bereft(t, j, true)
	check(t, os.RemoveAll(dead[0].state))
	check(t, os.RemoveAll(filepath.Join(dead[1].state, "ledgers"))) // this one comes back without
	dead[1].relaunch(t, hastySpec(t, dead[1]))
	owner.waitsForRecovery(t, id, dead[0].name+" cannot be reached",
		dead[1].name+" is up and did not answer about this job")
	if stranger := alive(dead, c.nodes[1], c.nodes[2]); stranger != nil {
		stranger.dtpnode(t, t.TempDir(), "recover", id, "--yes").wantRefused(t, "n0's", "admin")
	}
	err := poll(commandLimit, func() (bool, error) {
		r := owner.dtpnode(t, t.TempDir(), "recover", id) // not told to, it says what there is and does nothing
		return r.code == 2 && strings.Contains(r.stderr, "--yes") && strings.Contains(r.stderr, "Lost: "+dead[0].name) &&
			strings.Contains(r.stderr, "entries are committed"), nil
	})
	check(t, err)
	owner.waitsForRecovery(t, id)
	if r := owner.recovered(t, id); !strings.Contains(r.stderr, "Lost: "+dead[1].name+" is up, and has no copy") {
		t.Errorf("it does not say who has lost its copy: %+v", r)
	}
	owner.until(t, id, "the job is done", func(st api.JobStatus) bool { return st.State == api.Done })
	st, err := owner.job(t.Context(), id)
	check(t, err)
	j.wantCounted(t, owner, st)
}

// TestRecoverForAnother has an admin recover a job whose submitter is dead, from another's copy; then the two replicas
// that were taken for lost come back with all they had. They give that up, and all tell of one result.
func TestRecoverForAnother(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	j := paceOf(5, 25*time.Second)
	c, id, last, dead := bereft(t, j, false)
	r := alive(dead, c.nodes[3], c.nodes[4]).recovered(t, id)
	if !strings.Contains(r.stdout, "goes on from the copy of "+last.name) {
		t.Errorf("it does not say whose copy: %+v", r)
	}
	last.until(t, id, "it runs", func(st api.JobStatus) bool { return st.State == api.Running && st.HomeName != "" })
	for _, n := range dead {
		n.relaunch(t, hastySpec(t, n))
	}
	owner := c.nodes[0] // who is back
	owner.until(t, id, "the job is done", func(st api.JobStatus) bool { return st.State == api.Done })
	st, err := owner.job(t.Context(), id)
	check(t, err)
	j.wantCounted(t, owner, st)
	for _, n := range c.nodes {
		var got api.JobStatus
		n.when(t, id, "it is done", func(st api.JobStatus) bool {
			got = st
			return st.State == api.Done || st.Private != "" && st.State.Final()
		})
		if got.Private == "" && got.SHA256 != st.SHA256 {
			b, _ := json.Marshal(got)
			t.Errorf("%s tells another result than %s: %s", n.name, st.SHA256, b)
		}
	}
	gaveUp := 0
	for _, n := range dead {
		if strings.Contains(n.logTail(0), "goes on from the copy of") {
			gaveUp++
		}
	}
	if gaveUp != len(dead) {
		t.Errorf("%d of %d replicas of before gave their copies up", gaveUp, len(dead))
	}
}

// TestRecoveredEndCounts has two of three replicas end a job without the third, which was away; then these are away,
// and the submitter recovers the job from the third, its own, though the copy there is old. When all meet, the
// recovered job counts: who took the other end for it takes that back, and tells the recovered result.
func TestRecoveredEndCounts(t *testing.T) {
	t.Parallel()
	j := paceOf(3, 15*time.Second)
	c := rightfulOf(t, hasty(t, 3), "worker,submitter", "worker,admin")
	last, other := c.nodes[1], c.nodes[2]
	id := last.submit(t, j.request(t)).ID
	last.when(t, id, "some is committed on three nodes", func(st api.JobStatus) bool {
		return st.Safe && len(st.Replicas) == 3 && st.Committed > 0
	})
	last.crash(t)
	others := c.but(last)
	other.until(t, id, "the job is done without one", func(st api.JobStatus) bool { return st.State == api.Done })
	for _, n := range others {
		n.crash(t)
	}
	last.relaunch(t, hastySpec(t, last))
	last.waitsForRecovery(t, id)
	loadSchemas(t, last.bin).hold(t, "recover", last.recovered(t, id, "--output", "json").stdout)
	for _, n := range others {
		n.relaunch(t, hastySpec(t, n))
	}
	last.until(t, id, "the recovered job is done", func(st api.JobStatus) bool { return st.State == api.Done })
	st, err := last.job(t.Context(), id)
	check(t, err)
	j.wantCounted(t, last, st)
	other.until(t, id, "the recovered end is known", func(got api.JobStatus) bool {
		return got.State == api.Done && got.Term == st.Term
	})
	got, err := other.job(t.Context(), id)
	check(t, err)
	j.wantCounted(t, other, got)
	if !strings.Contains(other.logTail(0), "takes the end of a job back") {
		t.Error("it did not take the other end back")
	}
}

// TestSupersededCopyIsKept has a job recovered by an admin, for which two nodes give their copies up, and loses the
// recovered copy too. The submitter has the job go on from one of those that were given up, and it is done with each
// entry once.
func TestSupersededCopyIsKept(t *testing.T) {
	t.Parallel()
	j := paceOf(5, 25*time.Second)
	c, id, last, dead := bereft(t, j, false)
	alive(dead, c.nodes[3], c.nodes[4]).recovered(t, id)
	for _, n := range dead {
		n.relaunch(t, hastySpec(t, n))
	}
	owner := c.nodes[0] // who is back
	err := poll(commandLimit, func() (bool, error) {
		r := owner.dtpnode(t, t.TempDir(), "recover", id, "--superseded")
		return r.code == 2 && strings.Contains(r.stderr, "put aside") &&
			strings.Contains(r.stderr, "from the copy of "+last.name) && strings.Contains(r.stderr, "--yes"), nil
	})
	if err != nil {
		t.Fatalf("it does not say what was put aside: %s", owner.logTail(0))
	}
	last.crash(t)
	check(t, os.RemoveAll(filepath.Join(last.state, "ledgers")))
	if stranger := alive(append(dead, last), c.nodes[1], c.nodes[2]); stranger != nil {
		stranger.dtpnode(t, t.TempDir(), "recover", id, "--superseded", "--yes").wantRefused(t, "n0's", "admin")
	}
	loadSchemas(t, owner.bin).hold(t, "recover",
		owner.recovered(t, id, "--superseded", "--from", "n0", "--output", "json").stdout)
	owner.until(t, id, "the job is done", func(st api.JobStatus) bool { return st.State == api.Done })
	st, err := owner.job(t.Context(), id)
	check(t, err)
	j.wantCounted(t, owner, st)
}
