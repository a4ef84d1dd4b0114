package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// tagged are the binaries that were built with other tags than what ships, by the tags.
var tagged struct {
	mu    sync.Mutex
	built map[string]string
}

// fakeBinary builds the binary whose daemons run fakeexec, the executor that sleeps and counts, once.
func fakeBinary(t testing.TB, tags ...string) string {
	t.Helper()
	return taggedBinary(t, append([]string{"fakeexec"}, tags...)...)
}

// taggedBinary builds the binary with build tags, once.
func taggedBinary(t testing.TB, tags ...string) string {
	t.Helper()
	tagged.mu.Lock()
	defer tagged.mu.Unlock()
	all := strings.Join(tags, ",")
	if path := tagged.built[all]; path != "" {
		return path
	}
	path := filepath.Join(suite.dir, "dtpnode-"+strings.ReplaceAll(all, ",", "-"))
	if out, err := osexec.Command("go", "build", "-tags", all, "-o", path, "../cmd/dtpnode").CombinedOutput(); err != nil {
		t.Fatalf("could not build with the tags %s: %v\n%s", all, err, out)
	}
	if tagged.built == nil {
		tagged.built = map[string]string{}
	}
	tagged.built[all] = path
	return path
}

// fakeSpecs are n daemons with a slot each.
func fakeSpecs(t testing.TB, n int, tags ...string) (specs []nodeSpec) {
	t.Helper()
	bin := fakeBinary(t, tags...)
	for i := range n {
		specs = append(specs, nodeSpec{name: fmt.Sprintf("n%d", i), binary: bin})
	}
	return specs
}

// fakeJob is a job for the executor that sleeps and counts.
type fakeJob struct {
	fakeexec.Spec
	entries  int64 // of each file
	files    int
	clusters int // of each file
}

func (j fakeJob) units() int64 { return j.entries * int64(j.files) }

// paceOf is a job that keeps so many slots busy for a time.
func paceOf(slots int, d time.Duration) fakeJob {
	const entry = 100 * time.Microsecond
	const files = 8
	return fakeJob{
		Spec:     fakeexec.Spec{Entry: entry.String(), Bins: 997},
		files:    files,
		clusters: 100,
		entries:  int64(d/entry) * int64(slots) / files,
	}
}

// request writes the selector and describes the job to a daemon.
func (j fakeJob) request(t testing.TB) api.JobRequest {
	t.Helper()
	text, err := json.Marshal(j.Spec)
	check(t, err)
	path := filepath.Join(t.TempDir(), "count.json")
	req := api.JobRequest{Kind: fakeexec.Kind, Title: path, Part: "T", N: -1, Dir: t.TempDir()}
	req.Spec, err = json.Marshal(fakeexec.Request{Code: req.Title})
	check(t, err)
	check(t, os.WriteFile(req.Title, text, 0o600))
	for i := range j.files {
		req.Files = append(req.Files,
			api.InputFile{URL: fmt.Sprintf("fake://f%d?entries=%d&clusters=%d", i, j.entries, j.clusters)})
	}
	return req
}

// submit gives the job to a daemon.
func (n *node) submit(t testing.TB, req api.JobRequest) api.JobStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleLimit)
	defer cancel()
	st, err := n.client.Submit(ctx, req)
	check(t, err)
	return st
}

// job asks a daemon for a job, for as long as an answer may take.
func (n *node) job(ctx context.Context, id string) (api.JobStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return n.client.Job(ctx, id)
}

// wantCounted fails the test unless the job is done and its result, got from a node, equals the serial count.
func (j fakeJob) wantCounted(t testing.TB, n *node, st api.JobStatus) {
	t.Helper()
	if st.State != api.Done || st.Units != j.units() || st.Committed != st.Units || len(st.Missing) > 0 {
		b, _ := json.MarshalIndent(st, "", " ")
		t.Fatalf("not done: %s", b)
	}
	path := filepath.Join(t.TempDir(), "result.json")
	var body bytes.Buffer
	_, err := n.client.Result(t.Context(), st.ID, &body)
	check(t, err)
	check(t, os.WriteFile(path, body.Bytes(), 0o600))
	got, err := fakeexec.ReadOutput(path)
	check(t, err)
	want := fakeexec.Serial(tasks.R(0, j.units()), j.Bins)
	if got.Units == j.units() && slices.Equal(got.Bins, want) {
		return
	}
	wrong := 0
	for i := range want {
		if got.Bins[i] != want[i] {
			if wrong++; wrong <= 10 {
				t.Errorf("bin %d holds %d, want %d", i, got.Bins[i], want[i])
			}
		}
	}
	t.Errorf("%d of %d bins are wrong; %d units, want %d", wrong, len(want), got.Units, j.units())
}

