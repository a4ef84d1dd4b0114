//go:build mutants

package ledger

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// TestMutants sees that the tests find the bugs that can be planted here and that take the simulator long.
func TestMutants(t *testing.T) {
	for bug, test := range map[mutant.Bug]string{
		mutant.AnyFetch:     "TestStaleStoredDoesNotCount",
		mutant.OneNodesWord: "TestTwoNodesMustFail",
		mutant.ForgetAway:   "TestAwayForAMoment",
		mutant.DoubleAppend: "TestAppendsCountOnce",
		mutant.EarlyUnit:    "TestUnitsWaitForOthers",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
		cmd.Env = append(os.Environ(), "DTPNODE_MUTANT="+string(bug))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: "+test) {
			t.Errorf("%s is not found: %v\n%s", bug, err, out)
		}
	}
}
