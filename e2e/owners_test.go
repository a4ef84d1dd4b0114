package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// rightful is a cluster of fake nodes, each with the rights that its name says, and the first one with all.
func rightful(t *testing.T, rights ...string) *cluster {
	t.Helper()
	return rightfulOf(t, fakeSpecs(t, len(rights)+1), rights...)
}

// rightfulOf is rightful with the daemons given.
func rightfulOf(t *testing.T, specs []nodeSpec, rights ...string) *cluster {
	t.Helper()
	dir := t.TempDir()
	c := &cluster{}
	for i, spec := range specs {
		n, err := launchNode(dir, spec)
		check(t, err)
		c.nodes = append(c.nodes, n)
		check(t, n.waitReady())
		if i > 0 {
			if r := n.join(t, c.nodes[0].invite(t, "--rights", rights[i-1])); r.code != 0 {
				t.Fatalf("could not join: %+v", r)
			}
		}
	}
	t.Cleanup(func() { check(t, c.stop()) })
	c.showLogs(t)
	for _, n := range c.nodes {
		check(t, poll(settleLimit, func() (bool, error) { st, err := n.status(); return st.Up == len(specs), err }))
	}
	return c
}

// running waits until some of a job is done.
func (n *node) running(t *testing.T, id string) api.JobStatus {
	t.Helper()
	var st api.JobStatus
	check(t, poll(settleLimit, func() (got bool, err error) {
		st, err = n.job(t.Context(), id)
		return st.Done > 0, err
	}))
	return st
}

// TestWhoseJob has members with one right each try all commands on a job of another, while it runs and afterwards.
func TestWhoseJob(t *testing.T) {
	t.Parallel()
	c := rightful(t, "worker", "submitter,worker", "read", "admin")
	owner, admin := c.nodes[0], c.nodes[4]
	job := paceOf(2, 20*time.Minute)
	job.Print = "a line for the log"
	st := owner.submit(t, job.request(t))
	owner.running(t, st.ID)
	id := st.ID[:12]
	cmd := func(n *node, args ...string) result { return n.dtpnode(t, t.TempDir(), args...) }
	for _, n := range c.nodes[1:3] {
		if r := cmd(n, "status", id); r.code != 0 || !strings.Contains(r.stdout, "a job of n0") ||
			!strings.Contains(r.stdout, "running") || strings.Contains(r.stdout, "count.json") {
			t.Errorf("status on %s: %+v", n.name, r)
		}
		if r := cmd(n, "ps"); r.code != 0 || !strings.Contains(r.stdout, id) || strings.Contains(r.stdout, "count.json") {
			t.Errorf("ps on %s: %+v", n.name, r)
		}
		for _, args := range [][]string{
			{"logs", id},
			{"get", id, "-o", "-"},
			{"attach", id},
			{"cancel", id},
			{"cancel", "--keep", id},
		} {
			cmd(n, args...).wantRefused(t, "n0's", "admin", "dtpnode invite --rights")
		}
	}
	reader := c.nodes[3]
	for _, n := range []*node{owner, reader, admin} {
		if r := cmd(n, "logs", id); r.code != 0 || !strings.Contains(r.stdout, job.Print) {
			t.Errorf("logs on %s: %+v", n.name, r)
		}
		if r := cmd(n, "status", id); r.code != 0 || !strings.Contains(r.stdout, "count.json") {
			t.Errorf("status on %s: %+v", n.name, r)
		}
	}
	cmd(reader, "cancel", id).wantRefused(t, "n0's", "right admin")
	if now, err := owner.job(t.Context(), st.ID); err != nil || now.State != api.Running {
		t.Errorf("the job does not run any more: %+v, %v", now, err)
	}
	if r := cmd(admin, "cancel", "--keep", id); r.code != 0 {
		t.Errorf("an admin could not stop it: %+v", r)
	}
	check(t, poll(settleLimit, func() (bool, error) {
		now, err := owner.job(t.Context(), st.ID)
		return now.State == api.Partial, err
	}))
	cmd(c.nodes[1], "get", id, "-o", "-").wantRefused(t, "n0's")
	for _, n := range []*node{owner, reader, admin} {
		if r := cmd(n, "get", id, "-o", "-"); r.code != 3 || r.stdout == "" {
			t.Errorf("get on %s: exit %d, %s", n.name, r.code, r.stderr)
		}
	}
}

// TestRevokedSubmitter revokes a job's submitter while the job runs and its home is the submitter, or another since
// the submitter died, or with a replica away that is needed to end it: nothing runs any more at once, the job ends
// with that reason, also for the replica that comes back, and no ledger is taken for damaged.
func TestRevokedSubmitter(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ homeElsewhere, replicaAway bool }{
		"home": {}, "home elsewhere": {homeElsewhere: true}, "replica away": {replicaAway: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := rightful(t, "submitter,worker", "worker", "worker")
			first, gone := c.nodes[0], c.nodes[1]
			job := paceOf(4, 20*time.Minute)
			st := gone.submit(t, job.request(t))
			gone.running(t, st.ID)
			var now api.JobStatus
			check(t, poll(settleLimit, func() (ok bool, err error) {
				now, err = gone.job(t.Context(), st.ID)
				return now.Safe && len(now.Replicas) == 3, err
			}))
			left := []*node{first, c.nodes[2], c.nodes[3]}
			var away *node
			switch {
			case tc.homeElsewhere:
				gone.crash(t)
				check(t, poll(settleLimit, func() (bool, error) {
					now, err := first.job(t.Context(), st.ID)
					return err == nil && now.HomeName != gone.name && now.State == api.Running, nil
				}))
			case tc.replicaAway:
				for _, n := range left[1:] {
					if slices.Contains(now.Replicas, n.name) {
						away = n
					}
				}
				away.crash(t)
				left = slices.DeleteFunc(left, func(n *node) bool { return n == away })
			}
			r := first.dtpnode(t, t.TempDir(), "revoke", gone.name)
			if r.code != 0 || !strings.Contains(r.stdout, "its job "+st.ID[:12]) {
				t.Errorf("revoke does not say what it stopped: %+v", r)
			}
			for _, n := range left {
				check(t, poll(settleLimit, func() (bool, error) { st, err := n.status(); return st.Busy == 0, err }))
			}
			if away != nil {
				away.restart(t, nodeSpec{name: away.name, binary: fakeBinary(t)})
				left = append(left, away)
			}
			check(t, poll(settleLimit, func() (bool, error) {
				now, err := first.job(t.Context(), st.ID)
				return err == nil && now.State == api.Cancelled &&
					strings.Contains(now.Error, "stopped: its submitter "+gone.name+" was revoked"), nil
			}))
			for _, n := range left {
				n.wantIdle(t)
				if log := n.logTail(0); strings.Contains(log, "damaged") || strings.Contains(log, "could not read the copy") {
					t.Errorf("%s took a ledger for damaged", n.name)
				}
			}
		})
	}
}
