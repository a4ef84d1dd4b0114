package rootexec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
)

func TestSourcesSurvivePacking(t *testing.T) {
	src := Source{Main: "A.C", Files: map[string][]byte{"A.C": []byte("x"), "sub/a.h": nil}}
	b, err := packSource(src)
	if err != nil {
		t.Fatal(err)
	}
	got, err := unpackSource(b, nil)
	if err != nil || got.Hash() != src.Hash() {
		t.Errorf("got %+v, error %v", got, err)
	}
	for i := range b {
		_, _ = unpackSource(b[:i], nil) // no panic
	}
}

func TestReadSourcesNamesThemFromTheSelectorsFolder(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"A.C", "inc/a.h", "../outside.h", "../w.txt", "run/cal/w.txt"} {
		path := filepath.Join(dir, "sel", f)
		if err := durable.Write(path, []byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	src, err := readSources(Spec{Selector: filepath.Join(dir, "sel/A.C"),
		Includes: []string{filepath.Join(dir, "sel/inc/a.h"), filepath.Join(dir, "outside.h")},
		Data:     []string{filepath.Join(dir, "w.txt"), filepath.Join(dir, "sel/run/cal/w.txt")}},
		filepath.Join(dir, "sel/run"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sel/A.C", "sel/inc/a.h", "outside.h", "sel/outside.h", ".data/w.txt",
		".data/cal/w.txt"} {
		if _, ok := src.Files[want]; !ok {
			t.Errorf("%q is missing in %v", want, src.Files)
		}
	}
	_, err = readSources(Spec{Selector: filepath.Join(dir, "sel/None.C")}, dir)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "None.C") {
		t.Errorf("got %v", err)
	}
}

// FuzzSource unpacks whatever is served as a job's sources.
func FuzzSource(f *testing.F) {
	b, err := packSource(Source{Main: "A.C", Files: map[string][]byte{"A.C": []byte("x"), "A.h": nil}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		src, err := unpackSource(b, nil)
		if err != nil {
			return
		}
		n := 0
		for name, data := range src.Files {
			n += len(name) + len(data)
		}
		if n > len(b) {
			t.Fatalf("%d bytes of sources out of %d", n, len(b))
		}
	})
}
