// Package roottest helps tests that need a ROOT: it makes small data files, runs ROOT's own
// single-process TChain::Process as the reference, and compares ROOT files object by object.
//
// Compiled programs, selectors and their libraries are kept in the user's cache from run to run, under
// names made of their content.
package roottest

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/rootexec/roottest/rootcxx"
)

//go:embed cxx
var programs embed.FS

//go:embed selectors
var selectors embed.FS

// ROOT is the installation that tests run against.
type ROOT struct {
	Dir   string // holds bin, lib and include
	cache string
}

// Find returns the ROOT to test with: $DTPNODE_ROOT, or the one that dtpnode would use, installed into
// the user's cache first if there is none.
func Find(t testing.TB) *ROOT {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("could not find a cache directory: %v", err)
	}
	cache := filepath.Join(base, "dtpnode")
	root, err := rootexec.Find(t.Context(), rootexec.FindOptions{Prefix: os.Getenv("DTPNODE_ROOT"), Cache: cache})
	if errors.Is(err, rootexec.ErrNoROOT) && os.Getenv("DTPNODE_ROOT") == "" {
		root, err = rootexec.Install(t.Context(), cache, func(msg string) { t.Log(msg) })
	}
	if err != nil {
		t.Fatalf("could not find a ROOT to test with: %v", err)
	}
	return &ROOT{Dir: root.Dir, cache: filepath.Join(cache, "roottest")}
}

// otherWheel is a ROOT of another version than the pinned one, 6.38, from the Python package index.
const otherWheel = "root==0.1a10"

// Other returns the folder of a ROOT of another version, which is installed into the user's cache once.
func Other(t testing.TB) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("could not find a cache directory: %v", err)
	}
	root, err := rootexec.InstallWheel(t.Context(), filepath.Join(base, "dtpnode"), otherWheel, func(msg string) {
		t.Log(msg)
	})
	if err != nil {
		t.Fatalf("could not find another ROOT to test with: %v", err)
	}
	return root.Dir
}

// Everything says whether the tests are to run, too, that take too much for every day: long ones, and variations of
// what others test. $DTPNODE_LONG asks for them, as make test-all and make soak do.
func Everything() bool { return os.Getenv("DTPNODE_LONG") != "" }

// Long skips a test where not everything is to be tested.
func Long(t testing.TB) {
	t.Helper()
	if !Everything() {
		t.Skip("set DTPNODE_LONG=1, or make test-all")
	}
}

// LongBut skips a variation where not everything is to be tested, unless it is one of those that stand for the others.
func LongBut[T comparable](t testing.TB, variation T, daily ...T) {
	t.Helper()
	if !slices.Contains(daily, variation) {
		Long(t)
	}
}

// Wheels are the ROOTs that the Python package index has beside the pinned one, with their versions. Those before 6.38
// are of the time before a release.
var Wheels = map[string]string{OldestWheel: "6.37.01", "root==0.1a9": "6.39.01", otherWheel: "6.38.00"}

// OldestWheel is the oldest ROOT of Wheels.
const OldestWheel = "root==0.1a8"

// Wheel returns one of Wheels, installed into the user's cache once. What is compiled for its tests is kept apart from
// that of other ROOTs.
func Wheel(t testing.TB, wheel string) *ROOT {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("could not find a cache directory: %v", err)
	}
	cache := filepath.Join(base, "dtpnode")
	root, err := rootexec.InstallWheel(t.Context(), cache, wheel, func(msg string) { t.Log(msg) })
	if err != nil {
		t.Fatalf("could not find %s to test with: %v", wheel, err)
	}
	return &ROOT{Dir: root.Dir, cache: filepath.Join(cache, "roottest", "ROOT-"+root.Version)}
}

// program builds cxx/name.cxx once and returns its path.
func (r *ROOT) program(t testing.TB, name string) string {
	t.Helper()
	source, err := programs.ReadFile("cxx/" + name + ".cxx")
	if err != nil {
		t.Fatalf("could not read the source of %q: %v", name, err)
	}
	if slices.Contains(forked, name) {
		begin, err := programs.ReadFile("cxx/forks.hxx")
		if err != nil {
			t.Fatalf("could not read what %q begins with: %v", name, err)
		}
		source = slices.Concat(begin, []byte("#line 1\n"), source)
	}
	path, err := rootcxx.Build(context.Background(), r.Dir, r.cache, name, source)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Selector returns the path of one of this package's selectors, such as "Tally.C" or "bad/Misbehave.C".
func Selector(t testing.TB, name string) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("could not find a cache directory: %v", err)
	}
	dir, err := extract(filepath.Join(base, "dtpnode", "roottest"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no selector %q in roottest: %v", name, err)
	}
	return path
}

// extract writes the selectors into a directory of cache that is named after their content.
func extract(cache string) (string, error) {
	sum := sha256.New()
	files := map[string][]byte{}
	err := fs.WalkDir(selectors, "selectors", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := selectors.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		files[path] = text
		return err
	})
	if err != nil {
		return "", fmt.Errorf("could not read embedded selectors: %w", err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("selectors-%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return filepath.Join(dir, "selectors"), nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("could not create cache directory %q: %w", cache, err)
	}
	temp, err := os.MkdirTemp(cache, "selectors-")
	if err != nil {
		return "", fmt.Errorf("could not create directory: %w", err)
	}
	defer os.RemoveAll(temp)
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(temp, path)), 0o755); err != nil {
			return "", fmt.Errorf("could not create directory for %q: %w", path, err)
		}
		if err := os.WriteFile(filepath.Join(temp, path), text, 0o644); err != nil {
			return "", fmt.Errorf("could not write %q: %w", path, err)
		}
	}
	if err := os.Rename(temp, dir); err != nil && !dirExists(dir) { // another test may have been faster
		return "", fmt.Errorf("could not keep selectors in %q: %w", dir, err)
	}
	return filepath.Join(dir, "selectors"), nil
}

func dirExists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
