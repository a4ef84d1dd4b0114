package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// job is what both dtpnode and the reference run.
type job struct {
	roottest.Job
	args  []string // further arguments of run
	aclic string   // options of ACLiC behind the selector's name; default +
}

// tally is a job that counts what it was given.
func tally(t testing.TB, files ...string) job {
	t.Helper()
	return job{Job: roottest.Job{Selector: roottest.Selector(t, "Tally.C"), Tree: "Events", Files: files}}
}

// misbehave is tally until it comes to an entry of a file (by its base name; empty: any).
func misbehave(t testing.TB, do, file string, entry int64, files ...string) job {
	t.Helper()
	return job{Job: roottest.Job{Selector: roottest.Selector(t, "bad/Misbehave.C"), Tree: "Events", Files: files,
		Params: map[string]string{"do": do, "file": file, "entry": fmt.Sprint(entry)}}}
}

// without is the job that leaves out the entries [first, last) of a file: what must remain of one that
// could not do them.
func without(t testing.TB, file string, first, last int64, files ...string) job {
	t.Helper()
	j := misbehave(t, "skip", file, first, files...)
	j.Params["last"] = fmt.Sprint(last)
	return j
}

// outcome is how a job ended.
type outcome struct {
	result
	st    api.JobStatus // the last one told
	lines []string      // of Begin and Terminate
	out   string        // path of the output
	err   string        // what standard error says, without its JSON
	hint  string
}

// arguments are those of `dtpnode run`.
func (j job) arguments(out string) []string {
	args := []string{"run", j.Selector + cmp.Or(j.aclic, "+"), "--tree", j.Tree, "-o", out}
	for _, f := range j.Files {
		args = append(args, "--files", f)
	}
	if j.EntryList != "" {
		args = append(args, "--entry-list", j.EntryList)
	}
	for _, f := range j.Friends {
		name, files, _ := strings.Cut(f, "=")
		for _, file := range strings.Split(files, ",") {
			args = append(args, "--friend", name+"="+file)
		}
	}
	if j.Option != "" {
		args = append(args, "--option", j.Option)
	}
	if j.First != 0 {
		args = append(args, "--first", fmt.Sprint(j.First))
	}
	if j.N != 0 {
		args = append(args, "-n", fmt.Sprint(j.N))
	}
	for name, value := range j.Params {
		args = append(args, "--param", name+"="+value)
	}
	return append(args, j.args...)
}

// run runs a job to its end.
func (n *node) run(t testing.TB, j job) outcome {
	t.Helper()
	o, err := n.tryRun(t, j)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (n *node) tryRun(t testing.TB, j job) (outcome, error) {
	dir := j.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	o := outcome{out: filepath.Join(t.TempDir(), "out.root")}
	var err error
	if o.result, err = n.command(t.Context(), dir, append(j.arguments(o.out), "--output", "json")...); err != nil {
		return o, err
	}
	return o, o.read()
}

// read takes what a command that follows a job has printed as JSON.
func (o *outcome) read() error {
	for line := range strings.Lines(o.stdout) {
		var ev api.Event
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			return fmt.Errorf("could not read event %q: %w", line, err)
		}
		if ev.Status != nil {
			o.st = *ev.Status
		}
		if ev.Type == "log" {
			o.lines = append(o.lines, ev.Line)
		}
	}
	for line := range strings.Lines(o.stderr) {
		var f struct{ Error, Hint string }
		if json.Unmarshal([]byte(line), &f) == nil {
			o.err, o.hint = f.Error, f.Hint
		}
	}
	return nil
}

// describe is an outcome for messages.
func (o outcome) describe() string {
	b, _ := json.MarshalIndent(o.st, "", " ")
	return fmt.Sprintf("exit %d, state %s\nstderr: %s\nlines: %s\nstatus: %s", o.code, o.st.State, o.stderr,
		strings.Join(o.lines, "\n"), b)
}

// wantDone fails the test unless the job was done completely.
func (o outcome) wantDone(t testing.TB) {
	t.Helper()
	if o.code != 0 || o.st.State != api.Done || o.st.Committed != o.st.Units || o.st.Done != o.st.Units ||
		len(o.st.Missing) != 0 {
		t.Fatalf("not done: %s", o.describe())
	}
}

// wantError fails the test unless the job ended with an error that says all of that.
func (o outcome) wantError(t testing.TB, says ...string) {
	t.Helper()
	if o.code != 1 {
		t.Errorf("want exit 1: %s", o.describe())
	}
	for _, s := range says {
		if !strings.Contains(o.err, s) {
			t.Errorf("the error does not say %q: %s", s, o.describe())
		}
	}
}

// wantNoWork fails the test if any packet was handed to a worker.
func (o outcome) wantNoWork(t testing.TB) {
	t.Helper()
	if o.st.Packets != 0 || o.st.Done != 0 || slices.ContainsFunc(o.st.Nodes, func(w api.NodeWork) bool {
		return w.Generations+w.Failures > 0
	}) {
		t.Errorf("workers had begun: %s", o.describe())
	}
}

// wantMissing fails the test unless the result is partial and exactly one range of a file is missing.
func (o outcome) wantMissing(t testing.TB, kind, file string, first, last int64) api.Missing {
	t.Helper()
	if o.code != 3 || o.st.State != api.Partial || len(o.st.Missing) != 1 {
		t.Fatalf("want a partial result with one range missing: %s", o.describe())
	}
	m := o.st.Missing[0]
	if m.Kind != kind || m.File != file || m.First != first || m.Last != last {
		t.Errorf("want [%d, %d) of %s missing for %q: %s", first, last, file, kind, o.describe())
	}
	if len(m.Nodes) == 0 || m.Tries == 0 || m.Reason == "" {
		t.Errorf("does not say where, how often and why it was tried: %s", o.describe())
	}
	return m
}

// equals compares the output with ROOT's own of a job.
func (o outcome) equals(t testing.TB, want job) {
	t.Helper()
	r := roottest.Find(t)
	path := filepath.Join(t.TempDir(), "want.root")
	r.Reference(t, want.Job, path)
	r.Compare(t, o.out, path)
}

// exact runs a job on one node's side and compares it with ROOT's own.
func exact(t testing.TB, n *node, j job) outcome {
	t.Helper()
	o := n.run(t, j)
	o.wantDone(t)
	o.equals(t, j)
	return o
}

// wide runs a job until so many nodes have worked on it: on a busy host a short job may be over before
// the others have loaded its selector.
func wide(t testing.TB, n *node, j job, nodes int) outcome {
	t.Helper()
	var o outcome
	for range 6 {
		o = n.run(t, j)
		worked := 0
		for _, w := range o.st.Nodes {
			if w.Units > 0 {
				worked++
			}
		}
		if worked >= nodes {
			return o
		}
	}
	t.Fatalf("fewer than %d nodes get work: %s", nodes, o.describe())
	return o
}
