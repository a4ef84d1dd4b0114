package rootexec

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// aborter is fInput for the class Aborter.
func aborter(t *testing.T, in string, more ...string) string {
	t.Helper()
	params := map[string]string{"in": in}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	input, _ := mustBegin(t, "Aborter", params)
	return input
}

// classFor is the class that has a step.
func classFor(step string) string {
	if step == "ProcessCut" {
		return "AborterCut"
	}
	return "Aborter"
}

// finishedOf merges partials, and tells what was skipped and how many entries the class Aborter has seen.
func finishedOf(t *testing.T, partials ...string) (fin exec.Finished, seen float64) {
	t.Helper()
	c, err := load(t, "Aborter").StartClient(t.Context(), ClientSpec{}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err = c.Begin(t.Context()); err == nil {
		fin, err = c.Finish(t.Context(), partials, "")
	}
	if err != nil {
		t.Fatal(explain(err))
	}
	for _, o := range fin.Objects {
		if o.Name == "seen" {
			seen = o.Entries
		}
	}
	return fin, seen
}

// TestAbortFileSkipsTheRest has a selector give up a file in each step in which it can, with two files: what ROOT's own
// process runs of each is in the result, and what is left out is told with entry and reason.
func TestAbortFileSkipsTheRest(t *testing.T) {
	a, b := makeData(t, "a.root", 1000, 0), makeData(t, "b.root", 400, 5000)
	packets := []exec.Packet{
		{ID: 1, File: a, Part: "T", Last: 1000},
		{ID: 2, File: b, Part: "T", Last: 400, Base: 1000},
	}
	for _, c := range []struct {
		in      string
		args    []string
		seen    float64
		skipped []exec.Skipped
	}{
		{"Process", []string{"at", "300"}, 301 + 301, []exec.Skipped{
			{File: a, Part: "T", First: 301, Entries: 699, Entry: 300, Step: "Process"},
			{File: b, Part: "T", First: 301, Entries: 99, Entry: 300, Step: "Process"},
		}},
		{"Process", []string{"at", "600"}, 601 + 400, []exec.Skipped{
			{File: a, Part: "T", First: 601, Entries: 399, Entry: 600, Step: "Process"},
		}},
		{"Process", []string{"at", "399"}, 400 + 400, []exec.Skipped{ // the last entry of a file
			{File: a, Part: "T", First: 400, Entries: 600, Entry: 399, Step: "Process"},
			{File: b, Part: "T", First: 400, Entries: 0, Entry: 399, Step: "Process"},
		}},
		{"ProcessCut", []string{"at", "10"}, 11 + 11, []exec.Skipped{
			{File: a, Part: "T", First: 11, Entries: 989, Entry: 10, Step: "Process"},
			{File: b, Part: "T", First: 11, Entries: 389, Entry: 10, Step: "Process"},
		}},
		{"Init", nil, 2, []exec.Skipped{
			{File: a, Part: "T", First: 1, Entries: 999, Entry: -1, Step: "Init"},
			{File: b, Part: "T", First: 1, Entries: 399, Entry: -1, Step: "Init"},
		}},
		{"Notify", nil, 2, []exec.Skipped{
			{File: a, Part: "T", First: 1, Entries: 999, Entry: -1, Step: "Notify"},
			{File: b, Part: "T", First: 1, Entries: 399, Entry: -1, Step: "Notify"},
		}},
	} {
		t.Run(c.in+strings.Join(c.args, ""), func(t *testing.T) {
			sealed := runTold(t, load(t, classFor(c.in)), exec.GenSpec{Job: 5, Input: aborter(t, c.in, c.args...)},
				Told{Whole: true}, packets)
			// Skipped entries go through merges.
			merged := filepath.Join(t.TempDir(), "m")
			none := runTold(t, load(t, "Aborter"), exec.GenSpec{Job: 5, Input: aborter(t, "")}, Told{Whole: true}, nil)
			if _, err := load(t, "Aborter").Merge(t.Context(), []string{none.Path, sealed.Path}, merged); err != nil {
				t.Fatal(explain(err))
			}
			fin, seen := finishedOf(t, merged)
			total := int64(0)
			for i := range c.skipped {
				c.skipped[i].Reason = "no more of it, says " + c.in
				total += c.skipped[i].Entries
			}
			if seen != c.seen || sealed.Units != 1400 || !slices.Equal(fin.Skipped, c.skipped) ||
				fin.SkippedFiles != len(c.skipped) || fin.SkippedEntries != total {
				t.Errorf("%d units, %g seen, want %g; got %+v, want %+v", sealed.Units, seen, c.seen, fin, c.skipped)
			}
		})
	}
}

// TestAbortFileIsTheSameHoweverCut divides a file as nodes do that may not divide it: behind what went well.
func TestAbortFileIsTheSameHoweverCut(t *testing.T) {
	file := makeData(t, "a.root", 1000, 0)
	input := aborter(t, "Process", "at", "700")
	for _, cuts := range [][]int64{{0, 1000}, {0, 1, 1000}, {0, 300, 650, 1000}, {0, 700, 1000}} {
		var partials []string
		for i := 1; i < len(cuts); i++ {
			sealed := runTold(t, load(t, "Aborter"), exec.GenSpec{Job: 5, Input: input}, Told{Whole: true},
				[]exec.Packet{{ID: 1, File: file, Part: "T", First: cuts[i-1], Last: cuts[i]}})
			partials = append(partials, sealed.Path)
		}
		fin, seen := finishedOf(t, partials...)
		want := []exec.Skipped{{
			File: file, Part: "T", First: 701, Entries: 299, Entry: 700, Step: "Process",
			Reason: "no more of it, says Process",
		}}
		if seen != 701 || !slices.Equal(fin.Skipped, want) {
			t.Errorf("cut at %v: %g seen, %+v", cuts, seen, fin.Skipped)
		}
	}
	// A failure at the entry that aborts when it is tried again has divided the file: that is told.
	var partials []string
	for _, r := range [][2]int64{{0, 700}, {700, 701}, {701, 1000}} {
		input := input
		if r[0] == 701 {
			input = aborter(t, "")
		}
		sealed := runTold(t, load(t, "Aborter"), exec.GenSpec{Job: 5, Input: input}, Told{Whole: true},
			[]exec.Packet{{ID: 1, File: file, Part: "T", First: r[0], Last: r[1], Entries: 1000, End: 1000}})
		partials = append(partials, sealed.Path)
	}
	if fin, seen := finishedOf(t, partials...); seen != 1000 || len(fin.Skipped) != 1 || fin.Skipped[0].Ran != 299 {
		t.Errorf("%g seen, %+v", seen, fin.Skipped)
	}
}

// TestAbortEndsTheJob has a selector give up where that must end the job, with a reason that says what to do.
func TestAbortEndsTheJob(t *testing.T) {
	file := makeData(t, "a.root", 1000, 0)
	for _, c := range []struct {
		in, kind string
		whole    bool
		op, says string
	}{
		{"Process", "file", false, "Process", "--whole-files"},
		{"ProcessCut", "file", false, "Process", "--whole-files"},
		{"Init", "file", false, "Init", "--whole-files"},
		{"Notify", "file", false, "Notify", "--whole-files"},
		{"SlaveBegin", "file", true, "SlaveBegin", "before there was a file"},
		{"SlaveBegin", "process", true, "SlaveBegin", "Abort(kAbortProcess)"},
		{"Init", "process", true, "Init", "Abort(kAbortProcess)"},
		{"Notify", "process", true, "Notify", "Abort(kAbortProcess)"},
		{"Process", "process", true, "Process", "Abort(kAbortProcess)"},
		{"ProcessCut", "process", true, "Process", "Abort(kAbortProcess)"},
		{"SlaveTerminate", "process", true, "SlaveTerminate", "return from SlaveTerminate"},
	} {
		t.Run(fmt.Sprint(c.in, c.kind), func(t *testing.T) {
			args := []string{"kind", c.kind}
			if strings.HasPrefix(c.in, "Process") {
				args = append(args, "at", "300")
			}
			r := newRecorder()
			spec := exec.GenSpec{Dir: t.TempDir(), Input: aborter(t, c.in, args...)}
			g, err := load(t, classFor(c.in)).Start(t.Context(), spec, Told{Whole: c.whole}, r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(g.Kill)
			_ = g.Lease(exec.Packet{ID: 1, File: file, Part: "T", Last: 1000})
			var f *exec.Failure
			if c.in == "SlaveTerminate" {
				r.wait(t)
				if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); !errors.As(err, &f) {
					t.Fatalf("sealed with %v", err)
				}
			} else {
				f = r.waitFailure(t)
			}
			if f.Kind != exec.KindAbort || f.Op != c.op || !strings.Contains(f.Msg, c.says) ||
				!strings.Contains(f.Msg, "no more of it, says "+c.in) {
				t.Errorf("failed as %+v", f)
			}
		})
	}
}

// TestAbortInTerminate is told as what Terminate throws, where one process only says it in a line of its log.
func TestAbortInTerminate(t *testing.T) {
	c, err := load(t, "Aborter").StartClient(t.Context(), ClientSpec{
		Params: map[string]string{"in": "Terminate"}, Dir: t.TempDir(),
	}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Begin(t.Context()); err != nil {
		t.Fatal(explain(err))
	}
	_, err = c.Finish(t.Context(), nil, filepath.Join(t.TempDir(), "out"))
	var f *exec.Failure
	if !errors.As(err, &f) || f.Kind != exec.KindAbort || f.Op != "Terminate" || f.Stage != exec.StageEnd ||
		!strings.Contains(f.Msg, "no more of it, says Terminate") {
		t.Errorf("finished with %v", err)
	}
}

// TestNamesakes adds several objects of one name to fOutput, of which ROOT's list keeps the first. They come back
// merged by their places, the first as the one that the name means, and the user is told, also of what was lost.
func TestNamesakes(t *testing.T) {
	file := makeData(t, "a.root", 1000, 0)
	input := aborter(t, "namesakes")
	var partials []string
	for i := range int64(2) {
		sealed := runTold(t, load(t, "Aborter"), exec.GenSpec{Job: 5, Input: input}, Told{},
			[]exec.Packet{{ID: 1, File: file, Part: "T", First: 500 * i, Last: 500 * (i + 1)}})
		partials = append(partials, sealed.Path)
	}
	merged := filepath.Join(t.TempDir(), "m")
	if _, err := load(t, "Aborter").Merge(t.Context(), partials, merged); err != nil {
		t.Fatal(explain(err))
	}
	fin, out, _ := finish(t, "Aborter", []string{merged})
	mustBegin(t, "Expect", map[string]string{"file": out, "has": "seen=1000,seen;4=1000,seen;1=2,seen;2,seen;3"})
	if fin.Keys != 4 || len(fin.Apart) > 0 || len(fin.Notes) != 2 || !strings.Contains(fin.Notes[0], `"seen" (3)`) ||
		!strings.Contains(fin.Notes[1], `"seen" (10)`) {
		t.Errorf("%+v", fin)
	}
}

// TestBranchesThatSomeFilesLack reads all of a file with a branch more than the next has. What is fetched ahead of the
// next is no error of the selector's, and the log has none.
func TestBranchesThatSomeFilesLack(t *testing.T) {
	more, less := makeData(t, "a.root", 1000, 0, "more", "1"), makeData(t, "b.root", 1000, 1000)
	r := newRecorder()
	g, err := load(t, "Aborter").Start(t.Context(), exec.GenSpec{Dir: t.TempDir(), Input: aborter(t, "all")}, Told{}, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Kill)
	for i, file := range []string{more, less} {
		_ = g.Lease(exec.Packet{ID: uint64(i), File: file, Part: "T", Last: 1000, Base: int64(1000 * i)})
		r.wait(t)
	}
	if _, err := g.Seal(t.Context(), filepath.Join(t.TempDir(), "p")); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if all := strings.Join(r.lines, "\n"); strings.Contains(all, "unknown branch") {
		t.Errorf("printed %s", all)
	}
}

// TestMayAbortFiles finds the name in code, and not where it is no code.
func TestMayAbortFiles(t *testing.T) {
	for text, want := range map[string]bool{
		"Abort(\"x\", kAbortFile);":                  true,
		"Abort(why, TSelector::kAbortFile)":          true,
		"// kAbortFile\n/* kAbortFile\n*/ x":         false,
		"// a \\\n kAbortFile":                       false,
		"print(\"kAbortFile // \\\" kAbortFile\");":  false,
		"char c = '\"'; Abort(w, kAbortFile); // \"": true,
		"int mykAbortFile, kAbortFiles;":             false,
		"\"http://x\"; what = kAbortFile":            true,
		"Abort(w); /* never ends: kAbortFile":        false,
	} {
		src := Source{Files: map[string][]byte{"a.C": []byte(text), DataDir + "/b.C": []byte("kAbortFile")}}
		if got := mayAbortFiles(src); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
