package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestAbortBeforeAnyEntryIsOfTheHost: at its start a generation may miss what others have; later it gives the job up.
func TestAbortBeforeAnyEntryIsOfTheHost(t *testing.T) {
	r := &run{}
	for stage, fatal := range map[exec.Stage]bool{exec.StageStart: false, exec.StageInput: true, "": true} {
		f := &exec.Failure{Kind: exec.KindAbort, Stage: stage, Entry: -1, Msg: "the selector called Abort(kAbortProcess)"}
		if out := r.failureOf(f, tasks.Range{}, 0); out.Fatal != fatal || !out.Blame.Empty() {
			t.Errorf("an abort at stage %q is told as %+v", stage, out)
		}
		if hostsOwn(f) == fatal {
			t.Errorf("an abort at stage %q at the first try: of the host %v", stage, !fatal)
		}
	}
}
