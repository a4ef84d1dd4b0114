package rootexec_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestForgedLimits has one of three partials claim what no process would: limits, bins, labels, names, members and a
// status. What comes of it holds what the honest two and the third, which has a true count of entries, have; where they
// do not fit they stand apart, and what can be proven is told of that partial alone.
func TestForgedLimits(t *testing.T) {
	r := roottest.Find(t)
	files := r.MakeChain(t, t.TempDir(), 2, 1500)
	job := roottest.Job{Selector: roottest.Selector(t, "Forged.C"), Tree: "Events", Files: files, Dir: t.TempDir()}
	s := loadJob(t, rootexec.SharedExecutor(t), job.Selector)
	defer s.Release()
	seen, err := s.Foresee(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()}, rootexec.Told{},
		exec.Packet{File: files[0], Part: "Events"})
	if err != nil || !strings.Contains(string(seen.Hints), "found") {
		t.Fatalf("announced: %q, %v", seen.Hints, err)
	}
	deal := dealPackets(t, rootexec.SharedExecutor(t), job)
	run := func(lie string, packets []exec.Packet) string {
		spec := exec.GenSpec{Job: 1, Dir: t.TempDir(), Hints: seen.Hints}
		return runGeneration(t, s, spec, rootexec.Told{Option: lie}, packets)
	}
	half := len(deal[0]) / 2
	first, second, third := deal[0][:half], deal[0][half:], deal[1]
	honest := []string{run("", first), run("", second)}
	truth := []string{honest[0], honest[1], run("", third)}
	finish := func(partials []string, odd bool) (exec.Finished, string, error) {
		var printed []string
		c, err := s.StartClient(t.Context(), rootexec.ClientSpec{
			Dir: t.TempDir(), Hints: func() ([]byte, bool) { return seen.Hints, true }, Odd: odd,
		}, func(line string) { printed = append(printed, line) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out.root")
		fin, err := c.Finish(t.Context(), partials, out)
		c.Close()
		return fin, strings.Join(printed, "\n"), err
	}
	if fin, printed, err := finish(truth, false); err != nil || len(fin.Apart) > 0 ||
		!strings.Contains(printed, "status 3000, fixed") {
		t.Fatalf("without a lie: %v, %v\n%s", fin.Apart, err, printed)
	}
	for lie, c := range map[string]struct {
		apart []string // names that begin so
		odd   bool
		alone string // what is said of the partial by itself
		says  string // in Terminate, if not what it says without a lie
		long  bool   // left out of every day's tests, since others are like it
	}{
		"odd":         {apart: []string{"found"}, odd: true, alone: "found has not the limits"},
		"odd bins":    {long: true, apart: []string{"found"}, odd: true},
		"huge":        {apart: []string{"fixed", "found"}, odd: true, alone: "found has not the limits"},
		"wide":        {long: true, apart: []string{"fixed"}},
		"nan":         {apart: []string{"fixed", "found"}},
		"many bins":   {long: true, apart: []string{"fixed"}},
		"no cells":    {long: true, alone: "its axes"},
		"other cells": {alone: "its axes"},
		"many labels": {long: true, apart: []string{"names"}},
		"long names":  {long: true},
		"members":     {},
		"status":      {says: "status 7205759403792"},
	} {
		t.Run(lie, func(t *testing.T) {
			if c.long {
				roottest.Long(t)
			}
			liar := run(lie, third)
			_, err := s.MergeForeseen(t.Context(), []string{liar, liar}, filepath.Join(t.TempDir(), "alone"), seen.Hints, true)
			if (err == nil) != (c.alone == "") || err != nil && !strings.Contains(err.Error(), c.alone) {
				t.Errorf("alone: %v, want %q", err, c.alone)
			}
			for i := range 2 { // whichever place it has
				all := slices.Insert(slices.Clone(honest), i, liar)
				out := filepath.Join(t.TempDir(), "out")
				p, err := s.MergeForeseen(t.Context(), all, out, seen.Hints, false)
				if c.alone != "" && !c.odd {
					if err == nil {
						t.Errorf("merged: %+v", p)
					}
					continue
				}
				if err != nil || (len(p.Odd) > 0) != c.odd || !slices.Equal(firstWords(p.Apart), c.apart) {
					t.Errorf("at %d: apart %v, odd %v, %v", i, p.Apart, p.Odd, err)
					continue
				}
				fin, printed, err := finish(all, false)
				if c.odd {
					if !errors.Is(err, exec.ErrOdd) || strings.Contains(printed, "status") {
						t.Errorf("at %d: %v\n%s", i, err, printed)
					}
					fin, printed, err = finish(all, true)
				}
				says := c.says
				if says == "" {
					says = "status 3000, fixed"
				}
				if err != nil || fin.Units != 3000 || !slices.Equal(firstWords(fin.Apart), c.apart) ||
					!strings.Contains(printed, says) {
					t.Errorf("at %d: %d entries, apart %v, %v\n%s", i, fin.Units, fin.Apart, err, printed)
				}
			}
		})
	}
	// What all do is the code's doing.
	same := []string{run("same", first), run("same", second), run("same", third)}
	if p, err := s.MergeForeseen(t.Context(), same, filepath.Join(t.TempDir(), "out"), seen.Hints, false); err != nil ||
		len(p.Odd)+len(p.Apart) > 0 {
		t.Errorf("limits that all have changed: %+v, %v", p, err)
	}
}

// firstWords are the first words of texts, each once and in their order.
func firstWords(texts []string) (out []string) {
	words := map[string]bool{}
	for _, s := range texts {
		word, _, _ := strings.Cut(s, " ")
		words[word] = true
	}
	return slices.Sorted(maps.Keys(words))
}

// TestForgedFiles has partials claim more files than a job may have: one by itself, and two together.
func TestForgedFiles(t *testing.T) {
	r := roottest.Find(t)
	job := roottest.Job{
		Selector: roottest.Selector(t, "Tally.C"), Tree: "Events", Files: r.MakeChain(t, t.TempDir(), 2, 100),
		Dir: t.TempDir(),
	}
	s := loadJob(t, rootexec.SharedExecutor(t), job.Selector)
	defer s.Release()
	deal := dealPackets(t, rootexec.SharedExecutor(t), job)
	rest, records := readBlob(t, runGeneration(t, s, exec.GenSpec{Job: 1, Dir: t.TempDir()}, rootexec.Told{}, deal[0]))
	body, err := os.ReadFile(smallFile(t, r))
	if err != nil {
		t.Fatal(err)
	}
	with := func(first, n int) string {
		all := slices.Clone(records)
		for i := range n {
			all = append(all, blobRecord{
				flags: isFile, name: fmt.Sprintf("f%d.root", first+i), class: "TFile", object: body[:4],
			})
		}
		return writeBlob(t, rest, all)
	}
	most := with(0, 50_000)
	if _, _, err := rootexec.Counted(most); err != nil {
		t.Error(err)
	}
	claims, err := rootexec.Claims(most)
	if err != nil || len(claims) != 2 || claims[0].What != "files" || len(claims[0].Names) != claims[0].Most {
		t.Errorf("claims: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := s.Merge(t.Context(), []string{most, with(50_000, 1)}, out); err == nil ||
		!strings.Contains(err.Error(), "50000 files") {
		t.Errorf("two: %v", err)
	}
	more := with(0, 50_001)
	if _, _, err := rootexec.Counted(more); !errors.Is(err, exec.ErrFlawed) {
		t.Errorf("a partial with too many files is counted: %v", err)
	}
	if _, err := s.Merge(t.Context(), []string{more, more}, out); err == nil {
		t.Error("a partial with too many files is merged")
	}
}

// smallFile is any ROOT file.
func smallFile(t *testing.T, r *roottest.ROOT) string {
	t.Helper()
	return r.MakeChain(t, t.TempDir(), 1, 1)[0]
}

// TestForgedSkips has a partial say that more entries were left out of files than it counts: those would be entries
// that others read.
func TestForgedSkips(t *testing.T) {
	r := roottest.Find(t)
	job := roottest.Job{
		Selector: roottest.Selector(t, "Forged.C"), Tree: "Events", Files: r.MakeChain(t, t.TempDir(), 2, 1500),
		Dir: t.TempDir(),
	}
	s := loadJob(t, rootexec.SharedExecutor(t), job.Selector)
	defer s.Release()
	deal := dealPackets(t, rootexec.SharedExecutor(t), job)
	run := func(option string, packets ...exec.Packet) string {
		spec := exec.GenSpec{Job: 1, Dir: t.TempDir()}
		return runGeneration(t, s, spec, rootexec.Told{Option: option, Whole: true}, packets)
	}
	aborted := run("abort", deal[1]...)
	out := filepath.Join(t.TempDir(), "out")
	if p, err := s.Merge(t.Context(), []string{aborted, run("", deal[0]...)}, out); err != nil {
		t.Fatalf("as they are: %+v, %v", p, err)
	}
	_, records := readBlob(t, aborted)
	i := slices.IndexFunc(records, func(r blobRecord) bool { return r.name == "dtpnode.skipped" })
	if i < 0 {
		t.Fatal("nothing was skipped")
	}
	few := deal[0][0]
	few.Last = few.First + 2
	rest, honest := readBlob(t, run("", few))
	forged := writeBlob(t, rest, append(honest, records[i]))
	for _, with := range []string{forged, aborted} {
		if p, err := s.Merge(t.Context(), []string{forged, with}, out); err == nil ||
			!strings.Contains(err.Error(), "leaves out more entries than it counts") {
			t.Errorf("%+v, %v", p, err)
		}
	}
}
