package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestSharedSelector runs two jobs with one selector at a time. After the second one's end a node that joins still
// gets what it needs for the first, to work and to keep its ledger; after both nothing is left of either.
func TestSharedSelector(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 3)...)
	home := c.nodes[0]
	first := paceOf(3, 30*time.Second)
	id := home.submit(t, first.request(t)).ID
	home.replicas(t, id, 3)
	second := home.submit(t, first.request(t)).ID
	home.replicas(t, second, 3)
	if r := home.dtpnode(t, t.TempDir(), "cancel", second); r.code != 0 {
		t.Fatalf("could not cancel: %+v", r)
	}
	for _, n := range c.nodes {
		if err := poll(settleLimit, func() (bool, error) { return len(n.keptFiles(t, "ship-*")) == 1, nil }); err != nil {
			t.Fatalf("%s keeps %q: %v", n.name, n.keptFiles(t, "ship-*"), err)
		}
	}
	spec := fakeSpecs(t, 1)[0]
	spec.name = "late"
	late := c.admit(t, spec)
	home.until(t, id, "the late node works", func(st api.JobStatus) bool {
		return slices.ContainsFunc(st.Nodes, func(w api.NodeWork) bool { return w.Name == "late" && w.Units > 0 })
	})
	c.nodes[2].crash(t)
	if st := home.replicas(t, id, 3, c.nodes[2]); !slices.Contains(st.Replicas, "late") {
		t.Errorf("%q keep the ledger", st.Replicas)
	}
	n, st := c.waitFinal(t, id, commandLimit)
	first.wantCounted(t, n, st)
	for _, n := range []*node{home, c.nodes[1], late} {
		n.wantIdle(t)
	}
}

// TestDamagedSources flips a bit in the sources of a job that its home keeps, and cuts the power of all. The home
// finds it, takes the sources from a replica and serves them again.
func TestDamagedSources(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	for i := range specs {
		specs[i].args = []string{"--commit-every", "1s"}
	}
	c := ownCluster(t, specs...)
	j := paceOf(3, 12*time.Second)
	home := c.nodes[0]
	id := home.submit(t, j.request(t)).ID
	home.replicas(t, id, 3)
	home.committed(t, id, 0.1)
	for _, n := range c.nodes {
		n.crash(t)
	}
	files := home.keptFiles(t, "ship-*")
	if len(files) != 1 {
		t.Fatalf("sources %q", files)
	}
	want, err := os.ReadFile(files[0])
	check(t, err)
	flip(t, files[0], int64(len(want)/2))
	from := home.logSize()
	for i, n := range c.nodes {
		n.relaunch(t, specs[i])
	}
	home.wantLogged(t, from, "is damaged", files[0], "ready for job")
	if got, err := os.ReadFile(files[0]); err != nil || string(got) != string(want) {
		t.Errorf("the sources are not whole again: %v", err)
	}
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
}

// TestDamagedOnTheWay flips a bit in the first outputs of two nodes before they are merged. Neither units nor canary
// show it; what was in them runs again, and the result is exact.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	for i := range specs {
		specs[i].slots = 6 // several end together, and their partials are merged
	}
	for i := range specs[1:] {
		specs[1+i].env = []string{fakeexec.EnvFlip + "=6"}
	}
	c := ownCluster(t, specs...)
	j := paceOf(18, time.Second)
	const most = 8 // jobs: not in each of them is something merged
	for range most {
		n, st := c.waitFinal(t, c.nodes[0].submit(t, j.request(t)).ID, commandLimit)
		j.wantCounted(t, n, st)
		if processed(st) <= st.Units {
			t.Error("nothing ran again")
		}
		for _, n := range c.nodes[1:] {
			log, err := os.ReadFile(n.log)
			check(t, err)
			if strings.Contains(string(log), "a partial is damaged") {
				return
			}
		}
	}
	t.Errorf("none was to be merged in %d jobs", most)
}
