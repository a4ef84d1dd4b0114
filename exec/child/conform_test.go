package child_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/exectest"
)

// code is what the tests of the contract want of a program, in Python.
const code = `
import ctypes, os, sys, time

HOW, STEP, AT, GO = %q, %q, %d, %q

def begin():
    print("begins")
    if STEP == "begin":
        misbehave()
    return b"input"

def start(input):
    if input != b"input":
        raise ValueError(f"begins with {input!r}")
    if STEP == "start":
        misbehave()

def process(unit):
    if STEP == "" and unit == AT:
        misbehave()
    return unit %% 97

def finish():
    if STEP == "finish":
        misbehave()

def misbehave():
    if HOW:
        print("about to be bad:", HOW)
    if HOW == "escape" and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("escaped", "w").close()
            time.sleep(1000)
        os._exit(0)
    while HOW == "escape" and not os.path.exists("escaped"):
        time.sleep(0.001)
    if HOW in ("crash", "escape"):
        ctypes.string_at(8)
    if HOW == "exit":
        sys.exit(7)
    if HOW == "throw":
        raise ValueError("something is wrong")
    hoard = []
    while HOW == "hoard":
        hoard.append(b"x" * (16 << 20))
    while HOW == "loop":
        pass
    if HOW == "flood":
        for i in range(1 << 16):
            print("x" * 1000)
    while HOW == "hold" and not os.path.exists(GO):
        time.sleep(0.001)
`

// TestPythonConforms has the driver drive a program in another language, through all that a runtime must be able to do.
func TestPythonConforms(t *testing.T) {
	exectest.Run(t, exectest.Suite{
		Finder: pyFinder{},
		Request: func(t testing.TB, c exectest.Code) exec.Request {
			source := fmt.Sprintf(code, c.How, c.Step, c.At, c.Go)
			if c.Step == exectest.AtBuild {
				source = "def ("
			}
			path := filepath.Join(t.TempDir(), "code.py")
			if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
			spec, err := json.Marshal(path)
			if err != nil {
				t.Fatal(err)
			}
			return exec.Request{Spec: spec}
		},
		Input: func(t testing.TB, name string, entries, _ int64) string {
			return writeInput(t, name, fmt.Sprintf(`{"entries": %d}`, entries))
		},
		Missing: "/no/such/input",
		Bad:     func(t testing.TB) string { return writeInput(t, "bad", "no input") },
		Same:    func(_ testing.TB, a, b string) error { return samePartials(a, b) },
	})
}

func writeInput(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
