package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// takenOver is a home that has taken a job over in which the home before it alone, b, kept a committed partial.
func takenOver(t *testing.T) (d *desk, p merge.Partial) {
	t.Helper()
	d = newDesk(t, Config{}, "b", "c")
	p = part("b", 1, 0, 10)
	rec := &Record{Want: tasks.R(0, units)}
	rec.Apply(Entry{Commit: &p})
	d.home = New(Config{Self: "h"}, rec, d.home.data, false)
	d.take(d.home.Start(d.now, nil))
	d.step(NodeUp{ID: "b", Slots: 1})
	d.step(NodeUp{ID: "c", Slots: 1})
	d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
	return d, p
}

// fetchInVain lets time pass while b is away, or not, and nobody that is there has the partial.
func (d *desk) fetchInVain(p merge.Partial, away bool, how time.Duration) (given bool) {
	for end := d.now + how; d.now < end; {
		d.now += 500 * time.Millisecond
		if !away {
			d.report("b")
		}
		d.report("c")
		d.step(Tick{})
		for range all[Fetch](d) {
			d.step(NotStored{Partial: p})
		}
		if _, in := d.home.Record().Done.Find(p.ID); !in {
			return true
		}
	}
	return false
}

// TestPartialOfALostHomeRunsAgain: what a dead home alone kept is waited for a while, and then runs again; where all
// replicas are there it need not be waited for.
func TestPartialOfALostHomeRunsAgain(t *testing.T) {
	d, p := takenOver(t)
	if d.home.Copied() {
		t.Error("nobody is known to keep it")
	}
	d.now += time.Minute // b is silent
	if d.fetchInVain(p, true, awayWait/2) {
		t.Error("given up though b may come back")
	}
	if !d.fetchInVain(p, true, awayWait) {
		t.Error("waited for b for ever")
	}
	d, p = takenOver(t)
	if !d.fetchInVain(p, false, awayWait/2) {
		t.Error("not given up though all have been asked")
	}
	d, p = takenOver(t)
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
	d.now += 3 * time.Second
	d.reports()
	d.step(Tick{})
	for _, k := range all[Keep](d) {
		d.step(Kept{From: k.To, ID: k.Partial.ID, Seq: k.Seq, OK: true})
	}
	if !d.home.Copied() {
		t.Error("others keep it now")
	}
}

// TestPartialThatCannotBeMerged is committed no more, its units run again, and the job is taken from the node that made
// it, once, where others are there. It is proposed again until the log has it.
func TestPartialThatCannotBeMerged(t *testing.T) {
	d, p := takenOver(t)
	d.reports()
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
	uncommits := func() (n int) {
		for _, e := range all[Propose](d) {
			n += btoi(e.Entry.Uncommit != nil && *e.Entry.Uncommit == p.ID)
		}
		return n
	}
	d.out, d.deaf = nil, true
	d.step(Unusable{ID: p.ID, Reason: "no object"})
	shuns := all[Shun](d)
	if n := uncommits(); n != 1 || len(shuns) != 1 || shuns[0].ID != "b" ||
		!strings.Contains(shuns[0].Reason, "no object") {
		t.Errorf("%d proposals, set aside: %+v", n, shuns)
	}
	d.step(Unusable{ID: p.ID, Reason: "again"})
	if len(all[Shun](d)) != 0 {
		t.Error("set aside twice")
	}
	d.deaf = false
	d.now += time.Minute
	d.step(Tick{})
	if uncommits() != 1 {
		t.Error("a proposal that was lost is not repeated")
	}
	if !d.home.Record().Done.Cover().Empty() || d.home.kept.find(p.ID) != nil {
		t.Error("it is still committed")
	}
	d.out = nil
	d.step(Offered{Partial: part("b", 2, 0, 10)})
	if out := all[Reject](d); len(out) != 1 {
		t.Errorf("what it offers then: %+v", out)
	}
}

// TestBlobThatRotsBeforeItsCommit: the home has fetched it, its holder died, and then the home's copy is gone: replicas
// ask for it in vain. The offer is given up, and what it held runs again.
func TestBlobThatRotsBeforeItsCommit(t *testing.T) {
	d := newDesk(t, Config{}, "b", "c")
	d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
	p := part("b", 1, 0, 10)
	d.step(Offered{Partial: p})
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
	for i := range maxMissed {
		if d.home.offers.find(p.ID) == nil {
			t.Fatalf("given up after %d", i)
		}
		d.step(Kept{From: "c", ID: p.ID})
	}
	if d.home.offers.find(p.ID) != nil || !d.home.Record().Done.Cover().Empty() {
		t.Error("it is waited for for ever")
	}
}

// TestBlobThatIsNoPartial is rejected at once, with all else that its maker offers, and its units run elsewhere.
func TestBlobThatIsNoPartial(t *testing.T) {
	d := newDesk(t, Config{}, "b", "c")
	d.step(NodeUp{ID: "b", Slots: 1})
	d.step(NodeUp{ID: "c", Slots: 1})
	d.reports()
	p := part("b", 1, 0, 10)
	d.home.Granted(p.Cover)
	d.out = nil
	d.step(Offered{Partial: p})
	fetches := all[Fetch](d)
	if len(fetches) != 1 {
		t.Fatalf("%d fetches of what is offered", len(fetches))
	}
	d.out = nil
	d.step(NotStored{Partial: fetches[0].Partial, Flaw: "too many files", Seq: fetches[0].Seq})
	shuns, rejects := all[Shun](d), all[Reject](d)
	if len(shuns) != 1 || shuns[0].ID != "b" || !strings.Contains(shuns[0].Reason, "too many files") || len(rejects) != 1 {
		t.Errorf("set aside: %+v, rejected: %+v", shuns, rejects)
	}
}
