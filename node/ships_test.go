package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/store/storetest"
	"github.com/dtpnode/dtpnode/tasks"
)

// A partial is not merged from what is not as it was sealed.
func TestADamagedPartialIsNotMerged(t *testing.T) {
	d := openWithout(t, "worker")
	defer d.Close()
	p := merge.Partial{
		ID:     merge.ID{Node: d.net.ID(), Seq: 7},
		Job:    tasks.NameOf([]byte("job")),
		Size:   9,
		SHA256: store.HashOf([]byte("histogram")),
		Holder: d.net.ID(),
	}
	path := d.blobs.Partial(p.Job, p.ID)
	if err := durable.Write(path, []byte("histogram")); err != nil {
		t.Fatal(err)
	}
	d.blobs.Add(p.SHA256, path)
	if got, err := d.jobs.FetchPartial(t.Context(), p); got != path || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
	storetest.Flip(t, path)
	for range 2 {
		if got, err := d.jobs.FetchPartial(t.Context(), p); got != "" || err == nil {
			t.Errorf("of a damaged one got %q, error %v", got, err)
		}
	}
	if store.SizeOf(path) >= 0 || d.blobs.Has(p.SHA256, path) {
		t.Error("the damaged file is kept")
	}
}

// A replica may be told that a job is over before its ledger says so. It is forgotten with the ledger; one that the
// peer still takes part in is not.
func TestAJobIsForgottenWithItsLedger(t *testing.T) {
	d := openWithout(t, "replica")
	defer d.Close()
	source, err := d.blobs.Ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	over, goesOn := keepLedger(t, d, 1, source), keepLedger(t, d, 2, source)
	d.loop.Ask(func(p *engine.Peer) {
		d.loop.Step(engine.Submit{ID: goesOn, Job: stateOf(d.jobs.Book().ByID(goesOn)).Desc})
		d.jobs.JobOver(engine.JobOver{ID: over})
		d.jobs.JobEnded(d.loop.peer, engine.JobEnded{
			ID:     over,
			Term:   1,
			Result: ledger.Result{Status: []byte(`{"state":"cancelled"}`)},
		})
		d.dropLedger(engine.DropLedger{ID: over})
		d.dropLedger(engine.DropLedger{ID: goesOn})
	})
	if d.jobs.Book().ByID(over) != nil {
		t.Error("a job is known after its end and that of its ledger")
	}
	if d.jobs.Book().ByID(goesOn) == nil {
		t.Error("a job that goes on is forgotten")
	}
}

// A replica that has lost its seat learns of the job's end from others, drops its copy of the ledger, and then hears
// from the engine that the job is over. Nothing of the job stays here.
func TestAJobIsReleasedWithItsLedger(t *testing.T) {
	d := openWithout(t, "replaced")
	source, err := d.blobs.Ship([]byte("sources"))
	if err != nil {
		d.Close()
		t.Fatal(err)
	}
	id := keepLedger(t, d, 1, source)
	partial := d.blobs.Partial(id, merge.ID{Node: d.net.ID(), Seq: 1})
	if err := durable.Write(partial, []byte("histogram")); err != nil {
		t.Error(err)
	}
	j := d.jobs.Book().ByID(id)
	d.loop.Ask(func(*engine.Peer) {
		d.dropLedger(engine.DropLedger{ID: id})
		d.jobs.JobOver(engine.JobOver{ID: id})
	})
	if store.SizeOf(partial) >= 0 {
		t.Error("a partial of the job stays in the scratch folder")
	}
	d.Close() // waits for what was begun
	if !stateOf(j).Freed {
		t.Error("the job's program and what it ships are not given back")
	}
}
