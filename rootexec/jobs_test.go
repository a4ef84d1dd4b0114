package rootexec_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// runJob does, in one process, what a cluster does with a job: plan, compile, Begin, two generations
// with the packets dealt in turn, merge, Terminate. It returns the output file and what was printed.
func runJob(t *testing.T, job roottest.Job) (out, printed string) {
	t.Helper()
	return runJobOn(t, rootexec.SharedExecutor(t), job)
}

// runJobOn is runJob with the ROOT of an executor.
func runJobOn(t *testing.T, e *rootexec.Executor, job roottest.Job) (out, printed string) {
	t.Helper()
	s := loadJob(t, e, job.Selector)
	defer s.Release()
	dir := job.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	c, err := s.StartClient(t.Context(), rootexec.ClientSpec{
		Option: job.Option,
		Params: job.Params,
		Dir:    dir,
	}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var partials []string
	spec := exec.GenSpec{Job: 1, Input: input, Dir: dir}
	hands := dealPackets(t, e, job)
	if len(hands[0]) > 1 {
		hands[0] = append(hands[0][1:], hands[0][0]) // stolen work goes back and forth within files
	}
	hands[1] = fromBothEnds(hands[1]) // and to files that were left before
	for _, packets := range hands {
		partials = append(partials, runGeneration(t, s, spec, rootexec.Told{Option: job.Option}, packets))
	}
	merged := filepath.Join(t.TempDir(), "merged")
	if _, err := s.Merge(t.Context(), partials, merged); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(t.TempDir(), "out.root")
	fin, err := c.Finish(t.Context(), []string{merged}, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Output())
	}
	if len(fin.Apart) > 0 {
		t.Errorf("apart: %v", fin.Apart)
	}
	return out, c.Output()
}

// fromBothEnds takes packets in turn from the front and the back.
func fromBothEnds(in []exec.Packet) (out []exec.Packet) {
	for i, j := 0, len(in)-1; i <= j; i, j = i+1, j-1 {
		if out = append(out, in[i]); i < j {
			out = append(out, in[j])
		}
	}
	return out
}

// sourceOf is a selector's source with the header beside it, if there is one.
func sourceOf(t *testing.T, path string) rootexec.Source {
	t.Helper()
	src := rootexec.Source{Main: filepath.Base(path), Files: map[string][]byte{}}
	header := strings.TrimSuffix(path, filepath.Ext(path)) + ".h"
	for _, p := range []string{path, header} {
		b, err := os.ReadFile(p)
		if err != nil && p == path {
			t.Fatal(err)
		}
		if err == nil {
			src.Files[filepath.Base(p)] = b
		}
	}
	return src
}

