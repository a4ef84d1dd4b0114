package pyexec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBundle has a source and its modules loaded as one, and refuses what cannot go along.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"muonic/__init__.py": "from .parts import PART", "muonic/parts.py": "PART = 4", "muonic/.hidden": "",
		"one.py": "ONE = 1", "fast/__init__.py": "", "fast/core.so": "", "data/x.txt": "", "two-three.py": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := []byte("import muonic, one\nassert muonic.PART + one.ONE == 5\ndef process(x): return x\n")
	archive, err := Bundle(source, []string{filepath.Join(dir, "muonic"), filepath.Join(dir, "one.py")})
	if err != nil {
		t.Fatal(err)
	}
	d, err := describe(t, openRuntime(t), writeFile(t, "job.zip", archive))
	if err != nil {
		t.Fatal(err)
	}
	d.Program.Release()
	for name, want := range map[string]string{
		"fast": "compiled", "data": "no source in Python", "two-three.py": "cannot be imported", "none": "no such file",
		"data/x.txt": "cannot be imported",
	} {
		if _, err := Bundle(source, []string{filepath.Join(dir, name)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// TestParseEnv tells environments by how they are written.
func TestParseEnv(t *testing.T) {
	for text, want := range map[string]Env{
		"/x/pylock.toml": {Lock: "/x/pylock.toml"}, "/x/env.tar.xz": {Tarball: "/x/env.tar.xz"}, "muons": {Name: "muons"},
	} {
		if got, err := ParseEnv(text); err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	if _, err := ParseEnv("some/folder"); err == nil {
		t.Error("a folder is an environment")
	}
}
