package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// runtimesOf is the setting of a daemon of the tests that finds these kinds.
func runtimesOf(kinds ...string) []string {
	return []string{"DTPNODE_FAKE_RUNTIMES=" + strings.Join(kinds, ",")}
}

// mixedCluster is a cluster in which hosts differ in what they run: ROOT of two versions and the kind of the tests,
// ROOT of one version, of the other, the kind of the tests alone, and nothing.
func mixedCluster(t *testing.T) *cluster {
	t.Helper()
	bin, other := fakeBinary(t), roottest.Other(t)
	both := []string{"--root", suite.root, "--root", other}
	c := ownCluster(t,
		nodeSpec{name: "all", binary: bin, env: runtimesOf("ROOT", "test"), args: both, slots: 3},
		nodeSpec{name: "new", binary: bin, env: runtimesOf("ROOT")},
		nodeSpec{name: "old", binary: bin, env: runtimesOf("ROOT"), args: []string{"--root", other}},
		nodeSpec{name: "tests", binary: bin, env: runtimesOf("test")})
	none, err := launchNode(t.TempDir(), nodeSpec{name: "none", binary: bin, env: runtimesOf()})
	check(t, err)
	c.nodes = append(c.nodes, none) // which the cluster stops
	check(t, poll(settleLimit, func() (bool, error) { _, err := none.status(); return err == nil, nil }))
	if r := none.join(t, c.nodes[0].invite(t)); r.code != 0 {
		t.Fatalf("could not join: %+v", r)
	}
	for _, n := range c.nodes {
		check(t, poll(settleLimit, func() (bool, error) {
			st, err := n.status()
			return st.Up == len(c.nodes), err
		}))
	}
	return c
}

// workers are the nodes that have processed something of a job.
func workers(st api.JobStatus) (names []string) {
	for _, w := range st.Nodes {
		if w.Units > 0 {
			names = append(names, w.Name)
		}
	}
	slices.Sort(names)
	return names
}

// TestKindsAtOnce runs jobs of ROOT in two versions and of the kind of the tests at once, on hosts of which each can do
// some of them: each job is done by those that can, by nobody else, and rightly.
func TestKindsAtOnce(t *testing.T) {
	t.Parallel()
	c := mixedCluster(t)
	all, older, tests, none := c.nodes[0], c.nodes[2], c.nodes[3], c.nodes[4]
	version := func(n *node, i int) string {
		st, err := n.status()
		check(t, err)
		return st.Runtimes[i].Version
	}
	first, second := version(all, 0), version(all, 1)
	if first == second || second != version(older, 0) {
		t.Fatalf("the versions of ROOT are %s and %s", first, second)
	}
	newest, oldest := paced(t, 100), paced(t, 100)
	oldest.args = []string{"--root-version", second}
	counted := paceOf(3, 4*time.Second)
	// A job is over before others have built what they need the first time, and in a moment where nodes are slow to begin.
	for try := range 6 {
		var out [2]outcome
		var st api.JobStatus
		var on *node
		var wg sync.WaitGroup
		wg.Go(func() { out[0], _ = c.nodes[1].tryRun(t, newest) })
		wg.Go(func() { out[1], _ = all.tryRun(t, oldest) })
		on, st = c.waitFinal(t, tests.submit(t, counted.request(t)).ID, commandLimit)
		wg.Wait()
		out[0].wantWhole(t)
		out[1].wantWhole(t)
		counted.wantCounted(t, on, st)
		if out[0].st.Kind != "ROOT" || st.Kind != fakeexec.Kind {
			t.Errorf("the kinds are %s and %s", out[0].st.Kind, st.Kind)
		}
		got := [][]string{workers(out[0].st), workers(out[1].st), workers(st)}
		want := [][]string{{"all", "new"}, {"all", "old"}, {"all", "tests"}}
		missing := false
		for i := range want {
			for _, name := range got[i] {
				if !slices.Contains(want[i], name) {
					t.Errorf("%s has worked on job %d, which %v can do", name, i, want[i])
				}
			}
			missing = missing || len(got[i]) < len(want[i])
		}
		if !missing || t.Failed() {
			break
		}
		if try == 5 {
			t.Errorf("not all that can have worked: %v, want %v", got, want)
		}
	}
	r := none.dtpnode(t, t.TempDir(), append(paced(t, 0).arguments("x.root"), "--output", "text")...)
	if r.code == 0 || !strings.Contains(r.stderr, "no ROOT found") {
		t.Errorf("a node that can run nothing leads a job: %+v", r)
	}
	if r := tests.dtpnode(t, t.TempDir(), paced(t, 0).arguments("x.root")...); r.code == 0 ||
		!strings.Contains(r.stderr, "the job needs ROOT, this node has test 1") {
		t.Errorf("a node without ROOT leads a job of ROOT: %+v", r)
	}
	if r := all.dtpnode(t, t.TempDir(), "members"); !strings.Contains(r.stdout, "ROOT "+second) {
		t.Errorf("members does not tell of ROOT %s: %+v", second, r)
	}
}

