package exectest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// Suite says how a runtime is tested: where it is found, and how it is given code and inputs.
type Suite struct {
	Finder exec.Finder
	// Cache is the folder of what is built, which may be kept between runs. Empty: one that goes with the test.
	Cache string
	// Request makes a request for code that counts the units it is given and does what c says besides. The input that
	// the session's Begin returns must reach every generation: one that gets another fails.
	Request func(t testing.TB, c Code) exec.Request
	// Input makes an input of so many entries. Its entry 0 is the unit base for the code.
	Input func(t testing.TB, name string, entries, base int64) string
	// Part is the part of an input that has these entries; empty where inputs have no parts.
	Part string
	// Missing is the name of an input that is not there.
	Missing string
	// Bad makes an input that is there and is none.
	Bad func(t testing.TB) string
	// Same compares two outputs of sessions: what was counted, unit by unit or in any way that tells lost units, and those
	// that are counted twice.
	Same func(t testing.TB, a, b string) error
	// Value is what the value of a unit must be for code with Code.Values; item is that of the unit, nil for an entry of
	// an input. It is nil where the kind has no values, that is where Finder is no exec.Values.
	Value func(unit int64, item []byte) []byte
	// Checks is how many random trees of merges are played; default 20.
	Checks int
}

// Code is what a program of the tests does beside counting.
type Code struct {
	How  How
	Step Step
	At   int64  // unit, of AtUnit
	Go   string // path of a file, of Hold
	// Values has it keep the value of each unit, where the kind can.
	Values bool
}

// How is a way to behave.
type How string

// The ways to behave. Before it does any but Well, code prints a line that contains Mark.
const (
	Well  How = ""
	Crash How = "crash" // as by a signal
	Exit  How = "exit"  // leaves the process with the status ExitStatus
	Throw How = "throw" // an exception leaves it
	Loop  How = "loop"  // never comes to an end
	Hoard How = "hoard" // takes memory without end
	Flood How = "flood" // prints very much, and goes on
	// Escape starts a process, if it can, that leaves its session and lives on, and then crashes.
	Escape How = "escape"
	Hold   How = "hold" // waits until there is a file at Code.Go, and goes on
)

// Step is where code does it.
type Step string

// The steps: at one unit, or as a whole step of the job.
const (
	AtUnit   Step = ""
	AtBuild  Step = "build"  // the code cannot be made ready at all, whatever How is
	AtBegin  Step = "begin"  // Session.Begin
	AtStart  Step = "start"  // of each generation
	AtFinish Step = "finish" // Session.Finish
)

// What code of the tests prints, and leaves with.
const (
	Mark       = "about to be bad"
	ExitStatus = 7
)

// Memory is the limit of memory for code that hoards, in bytes.
const Memory = 1 << 30

// Run plays all tests against the runtime. What it leaves behind (processes, descriptors, files, goroutines) is a
// failure too.
func Run(t *testing.T, s Suite) {
	if s.Checks == 0 {
		s.Checks = 20
	}
	if s.Cache == "" {
		s.Cache = t.TempDir()
	}
	setFlag(t, "rapid.checks", s.Checks)
	setFlag(t, "rapid.nofailfile", true)
	before := takeStock(t)
	e := &env{Suite: s}
	e.open(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, e) })
	}
	if err := e.rt.Close(); err != nil {
		t.Errorf("closed: %v", err)
	}
	e.checkScratch(t, e.scratch)
	before.compare(t)
}

// setFlag sets a flag of the tests for as long as one lasts.
func setFlag(t *testing.T, name string, value any) {
	t.Helper()
	f := flag.Lookup(name)
	if f == nil {
		t.Fatalf("no flag %s", name)
	}
	old := f.Value.String()
	if err := flag.Set(name, fmt.Sprint(value)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set(name, old) })
}

// env is a suite with the runtime that is shared by its tests.
type env struct {
	Suite
	info    exec.Info
	rt      exec.Runtime
	scratch string
}

// open finds and opens the runtime.
func (e *env) open(t *testing.T) {
	t.Helper()
	infos, err := e.Finder.Find(t.Context())
	if err != nil || len(infos) == 0 {
		t.Fatalf("found %v: %v", infos, err)
	}
	e.info = infos[0]
	e.rt, e.scratch = e.another(t)
}

// another opens a runtime of its own for a test, which closes it.
func (e *env) another(t *testing.T) (rt exec.Runtime, scratch string) {
	t.Helper()
	scratch = t.TempDir()
	rt, err := e.Finder.Open(context.Background(), e.info, exec.Config{
		Scratch: scratch,
		Cache:   e.Cache,
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatalf("opened: %v", err)
	}
	return rt, scratch
}

// checkScratch sees that a runtime that was closed has left nothing in its folder.
func (e *env) checkScratch(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if len(names) > 0 {
		t.Errorf("left behind in its scratch folder: %s", strings.Join(names, ", "))
	}
}
