package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// smallDisk is a command that runs a daemon in a mount namespace of its own, in which folder is a file
// system of a size, and the command that leads a process there.
func smallDisk(t *testing.T, folder, size string) (wrap []string, inside func(pid int) []string) {
	t.Helper()
	check(t, os.MkdirAll(folder, 0o755))
	script := `mount -t tmpfs -o size=` + size + ` dtpnode-test "$0" && exec "$@"`
	unshare, enter := []string{"unshare", "--mount"}, []string{"nsenter", "--mount"}
	if exec.Command("unshare", "--mount", "true").Run() != nil { // not root
		unshare = append(unshare, "--user", "--map-root-user")
		enter = append(enter, "--user", "--preserve-credentials")
	}
	return append(unshare, "sh", "-c", script, folder), func(pid int) []string {
		return append(append([]string{}, enter...), fmt.Sprintf("--target=%d", pid))
	}
}

// fill leaves no byte free on the file system of folder, as the daemon sees it. The daemon works there meanwhile, and
// may just remove a file of its own: what that frees is filled, too.
func (n *node) fill(t *testing.T, folder string) {
	t.Helper()
	const script = `for try in 1 2 3 4 5; do
	cat /dev/zero >>"$0/filler" 2>/dev/null
	left=$(df --output=avail "$0" | tail -n 1)
	[ $left -gt 0 ] || break
done
echo $left`
	args := append(append([]string{}, n.wrap...), "sh", "-c", script, folder)
	out, err := exec.Command(args[0], args[1:]...).Output()
	if err != nil || strings.TrimSpace(string(out)) != "0" {
		t.Fatalf("could not fill %s: %v, %s KiB are left", folder, err, out)
	}
}

// room undoes fill.
func (n *node) room(t *testing.T, folder string) {
	t.Helper()
	args := append(append([]string{}, n.wrap...), "rm", filepath.Join(folder, "filler"))
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("could not make room: %v, %s", err, out)
	}
}

// TestOutputDiskFull cannot write the result where the user wants it; it is kept, and the user told how
// to get it.
func TestOutputDiskFull(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "256k")
	c := ownCluster(t, nodeSpec{name: "home", wrap: wrap, inside: inside})
	c.nodes[0].fill(t, small)
	j := tally(t, manyFiles(t)...)
	dir := t.TempDir()
	r := c.nodes[0].dtpnode(t, dir, j.arguments(filepath.Join(small, "out.root"))...)
	if r.code != 1 || !strings.Contains(r.stderr, "no space left on device") {
		t.Fatalf("want exit 1 and the reason: %+v", r)
	}
	_, hint, ok := strings.Cut(r.stderr, "dtpnode get ")
	if !ok {
		t.Fatalf("does not say what to do: %+v", r)
	}
	if r := c.nodes[0].dtpnode(t, dir, "get", strings.Fields(hint)[0], "-o", "out.root"); r.code != 0 {
		t.Fatalf("the result was not kept: %+v", r)
	}
	outcome{out: filepath.Join(dir, "out.root")}.equals(t, j)
}

// TestWorkerDiskFull has a worker that cannot store a byte: the others do its work.
func TestWorkerDiskFull(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "256k")
	c := ownCluster(t, nodeSpec{name: "home"}, nodeSpec{
		name:   "full",
		wrap:   wrap,
		inside: inside,
		args:   []string{"--scratch", small},
	})
	c.nodes[1].fill(t, small)
	exact(t, c.nodes[0], tally(t, manyFiles(t)...))
	if _, err := c.nodes[1].status(); err != nil {
		t.Errorf("the daemon is gone: %v", err)
	}
}

// TestHomeDiskFull submits from a node that cannot keep anything.
func TestHomeDiskFull(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"scratch", "state"} {
		t.Run(what, func(t *testing.T) {
			small := filepath.Join(t.TempDir(), "small")
			wrap, inside := smallDisk(t, small, "256k")
			spec := nodeSpec{name: "home", wrap: wrap, inside: inside, args: []string{"--scratch", small}}
			if what == "state" {
				spec.state, spec.args = small, []string{"--scratch", t.TempDir()}
			}
			c := ownCluster(t, spec)
			c.nodes[0].fill(t, small)
			o := c.nodes[0].run(t, tally(t, manyFiles(t)...))
			o.wantError(t, "no space left on")
			if _, err := c.nodes[0].status(); err != nil {
				t.Errorf("the daemon is gone: %v", err)
			}
		})
	}
}

// TestLargeOutputs has outputs of which eight fill the disk, and many more of them: they wait for room, and nothing
// fails for the want of it.
func TestLargeOutputs(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "160m")
	spec := fakeSpecs(t, 1)[0]
	spec.wrap, spec.inside, spec.state, spec.slots, spec.args = wrap, inside, small, 3, []string{"--commit-every", "300ms"}
	c := ownCluster(t, spec)
	j := paceOf(3, 12*time.Second)
	j.Size = 20 << 20
	n, out := c.nodes[0], filepath.Join(t.TempDir(), "out")
	from, begun := n.logSize(), time.Now()
	req := j.request(t)
	args := []string{"run", req.Title, "--tree", "T", "-o", out}
	for _, f := range req.Files {
		args = append(args, "--files", f.URL)
	}
	r := n.dtpnode(t, t.TempDir(), args...)
	if r.code != 0 {
		t.Fatalf("not done: %+v", r)
	}
	j.wantCount(t, out)
	if tail := n.logTail(from); strings.Contains(tail, "o space left") {
		t.Errorf("something failed: %s", tail)
	}
	t.Logf("done in %s", time.Since(begun))
}

// TestHomeDiskFillsDuringTheJob fills the disk of a job's home while it runs: another node leads it, on which there is
// room, and nobody is blamed for what the home could not write.
func TestHomeDiskFillsDuringTheJob(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "40m")
	specs := fakeSpecs(t, 3)
	specs[0].wrap, specs[0].inside, specs[0].state = wrap, inside, small
	for i := range specs {
		specs[i].args = []string{"--commit-every", "1s"}
	}
	c := ownCluster(t, specs...)
	j := paceOf(3, 10*time.Second)
	j.Size = 1 << 20
	n, req := c.nodes[0], j.request(t)
	args := []string{"run", "--detach", req.Title, "--tree", "T"}
	for _, f := range req.Files {
		args = append(args, "--files", f.URL)
	}
	r := n.dtpnode(t, t.TempDir(), args...)
	if r.code != 0 {
		t.Fatalf("not submitted: %+v", r)
	}
	id := strings.TrimSpace(r.stdout)
	c.nodes[1].until(t, id, "work has begun", func(st api.JobStatus) bool { return st.Done > 0 })
	n.fill(t, small)
	on, end := (&cluster{nodes: c.nodes[1:]}).waitFinal(t, id, time.Minute)
	j.wantCounted(t, on, end)
	if end.HomeName == n.name {
		t.Errorf("the full node led the job to its end")
	}
	for _, n := range end.Nodes {
		if n.Name != specs[0].name && (n.Lost > 0 || n.Problem != "" || n.Slow > 0) {
			t.Errorf("%s is blamed: %+v", n.Name, n)
		}
	}
}
