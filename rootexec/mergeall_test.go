package rootexec_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// split is one way to run a job: which generation runs which packets, and in which order their outputs merge.
type split struct {
	rand        *rand.Rand
	generations int
	blind       bool // nothing is foreseen, as where the submitter sees none of the files
	wide        bool // it is foreseen from all files
}

func newSplit(seed uint64) split {
	r := rand.New(rand.NewPCG(seed, 7))
	return split{rand: r, generations: 1 + r.IntN(6)}
}

// deal cuts the files into packets at random entries, and gives each to some generation. Those that get none run
// without a packet, as the generation of a job without entries does.
func (s split) deal(t *testing.T, e *rootexec.Executor, job roottest.Job) [][]exec.Packet {
	t.Helper()
	hands := make([][]exec.Packet, s.generations)
	var base int64
	var id uint64
	for _, f := range job.Files {
		plan, err := e.Plan(t.Context(), f, job.Tree, 0)
		if err != nil {
			t.Fatal(err)
		}
		for first := int64(0); first < plan.Entries; {
			last := min(plan.Entries, first+1+s.rand.Int64N(plan.Entries))
			id++
			to := s.rand.IntN(s.generations)
			hands[to] = append(hands[to],
				exec.Packet{ID: id, File: f, Part: plan.Part, First: first, Last: last, Base: base})
			first = last
		}
		base += plan.Entries
	}
	for _, h := range hands {
		s.rand.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
	}
	return hands
}

// outcome is what a split run gave.
type outcome struct {
	out     string // output file
	apart   []string
	printed string
	keys    int // of the output file
}

// run runs the job so, with merges of random partials until few are left for the last one.
func (s split) run(t *testing.T, job roottest.Job) outcome {
	t.Helper()
	e := rootexec.SharedExecutor(t)
	sel := loadJob(t, e, job.Selector)
	defer sel.Release()
	dir := t.TempDir()
	var hints []byte
	c, err := sel.StartClient(t.Context(), rootexec.ClientSpec{
		Option: job.Option, Params: job.Params, Dir: dir, Hints: func() ([]byte, bool) { return hints, true },
	}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := exec.GenSpec{Job: 1, Input: input, Dir: dir}
	if !s.blind {
		tried := spec
		tried.Dir = t.TempDir()
		first := []exec.Packet{{File: job.Files[0], Part: job.Tree}}
		if s.wide {
			first = append(first, exec.Packet{File: job.Files[1], Part: job.Tree})
		}
		seen, err := sel.Foresee(t.Context(), tried, rootexec.Told{Option: job.Option}, first...)
		if err != nil {
			t.Fatal(err)
		}
		spec.Hints, hints = seen.Hints, seen.Hints
	}
	var partials, apart []string
	for _, packets := range s.deal(t, e, job) {
		partials = append(partials, runGeneration(t, sel, spec, rootexec.Told{Option: job.Option}, packets))
	}
	for i := 0; len(partials) > 1 && s.rand.IntN(4) > 0; i++ {
		s.rand.Shuffle(len(partials), func(i, j int) { partials[i], partials[j] = partials[j], partials[i] })
		n := 2 + s.rand.IntN(len(partials)-1)
		m, err := sel.MergeForeseen(t.Context(), partials[:n], filepath.Join(dir, fmt.Sprintf("merged%d", i)), hints, false)
		if err != nil {
			t.Fatal(err)
		}
		apart = append(apart, m.Apart...)
		partials = append(partials[n:], m.Path)
	}
	out := filepath.Join(dir, "out.root")
	fin, err := c.Finish(t.Context(), partials, out)
	if err != nil {
		t.Fatalf("%v\n%s", err, c.Output())
	}
	apart = append(apart, fin.Apart...)
	slices.Sort(apart)
	return outcome{out: out, apart: slices.Compact(apart), printed: c.Output(), keys: fin.Keys}
}

// TestEveryClassMerges splits a job with an object of every class in ways that differ from seed to seed, and compares
// what comes of each with ROOT's single process.
func TestEveryClassMerges(t *testing.T) {
	r := roottest.Find(t)
	dir := t.TempDir()
	job := roottest.Job{Selector: roottest.Selector(t, "Merges.C"), Tree: "Events", Files: r.MakeEvents(t,
		roottest.EventFile{Path: filepath.Join(dir, "a.root"), Index: 1, Entries: 2000, Cluster: 300},
		roottest.EventFile{Path: filepath.Join(dir, "b.root"), Index: 2, Entries: 1500, Cluster: 700},
	)}
	want := filepath.Join(dir, "want.root")
	r.Reference(t, job, want)
	apart := "TBits TExMap TMatrixT<double> TVectorT<double> macro polar refs texts"
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if seed > 2 {
				roottest.Long(t)
			}
			s := newSplit(seed)
			o := s.run(t, job)
			differences, err := r.Differences(t, o.out, want)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(differences) {
				name, what, of := strings.Cut(strings.TrimPrefix(line, "/"), ":")
				if of && strings.HasPrefix(line, "/") && !slices.Contains(o.apart, name) {
					t.Errorf("%d generations: %s:%s", s.generations, name, what)
				}
			}
			if s.generations > 1 && strings.Join(o.apart, " ") != apart {
				t.Errorf("apart are %s\nwant      %s", strings.Join(o.apart, " "), apart)
			}
			if t.Failed() {
				t.Log(o.printed)
			}
		})
	}
}

