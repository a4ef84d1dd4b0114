package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// wantListed fails the test unless a node lists a job, once.
func (n *node) wantListed(t *testing.T, id string) {
	t.Helper()
	r := n.dtpnode(t, t.TempDir(), "ps", "--output", "json")
	var jobs []api.JobStatus
	if err := json.Unmarshal([]byte(r.stdout), &jobs); err != nil || r.code != 0 {
		t.Fatalf("ps: %v %+v", err, r)
	}
	jobs = slices.DeleteFunc(jobs, func(j api.JobStatus) bool { return j.ID != id })
	if len(jobs) != 1 {
		t.Errorf("%s lists the job %d times: %s", n.name, len(jobs), r.stdout)
	}
}

// wantAttached follows a job to its end by attach, which writes the result.
func (n *node) wantAttached(t *testing.T, id string) {
	t.Helper()
	o := outcome{out: filepath.Join(t.TempDir(), "attached.root")}
	o.result = n.dtpnode(t, t.TempDir(), "attach", id[:12], "-o", o.out, "--output", "json")
	for line := range strings.Lines(o.stdout) {
		var ev api.Event
		check(t, json.Unmarshal([]byte(line), &ev))
		if ev.Status != nil {
			o.st = *ev.Status
		}
	}
	o.wantWhole(t)
}

// wantEverywhere has every command that tells of a finished job or fetches its result do so on a node.
func (n *node) wantEverywhere(t *testing.T, id string) {
	t.Helper()
	n.wantEnd(t, id)
	n.wantListed(t, id)
	n.wantAttached(t, id)
	if r := n.dtpnode(t, t.TempDir(), "status", id[:12]); r.code != 0 || !strings.Contains(r.stdout, "80,000 of 80,000") {
		t.Errorf("status on %s: %+v", n.name, r)
	}
}

// TestClosedLaptop submits a job with --detach and stops the submitting node, politely or not. The job is done
// elsewhere, followed and fetched from every node, one that joins later and the submitter when it is back, where
// its output then appears.
func TestClosedLaptop(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		nodes  int
		polite bool
	}{{"down", 3, true}, {"down of two", 2, true}, {"down of four", 4, true}, {"killed", 3, false}} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "down" || tc.name == "down of four" {
				roottest.Long(t)
			}
			t.Parallel()
			specs := often("a", "b", "c", "d")[:tc.nodes]
			c := ownCluster(t, specs...)
			laptop := c.nodes[1] // the first one admits members
			rest := c.but(laptop)
			d := laptop.detach(t, paced(t, 250*tc.nodes)) // 20 s
			st := laptop.committed(t, d.id, 0.1)
			if tc.polite {
				if r := laptop.dtpnode(t, t.TempDir(), "down"); r.code != 0 {
					t.Errorf("could not leave: %+v", r)
				}
				<-laptop.ended
				if log := laptop.logTail(0); strings.Contains(log, "without handing") {
					t.Error("it left without handing all over")
				}
			} else {
				laptop.crash(t)
			}
			_, now := c.wantHome(t, rest[0], d.id, laptop)
			if now.State.Final() {
				t.Error("the job ended before it was taken over")
			}
			for _, n := range rest {
				n.wantListed(t, d.id)
			}
			rest[0].wantAttached(t, d.id)
			if end := rest[0].wantEnd(t, d.id); !tc.polite {
				wantKept(t, st, end.st, rest)
			}
			for _, n := range rest {
				n.wantEverywhere(t, d.id)
			}
			if fileExists(d.out) {
				t.Error("somebody else has written the submitter's file")
			}
			late, err := startNode(t.TempDir(), nodeSpec{name: "late"})
			check(t, err)
			c.nodes = append(c.nodes, late)
			inv := rest[0].dtpnode(t, t.TempDir(), "invite", "--rights", "worker,submitter,admin")
			if r := late.dtpnode(t, t.TempDir(), "join", firstLine(inv.stdout)); r.code != 0 {
				t.Fatalf("could not join: %+v", r)
			}
			late.wantEverywhere(t, d.id)
			laptop.restart(t, specs[1])
			check(t, poll(settleLimit, func() (bool, error) { return fileExists(d.out), nil }))
			o := laptop.wantEnd(t, d.id)
			outcome{st: o.st, out: d.out}.wantWhole(t)
			laptop.wantEverywhere(t, d.id)
			laptop.wantIdle(t)
		})
	}
}

// TestResultOutlivesHome wipes the state folder of a job's home after the end, and damages another copy of the
// result: the rest gives the same bytes.
func TestResultOutlivesHome(t *testing.T) {
	t.Parallel()
	for name, nodes := range map[string]int{"three nodes": 3, "two nodes": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ownCluster(t, often("a", "b", "c")[:nodes]...)
			d := c.nodes[0].detach(t, paced(t, 150)) // which others have joined before it ends
			first := c.nodes[0].wantEnd(t, d.id)
			want, err := os.ReadFile(first.out)
			check(t, err)
			c.nodes[0].crash(t)
			check(t, os.RemoveAll(c.nodes[0].state))
			for i, n := range c.nodes[1:] {
				o := n.wantEnd(t, d.id)
				got, err := os.ReadFile(o.out)
				check(t, err)
				if string(got) != string(want) {
					t.Errorf("%s gives other bytes", n.name)
				}
				if copies, _ := filepath.Glob(filepath.Join(n.state, "jobs", d.id, api.ResultFile)); i == 0 && nodes == 3 {
					if len(copies) != 1 {
						t.Fatalf("%s has %d copies", n.name, len(copies))
					}
					flip(t, copies[0], 200)
				}
			}
			if nodes < 3 {
				return
			}
			damaged := c.nodes[1]
			o := damaged.wantEnd(t, d.id)
			if got, err := os.ReadFile(o.out); err != nil || string(got) != string(want) {
				t.Errorf("%s gives other bytes after its copy was damaged: %v", damaged.name, err)
			}
			if log := damaged.logTail(0); !strings.Contains(log, "result is damaged") ||
				!strings.Contains(log, filepath.Join("jobs", d.id, api.ResultFile)) {
				t.Errorf("the log does not name the damaged file: %s", log)
			}
		})
	}
}

// flip changes one bit of a file, in the byte at an offset.
func flip(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	check(t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	check(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, at)
	check(t, err)
}
