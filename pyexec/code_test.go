package pyexec

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// openRuntime opens the first interpreter for the time of a test.
func openRuntime(t *testing.T) *Runtime {
	t.Helper()
	f := &Finder{}
	infos, err := f.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rt, err := f.Open(context.Background(), infos[0], exec.Config{
		Scratch: t.TempDir(), Cache: testCache(t), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rt.Close(); err != nil {
			t.Error(err)
		}
	})
	return rt.(*Runtime)
}

func describe(t *testing.T, rt *Runtime, path string) (exec.Description, error) {
	t.Helper()
	spec, err := json.Marshal(Spec{Code: path})
	if err != nil {
		t.Fatal(err)
	}
	return rt.Describe(t.Context(), exec.Request{Spec: spec})
}

// TestBadCode: whoever has written it is told what is wrong, in words that name it.
func TestBadCode(t *testing.T) {
	rt := openRuntime(t)
	for text, want := range map[string]string{
		"x = 1":                                     "no function process",
		"process = 3":                               "process is a int",
		"def process(x): pass\nMODE = 'most'":       "MODE is 'most'",
		"def process(x): pass\nITEMS = 'words'":     "ITEMS is 'words'",
		"def process(x):\n  return 1 +":             "SyntaxError",
		"import no_such_module":                     "No module named 'no_such_module'",
		"import sys; sys.exit(4)":                   "sys.exit(4)",
		"def process(x): pass\nreduce = 'operator'": "reduce is a str",
	} {
		_, err := describe(t, rt, writeFile(t, "code.py", []byte(text)))
		var f *exec.Failure
		if !errors.As(err, &f) || !strings.Contains(f.Msg, want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
	if _, err := describe(t, rt, filepath.Join(t.TempDir(), "none.py")); err == nil {
		t.Error("code that is not there is described")
	}
	if _, err := describe(t, rt, writeFile(t, "code.zip", []byte("no archive"))); err == nil {
		t.Error("what is no archive is described")
	}
}

// TestArchiveBringsItsModules: the pickle of an archive refers to a module that is on no other path.
func TestArchiveBringsItsModules(t *testing.T) {
	const module = "def double(x):\n    return 2 * int(x)\n"
	dir := t.TempDir()
	make := osexec.CommandContext(t.Context(), "python3", "-c", `
import pickle, sys, types
m = types.ModuleType("brought_along")
exec(sys.argv[1], m.__dict__)
sys.modules[m.__name__] = m
sys.stdout.buffer.write(pickle.dumps({"process": m.double, "MODE": "values"}))`, module)
	pickled, err := make.Output()
	if err != nil {
		t.Fatal(err)
	}
	rt := openRuntime(t)
	code := archive(t, map[string][]byte{"code.pickle": pickled, "lib/brought_along.py": []byte(module)})
	d, err := describe(t, rt, code)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Program.Release()
	blob, err := exec.PackItems([][]byte{[]byte("21")})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Program.Try(t.Context(), exec.GenSpec{Job: 1, Dir: dir}, writeFile(t, "items", blob), ""); err != nil {
		t.Error(err)
	}
}

// archive is the path of an archive of code.
func archive(t *testing.T, members map[string][]byte) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range members {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "code.zip", b.Bytes())
}

// TestVersionsOfModules: what the submitter has imported, and this host has of another version or not at all, is told
// with its name; what is the same, or not a package here, is not.
func TestVersionsOfModules(t *testing.T) {
	rt := openRuntime(t)
	out, err := osexec.CommandContext(t.Context(), "python3", "-c",
		"from importlib import metadata; print(metadata.version('pip'))").Output()
	if err != nil {
		t.Fatal(err)
	}
	pip := strings.TrimSpace(string(out))
	pickled := []byte("(dVprocess\ncbuiltins\nlen\ns.") // of {"process": len}
	for versions, want := range map[string]string{
		`{}`:                              "",
		`{"json": ["json", "9"]}`:         "",
		`{"pip": ["pip", "` + pip + `"]}`: "",
		`{"pip": ["pip", "0.1"], "nosuch": ["no-such", "2"]}`: "has pip " + pip + " and not 0.1, and lacks no-such 2",
	} {
		d, err := describe(t, rt, archive(t, map[string][]byte{
			"code.pickle": pickled, "versions.json": []byte(versions),
		}))
		if err != nil {
			t.Fatal(err)
		}
		notes := strings.Join(d.Notes, "; ")
		if told := d.Program.(exec.Noted).Notes(); !slices.Equal(told, d.Notes) {
			t.Errorf("other nodes would tell %q, and this one %q", told, d.Notes)
		}
		d.Program.Release()
		if (notes == "") != (want == "") || !strings.Contains(notes, want) {
			t.Errorf("of %s is told %q, want %q", versions, notes, want)
		}
	}
}
