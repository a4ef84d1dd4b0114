package e2e

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// made is a set of files that several tests read and none changes. It is made when first asked for.
type made struct {
	once  sync.Once
	files []string
	make  func(t testing.TB, r *roottest.ROOT, dir string) []string
}

func (m *made) get(t testing.TB, name string) []string {
	t.Helper()
	m.once.Do(func() {
		dir := filepath.Join(suite.dir, "data-"+name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		m.files = m.make(t, roottest.Find(t), dir)
	})
	if len(m.files) == 0 {
		t.Fatalf("the data set %s could not be made for an earlier test", name)
	}
	return m.files
}

var (
	events = made{make: func(t testing.TB, r *roottest.ROOT, dir string) []string {
		var files []roottest.EventFile
		for i := range 4 {
			files = append(files, roottest.EventFile{
				Path:    filepath.Join(dir, string(rune('a'+i))+".root"),
				Index:   i,
				Entries: 20_000,
			})
		}
		return r.MakeEvents(t, files...)
	}}
	chain = made{make: func(t testing.TB, r *roottest.ROOT, dir string) []string {
		return r.MakeChain(t, dir, 200, 100)
	}}
	uneven = made{make: func(t testing.TB, r *roottest.ROOT, dir string) []string {
		return r.MakeUneven(t, dir)
	}}
	h42 = made{make: func(t testing.TB, r *roottest.ROOT, dir string) []string {
		return r.MakeH42(t, dir, 3, 100_000)
	}}
	empty = made{make: func(t testing.TB, r *roottest.ROOT, dir string) []string {
		return r.MakeEvents(t, roottest.EventFile{Path: filepath.Join(dir, "empty.root")})
	}}
)

// fourFiles are 80,000 events in clusters of 1,000.
func fourFiles(t testing.TB) []string { return events.get(t, "events") }

// manyFiles are 200 files of 100 events.
func manyFiles(t testing.TB) []string { return chain.get(t, "chain") }

// unevenFiles are four files of 19,001 events whose clusters differ.
func unevenFiles(t testing.TB) []string { return uneven.get(t, "uneven") }

// h42Files are 300,000 entries for ROOT's h1analysis.
func h42Files(t testing.TB) []string { return h42.get(t, "h42") }

// emptyFile has a tree without entries.
func emptyFile(t testing.TB) string { return empty.get(t, "empty")[0] }

// example is the path of one of the examples' selectors.
func example(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "examples", "dimuon", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// copies copies files into a new folder, for tests that damage them.
func copies(t testing.TB, files ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var out []string
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(f))
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		out = append(out, path)
	}
	return out
}

// samples are real files, which are not part of the repository: $DTPNODE_SAMPLES, or a folder beside it.
func samples(t testing.TB, patterns ...string) []string {
	t.Helper()
	dir := os.Getenv("DTPNODE_SAMPLES")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		t.Skip("no sample files: DTPNODE_SAMPLES names no folder of them")
	}
	var out []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, p))
		if err != nil || len(files) == 0 {
			t.Fatalf("no sample matches %q in %q: %v", p, dir, err)
		}
		out = append(out, files...)
	}
	return out
}
