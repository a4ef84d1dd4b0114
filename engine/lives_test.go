package engine

import (
	"fmt"
	"testing"

	"github.com/dtpnode/dtpnode/ledger"
)

// TestWhatWentIsBounded has more nodes go, and come back and go, than a job's home remembers.
func TestWhatWentIsBounded(t *testing.T) {
	var j jobState
	for i := range uint64(100) { // lives of one node
		j.rememberLife(life{"n", i + 1}, ledger.Stats{Units: 1})
		j.rememberLife(life{"n", i + 1}, ledger.Stats{Units: 2}) // its link only was cut
	}
	if all := j.led.gone[life{"n", 0}].Units + j.led.gone[life{"n", 100}].Units; len(j.led.gone) != 2 || all != 200 {
		t.Errorf("%d lives count %d units", len(j.led.gone), all)
	}
	for i := range 2 * maxLives {
		j.rememberLife(life{fmt.Sprint("batch", i), 1}, ledger.Stats{Units: 1})
	}
	if len(j.led.gone) != maxLives {
		t.Errorf("%d lives are remembered", len(j.led.gone))
	}
}
