package ledger

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestOnlyWhatAllTriedIsGivenUp strikes nothing out that a node sees, or has not tried; and when all have tried in
// vain, the file, with what each said.
func TestOnlyWhatAllTriedIsGivenUp(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c")
	want := tasks.CoverOf(d.home.record.Want)
	lost := func() (out []Lost) {
		for _, p := range all[Propose](d) {
			if p.Entry.Lost != nil {
				out = append(out, *p.Entry.Lost)
			}
		}
		return out
	}
	none := tasks.Cover(nil)
	pass := func(dark map[tasks.PeerID]tasks.Cover, idle tasks.Cover) {
		d.dark, d.idle = dark, map[tasks.PeerID]tasks.Cover{"c": idle}
		for range 30 {
			d.audit()
		}
	}
	allBlind := map[tasks.PeerID]tasks.Cover{"a": want, "b": want, "c": want}
	pass(map[tasks.PeerID]tasks.Cover{"a": want, "b": want}, none)
	if got := lost(); len(got) > 0 {
		t.Fatalf("%v is struck out, which c sees", got)
	}
	pass(allBlind, want)
	if got := lost(); len(got) > 0 {
		t.Fatalf("%v is struck out, which c has not tried", got)
	}
	from := d.now
	pass(allBlind, none)
	got := lost()
	if len(got) == 0 || d.now-from < 5*time.Second {
		t.Fatalf("nothing is given up, or too soon: %v", got)
	}
	for _, l := range got {
		if len(l.Nodes) < 3 || len(l.Words) != len(l.Nodes) || l.Host != "missing" || !l.Data {
			t.Errorf("%+v", l)
		}
	}
}

// TestSuspectsAreTriedBySeers does not try a suspect on nodes that do not see it, and does not wait for their word.
func TestSuspectsAreTriedBySeers(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	d.reports()
	u := tasks.R(3, 4)
	d.dark = map[tasks.PeerID]tasks.Cover{"b": tasks.CoverOf(d.home.record.Want)}
	d.reports()
	for range 3 {
		d.fails("a", Failure{Blame: u, Kind: "data", Data: true, Reason: "broken"})
	}
	for _, e := range all[Try](d) {
		if e.To != "a" {
			t.Errorf("%v is tried on %s, which does not see it", e.Range, e.To)
		}
	}
	if p := all[Propose](d); len(p) == 0 || p[len(p)-1].Entry.Lost == nil {
		t.Errorf("a broken unit is not set aside after three tries on the one node that sees it: %v", p)
	}
}

// TestWhoSaysThatItSeesAndDoesNothing is waited for, long, and then not counted: what no other can read is given up
// with that word, and not before; one that does something of it meanwhile is believed.
func TestWhoSaysThatItSeesAndDoesNothing(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c")
	want := tasks.CoverOf(d.home.record.Want)
	d.dark = map[tasks.PeerID]tasks.Cover{"a": want, "b": want}
	d.held = map[tasks.PeerID]tasks.Cover{"a": want}
	for d.now < d.home.cfg.Return {
		d.audit()
	}
	if got := d.lost(); len(got) > 0 {
		t.Fatalf("%v is struck out after %v, which c says that it sees", got, d.now)
	}
	d.commit(part("c", 1, 0, 10))
	from := d.now
	for len(d.lost()) == 0 && d.now-from < time.Hour {
		d.audit()
	}
	if waited := d.now - from; waited < d.home.cfg.Return || waited >= time.Hour {
		t.Fatalf("given up %v after c has done something", waited)
	}
	l := d.lost()[0]
	if i := slices.Index(l.Nodes, "c"); i < 0 || !strings.Contains(l.Words[i], "did nothing") {
		t.Errorf("what c did is not told: %+v", l)
	}
}

// TestWhoSaysForeverThatItLeaves has done something of the job, and says that it leaves, and stays: what no other can
// read is given up all the same, after the time for which one that went is waited for.
func TestWhoSaysForeverThatItLeaves(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c")
	d.well = map[tasks.PeerID]int64{"c": 10}
	want := tasks.CoverOf(d.home.record.Want)
	d.dark = map[tasks.PeerID]tasks.Cover{"a": want, "b": want}
	d.held = map[tasks.PeerID]tasks.Cover{"a": want}
	d.leaves = map[tasks.PeerID]bool{"c": true}
	for len(d.lost()) == 0 && d.now < time.Hour {
		d.audit()
	}
	if d.now < d.home.cfg.Return || d.now >= time.Hour {
		t.Errorf("given up after %v", d.now)
	}
}
