package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// needsFile is a job whose Terminate crashes while a file is absent.
func needsFile(t *testing.T, file string) job {
	t.Helper()
	j := tally(t, manyFiles(t)...)
	j.Selector, j.Option = roottest.Selector(t, "bad/NeedsFile.C"), file
	return j
}

// wantCannotFinish fails the test unless a run says that its job cannot be finished, why, and what to do.
func (o outcome) wantCannotFinish(t *testing.T, says ...string) {
	t.Helper()
	o.wantError(t, append(says, "cannot finish: ")...)
	if o.st.State != api.CannotFinish || o.st.Done != o.st.Units || o.st.Committed != o.st.Units {
		t.Errorf("want a job that cannot be finished with all of it done: %s", o.describe())
	}
	for _, s := range []string{"dtpnode finish ", "dtpnode get --partials ", "dtpnode cancel "} {
		if !strings.Contains(o.hint, s+o.st.ID[:12]) {
			t.Errorf("the advice does not name %q: %s", s, o.describe())
		}
	}
}

// TestTerminateFails has Terminate crash: the job keeps what is done, says so everywhere, hands it out as ROOT files,
// and ends well once what Terminate lacks is there and somebody says so, from another member.
func TestTerminateFails(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	file := filepath.Join(t.TempDir(), "calibration")
	o := c.nodes[0].run(t, needsFile(t, file))
	o.wantCannotFinish(t, "Terminate", "SIGSEGV", "the calibration is missing")
	id, other := o.st.ID, c.nodes[1]
	for _, args := range [][]string{{"status", id}, {"ps"}} {
		if r := other.dtpnode(t, t.TempDir(), args...); r.code != 0 || !strings.Contains(r.stdout, "cannot finish") {
			t.Errorf("%v does not tell that the job cannot be finished: %+v", args, r)
		}
	}
	if r := other.dtpnode(t, t.TempDir(), "attach", id); r.code != 1 || !strings.Contains(r.stderr, "cannot finish") {
		t.Errorf("attach: %+v", r)
	}
	for _, n := range c.nodes {
		n.wantPartials(t, id, o.st.Units)
	}
	if r := other.dtpnode(t, t.TempDir(), "finish", id); r.code != 1 ||
		!strings.Contains(r.stderr, "the calibration is missing") {
		t.Errorf("finished though nothing has changed: %+v", r)
	}
	if r := other.dtpnode(t, t.TempDir(), "retry", id); r.code != 1 ||
		!strings.Contains(r.stderr, "it has run, and could not be finished") {
		t.Errorf("retried though nothing of it is missing: %+v", r)
	}
	check(t, os.WriteFile(file, nil, 0o644))
	dir := t.TempDir()
	r := other.dtpnode(t, dir, "finish", id, "-o", "here.root")
	if r.code != 0 {
		t.Fatalf("not finished: %+v", r)
	}
	for _, path := range []string{filepath.Join(dir, "here.root"), o.out} {
		if k := keys(t, path); k["entries"] != 1 {
			t.Errorf("%s holds %v, want the histogram", path, k)
		}
	}
	if r := other.dtpnode(t, dir, "finish", id); r.code != 1 || !strings.Contains(r.stderr, "ended already") {
		t.Errorf("a finished job is finished again: %+v", r)
	}
}

// wantPartials gets what is committed of a job from a node, as one ROOT file that accounts for so many entries.
func (n *node) wantPartials(t *testing.T, id string, units int64) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "parts")
	if r := n.dtpnode(t, t.TempDir(), "get", "--partials", id, "-o", dir); r.code != 0 {
		t.Errorf("no partials from %s: %+v", n.name, r)
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	check(t, err)
	var m api.Manifest
	check(t, json.Unmarshal(text, &m))
	var listed int64
	for _, p := range m.Parts {
		for _, f := range p.Entries {
			for _, r := range f.Ranges {
				listed += r[1] - r[0]
			}
		}
	}
	if !m.Merged || m.Format != api.FormatOutput || m.Committed != units || listed != units || len(m.Parts) != 1 {
		t.Errorf("%s hands out %s", n.name, text)
		return
	}
	if k := keys(t, filepath.Join(dir, m.Parts[0].Name)); k["entries"] != 1 {
		t.Errorf("the merged file holds %v, want the histogram", k)
	}
}

// TestUnfinishedSurvivesRestarts has all daemons of a job that cannot be finished killed: it still cannot, and is not
// tried by itself, until somebody cancels it.
func TestUnfinishedSurvivesRestarts(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	c := ownCluster(t, specs...)
	j := paceOf(3, 500_000_000)
	j.Steps = map[string]exec.Kind{"Terminate": exec.KindSignal}
	st := c.nodes[0].submit(t, j.request(t))
	stuck := func(s api.JobStatus) bool { return s.State == api.CannotFinish }
	c.nodes[1].until(t, st.ID, "it cannot be finished", stuck)
	for i, n := range c.nodes {
		kill(t, n.cmd.Process.Pid)
		<-n.ended
		n.relaunch(t, specs[i])
	}
	for _, n := range c.nodes {
		check(t, n.waitReady())
	}
	c.nodes[1].until(t, st.ID, "it cannot be finished after the restart", stuck)
	_, err := c.nodes[2].client.Cancel(t.Context(), st.ID)
	check(t, err)
	_, st = c.waitFinal(t, st.ID, settleLimit)
	if st.State != api.Cancelled {
		t.Errorf("the job is %s, want it cancelled", st.State)
	}
}

