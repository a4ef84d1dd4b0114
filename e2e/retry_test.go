package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// retry runs `dtpnode retry` to its end; out is where the output should be then.
func (n *node) retry(t *testing.T, out, id string, args ...string) outcome {
	t.Helper()
	o := outcome{
		out:    out,
		result: n.dtpnode(t, t.TempDir(), append([]string{"retry", id, "--output", "json"}, args...)...),
	}
	check(t, o.read())
	return o
}

// wantRetried fails the test unless all is done, so many entries by this job, and the rest taken over.
func (o outcome) wantRetried(t *testing.T, of string, ran int64) {
	t.Helper()
	o.wantDone(t)
	var did int64
	for _, w := range o.st.Nodes {
		did += w.Units
	}
	if o.st.RetryOf != of || did != ran || o.st.Before != o.st.Units-ran {
		t.Errorf("%d entries ran, want %d: %s", did, ran, o.describe())
	}
}

// text is what a file holds.
func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}

// TestRetry mends what a job could not read, a whole file and a cluster of another: only that runs, the output is one
// as if all had been whole, where the first was to be written; from another member it goes elsewhere.
func TestRetry(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := copies(t, fourFiles(t)...)
	roottest.Truncate(t, files[1], 0.6)
	first, last := roottest.Find(t).Corrupt(t, files[3], "Events", "event", 7_500)
	o := c.nodes[0].run(t, tally(t, files...))
	if o.code != 3 || len(o.st.Missing) != 2 {
		t.Fatalf("want a partial result: %s", o.describe())
	}
	t.Run("not mended", func(t *testing.T) {
		again := c.nodes[0].retry(t, o.out, o.st.ID)
		if again.code != 3 || again.st.Before != o.st.Committed || again.st.Committed != o.st.Committed ||
			len(again.st.Missing) != 2 {
			t.Fatalf("want the same missing again: %s", again.describe())
		}
		without := without(t, filepath.Base(files[3]), first, last, fourFiles(t)[0], fourFiles(t)[2], fourFiles(t)[3])
		again.equals(t, without)
	})
	for i, f := range fourFiles(t) {
		replace(t, files[i], text(t, f))
	}
	check(t, os.Remove(o.out))
	ran := 20_000 + last - first
	again := c.nodes[0].retry(t, o.out, o.st.ID)
	again.wantRetried(t, o.st.ID, ran)
	again.equals(t, tally(t, files...))
	here := filepath.Join(t.TempDir(), "here.root")
	elsewhere := c.nodes[2].retry(t, here, o.st.ID[:10], "-o", here)
	elsewhere.wantRetried(t, o.st.ID, ran)
	elsewhere.equals(t, tally(t, files...))
	if r := c.nodes[1].dtpnode(t, t.TempDir(), "retry", again.st.ID); r.code != 0 ||
		!strings.Contains(r.stdout, "nothing is missing") {
		t.Errorf("a whole result: %+v", r)
	}
	r := c.nodes[0].dtpnode(t, t.TempDir(), "retry", o.st.ID)
	for _, s := range []string{"59,000 of 60,000", "1 file of unknown length", files[1], "open: ", "truncated",
		"1 file, 1,000 entries: data: ", "entries [7000, 8000)"} {
		if r.code != 0 || !strings.Contains(r.stderr, s) {
			t.Errorf("want %q said before it runs: %+v", s, r)
		}
	}
	if want := "59,000 of them from job " + o.st.ID[:12]; !strings.Contains(r.stdout, want) {
		t.Errorf("want %q: %+v", want, r)
	}
}

// stopped is a job of fake entries that was stopped with --keep when some of it was done.
func (n *node) stopped(t *testing.T, id string) api.JobStatus {
	t.Helper()
	before, err := n.job(t.Context(), id)
	check(t, err)
	n.until(t, id, "some of it is done", func(st api.JobStatus) bool { return st.Done > max(before.Before, st.Before) })
	if r := n.dtpnode(t, t.TempDir(), "cancel", "--keep", id); r.code != 0 {
		t.Fatalf("not stopped: %+v", r)
	}
	var st api.JobStatus
	n.until(t, id, "it is partial", func(now api.JobStatus) bool { st = now; return st.State == api.Partial })
	return st
}