// TestUserClassesMerge has merges of the user's own that are right, and some that go wrong in one way each: those are
// named, and cost their objects the merge and nothing else.
func TestUserClassesMerge(t *testing.T) {
	r := roottest.Find(t)
	dir := t.TempDir()
	job := roottest.Job{Selector: roottest.Selector(t, "MergesUser.C"), Tree: "Events", Files: r.MakeEvents(t,
		roottest.EventFile{Path: filepath.Join(dir, "a.root"), Index: 1, Entries: 2000, Cluster: 300},
	)}
	s := newSplit(2)
	o := s.run(t, job)
	if got, want := strings.Join(o.apart, " "),
		"crashes cut exits none ownlist/innercrashes refuses throws"; got != want || s.generations < 3 {
		t.Errorf("of %d generations apart are %s; want %s", s.generations, got, want)
	}
	// A class that is kept apart has an object of each generation in the file, under one name.
	if o.keys != 5+6*s.generations {
		t.Errorf("%d keys; want 5 of one object, and 6 of %d", o.keys, s.generations)
	}
	printed := terminated(t, o.printed)
	if n, sum := counted(printed, "none "); n != s.generations || sum != 2000 {
		t.Errorf("Terminate sees %d objects with %d entries; want %d with 2000:\n%s", n, sum, s.generations, o.printed)
	}
	if !strings.Contains(o.printed, "Not merged are: crashes, cut, exits, none, refuses, throws.") {
		t.Errorf("it is not said what Terminate finds:\n%s", o.printed)
	}
	for _, line := range []string{
		"right 2000", "info 2000", "plain 2000", "inner 2000", "ownclones 50", "innercrashes*" +
			fmt.Sprint(s.generations) + " 2000",
	} {
		if !strings.Contains(printed, line+"\n") {
			t.Errorf("Terminate does not see %q:\n%s", line, o.printed)
		}
	}
}

// counted adds up the numbers behind a name in the lines that begin with it.
func counted(printed, name string) (lines, sum int) {
	for line := range strings.Lines(printed) {
		var n int
		if rest, ok := strings.CutPrefix(line, name); ok {
			fmt.Sscan(rest, &n)
			lines, sum = lines+1, sum+n
		}
	}
	return lines, sum
}

// terminated is what Terminate has printed.
func terminated(t *testing.T, printed string) string {
	t.Helper()
	_, after, ok := strings.Cut(printed, "terminate\n")
	if !ok {
		t.Fatalf("Terminate printed nothing:\n%s", printed)
	}
	return after
}

