package rootexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"
)

// partialsOf runs one generation for each file and returns their blobs.
func partialsOf(t *testing.T, class string, spec exec.GenSpec, files []string, n int64) []string {
	t.Helper()
	var out []string
	var id uint64
	for i, f := range files {
		out = append(out, runPackets(t, load(t, class), spec, cut(f, n, n, int64(i)*n, &id)).Path)
	}
	return out
}

func TestMergeTreeEqualsChain(t *testing.T) {
	var files []string
	for i := range 5 {
		files = append(files, makeData(t, fmt.Sprintf("f%d.root", i), 400, int64(i)*400))
	}
	p := partialsOf(t, "Hists", exec.GenSpec{Job: 3}, files, 400)
	s := load(t, "Hists")
	m1, err := s.Merge(t.Context(), p[:3], filepath.Join(t.TempDir(), "m1"))
	if err != nil {
		t.Fatal(err)
	}
	m2, err := s.Merge(t.Context(), append([]string{m1.Path}, p[3:4]...), filepath.Join(t.TempDir(), "m2"))
	if err != nil {
		t.Fatal(err)
	}
	if m1.Units != 1200 || m2.Units != 1600 || len(m2.Apart) > 0 {
		t.Errorf("%+v, %+v", m1, m2)
	}
	fin, out, _ := finish(t, "Hists", []string{p[4], m2.Path})
	if fin.Units != 2000 || fin.Keys != 7 {
		t.Errorf("%+v", fin)
	}
	ref := filepath.Join(t.TempDir(), "ref.root")
	mustBegin(t, "Reference", map[string]string{"files": strings.Join(files, ","), "out": ref})
	mustBegin(t, "Compare", map[string]string{"a": ref, "b": out})
	mustBegin(t, "Expect", map[string]string{"file": out, "slaveEnds": "5", "count": "2000"})
}

