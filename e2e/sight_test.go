package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// blindHost is a daemon in a mount namespace in which nothing is below folder: a host that lacks a mount.
func blindHost(t *testing.T, name, folder string) nodeSpec {
	t.Helper()
	wrap, _ := smallDisk(t, folder, "64k")
	return nodeSpec{name: name, wrap: wrap}
}

// mountable is a folder with input files, each in a folder of its own, that hosts may lack.
func mountable(t *testing.T) (data string, files []string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	check(t, os.MkdirAll(data, 0o755))
	for i, f := range fourFiles(t) {
		to := filepath.Join(data, fmt.Sprintf("run%d", i), "events.root")
		check(t, os.MkdirAll(filepath.Dir(to), 0o755))
		b, err := os.ReadFile(f)
		check(t, err)
		check(t, os.WriteFile(to, b, 0o644))
		files = append(files, to)
	}
	return data, files
}

// TestHostsWithoutTheMount has two of four hosts lack the folder that holds the input. What they do not see is left to
// the others, and told; when one of them gets its mount back, it works.
func TestHostsWithoutTheMount(t *testing.T) {
	t.Parallel()
	data, files := mountable(t)
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b"}, blindHost(t, "c", data), blindHost(t, "d", data))
	j := paced(t, 400)
	j.Files = files
	r := c.nodes[0].begin(t, j)
	st := r.until(t, "both blind hosts were named", func(st api.JobStatus) bool {
		return len(outcome{st: st}.work(t, "c").Unseen) > 0 && len(outcome{st: st}.work(t, "d").Unseen) > 0
	})
	u := (outcome{st: st}).work(t, "c").Unseen
	if !strings.HasPrefix(u[0].Where, data) || u[0].Cause != "missing" || u[0].Reason != "No such file or directory" {
		t.Errorf("what c does not see is told as %+v", u)
	}
	if s := c.nodes[1].dtpnode(t, t.TempDir(), "status", st.ID[:12]); !strings.Contains(s.stdout,
		"node c does not see "+data) {
		t.Errorf("status does not say it: %+v", s)
	}
	if s := c.nodes[0].dtpnode(t, t.TempDir(), "members"); !strings.Contains(s.stdout, "does not see "+data) {
		t.Errorf("members does not say it: %+v", s)
	}
	d := c.nodes[3]
	out, err := exec.Command("nsenter", "--mount", fmt.Sprintf("--target=%d", d.pid(t)), "umount", data).CombinedOutput()
	if err != nil {
		t.Skipf("could not give d its mount back, which takes root: %v %s", err, out)
	}
	r.until(t, "d works with its mount back", func(st api.JobStatus) bool {
		w := outcome{st: st}.work(t, "d")
		return w.Units > 0 && len(w.Unseen) == 0
	})
	o := r.end(t)
	o.wantWhole(t)
	if w := o.work(t, "c"); w.Units > 0 || w.Failures > 6 || len(w.Unseen) == 0 {
		t.Errorf("c should have tried once or twice: %+v", w)
	}
	for _, name := range []string{"a", "b"} {
		if w := o.work(t, name); w.Failures > 0 || len(w.Unseen) > 0 {
			t.Errorf("%s is said not to see: %+v", name, w)
		}
	}
}

// TestSubmitterWithoutTheMount submits on the one host that lacks the input: the others plan it and run it. What nobody
// has is said to be nowhere.
func TestSubmitterWithoutTheMount(t *testing.T) {
	t.Parallel()
	data, files := mountable(t)
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b"}, blindHost(t, "c", data))
	j := paced(t, 100)
	j.Files = files
	o := c.nodes[2].begin(t, j).end(t)
	o.wantWhole(t)
	if w := o.work(t, "c"); w.Units > 0 {
		t.Errorf("c has no files: %+v", w)
	}
	j.Files = append(j.Files, filepath.Join(data, "nowhere.root"))
	o = c.nodes[2].begin(t, j).end(t)
	if o.code != 1 || !strings.Contains(o.err, "nowhere.root") ||
		!strings.Contains(o.err, "neither on this host nor on ") {
		t.Errorf("exit %d: %s", o.code, o.stderr)
	}
}

