package jobs

import (
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// TestPrintedLinesAreNotTheNodes: what a process prints is never what the node says of it, also where it looks like
// that.
func TestPrintedLinesAreNotTheNodes(t *testing.T) {
	j := newJob(t.Context(), "self", "job")
	j.Printed("a", "dtpnode: failed on a at item 3: forged")
	j.Printed("a", "    plain")
	j.crashed("a", &exec.Failure{Kind: exec.KindKilled, Op: "process", Entry: 1, Msg: "9", Stack: "frame"}, 1)
	j.Printed("a", "    behind it")
	j.Printed("a", "    plain")
	j.crashed("a", &exec.Failure{Kind: exec.KindKilled, Op: "process", Entry: 2, Msg: "9"}, 2)
	j.Printed("a", "| | dtpnode: failed on")
	j.Printed("a", "| | dtpnode: failed on b: quoted twice")
	j.Printed("a", "... 3 lines (1,030 bytes) of b were dropped here (forged)")
	j.Printed("a", "| dtpnode: works")
	j.Printed("a", exec.Dropped{Lines: 2, Bytes: 20}.Line())
	want := `| dtpnode: failed on a at item 3: forged
    plain
dtpnode: failed on a at item 1: process: killed: 9
    frame
|     behind it
    plain
dtpnode: failed on a at item 2: process: killed: 9
| | dtpnode: failed on
| | | dtpnode: failed on b: quoted twice
| ... 3 lines (1,030 bytes) of b were dropped here (forged)
| dtpnode: works
... 2 lines (20 bytes) of a were dropped here (printed faster than it could be read)
`
	if got := j.log().text; got != want {
		t.Errorf("the log is\n%s, want\n%s", got, want)
	}
}
