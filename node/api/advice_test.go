package api_test

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestBranchAdvice tells a branch that is not there from one that ROOT cannot read, and from one without a dictionary.
func TestBranchAdvice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ reason, want string }{
		{"unknown branch -> r", "--allow-missing-branches"},
		{`TTree::SetBranchAddress: The pointer type given "Int_t" (3) does not correspond to the type needed "Long64_t" ` +
			"(16) by the branch: event", "of the branch's type"},
		{"The tree does not have a branch called Fx.y. You could check", "--friend Fx=FILES"},
		{"Cannot read branch m.first: unhandled streamer element type TStreamerSTLstring", "take it out of the selector"},
		{"Support for branches of type TBranchObject not implemented", "take it out of the selector"},
		{"The class requested (vector<X>) for the branch \"v\" is an instance of an stl collection and does not have a " +
			"compiled CollectionProxy", "#pragma link"},
	} {
		if got := api.BranchAdvice(c.reason); !strings.Contains(got, c.want) {
			t.Errorf("%q: %q, want %q", c.reason, got, c.want)
		}
	}
}
