package rootexec_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// outputJob runs the packets of a job in four generations, each in a folder of its own, as a node does, merges their
// outputs two by two, and finishes in a folder, which is returned with the result.
func outputJob(
	t *testing.T, s *rootexec.Selector, job roottest.Job, spec rootexec.ClientSpec,
) (dir, out string, fin exec.Finished) {
	t.Helper()
	if dir = spec.Dir; dir == "" {
		dir = t.TempDir()
	}
	spec.Option, spec.Dir = job.Option, dir
	c, err := s.StartClient(t.Context(), spec, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var partials []string
	for _, packets := range dealPackets(t, rootexec.SharedExecutor(t), job) {
		for half := range slices.Chunk(packets, (len(packets)+1)/2) {
			spec := exec.GenSpec{Job: 1, Input: input, Dir: t.TempDir()}
			partials = append(partials, runGeneration(t, s, spec, rootexec.Told{Option: job.Option}, half))
		}
	}
	merged := filepath.Join(t.TempDir(), "merged")
	if _, err := s.Merge(t.Context(), partials[:2], merged); err != nil {
		t.Fatal(err)
	}
	out = filepath.Join(t.TempDir(), "result.out")
	if fin, err = c.Finish(t.Context(), append(partials[2:], merged), out); err != nil {
		var f *exec.Failure
		if errors.As(err, &f) {
			t.Log(f.Stack, f.Tail)
		}
		t.Fatalf("%v\n%s", err, c.Output())
	}
	return dir, out, fin
}

// unpackResult takes a result apart in a new folder, and returns the paths of the output and of the folder.
func unpackResult(t *testing.T, path string) (out, dir string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	size, files, err := exec.ReadResult(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if _, err := exec.PlaceFiles(f, files, dir, "", nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return path, dir
}

// TestOutputFiles runs a selector that writes trees, in memory and in files of its own, in each way that there is, and
// compares all of it with what ROOT's single process writes.
func TestOutputFiles(t *testing.T) {
	r := roottest.Find(t)
	job := roottest.Job{
		Selector: roottest.Selector(t, "Outputs.C"), Tree: "Events", Files: r.MakeUneven(t, t.TempDir()), Dir: t.TempDir(),
	}
	want := filepath.Join(t.TempDir(), "want.root")
	r.Reference(t, job, want)
	s := loadJob(t, rootexec.SharedExecutor(t), job.Selector)
	defer s.Release()
	outputs, more := filepath.Join(job.Dir, "outputs.root"), filepath.Join(job.Dir, "sub", "more.root")
	for _, option := range []string{"closed", "open", "merge", "dataset", "nodir", "late"} {
		t.Run(option, func(t *testing.T) {
			if option == "open" || option == "nodir" || option == "late" {
				roottest.Long(t)
			}
			job.Option = option
			dir, result, fin := outputJob(t, s, job, rootexec.ClientSpec{})
			if len(fin.Apart) > 0 || len(fin.Left) > 0 {
				t.Errorf("apart: %v, left: %v", fin.Apart, fin.Left)
			}
			out, taken := unpackResult(t, result)
			r.Compare(t, out, want)
			for _, in := range []string{dir, taken} {
				switch option {
				case "dataset": // which Terminate has compared
					if _, err := os.Stat(filepath.Join(in, "outputs-1.root")); err != nil {
						t.Error(err)
					}
				case "merge":
					r.Compare(t, filepath.Join(in, "outputs.root"), outputs)
					r.Compare(t, filepath.Join(in, "renamed", "more.root"), more)
				default:
					r.Compare(t, filepath.Join(in, "outputs.root"), outputs)
					r.Compare(t, filepath.Join(in, "sub", "more.root"), more)
				}
			}
			for _, f := range fin.Files {
				if !strings.HasSuffix(f.Name, "more.root") &&
					!slices.Contains(f.Trees, exec.TreeEntries{Name: "events", Entries: 19001}) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// TestOutputNames names the merged file in the ways that SetOutputFileName knows.
func TestOutputNames(t *testing.T) {
	r := roottest.Find(t)
	files := r.MakeChain(t, t.TempDir(), 2, 100)
	selector := roottest.Selector(t, "Outputs.C")
	s := loadJob(t, rootexec.SharedExecutor(t), selector)
	defer s.Release()
	there := t.TempDir()
	input := filepath.Join(there, "input.root")
	if err := os.Link(files[0], input); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	outputs := filepath.Join(there, "made", "outputs")
	for n, c := range []struct {
		name string
		away bool
		want string // absolute, or in the folder of the job
		dir  string // that the user has named for output files
	}{
		{filepath.Join(outputs, "new", "all.root"), false, filepath.Join(outputs, "new", "all.root"), outputs},
		{outputs + "/../up.root", false, filepath.Join(outputs, "up.root"), outputs},
		{filepath.Join(outputs, "away.root"), true, "away.root", outputs},
		{"deep/er/<file>", false, "deep/er/outputs.root", ""},
		{"file://" + filepath.Join(there, "all.root"), false, "all.root", ""},
		{"../up.root", false, "up.root", ""},
		{strings.Repeat("é", 300), false, strings.Repeat("é", 100) + ".root", ""},
		{"root://host.example//store/far.root", false, "far.root", ""},
		{"sub", false, "sub.root", ""}, // where the other file would have its folder
		{input, false, "input.root", ""},
		// These are others of the same kinds.
		{"deep/er/<file>", false, filepath.Join(outputs, "deep", "er", "outputs.root"), outputs},
		{filepath.Join(there, "all.root"), false, filepath.Join(outputs, "all.root"), outputs},
		{filepath.Join(there, "new", "all.root"), false, "all.root", ""},
		{filepath.Join(there, "away.root"), true, "away.root", ""},
		{"../../client:up.root", true, "client:up.root", ""},
		{".profile", false, "_profile.root", ""},
		{"Makefile", false, "Makefile.root", ""},
		{strings.Repeat("deep/", 300) + "er.root", false, "er.root", ""},
		{"client:mine.root", false, "mine.root", ""},
		{"of-<qnum>-<ord>.root", false, "of-1-.root", ""},
		{`no\path.root`, false, "no_path.root", ""},
		{"line\nend.root", false, "line_end.root", ""},
		{"latin\xe9.root", false, "latin_.root", ""},
	} {
		if n >= 10 && !roottest.Everything() {
			break
		}
		job := roottest.Job{Selector: selector, Tree: "Events", Files: files, Option: "name=" + c.name}
		dir, result, fin := outputJob(t, s, job, rootexec.ClientSpec{
			Away: c.away, Inputs: func() []string { return files }, OutputDir: c.dir,
		})
		unpackResult(t, result) // whatever the names are, it can be read
		want := c.want
		if !filepath.IsAbs(want) {
			want = filepath.Join(dir, want)
		}
		i := slices.IndexFunc(fin.Files, func(f exec.OutputFile) bool { return f.Path == want })
		if i < 0 || !slices.Contains(fin.Files[i].Trees, exec.TreeEntries{Name: "events", Entries: 200}) {
			t.Errorf("%s: %+v, want %s", c.name, fin.Files, want)
		}
		if info, err := os.Stat(want); err != nil || i >= 0 && info.Size() != fin.Files[i].Size {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.ContainsFunc(fin.Left, func(l exec.LeftFile) bool { return l.Name == "text.txt" && l.Times > 1 }) {
			t.Errorf("%s: left %v", c.name, fin.Left)
		}
	}
	if after, err := os.ReadFile(input); err != nil || !slices.Equal(after, before) {
		t.Errorf("an input was replaced: %v", err)
	}
}

// TestOutputsReplaceNothing: the name of an output file comes from whoever worked, so that it must neither lead out of
// the folder of the job, through a link either, nor destroy a file that no job has written.
func TestOutputsReplaceNothing(t *testing.T) {
	r := roottest.Find(t)
	selector := roottest.Selector(t, "Outputs.C")
	s := loadJob(t, rootexec.SharedExecutor(t), selector)
	defer s.Release()
	files := r.MakeChain(t, t.TempDir(), 2, 100)
	dir, outside := t.TempDir(), t.TempDir()
	const text = "what the user has written"
	if err := os.WriteFile(filepath.Join(dir, "mine.root"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "way.root"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mine.root", "link/out.root", "file/out3.root", "way.root"} {
		job := roottest.Job{Selector: selector, Tree: "Events", Files: files, Option: "name=" + name}
		_, _, fin := outputJob(t, s, job, rootexec.ClientSpec{Dir: dir})
		want := filepath.Join(dir, filepath.Base(name))
		if name == "way.root" {
			want = filepath.Join(dir, "way-of-2.root")
		}
		i := slices.IndexFunc(fin.Files, func(f exec.OutputFile) bool { return f.Path == want })
		if i < 0 || fin.Files[i].Note == "" {
			t.Errorf("%s: %+v, want %s with a note", name, fin.Files, want)
		}
	}
	replaced := func(mark string, option string) (befores []string) {
		t.Helper()
		job := roottest.Job{Selector: selector, Tree: "Events", Files: files, Option: "name=" + option}
		_, _, fin := outputJob(t, s, job, rootexec.ClientSpec{Dir: dir, Mark: mark})
		for _, f := range fin.Files {
			if filepath.Base(f.Path) == option && strings.Contains(f.Note, "-before") {
				befores = append(befores, f.Note)
			}
		}
		return befores
	}
	a, b := exec.OutputMark("me", "ROOT", "/a/Sel.C"), exec.OutputMark("me", "ROOT", "/b/Sel.C")
	for i, c := range []struct {
		mark string
		kept bool
	}{{a, false}, {a, false}, {b, true}, {b, false}, {"", true}, {a, true}} {
		if kept := replaced(c.mark, "result.root"); (len(kept) > 0) != c.kept {
			t.Errorf("at %d what another job has written is kept: %v", i, kept)
		}
	}
	// What its user has changed in place is the user's.
	f, err := os.OpenFile(filepath.Join(dir, "result.root"), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = f.WriteString("a note of the user's")
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if first, second := replaced(a, "result.root"), replaced(a, "result.root"); len(first) == 0 || len(second) > 0 {
		t.Errorf("of a changed file is told %q, of the next %q", first, second)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "mine-before.root")); err != nil || string(kept) != text {
		t.Errorf("what was there is %q, %v", kept, err)
	}
	if there, err := os.ReadDir(outside); err != nil || len(there) > 0 {
		t.Errorf("outside there is %v, %v", there, err)
	}
}
