package main

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/internal/mutant"
)

// slow are the bugs that take more seeds than there is time for here; docs/mutants.md has them. A word before
// the disk's is found by the replicated log's own model (package quorum, in `make test` too).
var slow = []mutant.Bug{mutant.AckBeforeSync, mutant.StaleTerm}

// TestBugsAreCaught plays seeds on each planted bug until one fails.
func TestBugsAreCaught(t *testing.T) {
	bugs := slices.DeleteFunc(mutant.Bugs(), func(b mutant.Bug) bool { return slices.Contains(slow, b) })
	found, err := huntAll(t.Context(), bugs, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range bugs {
		if !found[i].Caught {
			t.Errorf("%s was not caught by 100 seeds: %s", b, b.Breaks())
			continue
		}
		t.Logf("%s: seed %d: %s", b, found[i].Seed, first(found[i].Seen, 100))
	}
}