// TestChangingAxesMerge merges histograms that find their limits, extend them or get labels. Where the first entries
// have been seen all is as in one process; where they have not, there is still one object with all entries.
func TestChangingAxesMerge(t *testing.T) {
	r := roottest.Find(t)
	dir := t.TempDir()
	job := roottest.Job{Selector: roottest.Selector(t, "Autos.C"), Tree: "Events", Files: r.MakeEvents(t,
		roottest.EventFile{Path: filepath.Join(dir, "a.root"), Index: 1, Entries: 6000, Cluster: 300},
		roottest.EventFile{Path: filepath.Join(dir, "b.root"), Index: 2, Entries: 6000, Cluster: 700},
	)}
	want := filepath.Join(dir, "want.root")
	r.Reference(t, job, want)
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSplit(seed)
			s.blind, s.wide = seed >= 5, seed == 3 || seed == 4
			o := s.run(t, job)
			if len(o.apart) > 0 {
				t.Errorf("of %d generations apart are %v", s.generations, o.apart)
			}
			if !s.blind && strings.Contains(o.printed, "limits of: late.") == s.wide ||
				s.wide && strings.Contains(o.printed, "limits of: ") {
				t.Errorf("wide %v: it is not said well of late, and of late alone, that its limits depend on who ran what:\n%s",
					s.wide, o.printed)
			}
			differences, err := r.Differences(t, o.out, want)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(differences) {
				name, what, _ := strings.Cut(strings.TrimPrefix(line, "/"), ":")
				if !strings.HasPrefix(line, "/") {
					continue
				}
				// What is filled in the second file alone cannot be foreseen.
				if entries := strings.HasPrefix(what, " entries:") || strings.HasPrefix(what, " object"); entries ||
					!s.blind && (s.wide || name != "late") {
					t.Errorf("%d generations: %s:%s", s.generations, name, what)
				}
			}
			if t.Failed() {
				t.Log(o.printed)
			}
		})
	}
}

// TestClonesFollowTheFiles copies rows with trees that are cloned from the first file, as from a chain.
func TestClonesFollowTheFiles(t *testing.T) {
	r := roottest.Find(t)
	dir := t.TempDir()
	var files []roottest.EventFile
	for i := range 6 {
		path := filepath.Join(dir, fmt.Sprintf("%d.root", i))
		files = append(files, roottest.EventFile{Path: path, Index: i, Entries: 500, Cluster: 90})
	}
	job := roottest.Job{Selector: roottest.Selector(t, "Cloner.C"), Tree: "Events", Files: r.MakeEvents(t, files...)}
	want := filepath.Join(dir, "want.root")
	r.Reference(t, job, want)
	for seed := range uint64(4) {
		s := newSplit(seed)
		o := s.run(t, job)
		r.Compare(t, o.out, want)
		if o.keys != 3 || len(o.apart) > 0 {
			t.Errorf("%d keys, apart %v; want two trees and one histogram", o.keys, o.apart)
		}
	}
}

// TestLimitsOfSlowEntries: each entry takes a fifth of a second, so that few can be looked at before a job begins. What
// these have shown is announced, and the job does not wait for more.
func TestLimitsOfSlowEntries(t *testing.T) {
	r := roottest.Find(t)
	files := r.MakeEvents(t, roottest.EventFile{
		Path: filepath.Join(t.TempDir(), "a.root"), Index: 1, Entries: 200, Cluster: 100,
	})
	s := loadJob(t, rootexec.SharedExecutor(t), roottest.Selector(t, "Autos.C"))
	defer s.Release()
	c, err := s.StartClient(t.Context(), rootexec.ClientSpec{Params: map[string]string{"slow": "1"}, Dir: t.TempDir()},
		func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	input, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen, err := s.Foresee(t.Context(), exec.GenSpec{Job: 1, Input: input, Dir: t.TempDir()}, rootexec.Told{},
		exec.Packet{File: files[0], Part: "Events"})
	if err != nil || !strings.Contains(string(seen.Hints), `"labels"`) {
		t.Errorf("announced: %q, %v", seen.Hints, err)
	}
}
