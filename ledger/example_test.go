package ledger_test

import (
	"fmt"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// A record changes by entries of the log alone, and passes over what it does not admit: what is committed already, or
// the end of a job of which units are open.
func ExampleRecord_Apply() {
	r := ledger.Record{Want: tasks.R(0, 100)}
	partial := func(seq uint64, first, last int64) *merge.Partial {
		return &merge.Partial{
			ID:    merge.ID{Node: "a", Seq: seq},
			Cover: tasks.CoverOf(tasks.R(first, last)),
			Units: last - first,
		}
	}
	for _, e := range []ledger.Entry{
		{Commit: partial(1, 0, 60)},
		{Commit: partial(2, 50, 70)},
		{End: &ledger.End{}},
		{Lost: &ledger.Lost{Range: tasks.R(60, 100)}},
		{End: &ledger.End{}},
	} {
		_, changed := r.Apply(e)
		fmt.Println(changed, r.Open().Len(), "open")
	}
	// Output:
	// true 40 open
	// false 40 open
	// false 40 open
	// true 0 open
	// true 0 open
}

// A home answers events with effects: here a new job's work is put to work on its own node, a partial that another node
// offers is fetched, and proposed for the log when it is here.
func ExampleHome() {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a.root", Entries: 100}})
	if err != nil {
		fmt.Println(err)
		return
	}
	home := ledger.New(ledger.Config{Self: "h", Submitter: "h"}, &ledger.Record{Want: data.Space()}, data, false)
	var request uint64 // the fetch that is answered
	show := func(effects []ledger.Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case ledger.Reissue:
				fmt.Println("run", e.Ranges)
			case ledger.Fetch:
				request = e.Seq
				fmt.Println("fetch", e.Partial.Cover, "from", e.Partial.Holder)
			case ledger.Propose:
				fmt.Println("propose to commit", e.Entry.Commit.Cover)
			}
		}
	}
	show(home.Start(0, nil))
	show(home.Step(0, ledger.Replicas{Ready: true})) // this node is the only replica
	show(home.Step(0, ledger.NodeUp{ID: "w", Slots: 1}))
	home.Granted(tasks.CoverOf(tasks.R(0, 40))) // w has stolen it
	id := merge.ID{Node: "w", Seq: 1}
	offer := merge.Partial{ID: id, Holder: "w", Cover: tasks.CoverOf(tasks.R(0, 40)), Units: 40}
	show(home.Step(0, ledger.Offered{Partial: offer}))
	show(home.Step(0, ledger.Stored{Partial: merge.Partial{ID: id}, Units: 40, Seq: request}))
	// Output:
	// run [0,100)
	// fetch [0,40) from w
	// propose to commit [0,40)
}
