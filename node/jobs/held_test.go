package jobs

import (
	"fmt"
	"testing"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestItemsOfEndedJobsAreDropped: a daemon remembers a thousand jobs that have ended, each of which may have had
// thousands of appends. Their items are not kept in memory for that, only files that their users are told of.
func TestItemsOfEndedJobsAreDropped(t *testing.T) {
	const appends = 8_000
	data, err := tasks.NewDataset([]tasks.File{{URL: "/a.root", Entries: 5}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range appends {
		more := tasks.File{Entries: 2, Items: fmt.Sprintf("%064d", i), Data: make([]byte, tasks.MaxItemsData)}
		if err := data.Append([]tasks.File{more}); err != nil {
			t.Fatal(err)
		}
	}
	if err := data.Append([]tasks.File{{URL: "/b.root", Entries: 7}, {Entries: 1}}); err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{Data: *data, Want: data.Space(), Open: true}
	for _, led := range []bool{true, false} {
		j := newJob(t.Context(), "self", "a")
		j.s.Desc, j.s.Led, j.s.SubmittedHere, j.s.Status.State = desc, led, !led, api.Running
		j.Release()
		if _, got := j.Prepared(); len(got.Data.Files) != appends+3 {
			t.Fatalf("a job that has not ended has %d files left", len(got.Data.Files))
		}
		j.s.Lost, j.s.Status.State = []ledger.Lost{{Range: tasks.R(0, 1)}}, api.Partial
		j.Release()
		if _, got := j.Prepared(); len(got.Data.Files) != appends+3 {
			t.Fatalf("a job whose missing units are told has %d files left", len(got.Data.Files))
		}
		j.s.Lost, j.s.Status.State = nil, api.Done
		j.Release()
		_, got := j.Prepared()
		if n := len(got.Data.Files); n != 4 || got.Data.Space() != desc.Want || got.Want != desc.Want {
			t.Errorf("%d files over the units %v are left, want 4 over %v", n, got.Data.Space(), desc.Want)
		}
		if i, at := got.Data.Locate(5 + 2*appends + 3); got.Data.Files[i].URL != "/b.root" || at != 3 {
			t.Errorf("a unit is entry %d of %q now", at, got.Data.Files[i].URL)
		}
		if got.Data.Files[1].Items != "" || len(got.Data.Files[1].Data) > 0 {
			t.Error("items are left")
		}
	}
	if len(desc.Data.Files) != appends+3 || len(desc.Data.Files[1].Data) == 0 {
		t.Error("the description was changed that others share")
	}
}
