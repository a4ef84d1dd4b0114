package roottest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// EventFile is a file of test events, of the demo's kind but small: branches event, Muon_*, Jet_*, MET_pt.
type EventFile struct {
	Path     string
	Tree     string // default "Events"; may lie in directories, "a/b/Events"
	Index    int    // seeds the file; "event" counts from Index * 10,000,000
	Entries  int
	Cluster  int // entries a cluster, default 1000
	Cluster2 int // the same in the second half of the file, default Cluster
}

func (f EventFile) command() string {
	if f.Tree == "" {
		f.Tree = "Events"
	}
	if f.Cluster == 0 {
		f.Cluster = 1000
	}
	if f.Cluster2 == 0 {
		f.Cluster2 = f.Cluster
	}
	return fmt.Sprintf("events %s %s %d %d %d %d\n", f.Path, f.Tree, f.Index, f.Entries, f.Cluster, f.Cluster2)
}

// MakeEvents writes the files and returns their paths in order.
func (r *ROOT) MakeEvents(t testing.TB, files ...EventFile) []string {
	t.Helper()
	var commands strings.Builder
	var paths []string
	for _, f := range files {
		commands.WriteString(f.command())
		paths = append(paths, f.Path)
	}
	r.testdata(t, commands.String())
	return paths
}

// MakeChain writes n files of the given number of entries into dir: many small files.
func (r *ROOT) MakeChain(t testing.TB, dir string, n, entries int) []string {
	t.Helper()
	var files []EventFile
	for i := range n {
		files = append(files, EventFile{
			Path:    filepath.Join(dir, fmt.Sprintf("small_%03d.root", i)),
			Index:   i,
			Entries: entries,
		})
	}
	return r.MakeEvents(t, files...)
}

// MakeUneven writes four files into dir whose clusters differ from file to file and within a file, 19,001
// entries in all.
func (r *ROOT) MakeUneven(t testing.TB, dir string) []string {
	t.Helper()
	at := func(name string) string { return filepath.Join(dir, name) }
	return r.MakeEvents(t,
		EventFile{Path: at("tiny.root"), Index: 1, Entries: 1, Cluster: 10},
		EventFile{Path: at("fine.root"), Index: 2, Entries: 5000, Cluster: 37, Cluster2: 911},
		EventFile{Path: at("one.root"), Index: 3, Entries: 6000, Cluster: 100000},
		EventFile{Path: at("mixed.root"), Index: 4, Entries: 8000, Cluster: 3000, Cluster2: 250})
}

// MakeChains makes the files that cxx/chains.cxx describes in dir: a chain of three, friends of it, and lists of its
// entries.
func (r *ROOT) MakeChains(t testing.TB, dir string) {
	t.Helper()
	if text, err := exec.Command(r.program(t, "chains"), dir).CombinedOutput(); err != nil {
		t.Fatalf("could not make the chain: %v\n%s", err, text)
	}
}

// MakeH42 writes files with the tree h42 that ROOT's h1analysis tutorials read, entries a file.
func (r *ROOT) MakeH42(t testing.TB, dir string, files, entries int) []string {
	t.Helper()
	var commands strings.Builder
	var paths []string
	for i := range files {
		path := filepath.Join(dir, fmt.Sprintf("h42_%d.root", i))
		fmt.Fprintf(&commands, "h42 %s %d %d\n", path, i, entries)
		paths = append(paths, path)
	}
	r.testdata(t, commands.String())
	return paths
}

// Truncate cuts a file to the given fraction of its length, as a broken copy would be.
func Truncate(t testing.TB, path string, fraction float64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatalf("could not truncate: %v", err)
	}
	if err := os.Truncate(path, int64(float64(info.Size())*fraction)); err != nil {
		t.Fatalf("could not truncate: %v", err)
	}
}

// basket is where a basket lies, as testdata prints it.
type basket struct {
	first, last, seek int64 // entries [first, last)
	bytes             int64
}

// Corrupt overwrites the compressed bytes of the branch's basket that holds the given entry, and returns
// the entries [first, last) that cannot be read any more.
func (r *ROOT) Corrupt(t testing.TB, path, tree, branch string, entry int64) (first, last int64) {
	t.Helper()
	text := r.testdata(t, fmt.Sprintf("baskets %s %s %s\n", path, tree, branch))
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var b basket
		if _, err := fmt.Sscan(line, &b.first, &b.last, &b.seek, &b.bytes); err != nil {
			t.Fatalf("could not read basket %q: %v", line, err)
		}
		if b.first <= entry && entry < b.last {
			overwrite(t, path, b)
			return b.first, b.last
		}
	}
	t.Fatalf("no basket of %s holds entry %d", branch, entry)
	return 0, 0
}

// overwrite leaves the basket's key alone, so that the damage shows only when it is decompressed.
func overwrite(t testing.TB, path string, b basket) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("could not corrupt: %v", err)
	}
	junk := make([]byte, b.bytes/2)
	for i := range junk {
		junk[i] = byte(i*151 + 7)
	}
	if _, err := f.WriteAt(junk, b.seek+b.bytes/2); err != nil {
		t.Fatalf("could not corrupt %q: %v", path, err)
	}
	if err := f.Close(); err != nil {
		t.Fatalf("could not corrupt %q: %v", path, err)
	}
}

// testdata runs the generator on its commands and returns what it printed.
func (r *ROOT) testdata(t testing.TB, commands string) string {
	t.Helper()
	cmd := exec.Command(r.program(t, "testdata"))
	cmd.Stdin = strings.NewReader(commands)
	var errs strings.Builder
	cmd.Stderr = &errs
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("could not make test data: %v\n%s", err, errs.String())
	}
	return string(text)
}
