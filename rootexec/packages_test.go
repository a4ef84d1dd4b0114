package rootexec

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// parOf is a PAR file with these entries, whose texts are file contents or what links lead to.
func parOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
		}
		h.Mode, h.Size = 0o600, int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackagesUnpackWhole: of a file with two names tar keeps the second as a link, which is there afterwards as the
// first is, and so are symbolic links; neither leads out of the package.
func TestPackagesUnpackWhole(t *testing.T) {
	file := tar.Header{Name: "p/a.h", Typeflag: tar.TypeReg, Linkname: "text"}
	dir := t.TempDir()
	par := parOf(t, file,
		tar.Header{Name: "p/inc/b.h", Typeflag: tar.TypeLink, Linkname: "p/a.h"},
		tar.Header{Name: "p/inc/c.h", Typeflag: tar.TypeSymlink, Linkname: "../a.h"})
	if err := unpackPackage("p", par, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.h", "inc/b.h", "inc/c.h"} {
		if text, err := os.ReadFile(filepath.Join(dir, "p", name)); err != nil || string(text) != "text" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	for _, bad := range []tar.Header{
		{Name: "p/b.h", Typeflag: tar.TypeLink, Linkname: "../secret"},
		{Name: "p/b.h", Typeflag: tar.TypeLink, Linkname: "q/a.h"},
		{Name: "p/b.h", Typeflag: tar.TypeSymlink, Linkname: "../../secret"},
	} {
		dir := filepath.Join(t.TempDir(), "unpacked")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "..", "secret"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unpackPackage("p", parOf(t, file, bad), dir); err == nil || !strings.Contains(err.Error(), "leads out") {
			t.Errorf("%q: %v", bad.Linkname, err)
		}
	}
}

// TestSourcesOfOtherWordsAreOthers: what is built of a source is found by its name, in which no two arguments are taken
// for one.
func TestSourcesOfOtherWordsAreOthers(t *testing.T) {
	one := Source{Main: "a.C", Shape: Shape{Packages: []Package{{Name: "p", Args: []string{"a b"}}}}}
	two := Source{Main: "a.C", Shape: Shape{Packages: []Package{{Name: "p", Args: []string{"a", "b"}}}}}
	if one.Hash() == two.Hash() {
		t.Error("two sources go by one name")
	}
}