// TestRetryStopped stops a job, its retry by another member, and has a third finish it, with the daemons killed
// between.
func TestRetryStopped(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	c := ownCluster(t, specs...)
	j := paceOf(3, 6*time.Second)
	st := c.nodes[0].stopped(t, c.nodes[0].submit(t, j.request(t)).ID)
	second := c.nodes[1].dtpnode(t, t.TempDir(), "retry", st.ID, "--detach")
	if second.code != 0 || !strings.Contains(second.stderr, "stopped by the user") {
		t.Fatalf("retry --detach: %+v", second)
	}
	id := firstLine(second.stdout)
	again := c.nodes[1].stopped(t, id)
	if again.RetryOf != st.ID || again.Before != st.Committed || again.Committed <= st.Committed {
		t.Errorf("stopped at %+v, retried up to %+v", st, again)
	}
	for i, n := range c.nodes {
		kill(t, n.cmd.Process.Pid)
		<-n.ended
		n.relaunch(t, specs[i])
	}
	for _, n := range c.nodes {
		check(t, n.waitReady())
		c.wantUp(t, n, len(c.nodes))
	}
	out := filepath.Join(t.TempDir(), "out")
	last := c.nodes[2].retry(t, out, id, "-o", out)
	last.wantDone(t)
	if last.st.Before != again.Committed {
		t.Errorf("%d entries are taken over of %d", last.st.Before, again.Committed)
	}
	j.wantCount(t, out)
}

// TestRetryIsRefused asks for what cannot be had, and is told why and what to do instead.
func TestRetryIsRefused(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 2)...)
	n := c.nodes[0]
	wants := func(id string, says ...string) {
		t.Helper()
		for _, n := range c.nodes {
			r := n.dtpnode(t, t.TempDir(), "retry", id)
			for _, s := range says {
				if r.code != 1 || !strings.Contains(r.stderr, s) {
					t.Errorf("want exit 1 and %q: %+v", s, r)
				}
			}
		}
	}
	j := paceOf(2, 6*time.Second)
	runs := n.submit(t, j.request(t)).ID
	n.until(t, runs, "it runs", func(st api.JobStatus) bool { return st.State == api.Running })
	wants(runs, "it is running", "cancel --keep")
	st := n.stopped(t, runs)
	for _, n := range c.nodes {
		check(t, os.RemoveAll(filepath.Join(n.state, "jobs", st.ID, "parts")))
	}
	wants(st.ID, "no member that can be reached keeps", "dtpnode run", "dtpnode status "+st.ID[:12])
	_, err := n.client.Cancel(t.Context(), n.submit(t, j.request(t)).ID)
	check(t, err)
	wants("ffffffff", "no job")
	if r := n.dtpnode(t, t.TempDir(), "retry", st.ID, "--memory", "lots"); r.code != 2 {
		t.Errorf("want exit 2: %+v", r)
	}
}

// mendedCopy writes a selector of this package's with changes elsewhere, and returns its path there.
func mendedCopy(t *testing.T, selector string, changes ...string) string {
	t.Helper()
	dir := t.TempDir()
	header := strings.TrimSuffix(selector, ".C") + ".h"
	check(t, os.WriteFile(filepath.Join(dir, filepath.Base(header)), []byte(text(t, header)), 0o600))
	path, old := filepath.Join(dir, filepath.Base(selector)), text(t, selector)
	mended := strings.NewReplacer(changes...).Replace(old)
	if mended == old {
		t.Fatalf("nothing changes in %s", selector)
	}
	check(t, os.WriteFile(path, []byte(mended), 0o600))
	return path
}

