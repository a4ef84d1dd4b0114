package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

func TestDiMuon(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	for _, tc := range []struct {
		name, selector, option string
		params                 map[string]string
	}{
		{"reader", "DiMuon.C", "", nil},
		{"addresses", "DiMuonOld.C", "", nil},
		{"option", "DiMuon.C", "samesign", nil},
		{"params", "DiMuonOld.C", "", map[string]string{"ptcut": "20"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			roottest.LongBut(t, tc.name, "reader", "addresses")
			j := job{Job: roottest.Job{
				Selector: example(t, tc.selector),
				Tree:     "Events",
				Files:    fourFiles(t),
				Option:   tc.option,
				Params:   tc.params,
			}}
			o := exact(t, c.nodes[2], j)
			if o.st.Units != 80_000 || o.st.Files != 4 || len(o.st.Apart) != 0 || len(o.lines) == 0 {
				t.Errorf("want 80,000 units of 4 files, nothing apart, and what Begin prints: %s", o.describe())
			}
		})
	}
}

// TestEveryNodeWorks gives all work to the home; the others steal it.
func TestEveryNodeWorks(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	var files []string
	for range 10 {
		files = append(files, fourFiles(t)...)
	}
	j := job{
		Job:  roottest.Job{Selector: example(t, "DiMuon.C"), Tree: "Events", Files: files},
		args: []string{"--seed-local", "--allow-duplicates"},
	}
	o := wide(t, c.nodes[0], j, 3)
	o.wantDone(t)
	o.equals(t, j)
	if o.st.Steals == 0 || o.st.Merges == 0 {
		t.Errorf("nothing was stolen, or merged: %s", o.describe())
	}
}

// TestTutorial runs ROOT's own h1analysisTreeReader.C where it is installed, unmodified.
func TestTutorial(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := job{Job: roottest.Job{
		Selector: tutorial(t, "h1analysisTreeReader.C"),
		Tree:     "h42",
		Files:    h42Files(t),
		Dir:      t.TempDir(),
	}}
	before := tree(t, filepath.Dir(j.Selector))
	t.Run("plain", func(t *testing.T) {
		roottest.Long(t)
		plain := exact(t, c.nodes[0], j)
		if plain.st.Units != 300_000 || !strings.Contains(strings.Join(plain.lines, "\n"), "starting h1analysis") {
			t.Errorf("want 300,000 entries and what Begin says: %s", plain.describe())
		}
	})
	t.Run("fillList", func(t *testing.T) {
		// All to the home first: what is stolen makes the nodes go back and forth within files.
		list := j
		list.Option, list.args = "fillList", []string{"--seed-local"}
		o := exact(t, c.nodes[1], list)
		if _, err := os.Stat(filepath.Join(j.Dir, "elist.root")); err != nil {
			t.Errorf("Terminate has not written its list into the working folder: %v: %s", err, o.describe())
		}
		if keys(t, o.out)["elist"] != 1 {
			t.Errorf("no entry list in the output: %v", keys(t, o.out))
		}
	})
	t.Run("useList", func(t *testing.T) { // as on PROOF: no cuts, and a list only if the input has one
		roottest.Long(t)
		list := j
		list.Option = "useList"
		exact(t, c.nodes[2], list)
	})
	if after := tree(t, filepath.Dir(j.Selector)); after != before {
		t.Errorf("the folder of the selector was changed: before\n%s\nafter\n%s", before, after)
	}
}

func tutorial(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"tutorials", filepath.Join("share", "doc", "root", "tutorials")} {
		path := filepath.Join(suite.root, dir, "analysis", "tree", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("this ROOT has no tutorial %s", name)
	return ""
}

// tree lists the files of a folder with what tells that they were changed.
func tree(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, info.Name(), info.Size(), info.ModTime())
	}
	return out.String()
}

func TestSamples(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	for i, tc := range []struct {
		selector, tree string
		files          []string
	}{
		{"HZZObjects.C", "events", []string{"uproot-HZZ-objects.root"}},
		{"Nano.C", "Events", []string{"nano_dimuon.root", "nano_dy_empty.root", "nano_dy.root", "nanoAOD*.root"}},
		// More of these, and each file of these by itself, where there is time.
		{"Physlite.C", "CollectionTree", []string{"PHYSLITE_example.root"}},
		{"HZZ.C", "events", []string{"uproot-HZZ-[lz]*.root"}},
		{"HZZ.C", "events", []string{"uproot-HZZ-zlib.root"}},
		{"HZZ.C", "events", []string{"uproot-HZZ-lz4.root"}},
		{"HZZ.C", "events", []string{"uproot-HZZ-lzma.root"}},
		{"HZZ.C", "events", []string{"uproot-HZZ-zstd.root"}},
		{"Nano.C", "Events", []string{"nano_dimuon.root"}},
		{"Nano.C", "Events", []string{"nano_dy.root"}},
		{"Nano.C", "Events", []string{"nano_dy_empty.root"}},
		{"Nano.C", "Events", []string{"nanoAOD_2015_CMS_Open_Data_ttbar.root"}},
	} {
		if i > 1 && !roottest.Everything() {
			break
		}
		t.Run(tc.selector+" "+strings.Join(tc.files, " "), func(t *testing.T) {
			exact(t, c.nodes[1], job{Job: roottest.Job{
				Selector: roottest.Selector(t, tc.selector),
				Tree:     tc.tree,
				Files:    samples(t, tc.files...),
			}})
		})
	}
}