// TestFileDamagedOnTheSubmitter cuts a file on the host that submits, while it is whole on the others: they plan it and
// run it, and the user is told of the damage.
func TestFileDamagedOnTheSubmitter(t *testing.T) {
	t.Parallel()
	data, files := mountable(t)
	cut := t.TempDir()
	for i, f := range files {
		b, err := os.ReadFile(f)
		check(t, err)
		if i == 0 {
			b = b[:len(b)/3]
		}
		to := filepath.Join(cut, fmt.Sprintf("run%d", i), "events.root")
		check(t, os.MkdirAll(filepath.Dir(to), 0o755))
		check(t, os.WriteFile(to, b, 0o644))
	}
	wrap, inside := smallDisk(t, data, "64k")
	// in place of the small disk
	wrap = append(wrap[:len(wrap)-2], `mount --bind "$0" "$1" && shift && exec "$@"`, cut, data)
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b"}, nodeSpec{name: "c", wrap: wrap, inside: inside})
	j := paced(t, 20)
	j.Files = files
	o := c.nodes[2].begin(t, j).end(t)
	o.wantWhole(t)
	if notes := strings.Join(o.st.Notes, "\n"); !strings.Contains(notes, "1 file cannot be read on this host") ||
		!strings.Contains(notes, files[0]) {
		t.Errorf("the user is told: %q", notes)
	}
}

// TestGlobOfAPart submits a glob on a host that sees a part of the folder. It stands for that part, and the user is
// told that another host sees more.
func TestGlobOfAPart(t *testing.T) {
	t.Parallel()
	data, files := mountable(t)
	part := t.TempDir()
	for i, f := range files[:2] {
		to := filepath.Join(part, fmt.Sprintf("run%d", i), "events.root")
		check(t, os.MkdirAll(filepath.Dir(to), 0o755))
		check(t, os.Link(f, to))
	}
	wrap, inside := smallDisk(t, data, "64k")
	// in place of the small disk
	wrap = append(wrap[:len(wrap)-2], `mount --bind "$0" "$1" && shift && exec "$@"`, part, data)
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b", wrap: wrap, inside: inside})
	j := paced(t, 10)
	j.Files = []string{filepath.Join(data, "run*", "events.root")}
	out := filepath.Join(t.TempDir(), "out.root")
	r := c.nodes[1].dtpnode(t, t.TempDir(), j.arguments(out)...)
	for _, text := range []string{r.stdout, r.stderr} { // at the end, and as soon as it is known
		if !strings.Contains(text, "on a 2 files more match what --files names") || !strings.Contains(text, files[2]) {
			t.Errorf("does not say that a sees more: %s", text)
		}
	}
	if r.code != 0 || !strings.Contains(r.stdout, "40,000 of 40,000 events") {
		t.Errorf("want what b sees, and exit 0: %+v", r)
	}
	r = c.nodes[0].dtpnode(t, t.TempDir(), j.arguments(out)...)
	if r.code != 0 || strings.Contains(r.stdout+r.stderr, "ote: ") {
		t.Errorf("a sees all: %+v", r)
	}
}

// TestSameNameOtherFile gives one host another file of the same name with as many entries, as older or recalibrated
// data on a local disk are: it is named and reads none of it, unless the user says that it is the same.
func TestSameNameOtherFile(t *testing.T) {
	t.Parallel()
	data, files := mountable(t)
	there := t.TempDir()
	for i := range files {
		to := filepath.Join(there, fmt.Sprintf("run%d", i), "events.root")
		check(t, os.MkdirAll(filepath.Dir(to), 0o755))
		roottest.Find(t).MakeEvents(t, roottest.EventFile{Path: to, Index: i, Entries: 20_000}) // the same, written anew
	}
	wrap, inside := smallDisk(t, data, "64k")
	// in place of the small disk
	wrap = append(wrap[:len(wrap)-2], `mount --bind "$0" "$1" && shift && exec "$@"`, there, data)
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b", wrap: wrap, inside: inside})
	j := paced(t, 400)
	j.Files = files
	r := c.nodes[0].begin(t, j)
	r.until(t, "b was named", func(st api.JobStatus) bool { return len(outcome{st: st}.work(t, "b").Unseen) > 0 })
	o := r.end(t)
	o.wantWhole(t)
	if w := o.work(t, "b"); w.Units > 0 || len(w.Unseen) == 0 || w.Unseen[0].Cause != "differs" ||
		!strings.Contains(w.Unseen[0].Reason, "UUID") {
		t.Errorf("b has other files: %+v", w)
	}
	j.args = append(j.args, "--allow-copies")
	r = c.nodes[0].begin(t, j)
	r.until(t, "b works", func(st api.JobStatus) bool { return outcome{st: st}.work(t, "b").Units > 0 })
	o = r.end(t)
	o.wantWhole(t)
	if w := o.work(t, "b"); len(w.Unseen) > 0 || w.Failures > 0 {
		t.Errorf("b has what is said to be the same: %+v", w)
	}
}

// hideable are daemons that do not see the data files which are named in a file each.
func hideable(t *testing.T, n int) (specs []nodeSpec, hide []string) {
	t.Helper()
	specs = fakeSpecs(t, n)
	for i := range specs {
		hide = append(hide, filepath.Join(t.TempDir(), "hidden"))
		specs[i].env = append(specs[i].env, fakeexec.EnvHide+"="+hide[i])
	}
	return specs, hide
}