// TestMergeBeyondDescriptors merges more partials than a process may open: the last merge and every other do it in
// batches, lose nothing of what is counted or kept apart, and leave no batch behind.
func TestMergeBeyondDescriptors(t *testing.T) {
	file := makeData(t, "f.root", 40, 0)
	inputs := partialsOf(t, "Hists", exec.GenSpec{Job: 3}, []string{file, file, file}, 40)
	for len(inputs) < 600 {
		inputs = append(inputs, inputs[len(inputs)%3])
	}
	s := load(t, "Hists")
	var old unix.Rlimit
	if err := unix.Prlimit(s.proc.PID(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 80, Max: 80}, &old); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prlimit(s.proc.PID(), unix.RLIMIT_NOFILE, &old, nil) })
	dir := t.TempDir()
	m, err := s.Merge(t.Context(), inputs, filepath.Join(dir, "merged"))
	if err != nil || m.Units != 600*40 {
		t.Errorf("%+v, %s", m, explain(err))
	}
	saved, err := s.Save(t.Context(), inputs, filepath.Join(dir, "saved.root"))
	if err != nil || saved.Units != 600*40 {
		t.Errorf("%+v, %s", saved, explain(err))
	}
	c, err := s.StartClient(t.Context(), ClientSpec{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Begin(t.Context()); err != nil {
		t.Fatal(explain(err))
	}
	out := filepath.Join(dir, "out.root")
	fin, err := c.Finish(t.Context(), inputs, out)
	if err != nil || fin.Units != 600*40 || fin.Canary != m.Canary {
		t.Fatalf("%+v, %s", fin, explain(err))
	}
	mustBegin(t, "Expect", map[string]string{"file": out, "slaveEnds": "600", "count": "24000"})
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 {
		t.Errorf("left behind: %v", left)
	}
}

func TestObjectAbsentFromTheFirstInput(t *testing.T) {
	file := makeData(t, "f.root", 100, 0)
	without, _ := mustBegin(t, "Hists", map[string]string{"first": "yes"})
	told := Told{Option: "absent"}
	p := []string{runTold(t, load(t, "Hists"), exec.GenSpec{Input: without}, told,
		cut(file, 100, 100, 0, new(uint64))).Path}
	p = append(p, partialsOf(t, "Hists", exec.GenSpec{}, []string{file}, 100)...)
	fin, out, _ := finish(t, "Hists", p)
	if fin.Keys != 7 {
		t.Errorf("%d keys, want all 7", fin.Keys)
	}
	mustBegin(t, "Expect", map[string]string{"file": out, "has": "h2"})
}

func TestUnmergeableObjectsStayApart(t *testing.T) {
	file := makeData(t, "f.root", 10, 0)
	p := partialsOf(t, "Apart", exec.GenSpec{}, []string{file, file, file}, 10)
	m, err := load(t, "Apart").Merge(t.Context(), p[:2], filepath.Join(t.TempDir(), "m"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"note", "list/inner"}; !slices.Equal(m.Apart, want) {
		t.Errorf("apart %v, want %v", m.Apart, want)
	}
	fin, out, _ := finish(t, "Apart", []string{m.Path, p[2]})
	if !slices.Contains(fin.Apart, "note") || fin.Keys != 4 {
		t.Errorf("%+v; want note three times and the list", fin)
	}
	mustBegin(t, "Expect", map[string]string{"file": out, "has": "note;1,note;2,note;3,list"})
}

func TestArraysThatOwnTheirElementsMerge(t *testing.T) {
	file := makeData(t, "f.root", 10, 0)
	p := partialsOf(t, "Arrays", exec.GenSpec{}, []string{file, file, file}, 10)
	fin, _, printed := finish(t, "Arrays", p)
	if len(fin.Apart) > 0 || !strings.Contains(printed, "2 hists 30 30") {
		t.Errorf("%+v, printed %q", fin, printed)
	}
}

func TestFinishWithoutPartials(t *testing.T) {
	fin, _, printed := finish(t, "Hists", nil)
	if fin.Keys != 0 || !strings.Contains(printed, "terminate hx=-1") {
		t.Errorf("%+v\n%s", fin, printed)
	}
}

func TestFinishOnFullDisk(t *testing.T) {
	file := makeData(t, "f.root", 100, 0)
	p := partialsOf(t, "Hists", exec.GenSpec{}, []string{file}, 100)
	c, err := load(t, "Hists").StartClient(t.Context(), ClientSpec{Dir: t.TempDir()}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A limit on the size of files stands for a full disk: write() fails in both.
	if err := unix.Prlimit(c.p.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: 4096}, nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a # in it")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = c.Finish(t.Context(), p, filepath.Join(dir, "out.root"))
	if f := asFailure(err); f == nil || f.Kind != exec.KindDisk {
		t.Errorf("%v; want disk", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(p[0]); err != nil {
		t.Errorf("the partial is gone: %v", err)
	}
}

func TestMergeRefusesForeignBytes(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	for _, content := range []string{"", "something else", "DTPBLOB1\x00\x06\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(t, "Hists").Merge(t.Context(), []string{bad}, bad+".out"); asFailure(err) == nil {
			t.Errorf("%q: %v", content, err)
		}
	}
}

func TestPackedLibraryElsewhere(t *testing.T) {
	e := executor(t)
	packed, err := suite.lib.Pack()
	if err != nil {
		t.Fatal(err)
	}
	lib, err := Unpack(t.Context(), t.TempDir(), suite.lib.Key, originOf(packed), packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	lib.Key += "-elsewhere" // or the loaded one would be handed out
	s, err := e.Load(t.Context(), lib, "Hists")
	if err != nil {
		t.Fatal(explain(err))
	}
	defer s.Release()
	file := makeData(t, "f.root", 100, 0)
	r := newRecorder()
	g, err := s.Start(t.Context(), exec.GenSpec{Dir: t.TempDir()}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Kill()
	if err := g.Lease(exec.Packet{ID: 1, File: file, Part: "T", Last: 100}); err != nil {
		t.Fatal(err)
	}
	r.wait(t)
	if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); err != nil {
		t.Fatal(err)
	}
	<-g.Done() // what it printed may come later than its answer
	if said := s.proc.Output() + g.Output(); strings.Contains(said, "rror") {
		t.Errorf("the library from elsewhere is not silent:\n%s", said)
	}
	if _, err := Unpack(t.Context(), t.TempDir(), "otherkey", originOf(packed), packed, nil); !errors.Is(err, ErrPack) {
		t.Errorf("under another key: %v", err)
	}
}
