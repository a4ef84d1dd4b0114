package rootexec_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// worldLines are what selector World tells of what is around it.
func worldLines(printed string) (lines []string) {
	for line := range strings.Lines(printed) {
		if strings.HasPrefix(line, "world: ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// TestWorldOfOneProcess: Begin and Terminate find the directories, objects, trees, pads, fits and files that they find
// in a process of the user's own that does all.
func TestWorldOfOneProcess(t *testing.T) {
	r := roottest.Find(t)
	job := roottest.Job{Selector: roottest.Selector(t, "World.C"), Tree: "Events", Files: r.MakeUneven(t, t.TempDir())}
	_, printed := runJob(t, job)
	job.Dir = t.TempDir()
	want := r.Reference(t, job, filepath.Join(t.TempDir(), "want.root"))
	if got, want := worldLines(printed), worldLines(want); !slices.Equal(got, want) || len(want) < 11 {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// finish runs a job of one generation without a tree, and returns what Finish says and the folder of Terminate.
func finish(t *testing.T, s *rootexec.Selector, client rootexec.ClientSpec, out string) (exec.Finished, string) {
	t.Helper()
	client.Dir = t.TempDir()
	c, err := s.StartClient(t.Context(), client, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	partial := runGeneration(t, s, exec.GenSpec{Job: 1, Input: input, Dir: t.TempDir()}, rootexec.Told{},
		[]exec.Packet{{ID: 1, Last: 100}})
	fin, err := c.Finish(t.Context(), []string{partial}, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Output())
	}
	return fin, client.Dir
}

// TestSaveCanvases: each canvas is a file in each format, whatever its name, no two are one file, and ROOT reads what
// is for ROOT. What only looks at the output saves nothing.
func TestSaveCanvases(t *testing.T) {
	s := loadJob(t, rootexec.SharedExecutor(t), roottest.Selector(t, "World.C"))
	defer s.Release()
	client := rootexec.ClientSpec{Canvases: []string{"pdf", "root", "C"}}
	fin, dir := finish(t, s, client, filepath.Join(t.TempDir(), "out.root"))
	want := []string{
		"c.pdf", "c.root", "c.C", "a_b_c.pdf", "a_b_c.root", "a_b_c.C", "a_b_c_2.pdf", "a_b_c_2.root", "a_b_c_2.C",
	}
	if !slices.Equal(fin.Canvases, want) || len(fin.Unsaved) > 0 {
		t.Errorf("saved %q, not %q", fin.Canvases, fin.Unsaved)
	}
	for name, magic := range map[string]string{
		"c.pdf": "%PDF", "c.root": "root", "a_b_c_2.pdf": "%PDF", "by_hand.png": "\x89PNG",
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(text), magic) {
			t.Errorf("%s: %v, it begins with %.10q", name, err, text)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "c.C")); err != nil || !strings.Contains(string(text), "void c()") {
		t.Errorf("the macro: %v\n%s", err, text)
	}
	files, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %q, %v", files, err)
	}
	if fin, dir = finish(t, s, client, ""); len(fin.Canvases) > 0 {
		t.Errorf("saved %q into %s though there is no output", fin.Canvases, dir)
	}
}

// TestSeededGenerationsAgree: with a seed the output is the same however the entries are dealt, in another order too,
// and another one with another seed. Without a seed no two runs are the same.
func TestSeededGenerationsAgree(t *testing.T) {
	e, r := rootexec.SharedExecutor(t), roottest.Find(t)
	s := loadJob(t, e, roottest.Selector(t, "World.C"))
	defer s.Release()
	toss := func(seed *uint64, hands ...[]exec.Packet) string {
		t.Helper()
		told := rootexec.Told{Option: "toss", Seed: seed}
		c, err := s.StartClient(t.Context(), rootexec.ClientSpec{Option: "toss", Seed: seed, Dir: t.TempDir()},
			func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		input, err := c.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var partials []string
		for _, packets := range hands {
			spec := exec.GenSpec{Job: 1, Input: input, Dir: t.TempDir()}
			partials = append(partials, runGeneration(t, s, spec, told, packets))
		}
		out := filepath.Join(t.TempDir(), "out.root")
		if _, err := c.Finish(t.Context(), partials, out); err != nil {
			t.Fatalf("%v\n%s", err, c.Output())
		}
		return out
	}
	part := func(id uint64, first, last int64) exec.Packet { return exec.Packet{ID: id, First: first, Last: last} }
	one, two := uint64(1), uint64(2)
	whole := []exec.Packet{part(1, 0, 3000)}
	want := toss(&one, whole)
	r.Compare(t, toss(&one, []exec.Packet{part(1, 2000, 3000), part(2, 0, 7)},
		[]exec.Packet{part(3, 1001, 2000)}, []exec.Packet{part(4, 7, 1001)}), want)
	for name, other := range map[string]string{"another seed": toss(&two, whole), "no seed": toss(nil, whole)} {
		if d, err := r.Differences(t, other, want); err != nil || d == "" {
			t.Errorf("%s makes no difference (%v)", name, err)
		}
	}
	if d, err := r.Differences(t, toss(nil, whole), toss(nil, whole)); err != nil || d == "" {
		t.Errorf("two runs without a seed draw the same (%v)", err)
	}
}

// TestBegun: what Begin booked gives way to what the workers have filled, and the file that it opened is where
// Terminate writes.
func TestBegun(t *testing.T) {
	r := roottest.Find(t)
	selector := roottest.Selector(t, "Begun.C")
	s := loadJob(t, rootexec.SharedExecutor(t), selector)
	defer s.Release()
	job := roottest.Job{Selector: selector, Tree: "Events", Files: r.MakeChain(t, t.TempDir(), 2, 100)}
	dir, out, fin := outputJob(t, s, job, rootexec.ClientSpec{})
	if fin.Keys != 1 || len(fin.Apart) > 0 {
		t.Errorf("%d keys, apart %v", fin.Keys, fin.Apart)
	}
	want, there := filepath.Join(t.TempDir(), "want.root"), t.TempDir()
	job.Dir = there
	r.Reference(t, job, want)
	r.Compare(t, out, want)
	r.Compare(t, filepath.Join(dir, "begun.root"), filepath.Join(there, "begun.root"))
}
