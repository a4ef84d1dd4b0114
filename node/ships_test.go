package node

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/node/store/storetest"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// What jobs ship lies here exactly as long as a job holds it.
func TestWhatIsShippedGoesWithTheLastJob(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		b := store.NewBlobs(dir, slog.New(slog.DiscardHandler))
		d := &Daemon{blobs: b}
		jobs := []*job{newJob(t.Context(), "self", "a"), newJob(t.Context(), "self", "b"), newJob(t.Context(), "self", "c")}
		holds := map[string]map[*job]bool{"x": {}, "y": {}}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")
			data := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "data")
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				if _, err := d.ship(jobs[i], []byte(data)); err != nil {
					rt.Fatal(err)
				}
				if !jobs[i].released() {
					holds[data][jobs[i]] = true
				}
			case 1: // over, and another begins
				jobs[i].release()
				for _, h := range holds {
					delete(h, jobs[i])
				}
				if rapid.Bool().Draw(rt, "another") {
					jobs[i] = newJob(t.Context(), "self", "d")
				}
			case 2: // prepared twice
				o := newJob(t.Context(), "self", "e")
				if _, err := d.ship(o, []byte(data)); err != nil {
					rt.Fatal(err)
				}
				if !jobs[i].released() {
					holds[data][jobs[i]] = true
				}
				jobs[i].takeFrom(o)
			}
			for data, by := range holds {
				got, err := storetest.Served(b.Open(store.HashOf([]byte(data))))
				if len(by) > 0 && got != data || len(by) == 0 && !errors.Is(err, fs.ErrNotExist) {
					rt.Fatalf("%d jobs hold %q, got %q, error %v", len(by), data, got, err)
				}
				if here := store.SizeOf(filepath.Join(b.ShipDir(), store.HashOf([]byte(data)))) >= 0; here != (len(by) > 0) {
					rt.Fatalf("%d jobs hold %q, its file is there: %v", len(by), data, here)
				}
			}
		}
	})
}

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
	if got, err := d.fetchPartial(t.Context(), p); got != path || err != nil {
		t.Errorf("got %q, error %v", got, err)
	}
	storetest.Flip(t, path)
	for range 2 {
		if got, err := d.fetchPartial(t.Context(), p); got != "" || err == nil {
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
	d.ask(func(p *engine.Peer) {
		d.step(engine.Submit{ID: goesOn, Job: d.book.ByID(goesOn).desc})
		d.jobOver(engine.JobOver{ID: over})
		d.jobEnded(engine.JobEnded{ID: over, Term: 1, Result: ledger.Result{Status: []byte(`{"state":"cancelled"}`)}})
		d.dropLedger(engine.DropLedger{ID: over})
		d.dropLedger(engine.DropLedger{ID: goesOn})
	})
	if d.book.ByID(over) != nil {
		t.Error("a job is known after its end and that of its ledger")
	}
	if d.book.ByID(goesOn) == nil {
		t.Error("a job that goes on is forgotten")
	}
}
