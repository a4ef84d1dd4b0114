package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// outputJob is a job that writes trees and histograms into two files of its own, beside an output list with a tree that
// is too large for memory. What it writes in one process of ROOT is in the folder that is returned.
func outputJob(t *testing.T, option string) (j job, want string) {
	t.Helper()
	j = job{Job: roottest.Job{
		Selector: roottest.Selector(t, "Outputs.C"), Tree: "Events", Files: unevenFiles(t), Dir: t.TempDir(),
	}}
	roottest.Find(t).Reference(t, j.Job, filepath.Join(j.Dir, "out.root"))
	want = j.Dir
	j.Dir, j.Option, j.Params = t.TempDir(), option, map[string]string{"slow": "1"}
	return j, want
}

// wantFiles compares the output and the files beside it with those of one process.
func wantFiles(t *testing.T, out, dir, more, want string) {
	t.Helper()
	r := roottest.Find(t)
	r.Compare(t, out, filepath.Join(want, "out.root"))
	r.Compare(t, filepath.Join(dir, "outputs.root"), filepath.Join(want, "outputs.root"))
	r.Compare(t, filepath.Join(dir, filepath.FromSlash(more)), filepath.Join(want, "sub", "more.root"))
}

// TestOutputFiles kills a generation, and then a node, while a selector writes files of its own: each entry is in them
// once, as in one process, in the folder of the submitter before Terminate runs, and wherever the result is fetched.
func TestOutputFiles(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc...)
	j, want := outputJob(t, "open")
	r := c.nodes[0].begin(t, j)
	r.partBy(t, 0.2, c.nodes[1].name)
	c.nodes[1].killGeneration(t)
	r.partBy(t, 0.4, c.nodes[2].name)
	c.nodes[2].crash(t)
	o := r.end(t)
	o.wantDone(t)
	i := slices.IndexFunc(o.st.OutputFiles, func(f api.OutputFile) bool { return f.Name == "outputs.root" })
	if i < 0 || len(o.st.OutputFiles) != 2 ||
		!slices.Contains(o.st.OutputFiles[i].Trees, api.TreeEntries{Name: "events", Entries: o.st.Units}) {
		t.Fatalf("told of %+v", o.st.OutputFiles)
	}
	wantFiles(t, o.out, filepath.Dir(o.st.OutputFiles[i].Path), "sub/more.root", want)

	there := t.TempDir()
	fetched := filepath.Join(there, "fetched.root")
	if g := c.nodes[1].dtpnode(t, t.TempDir(), "get", o.st.ID, "-o", fetched); g.code != 0 {
		t.Fatalf("could not fetch: %+v", g)
	}
	wantFiles(t, fetched, there, "sub/more.root", want)
	// Neither is one of the files written over by the output, nor is what is there replaced by one of them, whose names
	// the user has not chosen.
	both := filepath.Join(t.TempDir(), "outputs.root")
	if g := c.nodes[1].dtpnode(t, t.TempDir(), "get", o.st.ID, "-o", both); g.code != 1 ||
		!strings.Contains(g.stderr, "the job has written beside its output") {
		t.Errorf("the output took the name of a file of the job: %+v", g)
	}
	if err := os.WriteFile(filepath.Join(there, "outputs.root"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := c.nodes[1].dtpnode(t, t.TempDir(), "get", o.st.ID, "-o", fetched)
	if text, err := os.ReadFile(filepath.Join(there, "outputs.root")); g.code != 1 || err != nil ||
		string(text) != "mine" ||
		!strings.Contains(g.stderr, "there is another file of that name") {
		t.Errorf("%+v, %q, %v", g, text, err)
	}
}

// TestOutputFilesElsewhere kills the node that a job was submitted on: the files are with the result on the others,
// which fetch them. When that node comes back, it writes them to the folder that its user has named.
func TestOutputFilesElsewhere(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	c := ownCluster(t, abc...)
	j, want := outputJob(t, "merge")
	dir := filepath.Join(t.TempDir(), "files")
	j.args = []string{"--output-dir", dir}
	d := c.nodes[0].detach(t, j)
	c.nodes[0].crash(t)
	n, st := c.waitFinal(t, d.id, commandLimit)
	if st.State != api.Done || st.EndedIn == nil || len(st.OutputFiles) != 2 {
		t.Fatalf("the job ended as %+v", st)
	}
	there := t.TempDir()
	fetched := filepath.Join(there, "fetched.root")
	if g := n.dtpnode(t, t.TempDir(), "get", d.id, "-o", fetched); g.code != 0 {
		t.Fatalf("could not fetch: %+v", g)
	}
	wantFiles(t, fetched, there, "renamed/more.root", want)
	c.nodes[0].restart(t, abc[0])
	check(t, poll(commandLimit, func() (bool, error) {
		_, err := os.Stat(d.out) // which is written when all of them are
		return err == nil, nil
	}))
	wantFiles(t, d.out, dir, "renamed/more.root", want)
}

// TestOutputFilesDiskFull has a worker on which there is no room for what the selector writes: that is the node's
// failure, and not one of the input that was read just then, and others do the work.
func TestOutputFilesDiskFull(t *testing.T) {
	roottest.Long(t)
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "2m")
	c := ownCluster(t, nodeSpec{name: "home"}, nodeSpec{
		name: "small", wrap: wrap, inside: inside, args: []string{"--scratch", small},
	})
	j, want := outputJob(t, "merge")
	dir := filepath.Join(t.TempDir(), "files")
	j.args = []string{"--output-dir", dir}
	o := c.nodes[0].run(t, j)
	o.wantDone(t)
	wantFiles(t, o.out, dir, "renamed/more.root", want)
	c.nodes[1].wantLogged(t, 0, "kind=disk", "o space left")
	for _, m := range o.st.Missing {
		t.Errorf("missing: %+v", m)
	}
	if w := o.work(t, "small"); w.Failures == 0 {
		t.Errorf("nothing has failed for want of room: %s", o.describe())
	}
}

// TestOutputFolderFull has no room where the user wants the output files: all that is done is kept, the file and its
// folder are named, and finish writes them when there is room.
func TestOutputFolderFull(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	wrap, inside := smallDisk(t, small, "2m")
	n := ownCluster(t, nodeSpec{name: "home", wrap: wrap, inside: inside}).nodes[0]
	n.fill(t, small)
	j, want := outputJob(t, "merge")
	j.args, j.Params = []string{"--output-dir", small}, nil
	o := n.run(t, j)
	o.wantCannotFinish(t, "could not write the output file "+small+"/", "no space left on the disk of "+small)
	n.room(t, small)
	if r := n.dtpnode(t, t.TempDir(), "finish", o.st.ID); r.code != 0 {
		t.Fatalf("not finished: %+v", r)
	}
	roottest.Find(t).Compare(t, o.out, filepath.Join(want, "out.root"))
}