// waitFinal polls until the job is final, as any of the nodes tells it.
func (c *cluster) waitFinal(t testing.TB, id string, limit time.Duration) (*node, api.JobStatus) {
	t.Helper()
	var st api.JobStatus
	var on *node
	last := ""
	err := poll(limit, func() (bool, error) {
		for _, n := range c.nodes {
			got, err := n.job(t.Context(), id)
			if err != nil {
				last = n.name + ": " + err.Error()
				continue
			}
			st, on = got, n
			if st.State.Final() && st.Private == "" { // who may not see the job is told no more than that it has ended
				return true, nil
			}
		}
		return false, t.Context().Err()
	})
	if err != nil {
		b, _ := json.MarshalIndent(st, "", " ")
		t.Fatalf("the job does not end: %v (%s)\n%s", err, last, b)
	}
	return on, st
}

// wantSettled fails the test unless, in the end, all nodes run, see all others up, tell of a job's end and keep
// nothing of it but its result.
func (c *cluster) wantSettled(t testing.TB, id string) {
	t.Helper()
	for _, n := range c.nodes {
		check(t, n.waitReady())
	}
	for _, n := range c.nodes {
		c.wantUp(t, n, len(c.nodes))
		n.until(t, id, "the job has ended", func(st api.JobStatus) bool { return st.State == api.Done })
	}
	for _, n := range c.nodes {
		var st api.NodeStatus
		var left []string
		err := poll(settleLimit, func() (bool, error) {
			var err error
			st, err = n.status()
			left = n.left(id)
			return st.Ledgers == 0 && st.Busy == 0 && len(left) == 0, err
		})
		if err != nil {
			t.Errorf("%s\n%s keeps %d ledgers, %d slots busy and the files %q: %v", n.logTail(0), n.name, st.Ledgers, st.Busy,
				left, err)
		}
	}
}

// left are the files of a node that are there for jobs which run, and what was not removed beside a job's result.
func (n *node) left(id string) (paths []string) {
	stay := []string{"ledgers", "scratch", filepath.Join("scratch", "ship")}
	for _, dir := range stay[:2] {
		_ = filepath.WalkDir(filepath.Join(n.state, dir), func(path string, _ fs.DirEntry, err error) error {
			if rel, bad := filepath.Rel(n.state, path); err == nil && bad == nil && !slices.Contains(stay, rel) {
				paths = append(paths, path)
			}
			return nil // it goes just now
		})
	}
	temps, _ := filepath.Glob(filepath.Join(n.state, "jobs", id, durable.TempPrefix+"*"))
	return append(paths, temps...)
}

// until polls until a node tells that a job is so.
func (n *node) until(t testing.TB, id, what string, so func(api.JobStatus) bool) {
	t.Helper()
	last := ""
	err := poll(commandLimit, func() (bool, error) {
		st, err := n.job(t.Context(), id)
		if err != nil {
			last = err.Error() // of a home that nobody has found yet, say
			return false, nil
		}
		last = fmt.Sprintf("%+v", st)
		if !so(st) && st.State.Final() {
			return false, fmt.Errorf("the job ended as %s", st.State)
		}
		return so(st), nil
	})
	if err != nil {
		t.Fatalf("%s\n%s does not tell that %s: %v: %s", n.logTail(0), n.name, what, err, last)
	}
}

// TestFakeExecutor runs a job on daemons without ROOT, with an entry that always fails.
func TestFakeExecutor(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, fakeSpecs(t, 3)...)
	j := paceOf(3, time.Second)
	n, st := c.waitFinal(t, c.nodes[1].submit(t, j.request(t)).ID, commandLimit)
	j.wantCounted(t, n, st)
	for _, w := range st.Nodes {
		if w.Units == 0 {
			t.Errorf("%s did nothing", w.Name)
		}
	}
	j.Fail = map[int64]exec.Kind{7777: "signal"}
	_, st = c.waitFinal(t, c.nodes[1].submit(t, j.request(t)).ID, commandLimit)
	if len(st.Missing) != 1 || st.Missing[0].First != 7777%j.entries || st.Missing[0].Kind != "signal" ||
		st.Committed != j.units()-1 {
		t.Errorf("want one entry missing: %+v", st)
	}
}
