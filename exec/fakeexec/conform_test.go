package fakeexec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/exectest"
)

// TestConforms plays all that a runtime must be able to do.
func TestConforms(t *testing.T) {
	hidden := filepath.Join(t.TempDir(), "hidden")
	check(t, os.WriteFile(hidden, []byte("missing\n"), 0o600))
	exectest.Run(t, exectest.Suite{
		Finder:  Finder{Hide: hidden},
		Request: conformRequest,
		Input: func(_ testing.TB, name string, entries, _ int64) string {
			return fmt.Sprintf("fake://%s?entries=%d", name, entries)
		},
		Missing: "fake://missing?entries=10",
		Bad:     func(testing.TB) string { return "no://such?entries=10" },
		Same: func(_ testing.TB, a, b string) error {
			x, err := ReadOutput(a)
			if err != nil {
				return err
			}
			y, err := ReadOutput(b)
			if err == nil && (x.Units != y.Units || !slices.Equal(x.Bins, y.Bins)) {
				err = fmt.Errorf("%+v and %+v differ", x, y)
			}
			return err
		},
		Value:  Value,
		Checks: 200,
	})
}

// conformRequest writes the Spec of code.
func conformRequest(t testing.TB, c exectest.Code) exec.Request {
	spec := Spec{Entry: "0s", Bins: 97, Values: c.Values}
	kinds := map[exectest.How]exec.Kind{
		exectest.Crash:  exec.KindSignal,
		exectest.Escape: exec.KindSignal,
		exectest.Exit:   exec.KindExit,
		exectest.Throw:  exec.KindException,
		exectest.Loop:   exec.KindStall,
		exectest.Hoard:  exec.KindMemory,
	}
	steps := map[exectest.Step]string{
		exectest.AtBegin:  "Begin",
		exectest.AtStart:  "SlaveBegin",
		exectest.AtFinish: "Terminate",
	}
	switch kind := kinds[c.How]; {
	case c.How == exectest.Hold && c.Step == exectest.AtUnit:
		spec.Hold = map[int64]string{c.At: c.Go}
	case c.How == exectest.Hold:
		spec.HoldSteps = map[string]string{steps[c.Step]: c.Go}
	case c.How == exectest.Flood:
		spec.Flood = map[int64]int{c.At: 1 << 16}
	case c.Step == exectest.AtUnit && kind != "":
		spec.Fail = map[int64]exec.Kind{c.At: kind}
	case kind != "":
		spec.Steps = map[string]exec.Kind{steps[c.Step]: exec.KindCode}
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if c.Step == exectest.AtBuild {
		text = []byte("{")
	}
	path := filepath.Join(t.TempDir(), "spec.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ask, err := json.Marshal(Request{Code: path})
	if err != nil {
		t.Fatal(err)
	}
	return exec.Request{Spec: ask}
}
