package pyexec

import (
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// script is a program that stands where an interpreter is looked for.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// pythonHere is the interpreter on the path.
func pythonHere(t *testing.T) string {
	t.Helper()
	python, err := osexec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	return python
}

// TestNamedInterpreters: each bad one is told of with its path, and does not hide the good ones.
func TestNamedInterpreters(t *testing.T) {
	python, err := osexec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	old := script(t, "old", `echo '{"exe": "", "version": [3, 6, 1], "name": "cpython", "tag": "t", "platform": "p"}'`)
	broken := script(t, "broken", "echo it is broken >&2; exit 3")
	none := filepath.Join(t.TempDir(), "none")
	other := script(t, "other", "echo Hello")
	f := &Finder{Interpreters: []string{none, old, broken, other, python, python}}
	infos, err := f.Find(t.Context())
	if len(infos) != 1 || infos[0].Kind != Kind || !strings.HasPrefix(infos[0].Version, "3.") {
		t.Errorf("found is %+v", infos)
	}
	for _, want := range []string{none, "3.6", "it is broken", other, "has that version too"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// TestLibsAreFoundElsewhere: neither a folder for temporary files that is gone, nor what others have left there, has to
// do with the modules that an interpreter has.
func TestLibsAreFoundElsewhere(t *testing.T) {
	temp := filepath.Dir(writeFile(t, "msgpack.py", nil))
	python := script(t, "python", "test ! -e msgpack.py")
	for _, folder := range []string{temp, filepath.Join(temp, "gone")} {
		t.Setenv("TMPDIR", folder)
		libs, err := findLibs(t.Context(), exec.Info{Dir: python}, t.TempDir(), func(string) {})
		if libs != "" || err != nil {
			t.Errorf("with %s: %q, %v", folder, libs, err)
		}
	}
}

// TestNoInterpreter: a host without Python is no error of it.
func TestNoInterpreter(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("VIRTUAL_ENV", "")
	if infos, err := (&Finder{}).Find(t.Context()); !errors.Is(err, exec.ErrNone) || len(infos) > 0 {
		t.Errorf("found are %+v: %v", infos, err)
	}
}