// TestItems runs a job that has items of its own, and no files.
func TestItems(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 3)...)
	j := fakeJob{Spec: fakeexec.Spec{Entry: "100us", Bins: 97, Items: 30_000}, entries: 30_000, files: 1, clusters: 1}
	req := j.request(t)
	req.Files, req.Part = nil, ""
	n, st := c.waitFinal(t, c.nodes[1].submit(t, req).ID, commandLimit)
	j.wantCounted(t, n, st)
	req = j.request(t)
	_, st = c.waitFinal(t, c.nodes[1].submit(t, req).ID, commandLimit)
	if st.State != api.Failed || !strings.Contains(st.Error, "items of its own") {
		t.Errorf("a job with items and files is %s: %s", st.State, st.Error)
	}
}

// TestBrokenRuntimeHeals has a member whose runtime cannot be opened. Its own user and the others are told, and it is
// given no work; once what is wrong is mended it works again, without a restart.
func TestBrokenRuntimeHeals(t *testing.T) {
	t.Parallel()
	bin, obstacle := fakeBinary(t), filepath.Join(t.TempDir(), "obstacle")
	check(t, os.WriteFile(obstacle, nil, 0o600))
	c := ownCluster(t, nodeSpec{name: "whole", binary: bin})
	broken, err := launchNode(t.TempDir(), nodeSpec{
		name: "broken", binary: bin, env: []string{fakeexec.EnvUnopened + "=" + obstacle},
	})
	check(t, err)
	c.nodes = append(c.nodes, broken) // which the cluster stops
	check(t, poll(settleLimit, func() (bool, error) { _, err := broken.status(); return err == nil, nil }))
	whole := c.nodes[0]
	if r := broken.join(t, whole.invite(t)); r.code != 0 {
		t.Fatalf("could not join: %+v", r)
	}
	told := func(problem bool) {
		t.Helper()
		last := ""
		if err := poll(settleLimit, func() (bool, error) {
			r := whole.dtpnode(t, t.TempDir(), "members")
			last = r.stdout
			return strings.Contains(last, "test 1 (broken)") == problem &&
				strings.Contains(last, "obstacle is there") == problem && strings.Count(last, "test 1") >= 2, nil
		}); err != nil {
			t.Fatalf("members is to tell of a problem: %v; got %s", problem, last)
		}
	}
	told(true)
	if st, err := broken.status(); err != nil || !strings.Contains(st.Problem, "obstacle is there") {
		t.Errorf("its own status: %q, %v", st.Problem, err)
	}
	job := paceOf(2, time.Second)
	on, st := c.waitFinal(t, whole.submit(t, job.request(t)).ID, commandLimit)
	job.wantCounted(t, on, st)
	if got := workers(st); !slices.Equal(got, []string{"whole"}) {
		t.Errorf("%v have worked", got)
	}
	check(t, os.Remove(obstacle))
	on, st = c.waitFinal(t, broken.submit(t, job.request(t)).ID, commandLimit) // who submits has it tried again at once
	job.wantCounted(t, on, st)
	told(false)
}
