package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestHugeOutputs has an output list of 1 GB, to be committed every second, on a disk of 8 GB, with ROOT.
func TestHugeOutputs(t *testing.T) {
	roottest.Long(t)
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "8g")
	c := ownCluster(t, nodeSpec{
		name:   "n",
		slots:  2,
		wrap:   wrap,
		inside: inside,
		state:  small,
		args:   []string{"--commit-every", "1s"},
	})
	path, err := filepath.Abs(filepath.Join("testdata", "Large.C"))
	check(t, err)
	const events = 100
	j := job{Job: roottest.Job{Selector: path, Tree: "Events", Files: fourFiles(t)[:1], N: events,
		Params: map[string]string{"us": "1000000", "mb": "1024", "n": fmt.Sprint(events)}}}
	from := c.nodes[0].logSize()
	r := c.nodes[0].begin(t, j)
	used, parts := 0, 0
	for r.next(t) {
		args := append(slices.Clone(c.nodes[0].wrap), "sh", "-c", `df --output=used -m "$0" | tail -n 1`, small)
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).Output()
		check(t, err)
		mb, err := strconv.Atoi(strings.TrimSpace(string(out)))
		check(t, err)
		used, parts = max(used, mb), max(parts, r.out.st.Parts)
	}
	o := r.end(t)
	o.wantDone(t)
	if !slices.Contains(o.lines, "0 bins are wrong in 16 histograms") {
		t.Errorf("not exact: %q", o.lines)
	}
	if tail := c.nodes[0].logTail(from); strings.Contains(tail, "o space left") {
		t.Errorf("something failed: %s", tail)
	}
	t.Logf("%d commits and %d folds in %.0f s; at most %d MB of the disk, and %d partials committed at once", o.st.Commits,
		o.st.Folds, o.st.Seconds, used, parts)
}

// weight is what a daemon has of a job at one moment.
type weight struct {
	blobs, bytes int64 // of committed partials
	journal, rss int64 // bytes
}

func (w *weight) atLeast(o weight) {
	w.blobs, w.bytes = max(w.blobs, o.blobs), max(w.bytes, o.bytes)
	w.journal, w.rss = max(w.journal, o.journal), max(w.rss, o.rss)
}

func (w weight) String() string {
	return fmt.Sprintf("%d blobs, %.1f MB in blobs, journal %.2f MB, daemon %.0f MB", w.blobs, float64(w.bytes)/1e6,
		float64(w.journal)/1e6, float64(w.rss)/1e6)
}

// weigh looks at a daemon; false where it does not answer.
func (n *node) weigh(t *testing.T) (w weight, ok bool) {
	t.Helper()
	for _, path := range n.keptFiles(t, "*-*.*") {
		if info, err := os.Stat(path); err == nil && !strings.HasSuffix(path, ".freed") { // else it has just gone
			w.blobs, w.bytes = w.blobs+1, w.bytes+info.Size()
		}
	}
	for _, path := range n.keptFiles(t, "journal") {
		if info, err := os.Stat(path); err == nil {
			w.journal += info.Size()
		}
	}
	st, err := n.client.Status(t.Context())
	w.rss = st.RSS
	return w, err == nil
}

// snapshotted reports whether a daemon's copy of the only ledger there has been compacted, or was sent so, and with how
// many entries behind the snapshot.
func (n *node) snapshotted(t *testing.T) (entries int, ok bool) {
	t.Helper()
	files := n.keptFiles(t, "journal")
	if len(files) != 1 {
		return 0, false
	}
	text, err := os.ReadFile(files[0])
	check(t, err)
	path := filepath.Join(t.TempDir(), "journal")
	check(t, os.WriteFile(path, text, 0o600))
	j, _, log, err := journal.Open(path)
	if err != nil {
		return 0, false // it was being written
	}
	defer j.Close()
	return len(log.Entries), log.Snapshot != nil
}

// TestManyCommits has a job with 20,000 commits on daemons with 256 descriptors each, with ROOT. One with a copy of the
// ledger is killed, and comes back when half as much again is committed. What each keeps does not grow with the
// commits.
func TestManyCommits(t *testing.T) {
	roottest.Long(t)
	goal := int64(20_000)
	if s := os.Getenv("DTPNODE_COMMITS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		check(t, err)
		goal = n
	}
	var specs []nodeSpec
	for _, name := range []string{"a", "b", "c"} {
		specs = append(specs, nodeSpec{
			name:  name,
			slots: 3,
			wrap:  []string{"sh", "-c", `ulimit -n 256 && exec "$@"`, "sh"},
			args:  []string{"--commit-every", "20ms"},
		})
	}
	c := ownCluster(t, specs...)
	j := paced(t, 10_000)
	var events []roottest.EventFile
	dir := t.TempDir()
	for i := range 4 {
		events = append(events, roottest.EventFile{
			Path:    filepath.Join(dir, fmt.Sprintf("%d.root", i)),
			Index:   i,
			Entries: int(7 * goal),
		})
	}
	root := roottest.Find(t)
	j.Files, j.args = root.MakeEvents(t, events...), []string{"--detach"}
	r := c.nodes[0].dtpnode(t, t.TempDir(), withoutEmpty(j.arguments(""))...)
	if r.code != 0 {
		t.Fatalf("could not submit: %+v", r)
	}
	id := strings.TrimSpace(r.stdout)
	most, early := make([]weight, len(c.nodes)), make([]weight, len(c.nodes))
	victim, stage := c.nodes[2], 0
	var last api.JobStatus
	check(t, poll(2*time.Hour, func() (bool, error) {
		st, err := c.nodes[0].job(t.Context(), id)
		if err != nil {
			return false, err
		}
		for i, n := range c.nodes {
			if w, ok := n.weigh(t); ok {
				most[i].atLeast(w)
				if st.Commits < goal/4 {
					early[i].atLeast(w)
				}
			}
		}
		switch {
		case stage == 0 && st.Commits >= goal*2/5:
			victim.crash(t)
			stage = 1
			t.Logf("%s is killed at %d commits", victim.name, st.Commits)
		case stage == 1 && st.Commits >= goal*3/5:
			victim.relaunch(t, specs[2])
			stage = 2
		case stage == 2 && st.Safe && len(st.Replicas) == len(c.nodes):
			if entries, ok := victim.snapshotted(t); ok {
				t.Logf("%s is back with a snapshot and %d entries at %d commits, replicas %q", victim.name, entries, st.Commits,
					st.Replicas)
				stage = 3
			}
		}
		last = st
		return st.State.Final(), nil
	}))
	o := outcome{st: last, out: filepath.Join(dir, "out.root")}
	if o.result = c.nodes[0].dtpnode(t, dir, "get", id, "-o", o.out); o.code != 0 {
		t.Fatalf("could not get the result: %s", o.describe())
	}
	o.wantDone(t)
	reference := filepath.Join(dir, "reference.root")
	root.Reference(t, tally(t, j.Files...).Job, reference)
	root.Compare(t, o.out, reference)
	if stage != 3 || o.st.Commits < goal {
		t.Errorf("%d commits, want %d; came to stage %d of 3", o.st.Commits, goal, stage)
	}
	t.Logf("%d commits, %d folds in %.0f s", o.st.Commits, o.st.Folds, o.st.Seconds)
	for i, n := range c.nodes {
		t.Logf("%s: at most %v; in the first quarter %v", n.name, most[i], early[i])
		if most[i].blobs > 64 {
			t.Errorf("%s has kept %d blobs at once", n.name, most[i].blobs)
		}
	}
}
