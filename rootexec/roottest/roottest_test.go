package roottest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// samples returns the real samples named in pattern; they are not part of the repository.
func samples(t *testing.T, pattern string) []string {
	t.Helper()
	dir := os.Getenv("DTPNODE_SAMPLES")
	if dir == "" {
		t.Skip("set DTPNODE_SAMPLES to the directory of the sample files")
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sample matches %q in %q: %v", pattern, dir, err)
	}
	return files
}

func TestGoodSelectorsRunOnSamples(t *testing.T) {
	r := Find(t)
	for _, c := range []struct{ selector, tree, files string }{
		{"HZZ.C", "events", "uproot-HZZ-[lz]*.root"},
		{"HZZObjects.C", "events", "uproot-HZZ-objects.root"},
		{"Nano.C", "Events", "nano*.root"},
		{"Physlite.C", "CollectionTree", "PHYSLITE*.root"},
	} {
		t.Run(c.selector, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.root")
			job := Job{Selector: Selector(t, c.selector), Tree: c.tree, Files: samples(t, c.files)}
			text := r.Reference(t, job, out)
			if strings.Contains(text, "Error in") {
				t.Errorf("reference printed errors:\n%s", text)
			}
			r.Compare(t, out, out)
			first := filepath.Join(t.TempDir(), "first.root")
			job.N = 10
			r.Reference(t, job, first)
			if d := r.mustDiffer(t, first, out); !strings.Contains(d, "entries") {
				t.Errorf("ten entries and all differ only in:\n%s", d)
			}
		})
	}
}

func (r *ROOT) mustDiffer(t *testing.T, got, want string) string {
	t.Helper()
	d, err := r.Differences(t, got, want)
	if err != nil {
		t.Fatal(err)
	}
	if d == "" {
		t.Fatalf("%s and %s should differ", got, want)
	}
	return d
}

// TestComparePlantedDifference leaves out, and doubles, one entry of 19,001.
func TestComparePlantedDifference(t *testing.T) {
	r := Find(t)
	dir := t.TempDir()
	files := r.MakeUneven(t, dir)
	run := func(name string, job Job) string {
		out := filepath.Join(dir, name)
		job.Selector, job.Tree = Selector(t, "Tally.C"), "Events"
		r.Reference(t, job, out)
		return out
	}
	want := run("all.root", Job{Files: files})
	r.Compare(t, run("again.root", Job{Files: files, N: 19001}), want)
	for _, object := range []string{"/n: value: got 19000, want 19001", "/sum: ", "/blocks: "} {
		if d := r.mustDiffer(t, run("less.root", Job{Files: files, First: 1}), want); !strings.Contains(d, object) {
			t.Errorf("a missing entry does not show as %q:\n%s", object, d)
		}
	}
	double := append([]string{files[0]}, files...)
	if d := r.mustDiffer(t, run("twice.root", Job{Files: double}), want); !strings.Contains(d, "got 19002, want 19001") {
		t.Errorf("a doubled entry does not show:\n%s", d)
	}
}

func TestCompareOrderAndLists(t *testing.T) {
	r := Find(t)
	dir := t.TempDir()
	files := r.MakeChain(t, dir, 20, 100)
	backwards := []string{}
	for i := range files {
		backwards = append(backwards, files[len(files)-1-i])
	}
	job := Job{Selector: filepath.Join("..", "..", "examples", "dimuon", "DiMuon.C"), Tree: "Events", Files: files}
	job.Selector, _ = filepath.Abs(job.Selector)
	want, got := filepath.Join(dir, "want.root"), filepath.Join(dir, "got.root")
	r.Reference(t, job, want)
	job.Files = backwards
	r.Reference(t, job, got)
	r.Compare(t, got, want)

	nested := Job{Selector: Selector(t, "Nested.C"), Tree: "Events", Files: files}
	r.Reference(t, nested, filepath.Join(dir, "nested.root"))
	nested.N = 1900
	r.Reference(t, nested, filepath.Join(dir, "less.root"))
	d := r.mustDiffer(t, filepath.Join(dir, "less.root"), filepath.Join(dir, "nested.root"))
	if !strings.Contains(d, "/outer/count: entries: got 1900, want 2000") || !strings.Contains(d, "/outer/inner/mean: ") {
		t.Errorf("lists are not compared in depth:\n%s", d)
	}

	job.Params = map[string]string{"ptcut": "20"}
	r.Reference(t, job, got)
	d = r.mustDiffer(t, got, want)
	for _, object := range []string{"/mass: ", "/mass_pt: ", "/mass_met: ", "/pairs: ", "/jets/ht: "} {
		if !strings.Contains(d, object) {
			t.Errorf("another pt cut does not show in %q:\n%s", object, d)
		}
	}
	job.Params, job.Option = nil, "samesign"
	r.Reference(t, job, got)
	if d := r.mustDiffer(t, got, want); !strings.Contains(d, "/pairs: ") || strings.Contains(d, "/events: ") {
		t.Errorf("option samesign changes other things than pairs:\n%s", d)
	}
}

