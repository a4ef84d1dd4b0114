package jobs

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestNearOfAnAppend: what an append says of nodes near its items is taken in the words of the cores, and refused if it
// is of items that the append does not have.
func TestNearOfAnAppend(t *testing.T) {
	files := []tasks.File{{Entries: 3}, {Entries: 7}}
	of := func(n ...api.NearItems) ([]steal.Near, error) { return nearOf(api.AppendRequest{Near: n}, files) }
	got, err := of(api.NearItems{First: 2, Last: 10, Node: "m", Cost: 0.5}, api.NearItems{Last: 1, Node: "n", Cost: 1e30})
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for i, want := range []steal.Near{
		{To: "m", Ranges: tasks.CoverOf(tasks.R(2, 10)), Cost: 500 * time.Millisecond},
		{To: "n", Ranges: tasks.CoverOf(tasks.R(0, 1)), Cost: steal.MaxNear},
	} {
		if got[i].To != want.To || got[i].Cost != want.Cost || !got[i].Ranges.Equal(want.Ranges) {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
	var nan float64
	nan /= nan
	for _, bad := range []api.NearItems{
		{First: -1, Last: 2}, {First: 2, Last: 2}, {First: 0, Last: 11}, {Last: 1, Cost: -1}, {Last: 1, Cost: nan},
	} {
		if got, err := of(bad); err == nil {
			t.Errorf("%+v is taken as %+v", bad, got)
		}
	}
	if _, err := of(make([]api.NearItems, api.MaxNearItems+1)...); err == nil {
		t.Error("any number is taken")
	}
}