// TestFullHomeHandsOn has the disk that the home makes the result on fill up: another node makes it.
func TestFullHomeHandsOn(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 3)
	specs[0].env = []string{fakeexec.EndVariable + "=" + string(exec.KindDisk)}
	c := ownCluster(t, specs...)
	j := paceOf(3, 500_000_000)
	st := c.nodes[0].submit(t, j.request(t))
	_, st = c.waitFinal(t, st.ID, settleLimit)
	if st.State != api.Done || st.HomeName == specs[0].name {
		t.Errorf("the job is %s, led by %s: want another node to have finished it: %s", st.State, st.HomeName, st.Error)
	}
}

// TestDiskFullAtTheEnd fills the only node's disk when all is done: the job cannot be finished for that reason, and
// ends well when there is room again.
func TestDiskFullAtTheEnd(t *testing.T) {
	t.Parallel()
	small, file := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "calibration")
	wrap, inside := smallDisk(t, small, "16m")
	c := ownCluster(t, nodeSpec{
		name:   "home",
		wrap:   wrap,
		inside: inside,
		state:  small,
		args:   []string{"--scratch", t.TempDir()},
	})
	n := c.nodes[0]
	o := n.run(t, needsFile(t, file))
	o.wantCannotFinish(t, "the calibration is missing")
	check(t, os.WriteFile(file, nil, 0o644))
	n.fill(t, small)
	if r := n.dtpnode(t, t.TempDir(), "finish", o.st.ID); r.code != 1 || !strings.Contains(r.stderr, "no space left on") {
		t.Fatalf("want exit 1 and the reason: %+v", r)
	}
	out, err := osexec.Command(n.wrap[0],
		append(append([]string{}, n.wrap[1:]...), "rm", filepath.Join(small, "filler"))...).CombinedOutput()
	if err != nil {
		t.Fatalf("could not make room: %v: %s", err, out)
	}
	if r := n.dtpnode(t, t.TempDir(), "finish", o.st.ID); r.code != 0 {
		t.Fatalf("not finished: %+v", r)
	}
	if k := keys(t, o.out); k["entries"] != 1 {
		t.Errorf("the output holds %v, want the histogram", k)
	}
}

// TestFewDescriptors runs a job of far more commits than a process may open files, with the least that a daemon starts
// with: the result is exact, and the daemon itself stays far below the limit.
func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	const limit, commits = 256, 2000
	few := []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh"}
	specs := fakeSpecs(t, 3)
	for i := range specs {
		specs[i].wrap, specs[i].slots, specs[i].args = few, 16, []string{"--commit-every", "20ms"}
	}
	if r := (&node{
		bin:   specs[0].binary,
		wrap:  few,
		state: t.TempDir(),
	}).dtpnode(t, t.TempDir(), "up", "--slots", "64"); r.code != 1 || !strings.Contains(r.stderr, "--slots 19") {
		t.Errorf("want more slots than there are descriptors for refused: %+v", r)
	}
	c := ownCluster(t, specs...)
	j := paceOf(48, 10_000_000_000)
	st := c.nodes[0].submit(t, j.request(t))
	most := map[string]int{}
	err := poll(commandLimit, func() (bool, error) {
		for _, n := range c.nodes {
			most[n.name] = max(most[n.name], n.openFiles(t))
		}
		now, err := c.nodes[0].job(t.Context(), st.ID)
		return err == nil && now.State.Final(), nil //nolint:nilerr // it is asked again
	})
	check(t, err)
	n, st := c.waitFinal(t, st.ID, settleLimit)
	j.wantCounted(t, n, st)
	var made int64
	for _, w := range st.Nodes {
		made += w.Generations
	}
	if made < commits {
		t.Errorf("only %d partials were made, want %d", made, commits)
	}
	t.Logf("%d partials; open files at most: %v", made, most)
}

// TestFewDescriptorsWithROOT is the same with ROOT's files, which the last merge opens.
func TestFewDescriptorsWithROOT(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	c := ownCluster(t, nodeSpec{
		name:  "few",
		slots: 4,
		wrap:  []string{"sh", "-c", `ulimit -n 256 && exec "$@"`, "sh"},
		args:  []string{"--commit-every", "20ms"},
	})
	j := paced(t, 1000)
	r, most := c.nodes[0].begin(t, j), 0
	for r.next(t) {
		most = max(most, c.nodes[0].openFiles(t))
	}
	o := r.end(t)
	o.wantWhole(t)
	t.Logf("%d partials; open files at most: %d", o.work(t, "few").Generations, most)
}

// openFiles is how many files and sockets a daemon has open.
func (n *node) openFiles(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.pid(t)))
	check(t, err)
	return len(open)
}