func TestH42PassesTheTutorial(t *testing.T) {
	r := Find(t)
	dir := t.TempDir()
	tutorials := filepath.Join(r.Dir, "tutorials", "analysis", "tree")
	if _, err := os.Stat(tutorials); err != nil {
		tutorials = filepath.Join(r.Dir, "share", "doc", "root", "tutorials", "analysis", "tree")
	}
	job := Job{Selector: filepath.Join(tutorials, "h1analysisTreeReader.C"), Tree: "h42", Dir: dir,
		Files: r.MakeH42(t, dir, 3, 20000), Option: "fillList"}
	reader := filepath.Join(dir, "reader.root")
	if text := r.Reference(t, job, reader); strings.Contains(text, "Error in") {
		t.Errorf("the tutorial printed errors:\n%s", text)
	}
	job.Option = ""
	plain := filepath.Join(dir, "plain.root")
	r.Reference(t, job, plain)
	if d := r.mustDiffer(t, plain, reader); strings.Contains(d, "hdmd") ||
		!strings.Contains(d, "/elist: object: got nothing") {
		t.Errorf("without fillList more than the entry list differs:\n%s", d)
	}

	// h1analysis sets the addresses of branches that this h42 lacks; ROOT complains and goes on
	job.Selector = filepath.Join(tutorials, "h1analysis.C")
	old := filepath.Join(dir, "old.root")
	r.Reference(t, job, old)
	for line := range strings.Lines(r.mustDiffer(t, old, plain)) {
		if !strings.Contains(line, "title") && !strings.HasSuffix(line, " differences\n") {
			t.Errorf("the two tutorials differ in more than titles: %s", line)
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	r := Find(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	r.MakeEvents(t, EventFile{Path: at("good.root"), Entries: 5000}, EventFile{Path: at("bad.root"), Entries: 5000},
		EventFile{Path: at("cut.root"), Entries: 5000}, EventFile{Path: at("empty.root")},
		EventFile{Path: at("dir.root"), Tree: "ana/sub/Events", Entries: 50})
	first, last := r.Corrupt(t, at("bad.root"), "Events", "event", 2500)
	if first > 2500 || last <= 2500 || last-first > 1000 {
		t.Errorf("corrupted entries [%d, %d), want the cluster of entry 2500", first, last)
	}
	Truncate(t, at("cut.root"), 0.6)
	job := func(tree, file string) Job {
		return Job{Selector: Selector(t, "Tally.C"), Tree: tree, Files: []string{at(file)}}
	}
	// ROOT itself reports the basket and then dereferences the null pointer that TTreeReaderValue gives
	text, err := r.TryReference(t, job("Events", "bad.root"), at("got.root"))
	if err == nil || !strings.Contains(text, "Error in <TBasket::ReadBasketBuffers>") {
		t.Errorf("ROOT reads the corrupted file without complaint: %v\n%s", err, text)
	}
	if text, _ := r.TryReference(t, job("Events", "cut.root"), at("got.root")); !strings.Contains(text, "truncated") {
		t.Errorf("ROOT does not find the file truncated:\n%s", text)
	}
	r.Reference(t, job("Events", "empty.root"), at("empty_out.root"))
	r.Reference(t, job("ana/sub/Events", "dir.root"), at("dir_out.root"))
	if d := r.mustDiffer(t, at("dir_out.root"), at("empty_out.root")); !strings.Contains(d, "got 50, want 0") {
		t.Errorf("tree in a directory, against an empty one:\n%s", d)
	}
}

func TestBadSelectorsAreBad(t *testing.T) {
	r := Find(t)
	dir := t.TempDir()
	files := r.MakeChain(t, dir, 2, 2000)
	out := filepath.Join(dir, "out.root")
	for _, c := range []struct{ selector, do, says string }{
		{"bad/NoCompile.C", "", "undeclared_name"},
		{"bad/NotASelector.C", "", "does not derive from TSelector"},
		{"bad/CrashSlaveBegin.C", "", "segmentation violation"},
		{"bad/MissingReader.C", "", "Tau_pt_typo"},
		{"bad/MissingAddress.C", "", "MET_typo"},
		{"bad/Misbehave.C", "segfault", "segmentation violation"},
		{"bad/Misbehave.C", "throw", "Misbehave throws"},
		{"bad/Misbehave.C", "abortprocess", "Misbehave aborts the job"},
	} {
		job := Job{Selector: Selector(t, c.selector), Tree: "Events", Files: files,
			Params: map[string]string{"do": c.do, "file": "small_001.root", "entry": "1234"}}
		text, err := r.TryReference(t, job, out)
		if !strings.Contains(text, c.says) {
			t.Errorf("%s %s: ROOT ends with %v and does not say %q:\n%s", c.selector, c.do, err, c.says, text)
		}
	}
	job := Job{Selector: Selector(t, "bad/Misbehave.C"), Tree: "Events", Files: files,
		Params: map[string]string{"do": "exit", "file": "small_001.root", "entry": "1234"}}
	if text, err := r.TryReference(t, job, out); err == nil || err.Error() != "exit status 7" {
		t.Errorf("exit(7) ends with %v:\n%s", err, text)
	}
	for _, good := range []Job{{Selector: Selector(t, "bad/Unmergeable.C")}, {Selector: Selector(t, "bad/Misbehave.C")}} {
		good.Tree, good.Files = "Events", files
		r.Reference(t, good, out)
	}
}