// TestRetryMended runs what crashed with mended code: it is one output then, that tells what ran by which code, unless
// what the new code makes cannot be merged with what is done, or fails where the old did not.
func TestRetryMended(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	n, files := c.nodes[0], fourFiles(t)
	j := misbehave(t, "segfault", filepath.Base(files[2]), 700, files...)
	o := n.run(t, j)
	if o.code != 3 || o.st.Committed != 79_999 {
		t.Fatalf("want a partial result without one entry: %s", o.describe())
	}
	for name, tc := range map[string]struct {
		path string
		says []string
	}{
		"other bins": {mendedCopy(t, j.Selector, "200, 0, 20000", "150, 0, 17000"),
			[]string{"cannot be merged with what job " + o.st.ID[:12] + " has done", "blocks"}},
		"other class": {mendedCopy(t, j.Selector, "fOutput->Add(fBlocks = new TH2I(",
			`fOutput->Add(new TParameter<Double_t>("blocks", 0)); (fBlocks = new TH2I(`),
			[]string{"cannot be merged with what job " + o.st.ID[:12] + " has done", "of several classes",
				"blocks (TH2I and TParameter<double>)", "nothing was run"}},
		"other failure": {mendedCopy(t, j.Selector, "fReader.SetLocalEntry(entry);",
			`throw std::runtime_error("new fault");`),
			[]string{"the new code fails at entries that job " + o.st.ID[:12] + " has done", "new fault"}},
		"no compiling": {mendedCopy(t, j.Selector, "fReader.SetLocalEntry(entry);", "undeclared_name;"),
			[]string{"undeclared_name"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := n.dtpnode(t, t.TempDir(), "retry", o.st.ID, "--selector", tc.path)
			for _, s := range tc.says {
				if r.code != 1 || !strings.Contains(r.stderr, s) {
					t.Errorf("want exit 1 and %q: %+v", s, r)
				}
			}
		})
	}
	t.Run("code", func(t *testing.T) {
		path := mendedCopy(t, j.Selector, "Misdo();\n   }\n   fReader",
			"}\n   Info(\"Process\", \"at %lld\", entry); // as code may, also while it is tried\n   fReader")
		out := filepath.Join(t.TempDir(), "mended.root")
		again := n.retry(t, out, o.st.ID, "--selector", path+"+g", "-o", out, "--memory", "1G")
		again.wantRetried(t, o.st.ID, 1)
		again.equals(t, misbehave(t, "none", "", 0, files...))
		codes := again.st.Codes
		if len(codes) != 2 || codes[0].Entries != 79_999 || codes[0].Title != j.Selector || codes[0].Job != o.st.ID ||
			codes[1].Entries != 1 || codes[1].Title != path || codes[1].Job != again.st.ID ||
			codes[0].Source == codes[1].Source || codes[1].Params["do"] != "segfault" {
			t.Errorf("%+v", codes)
		}
		for _, n := range c.nodes[:2] { // by those that may look
			r := n.dtpnode(t, t.TempDir(), "status", again.st.ID)
			for _, s := range []string{"Not all events were run by the same code:", "79,999 events", "of job " + o.st.ID[:12],
				path + " of this job"} {
				if r.code != 0 || !strings.Contains(r.stdout, s) {
					t.Errorf("want %q: %+v", s, r)
				}
			}
		}
	})
	t.Run("parameters", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "mended.root")
		again := n.retry(t, out, o.st.ID, "--param", "do=none", "-o", out)
		again.wantRetried(t, o.st.ID, 1)
		if codes := again.st.Codes; len(codes) != 2 || codes[0].Source != codes[1].Source ||
			codes[1].Params["do"] != "none" || codes[1].Params["entry"] != "700" {
			t.Errorf("%+v", codes)
		}
	})
	for _, args := range [][]string{{"--class", "X"}, {"--include", "x.h"}, {"--param", "x"}, {"--max-processes", "-1"}} {
		if r := n.dtpnode(t, t.TempDir(), append([]string{"retry", o.st.ID}, args...)...); r.code != 2 {
			t.Errorf("%q: want exit 2: %+v", args, r)
		}
	}
}

