package rootexec_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// played is a job of selector Record in which each generation gets the packets of its own.
type played struct {
	class       string
	told        rootexec.Told
	params      map[string]string
	generations [][]exec.Packet
}

// play runs it, and returns the lines of the submitter's log and those of the workers'.
func (p played) play(t *testing.T, e *rootexec.Executor) (submitter, workers []string) {
	t.Helper()
	s, err := e.Load(t.Context(), recordLibrary(t, e), p.class)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var lines []string
	c, err := s.StartClient(t.Context(), rootexec.ClientSpec{Option: p.told.Option, Params: p.params, Dir: t.TempDir()},
		func(line string) { lines = append(lines, line) })
	if err != nil {
		t.Fatal(err)
	}
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var partials []string
	for _, packets := range p.generations {
		spec := exec.GenSpec{Job: 1, Input: input, Dir: t.TempDir()}
		partials = append(partials, runGeneration(t, s, spec, p.told, packets))
	}
	if _, err := c.Finish(t.Context(), partials, filepath.Join(t.TempDir(), "out.root")); err != nil {
		t.Fatalf("%v\n%s", err, c.Output())
	}
	c.Close()
	for _, line := range lines {
		side, text, _ := strings.Cut(line, " ")
		switch side {
		case "S":
			submitter = append(submitter, text)
		case "W":
			workers = append(workers, text)
		}
	}
	return submitter, workers
}