func TestManySmallFiles(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	o := exact(t, c.nodes[0], tally(t, manyFiles(t)...))
	if o.st.Units != 20_000 || o.st.Files != 200 {
		t.Errorf("want 20,000 units of 200 files: %s", o.describe())
	}
}

// TestLists names the same chain in other ways: a list, a glob, trees in file names.
func TestLists(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	want := tally(t, manyFiles(t)...)
	dir := t.TempDir()
	list := filepath.Join(dir, "list.txt")
	if err := os.WriteFile(list, []byte(strings.Join(want.Files, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]string{
		"list": "@" + list,
		"glob": filepath.Join(filepath.Dir(want.Files[0]), "*.root"),
		"tree": filepath.Join(filepath.Dir(want.Files[0]), "*.root", "Events"),
	} {
		t.Run(name, func(t *testing.T) {
			roottest.LongBut(t, name, "list", "tree")
			j := want
			j.Files = []string{files}
			if name == "tree" {
				j.Tree = "other"
			}
			o := c.nodes[2].run(t, j)
			o.wantDone(t)
			o.equals(t, want)
		})
	}
}

func TestTreeInFolders(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	files := roottest.Find(t).MakeEvents(t, roottest.EventFile{
		Path:    filepath.Join(t.TempDir(), "deep.root"),
		Tree:    "ana/sub/Events",
		Entries: 3000,
	})
	j := tally(t, files...)
	j.Tree = "ana/sub/Events"
	exact(t, c.nodes[1], j)
}

// TestCuts takes parts of files whose clusters differ; the cuts lie within clusters and across files.
func TestCuts(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	for i, tc := range []struct{ first, n int64 }{
		{4_999, 3}, {18_999, 100}, // and these where there is time:
		{0, 0}, {1, 1}, {5_001, 6_000}, {0, 1}, {17, 4321}, {12_345, 0}, {0, 1_000_000},
	} {
		if i > 1 && !roottest.Everything() {
			break
		}
		t.Run(fmt.Sprintf("%d+%d", tc.first, tc.n), func(t *testing.T) {
			j := tally(t, unevenFiles(t)...)
			j.First, j.N = tc.first, tc.n
			exact(t, c.nodes[i%3], j)
		})
	}
}

func TestNestedLists(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	exact(t, c.nodes[0], job{Job: roottest.Job{
		Selector: roottest.Selector(t, "Nested.C"),
		Tree:     "Events",
		Files:    manyFiles(t),
	}})
}

// TestTwoJobsAtOnce submits the same job from two nodes at the same time: two jobs, both right.
func TestTwoJobsAtOnce(t *testing.T) {
	t.Parallel()
	c := threeNodes.get(t)
	j := job{Job: roottest.Job{Selector: example(t, "DiMuon.C"), Tree: "Events", Files: fourFiles(t)}}
	type ended struct {
		o   outcome
		err error
	}
	results := make(chan ended, 2)
	for _, n := range c.nodes[:2] {
		go func() {
			o, err := n.tryRun(t, j)
			results <- ended{o, err}
		}()
	}
	first, second := <-results, <-results
	for _, r := range []ended{first, second} {
		if r.err != nil {
			t.Fatal(r.err)
		}
		r.o.wantDone(t)
		r.o.equals(t, j)
	}
	if first.o.st.ID == second.o.st.ID || first.o.st.Home == second.o.st.Home {
		t.Errorf("want two jobs: %s\n%s", first.o.describe(), second.o.describe())
	}
}

// TestWithoutDaemon lets run start a node of its own.
func TestWithoutDaemon(t *testing.T) {
	t.Parallel()
	n := &node{name: "own", bin: suite.binary, state: t.TempDir(), log: os.DevNull}
	j := tally(t, unevenFiles(t)...)
	j.args = []string{"--root", suite.root, "--slots", "2"}
	exact(t, n, j)
}
