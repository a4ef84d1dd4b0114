//go:build mutant_r2 || mutant_r3

package sim

import (
	"fmt"
	"strings"
	"testing"
)

// TestMutant runs hostile seeds with a rule taken out until a unit is counted twice.
func TestMutant(t *testing.T) {
	for s := range seeds(t, 60) {
		if res := Run(hostile(uint64(s))); res.Err != nil && strings.Contains(res.Err.Error(), "counted twice") {
			fmt.Printf("caught by seed %d, the %d. run: %v\n", s, s+1, res.Err)
			return
		}
	}
	t.Error("a rule was taken out and nothing was counted twice")
}