// recordLibrary is the library with the selectors of Record.C.
func recordLibrary(t *testing.T, e *rootexec.Executor) rootexec.Library {
	t.Helper()
	lib, err := e.Compile(t.Context(), sourceOf(t, roottest.Selector(t, "Record.C")))
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// told compares a log with the script that it should follow.
func told(t *testing.T, who string, got []string, want string) {
	t.Helper()
	var script []string
	for line := range strings.Lines(want) {
		if line = strings.TrimSpace(line); line != "" {
			script = append(script, line)
		}
	}
	if !slices.Equal(got, script) {
		t.Errorf("%s: got\n%s\nwant\n%s", who, strings.Join(got, "\n"), strings.Join(script, "\n"))
	}
}

// TestRecordedCalls holds the calls that a selector gets, on either side, against what PROOF's player called: their
// order, their arguments and what they find around them.
func TestRecordedCalls(t *testing.T) {
	e, r := rootexec.SharedExecutor(t), roottest.Find(t)
	dir := t.TempDir()
	files := r.MakeEvents(t,
		roottest.EventFile{Path: filepath.Join(dir, "one.root"), Index: 1, Entries: 20, Cluster: 10},
		roottest.EventFile{Path: filepath.Join(dir, "two.root"), Index: 2, Entries: 30, Cluster: 10},
		roottest.EventFile{Path: filepath.Join(dir, "deep.root"), Tree: "a/b/Events", Index: 3, Entries: 20})
	packet := func(id uint64, file int, part string, first, last int64) exec.Packet {
		base := []int64{0, 20, 50, 70}[file]
		return exec.Packet{ID: id, File: files[file], Part: part, First: first, Last: last, Base: base}
	}
	const (
		in   = "dir=root add=1 batch=1 option=opt status="
		made = "constructor | dir=root add=1 batch=1 option= status=0 input=none output=\n"
		// what the submitter's object gets before and after the work, whatever that is
		submitted = made + `
			SetInputList list
			SetOption opt
			Begin none | ` + in + `0 input= output=
			`
		finished = `SetInputList list
			Terminate | ` + in
		// what a worker's object gets before its first packet
		begun = made + `Version -> 2
			SetOption opt
			SetInputList list
			SlaveBegin none | ` + in + `0 input=fromBegin, output=
			`
	)
	mine := rootexec.Told{Option: "opt"}
	for _, c := range []struct {
		name               string
		job                played
		submitter, workers string
	}{
		{
			// a worker keeps the tree from packet to packet of one file
			"one file", played{class: "Record", told: mine, generations: [][]exec.Packet{
				{packet(1, 0, "Events", 0, 10), packet(2, 0, "Events", 10, 20)},
			}},
			submitted + "Version -> 2\n" + finished + "25 input=fromBegin, output=h",
			begun + `
			Init Events of one.root, 20 entries, class TTree | ` + in + `0 input=fromBegin, output=h
			Notify one.root | ` + in + `0 input=fromBegin, output=h
			Process 0 to 19
			SlaveTerminate | ` + in + `20 input=fromBegin, output=h
			end`,
		},
		{
			// entries are numbers of the file, and Init and Notify come at each change of it, back to the first too
			"many files", played{class: "Record", told: mine, params: map[string]string{"begun": ""},
				generations: [][]exec.Packet{
					{packet(1, 1, "Events", 10, 20), packet(2, 2, "a/b/Events", 0, 20), packet(3, 1, "Events", 20, 30)},
					{packet(4, 0, "Events", 0, 5)},
				}},
			strings.ReplaceAll(submitted, "input= ", "input=begun, ") + "Version -> 2\n" + finished +
				"145 input=begun,fromBegin, output=h",
			strings.ReplaceAll(begun, "input=fromBegin", "input=begun,fromBegin") + `
			Init Events of two.root, 30 entries, class TTree | ` + in + `100 input=begun,fromBegin, output=h
			Notify two.root | ` + in + `100 input=begun,fromBegin, output=h
			Process 10 to 19
			Init Events of deep.root, 20 entries, class TTree | ` + in + `110 input=begun,fromBegin, output=h
			Notify deep.root | ` + in + `110 input=begun,fromBegin, output=h
			Process 0 to 19
			Init Events of two.root, 30 entries, class TTree | ` + in + `130 input=begun,fromBegin, output=h
			Notify two.root | ` + in + `130 input=begun,fromBegin, output=h
			Process 20 to 29
			SlaveTerminate | ` + in + `140 input=begun,fromBegin, output=h
			end
			` + strings.ReplaceAll(begun, "input=fromBegin", "input=begun,fromBegin") + `
			Init Events of one.root, 20 entries, class TTree | ` + in + `100 input=begun,fromBegin, output=h
			Notify one.root | ` + in + `100 input=begun,fromBegin, output=h
			Process 0 to 4
			SlaveTerminate | ` + in + `105 input=begun,fromBegin, output=h
			end`,
		},
		{
			// a branch that the file lacks changes nothing in the calls
			"a branch is missing", played{class: "Record", told: rootexec.Told{Option: "opt", AllowMissingBranches: true},
				params: map[string]string{"branch": "none"}, generations: [][]exec.Packet{{packet(1, 0, "Events", 0, 20)}}},
			strings.ReplaceAll(submitted, "input= ", "input=branch, ") + "Version -> 2\n" + finished +
				"25 input=branch,fromBegin, output=h",
			strings.ReplaceAll(begun, "input=fromBegin", "input=branch,fromBegin") + `
			Init Events of one.root, 20 entries, class TTree | ` + in + `0 input=branch,fromBegin, output=h
			Notify one.root | ` + in + `0 input=branch,fromBegin, output=h
			Process 0 to 19
			SlaveTerminate | ` + in + `20 input=branch,fromBegin, output=h
			end`,
		},
		{
			// PROOF calls Init of version 1 too, which a TChain alone does not
			"version 1", played{class: "Record1", told: mine, generations: [][]exec.Packet{{packet(1, 0, "Events", 0, 20)}}},
			submitted + "Version -> 1\n" + finished + "25 input=fromBegin, output=h",
			strings.ReplaceAll(begun, "-> 2", "-> 1") + `
			Init Events of one.root, 20 entries, class TTree | ` + in + `0 input=fromBegin, output=h
			Notify one.root | ` + in + `0 input=fromBegin, output=h
			Process 0 to 19
			SlaveTerminate | ` + in + `20 input=fromBegin, output=h
			end`,
		},
		{
			// before there was SlaveBegin, Begin and Terminate were those of both sides
			"version 0", played{class: "Record0", told: mine, generations: [][]exec.Packet{{packet(1, 0, "Events", 0, 20)}}},
			submitted + "Version -> 0\n" + finished + "25 input= output=h",
			made + `Version -> 0
			SetOption opt
			SetInputList list
			Begin none | ` + in + `0 input= output=
			Version -> 0
			Init Events of one.root, 20 entries, class TTree | ` + in + `5 input= output=h
			Notify one.root | ` + in + `5 input= output=h
			ProcessCut 0 to 7
			ProcessFill 7
			ProcessCut 8 to 19
			Terminate | ` + in + `25 input= output=h
			end`,
		},
		{
			// entries are cycles, and there is no tree that Init could be given
			"no tree", played{class: "Record", told: mine, generations: [][]exec.Packet{
				{{ID: 1, First: 5, Last: 12}, {ID: 2, First: 30, Last: 40}},
			}},
			submitted + "Version -> 2\n" + finished + "22 input=fromBegin, output=h",
			begun + `Process 5 to 11
			Process 30 to 39
			SlaveTerminate | ` + in + `17 input=fromBegin, output=h
			end`,
		},
		{
			// without an entry there is the output of a worker that had none
			"no entry", played{class: "Record", told: mine, generations: [][]exec.Packet{{}}},
			submitted + "Version -> 2\n" + finished + "5 input=fromBegin, output=h",
			begun + `SlaveTerminate | ` + in + `0 input=fromBegin, output=h
			end`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			submitter, workers := c.job.play(t, e)
			told(t, "submitter", submitter, c.submitter)
			told(t, "workers", workers, c.workers)
		})
	}
}