// TestRetryMendedTwice mends a job of fake entries in two steps, without a daemon, and tells of all codes at last.
func TestRetryMendedTwice(t *testing.T) {
	t.Parallel()
	n, temp := alone(t, fakeBinary(t))
	dir := t.TempDir()
	write := func(bins int, bad ...int64) string {
		spec := fakeexec.Spec{Entry: "10us", Bins: bins, Fail: map[int64]exec.Kind{}}
		for _, at := range bad {
			spec.Fail[at] = "signal"
		}
		b, err := json.Marshal(spec)
		check(t, err)
		path := filepath.Join(dir, fmt.Sprintf("s%d-%d.C", bins, len(bad)))
		check(t, os.WriteFile(path, b, 0o600))
		return path
	}
	out := filepath.Join(dir, "out")
	o := outcome{
		out: out,
		result: n.dtpnode(t, dir, "run", write(10, 77, 777), "--tree", "T", "--files", "fake://f?entries=1000&clusters=10",
			"-o", out, "--slots", "1", "--output", "json"),
	}
	check(t, o.read())
	if o.code != 3 || o.st.Committed != 998 {
		t.Fatalf("want a partial result: %s", o.describe())
	}
	n.retry(t, out, o.st.ID, "--selector", write(20)).wantError(t, "cannot be merged with what job",
		"could not merge histograms of 20 and 10 bins")
	half := n.retry(t, out, o.st.ID, "--selector", write(10, 777))
	if half.code != 3 || half.st.Committed != 999 || len(half.st.Codes) != 2 {
		t.Fatalf("want one entry more: %s", half.describe())
	}
	whole := n.retry(t, out, half.st.ID, "--selector", write(10))
	whole.wantRetried(t, half.st.ID, 1)
	var entries []int64
	for _, c := range whole.st.Codes {
		entries = append(entries, c.Entries)
	}
	if !slices.Equal(entries, []int64{998, 1, 1}) || whole.st.Codes[0].Job != o.st.ID ||
		whole.st.Codes[1].Job != half.st.ID {
		t.Errorf("%+v", whole.st.Codes)
	}
	fakeJob{Spec: fakeexec.Spec{Bins: 10}, files: 1, entries: 1000}.wantCount(t, out)
	n.wantKept(t)
	wantEmpty(t, temp)
}

// TestRetryChangedFile changes a file of which something is missing: its other entries are in the result as they were.
// One that is written anew with as many entries is the mended one.
func TestRetryChangedFile(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := copies(t, fourFiles(t)...)
	roottest.Find(t).Corrupt(t, files[0], "Events", "event", 7_500)
	o := c.nodes[1].run(t, tally(t, files...))
	if o.code != 3 {
		t.Fatalf("want a partial result: %s", o.describe())
	}
	roottest.Find(t).MakeEvents(t, roottest.EventFile{Path: files[0], Entries: 3000})
	c.nodes[1].retry(t, o.out, o.st.ID).wantError(t, files[0], "has changed", "20000", "3000")
	o.equals(t, without(t, filepath.Base(files[0]), 7000, 8000, fourFiles(t)...)) // the output is as it was
	roottest.Find(t).MakeEvents(t, roottest.EventFile{Path: files[0], Entries: 20_000})
	c.nodes[1].retry(t, o.out, o.st.ID).wantRetried(t, o.st.ID, 1000) // written anew, as such a file is mended
}

// TestRetryWithoutDaemon has a run that started its own node end partial: what is missing runs in the user's folder
// then.
func TestRetryWithoutDaemon(t *testing.T) {
	t.Parallel()
	threeNodes.get(t) // has the child built
	n, temp := alone(t, suite.binary)
	files := copies(t, fourFiles(t)...)
	roottest.Truncate(t, files[1], 0.6)
	roottest.Truncate(t, files[2], 0.6)
	j := tally(t, files...)
	j.args = []string{"--root", suite.root, "--slots", "2"}
	o := n.run(t, j)
	if o.code != 3 {
		t.Fatalf("want a partial result: %s", o.describe())
	}
	n.wantKept(t, o.st.ID)
	wantEmpty(t, temp)
	replace(t, files[1], text(t, fourFiles(t)[1]))
	half := n.retry(t, o.out, o.st.ID)
	if half.code != 3 || half.st.Committed != 60_000 || half.st.Before != 40_000 {
		t.Fatalf("want one file more: %s", half.describe())
	}
	n.wantKept(t, half.st.ID)
	replace(t, files[2], text(t, fourFiles(t)[2]))
	whole := n.retry(t, o.out, half.st.ID)
	whole.wantRetried(t, half.st.ID, 20_000)
	whole.equals(t, tally(t, files...))
	n.wantKept(t)
	wantEmpty(t, temp)
	if r := n.dtpnode(t, t.TempDir(), "retry", whole.st.ID); r.code != 1 {
		t.Errorf("a job that is gone: %+v", r)
	}
}
