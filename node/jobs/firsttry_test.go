package jobs

import (
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestAbortAtTheFirstTryIsOfTheHost: at its start a program may miss what others have; later it gives the job up.
func TestAbortAtTheFirstTryIsOfTheHost(t *testing.T) {
	for stage, host := range map[exec.Stage]bool{exec.StageStart: true, exec.StageInput: false, "": false} {
		if f := (&exec.Failure{Kind: exec.KindAbort, Stage: stage, Entry: -1}); hostsOwn(f) != host {
			t.Errorf("an abort at stage %q is of the host: %v", stage, !host)
		}
	}
}

// TestFirstTryIsOfTheInputToo: code that went well with one input, or entry, is tried again with another.
func TestFirstTryIsOfTheInputToo(t *testing.T) {
	var file plan.FileKey
	seen := map[string]int{}
	for i, desc := range []*tasks.Job{
		{}, {Input: []byte("x")}, {Input: []byte("y")}, {Begun: tasks.Ship{SHA256: "aa"}}, {Begun: tasks.Ship{SHA256: "bb"}},
	} {
		for entry := range int64(2) {
			mark := markOf("code", file, entry, desc)
			if again := markOf("code", file, entry, desc); again != mark {
				t.Errorf("one job has the marks %q and %q", mark, again)
			}
			if other, known := seen[mark]; known {
				t.Errorf("job %d, entry %d: the mark of job %d", i, entry, other)
			}
			seen[mark] = i
		}
	}
}
