//go:build mutants

package quorum_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// TestMutants checks that the model finds the bugs that can be planted here. A process has the same bug for its whole
// life, so each is another run of this test binary.
func TestMutants(t *testing.T) {
	tests := map[mutant.Bug]string{
		mutant.AnyLeader:   "TestLiar",
		mutant.AnswerTerm:  "TestLiar",
		mutant.AnyTransfer: "TestLiar",
		mutant.AnyTerm:     "TestTermsAreNotUsedUp",
		mutant.AnyLink:     "TestLiar",
		mutant.ForgetLead:  "TestRestartBesideLiar",
	}
	for _, bug := range []mutant.Bug{mutant.AckBeforeSync, mutant.SkipLastRecord, mutant.SnapshotTooEarly,
		mutant.TailFirst, mutant.ForgetVoters} {
		tests[bug] = "TestModel"
	}
	for bug, test := range tests {
		cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v", "-seeds=1000")
		cmd.Env = append(os.Environ(), "DTPNODE_MUTANT="+string(bug))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: "+test) {
			t.Errorf("%s is not found: %v\n%s", bug, err, out)
		}
		t.Logf("%s: %s", bug, out)
	}
}
