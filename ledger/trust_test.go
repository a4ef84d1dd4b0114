package ledger

import (
	"testing"
	"time"

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

// TestHowMuchANodeClaimsDoesNotMatter has a node claim all units, and do nothing: how long idle nodes wait to run them does
// not grow with how many there are.
func TestHowMuchANodeClaimsDoesNotMatter(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c")
	d.rate = 0.5
	all[Reissue](d)
	for len(all[Reissue](d)) == 0 {
		if d.audit(); d.now > 10*time.Minute {
			t.Fatal("after 10 minutes nobody else has got what one node says that it holds")
		}
	}
	if d.now < time.Minute {
		t.Errorf("a node was waited for no longer than %v", d.now)
	}
}