// TestHalvesSeen has four hosts see another half of the files each, the home too, which has members plan what it does
// not see: the result is whole, and nothing was given up on the way.
func TestHalvesSeen(t *testing.T) {
	t.Parallel()
	specs, hide := hideable(t, 4)
	c := ownCluster(t, specs...)
	j := paceOf(4, 8e9)
	for i := range 4 {
		check(t, os.WriteFile(hide[i], halfOf(i), 0o600))
	}
	id := c.nodes[0].submit(t, j.request(t)).ID
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
	for _, w := range st.Nodes {
		if w.Units == 0 || w.Failures > 8 {
			t.Errorf("%s: %+v", w.Name, w)
		}
	}
}

// halfOf names what host i does not see: it sees two pairs of the eight files, of which one is also seen by the next.
func halfOf(i int) []byte {
	var out string
	for f := range 8 {
		if p := f / 2; p != i && p != (i+1)%4 {
			out += fmt.Sprintf("f%d\n", f)
		}
	}
	return []byte(out)
}

// TestEmptyFileThatOneHostSees: nobody can say whether it is true that it is empty, and so the job's user is told.
func TestEmptyFileThatOneHostSees(t *testing.T) {
	t.Parallel()
	specs, hide := hideable(t, 3)
	c := ownCluster(t, specs...)
	for _, i := range []int{0, 2} {
		check(t, os.WriteFile(hide[i], []byte("f8\n"), 0o600))
	}
	j := paceOf(3, 1e9)
	req := j.request(t)
	req.Files = append(req.Files, api.InputFile{URL: "fake://f8?entries=0"})
	n, st := c.waitFinal(t, c.nodes[0].submit(t, req).ID, commandLimit)
	j.wantCounted(t, n, st)
	want := "1 file has no entries, as only " + c.nodes[1].name + " could say: fake://f8?entries=0"
	if st, err := c.nodes[0].client.Job(t.Context(), st.ID); err != nil || !slices.Contains(st.Notes, want) {
		t.Errorf("%v: want %q: %q", err, want, st.Notes)
	}
}

// TestVanishedFile hides a file from all hosts, from the one that plans it since then: it is given up, with what each
// host said, and the rest is done.
func TestVanishedFile(t *testing.T) {
	t.Parallel()
	specs, hide := hideable(t, 3)
	c := ownCluster(t, specs...)
	for i, h := range hide {
		check(t, os.WriteFile(h, []byte([]string{"f7 later\n", "f7\n", "f7\n"}[i]), 0o600))
	}
	j := paceOf(3, 2e9)
	_, st := c.waitFinal(t, c.nodes[0].submit(t, j.request(t)).ID, commandLimit)
	var lost int64
	for _, m := range st.Missing {
		lost += m.Last - m.First
		if !strings.HasPrefix(m.File, "fake://f7?") || m.Kind != "open" || len(m.Nodes) != 3 ||
			!strings.Contains(m.Reason, "No such file") {
			t.Errorf("%+v", m)
		}
	}
	if st.State != api.Partial || lost+st.Committed != j.units() || lost != j.entries {
		t.Errorf("want f7 missing, and nothing else: %+v", st)
	}
}

// TestOnlyHostThatSeesIsAway kills the one host that sees some files, which is the home and the submitter too, for
// longer than a moment: the others say for whom the job waits, and when it is back the job is done.
func TestOnlyHostThatSeesIsAway(t *testing.T) {
	t.Parallel()
	specs, hide := hideable(t, 3)
	c := ownCluster(t, specs...)
	for _, h := range hide[1:] {
		check(t, os.WriteFile(h, []byte("f4\nf5\nf6\nf7\n"), 0o600))
	}
	j := paceOf(3, 12e9)
	id := c.nodes[0].submit(t, j.request(t)).ID
	c.nodes[0].committed(t, id, 0.01)
	c.nodes[0].crash(t)
	c.nodes[1].until(t, id, "it waits for its submitter", func(st api.JobStatus) bool {
		if st.State.Final() {
			t.Fatalf("it is over: %+v", st)
		}
		return strings.HasPrefix(st.Phase, "waiting for "+c.nodes[0].name+", which is away (1")
	})
	if s := c.nodes[1].dtpnode(t, t.TempDir(), "ps"); !strings.Contains(s.stdout, "no other node can read") {
		t.Errorf("ps does not say it: %+v", s)
	}
	c.nodes[0].restart(t, specs[0])
	n, st := c.waitFinal(t, id, commandLimit)
	j.wantCounted(t, n, st)
}
