package rootexec

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/exectest"
)

// badWords are what Bad::misbehave calls the ways to behave of the tests of the contract.
var badWords = map[exectest.How]string{
	exectest.Crash:  "segv",
	exectest.Escape: "escape",
	exectest.Exit:   "exit",
	exectest.Throw:  "throw",
	exectest.Loop:   "loop",
	exectest.Hoard:  "memory",
	exectest.Flood:  "spill",
	exectest.Hold:   "hold",
}

// TestConforms plays all that a runtime must be able to do against ROOT, in processes of its own beside those of the
// other tests, with their compiled selectors.
func TestConforms(t *testing.T) {
	executor(t) // builds what is to be built
	for _, class := range []string{"MakeData", "Compare"} {
		load(t, class) // so that processes that stay are no leaks
	}
	cache, err := testCache()
	if err != nil {
		t.Fatal(err)
	}
	exectest.Run(t, exectest.Suite{
		Finder:  &Finder{Prefixes: []string{suite.root.Dir}, Cache: cache},
		Cache:   cache,
		Request: conformRequest,
		Input: func(t testing.TB, name string, entries, base int64) string {
			return makeData(t, name+".root", entries, base)
		},
		Part:    "T",
		Missing: "/no/such/file.root",
		Bad: func(t testing.TB) string {
			path := filepath.Join(t.TempDir(), "bad.root")
			if err := os.WriteFile(path, []byte("no ROOT file"), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		},
		Same: func(t testing.TB, a, b string) error {
			if _, out, err := begin(t, "Compare", map[string]string{"a": a, "b": b}); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		},
	})
}

// conformRequest is a request for the selector Conform.
func conformRequest(t testing.TB, c exectest.Code) exec.Request {
	at := "-1"
	if c.Step == exectest.AtUnit {
		at = fmt.Sprint(c.At)
	}
	params := map[string]string{"bad": badWords[c.How], "step": string(c.Step), "at": at, "go": c.Go}
	params["pid"] = filepath.Join(t.TempDir(), "pid") // of what escapes
	spec := Spec{Class: "Conform", Params: params}
	if c.Step == exectest.AtBuild {
		spec.Class = "NoSuch"
	}
	for _, name := range []string{"Suite.C", "Suite.h"} {
		path, err := filepath.Abs(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".C" {
			spec.Selector = path
		} else {
			spec.Includes = []string{path}
		}
	}
	return exec.Request{Spec: spec.JSON(), Dir: t.TempDir()}
}
