package rootexec

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dtpnode/dtpnode/exec"
)

// fakeRoot makes a folder that looks like an installed ROOT.
func fakeRoot(t *testing.T, version string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{
		"include/TTree.h":            "",
		"include/ROOT/RVersion.hxx":  version,
		"include/compiledata.h":      "#define MAKEEXE \"c++ -std=c++20 -O2\"\n",
		"lib/libCore.so":             "",
		"bin/rootcling":              "",
		"share/python/ROOT/__init__": "",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	dir := fakeRoot(t, "#define ROOT_VERSION_MAJOR 6\n#define ROOT_VERSION_MINOR 28\n#define ROOT_VERSION_PATCH 4\n")
	r, err := Find(t.Context(), FindOptions{Prefix: dir})
	if err != nil {
		t.Fatal(err)
	}
	if r.Dir != dir || r.Version != "6.28.04" || r.Std != "c++20" || !strings.Contains(r.Platform, "/ROOT 6.28.04/") {
		t.Errorf("%+v", r)
	}
	t.Setenv("ROOTSYS", dir)
	if r, err := Find(t.Context(), FindOptions{}); err != nil || r.Dir != dir {
		t.Errorf("$ROOTSYS: %+v, %v", r, err)
	}
}

func TestFindNothing(t *testing.T) {
	_, err := Find(t.Context(), FindOptions{Prefix: t.TempDir()})
	var none *NoROOTError
	if !errors.Is(err, ErrNoROOT) || !errors.As(err, &none) || len(none.Tried) != 1 ||
		!strings.Contains(err.Error(), "--root") {
		t.Errorf("%v", err)
	}
}

func TestFindWithoutCompiler(t *testing.T) {
	dir := fakeRoot(t, "#define ROOT_RELEASE \"6.40.00\"\n")
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CXX", "")
	if _, err := Find(t.Context(), FindOptions{Prefix: dir}); !errors.Is(err, ErrNoCompiler) || errors.Is(err, ErrNoROOT) {
		t.Errorf("%v; want a ROOT without a compiler", err)
	}
}

func TestBuildChildTellsTheCompilersMessage(t *testing.T) {
	root, err := Find(t.Context(), FindOptions{Prefix: fakeRoot(t, "#define ROOT_RELEASE \"6.40.00\"\n")})
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	_, err = BuildChild(t.Context(), root, cache, nil)
	if err == nil || !strings.Contains(err.Error(), "error:") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(err.Error(), "the ROOT in "+root.Dir+" is not whole: the header ") {
		t.Errorf("it is not said that the folder lacks something: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(cache, "child", "*", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFindOldVersions: ROOT before 6.32 writes its version with a slash, and what is too old is refused with a word, in
// place of errors of the compiler.
func TestFindOldVersions(t *testing.T) {
	dir := fakeRoot(t, "#define ROOT_RELEASE \"6.26/10\"\n")
	r, err := Find(t.Context(), FindOptions{Prefix: dir})
	if err != nil || r.Version != "6.26.10" || strings.Count(r.Platform, "/") != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	dir = fakeRoot(t, "#define ROOT_RELEASE \"6.24/08\"\n")
	_, err = Find(t.Context(), FindOptions{Prefix: dir})
	if err == nil || !strings.Contains(err.Error(), "it is ROOT 6.24.08, and dtpnode needs 6.26 or newer") {
		t.Errorf("%v", err)
	}
	for std, want := range map[string]string{
		"c++11": "c++17", "c++14": "c++17", "c++1z": "c++17", "gnu++14": "c++17", "c++17": "c++17", "c++20": "c++20",
		"gnu++20": "gnu++20", "c++2b": "c++2b",
	} {
		if got := childStandard(std); got != want {
			t.Errorf("%s: got %s, want %s", std, got, want)
		}
	}
}

// TestLackedBy reads the name of what is lacking out of what compilers and linkers print, and nothing else.
func TestLackedBy(t *testing.T) {
	for out, want := range map[string]string{
		"x.cc:3:10: fatal error: nlohmann/json.hpp: No such file or directory\n": "the header nlohmann/json.hpp",
		"x.cc:3:10: fatal error: 'nlohmann/json.hpp' file not found\n":           "the header nlohmann/json.hpp",
		"/usr/bin/ld: cannot find -lTree: No such file or directory\n":           "the library Tree",
		"x.cc:3:10: error: 'TTree' was not declared in this scope\n":             "",
	} {
		if got := lackedBy([]byte(out)); got != want {
			t.Errorf("%q: got %q, want %q", out, got, want)
		}
	}
}

// TestFindSeveral has one installation of each version be used, and tells of those that were named and are not.
func TestFindSeveral(t *testing.T) {
	first := fakeRoot(t, "#define ROOT_RELEASE \"6.40.00\"\n")
	again := fakeRoot(t, "#define ROOT_RELEASE \"6.40.00\"\n")
	other := fakeRoot(t, "#define ROOT_RELEASE \"6.38.00\"\n")
	f := Finder{Prefixes: []string{first, again, "/nowhere", other, first}}
	infos, err := f.Find(t.Context())
	if len(infos) != 2 || infos[0].Dir != first || infos[1].Dir != other {
		t.Errorf("found %+v", infos)
	}
	for _, want := range []string{
		"ROOT 6.40.00 in " + again + " is not used: " + first + " has that version too",
		"/nowhere",
		"--root " + first + " is given twice",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not tell %q", err, want)
		}
	}
}

// TestReopenedRootMustBeTheSame: a folder whose ROOT could not be opened is looked at anew, and one that has another
// version by then is not taken for what was found.
func TestReopenedRootMustBeTheSame(t *testing.T) {
	dir := fakeRoot(t, "#define ROOT_RELEASE \"6.40.00\"\n")
	f := Finder{Prefixes: []string{dir}}
	infos, err := f.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg := exec.Config{Cache: t.TempDir()}
	if _, err := f.Open(t.Context(), infos[0], cfg); err == nil || !strings.Contains(err.Error(), "is not whole") {
		t.Errorf("a folder that is not whole: %v", err)
	}
	version := filepath.Join(dir, "include", "ROOT", "RVersion.hxx")
	if err := os.WriteFile(version, []byte("#define ROOT_RELEASE \"6.38.00\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), infos[0], cfg); err == nil || !strings.Contains(err.Error(), "6.38.00 now") {
		t.Errorf("a folder with another ROOT: %v", err)
	}
}

// TestSetupOnlyNamesSources fails for a source that is gone or renamed, which would silently be optimized more.
func TestSetupOnlyNamesSources(t *testing.T) {
	sources, err := unpackSources(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range setupOnly {
		if !slices.Contains(sources, name) {
			t.Errorf("%s is no source of the child", name)
		}
	}
}

// pack makes a packed library of one file as a peer with bad intentions might.
func pack(t testing.TB, h tar.Header, content []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	h.Size = int64(len(content))
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// originOf is where a packed library comes from, as its submitter signs it.
func originOf(packed []byte) Origin {
	sum := sha256.Sum256(packed)
	return Origin{Submitter: "submitter", SHA256: hex.EncodeToString(sum[:])}
}

func TestUnpackRefuses(t *testing.T) {
	for name, packed := range map[string][]byte{
		"garbage":      []byte("no archive"),
		"nothing":      nil,
		"a path out":   pack(t, tar.Header{Name: "../evil"}, []byte("x")),
		"an absolute":  pack(t, tar.Header{Name: "/etc/evil"}, []byte("x")),
		"a link":       pack(t, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, nil),
		"a bomb":       pack(t, tar.Header{Name: "zeros"}, make([]byte, maxUnpacked+1)),
		"no library":   pack(t, tar.Header{Name: libMeta}, []byte(`{"key":"k","so":"a.so"}`)),
		"so elsewhere": pack(t, tar.Header{Name: libMeta}, []byte(`{"key":"k","so":"../a.so"}`)),
	} {
		cache := t.TempDir()
		if _, err := Unpack(t.Context(), cache, "k", originOf(packed), packed, nil); !errors.Is(err, ErrPack) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(cache); len(left) > 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func FuzzReadPack(f *testing.F) {
	f.Add(pack(f, tar.Header{Name: "a.so"}, []byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		files, err := readPack(b, maxUnpacked)
		if err != nil && !errors.Is(err, ErrPack) {
			t.Errorf("an error of another kind: %v", err)
		}
		for name := range files {
			if !filepath.IsLocal(name) {
				t.Errorf("takes %q", name)
			}
		}
	})
}

func TestSourceHash(t *testing.T) {
	a := Source{Main: "A.C", Files: map[string][]byte{"A.C": []byte("x"), "A.h": []byte("yz")}}
	b := Source{Main: "A.C", Files: map[string][]byte{"A.C": []byte("xy"), "A.h": []byte("z")}}
	if a.Hash() == b.Hash() || a.Hash() != (Source{Main: a.Main, Files: a.Files}).Hash() {
		t.Error("the hash does not tell sources apart, or is not stable")
	}
	if LibraryKey(a, "p") == LibraryKey(a, "q") {
		t.Error("the key does not depend on the platform")
	}
}
