package ledger

import (
	"testing"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestBlameOfMoreThanAFile has a node blame units of two files, which no honest one does: nothing becomes of it. All
// of one file may be to blame.
func TestBlameOfMoreThanAFile(t *testing.T) {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: 600}, {URL: "b", Entries: 400}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		blame tasks.Range
		tried bool
	}{{tasks.R(0, units), false}, {tasks.R(599, 601), false}, {tasks.R(0, 600), true}, {tasks.R(600, units), true}, {tasks.R(7, 8), true}} {
		d := newDesk(t, Config{}, "a", "b")
		d.home.data = data
		all[Try](d)
		d.fails("a", Failure{Blame: c.blame, Kind: "signal"})
		if got := len(all[Try](d)) > 0; got != c.tried {
			t.Errorf("%v blamed: tried %v, want %v", c.blame, got, c.tried)
		}
	}
}
