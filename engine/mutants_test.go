//go:build mutants

package engine

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// TestMutants sees that the tests of proofs find the bugs that can be planted there, as in package quorum.
func TestMutants(t *testing.T) {
	for bug, test := range map[mutant.Bug]string{mutant.NoMandate: "TestOnlyProvenHomesAreFollowed",
		mutant.OwnTerm: "TestReplacedVotersAreNotFollowed", mutant.NoSeal: "TestEndIsBelievedWithItsSeal",
		mutant.AnyDealer:    "TestDealtWorkIsProven",
		mutant.ObeyAdmins:   "TestAdminDisplacesNoLivingLedger",
		mutant.OldEnd:       "TestRecoveredJobCountsOverOldEnd",
		mutant.BlindStrikes: "TestUnseenIsNoFailure",
		mutant.AnyRuntime:   "TestJobsAreForThoseThatCanRunThem",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
		cmd.Env = append(os.Environ(), "DTPNODE_MUTANT="+string(bug))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "--- FAIL: "+test) {
			t.Errorf("%s is not found: %v\n%s", bug, err, out)
		}
	}
}
