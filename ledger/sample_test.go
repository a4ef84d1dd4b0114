package ledger

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// watcher notes what a home hands to who checks its workers.
type watcher struct {
	chosen   []merge.Partial
	compared [][2]merge.Partial
}

func (w *watcher) Choose(p merge.Partial) tasks.Cover {
	w.chosen = append(w.chosen, p)
	return p.Cover
}

func (w *watcher) Compare(first, second merge.Partial) {
	w.compared = append(w.compared, [2]merge.Partial{first, second})
}

// TestSamplingHasWhatItNeeds: whoever checks workers sees each partial as it is committed, and another node's of the
// same units beside it; what is counted does not change by that.
func TestSamplingHasWhatItNeeds(t *testing.T) {
	w := &watcher{}
	d := newDesk(t, Config{Sampling: w}, "a", "b")
	first, second := part("a", 1, 0, 100), part("b", 1, 0, 100)
	first.SHA256, second.SHA256 = "one", "another"
	d.commit(first)
	if len(w.chosen) != 1 || w.chosen[0].ID != first.ID || !slices.Equal(w.chosen[0].Cover, first.Cover) ||
		w.chosen[0].Holder != "a" {
		t.Fatalf("it was shown %+v", w.chosen)
	}
	d.step(Offered{Partial: first})                // repeated
	d.step(Offered{Partial: part("b", 2, 10, 20)}) // some of it
	d.step(Offered{Partial: second})
	if len(w.compared) != 1 || w.compared[0][0].SHA256 != "one" || w.compared[0][1].SHA256 != "another" ||
		w.compared[0][1].Holder != "b" {
		t.Errorf("it was to compare %+v", w.compared)
	}
	if n := len(d.home.Record().Done.Parts()); n != 1 || len(w.chosen) != 1 {
		t.Errorf("%d partials are committed, %d were shown", n, len(w.chosen))
	}
}
