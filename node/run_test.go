package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestAbortBeforeAnyEntryIsOfTheHost: in SlaveBegin the selector may miss what others have; at an entry it gives the job up.
func TestAbortBeforeAnyEntryIsOfTheHost(t *testing.T) {
	r := &run{}
	for op, fatal := range map[string]bool{"SlaveBegin": false, "Process": true, "Init": true} {
		f := &exec.Failure{Kind: exec.KindAbort, Op: op, Entry: -1, Msg: "the selector called Abort(kAbortProcess)"}
		if out := r.failureOf(f, tasks.Range{}, 0); out.Fatal != fatal || !out.Blame.Empty() {
			t.Errorf("an abort in %s is told as %+v", op, out)
		}
		if hostsOwn(f) == fatal {
			t.Errorf("an abort in %s at the first try: of the host %v", op, !fatal)
		}
	}
}
