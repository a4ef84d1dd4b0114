package jobs

import (
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// TestAbortAtTheFirstTryIsOfTheHost: at its start a program may miss what others have; later it gives the job up.
func TestAbortAtTheFirstTryIsOfTheHost(t *testing.T) {
	for stage, host := range map[exec.Stage]bool{exec.StageStart: true, exec.StageInput: false, "": false} {
		if f := (&exec.Failure{Kind: exec.KindAbort, Stage: stage, Entry: -1}); hostsOwn(f) != host {
			t.Errorf("an abort at stage %q is of the host: %v", stage, !host)
		}
	}
}