func loadJob(t *testing.T, e *rootexec.Executor, path string) *rootexec.Selector {
	t.Helper()
	lib, err := e.Compile(t.Context(), sourceOf(t, path))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.Load(t.Context(), lib, strings.TrimSuffix(filepath.Base(path), ".C"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dealPackets plans the files and deals their clusters to two generations, as if each second one had
// been stolen.
func dealPackets(t *testing.T, e *rootexec.Executor, job roottest.Job) (hands [2][]exec.Packet) {
	t.Helper()
	var base int64
	var id uint64
	for _, f := range job.Files {
		plan, err := e.Plan(t.Context(), f, job.Tree, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, first := range plan.Clusters {
			last := plan.Entries
			if i+1 < len(plan.Clusters) {
				last = plan.Clusters[i+1]
			}
			id++
			p := exec.Packet{ID: id, File: f, Part: plan.Part, First: first, Last: last, Base: base}
			hands[id%2] = append(hands[id%2], p)
		}
		base += plan.Entries
	}
	return hands
}

type sink struct {
	done  chan struct{}
	fails chan *exec.Failure
}

func (s *sink) PacketDone(exec.Done)   { s.done <- struct{}{} }
func (s *sink) Failed(f *exec.Failure) { s.fails <- f }
func (s *sink) Output(string)          {}

func (s *sink) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
	case f := <-s.fails:
		t.Fatalf("%v\n%s\n%s", f, f.Stack, f.Tail)
	}
}

func runGeneration(
	t *testing.T, s *rootexec.Selector, spec exec.GenSpec, told rootexec.Told, packets []exec.Packet,
) string {
	t.Helper()
	k := &sink{done: make(chan struct{}, 2), fails: make(chan *exec.Failure, 1)}
	g, err := s.Start(t.Context(), spec, told, k)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	for i, p := range packets {
		if i >= 2 {
			k.wait(t)
		}
		if err := g.Lease(p); err != nil {
			t.Fatal(err)
		}
	}
	for range min(2, len(packets)) {
		k.wait(t)
	}
	path := filepath.Join(t.TempDir(), "partial")
	if _, err := g.Seal(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// checkJob compares a job with ROOT's own TChain::Process of it.
func checkJob(t *testing.T, r *roottest.ROOT, job roottest.Job) {
	t.Helper()
	got, printed := runJob(t, job)
	want := filepath.Join(t.TempDir(), "want.root")
	job.Dir = t.TempDir()
	r.Reference(t, job, want)
	r.Compare(t, got, want)
	if t.Failed() {
		t.Log(printed)
	}
}

func TestSelectorsEqualChain(t *testing.T) {
	r := roottest.Find(t)
	dir := t.TempDir()
	files := append(r.MakeUneven(t, dir), r.MakeChain(t, dir, 15, 100)...)
	for _, path := range []string{
		filepath.Join("..", "examples", "dimuon", "DiMuon.C"),
		filepath.Join("..", "examples", "dimuon", "DiMuonOld.C"),
		roottest.Selector(t, "Nested.C"),
		roottest.Selector(t, "Tally.C"),
	} {
		t.Run(filepath.Base(path), func(t *testing.T) {
			abs, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			checkJob(t, r, roottest.Job{Selector: abs, Tree: "Events", Files: files})
		})
	}
}

func TestH1Analysis(t *testing.T) {
	r := roottest.Find(t)
	dir := t.TempDir()
	files := r.MakeH42(t, dir, 1, 100_000) // five clusters: an entry list packs what it has left
	tutorials := filepath.Join(r.Dir, "tutorials", "analysis", "tree")
	if _, err := os.Stat(tutorials); err != nil {
		tutorials = filepath.Join(r.Dir, "share", "doc", "root", "tutorials", "analysis", "tree")
	}
	for _, option := range []string{"", "fillList"} {
		t.Run(option, func(t *testing.T) {
			checkJob(t, r, roottest.Job{
				Selector: filepath.Join(tutorials, "h1analysisTreeReader.C"),
				Tree:     "h42",
				Files:    files,
				Option:   option,
			})
		})
	}
}

func TestRealSamples(t *testing.T) {
	dir := filepath.Join("..", "..", "shared", "data")
	if env := os.Getenv("DTPNODE_SAMPLES"); env != "" {
		dir = env
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no samples of real data: set DTPNODE_SAMPLES to their folder")
	}
	r := roottest.Find(t)
	for _, c := range []struct{ selector, tree, files string }{
		{"HZZ.C", "events", "uproot-HZZ-[lz]*.root"},
		{"HZZObjects.C", "events", "uproot-HZZ-objects.root"},
		{"Nano.C", "Events", "nano*.root"},
		{"Physlite.C", "CollectionTree", "PHYSLITE*.root"},
	} {
		t.Run(c.selector, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join(dir, c.files))
			if err != nil || len(files) == 0 {
				t.Fatalf("no sample matches %q: %v", c.files, err)
			}
			for i := range files {
				if files[i], err = filepath.Abs(files[i]); err != nil {
					t.Fatal(err)
				}
			}
			checkJob(t, r, roottest.Job{Selector: roottest.Selector(t, c.selector), Tree: c.tree, Files: files})
		})
	}
}
