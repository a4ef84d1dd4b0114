package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// custodian returns a home of 1000 units that has given 0 to 400 to "a" and 400 to 600 to "b", which have said so, and
// has the rest itself. "x" is there, and was given nothing.
func custodian(t *testing.T) *desk {
	d := newDesk(t, Config{}, "h", "a", "b", "x")
	d.home.custody.out = nil // newDesk has given all
	d.held = map[tasks.PeerID]tasks.Cover{"a": span(0, 400), "b": span(400, 600), "h": span(600, units)}
	d.home.Granted(span(0, 600))
	d.says("h", Gift{To: "a", Ranges: span(0, 400), Taken: true}, Gift{To: "b", Ranges: span(400, 600), Taken: true})
	d.settled()
	d.out = nil
	return d
}

func span(first, last int64) tasks.Cover { return tasks.CoverOf(tasks.R(first, last)) }

// says has a node report what it holds, and what it gave.
func (d *desk) says(id tasks.PeerID, gifts ...Gift) {
	d.seq++
	d.step(
		Reported{
			From:   id,
			Report: Report{Seq: d.seq, Ready: true, Held: d.held[id], Traced: true, Gave: gifts, Stats: Stats{Rate: d.rate}},
		},
	)
}

// settled has all nodes report often enough that nothing is on its way.
func (d *desk) settled() {
	for range 2 {
		for _, id := range d.home.nodes.order {
			d.says(id)
		}
	}
}

// wait lets audits pass.
func (d *desk) wait(audits int) {
	for range audits {
		d.now += 500 * time.Millisecond
		for _, id := range d.home.nodes.order {
			d.says(id)
		}
		d.step(Tick{})
	}
}

func (d *desk) fetched() []Fetch { return all[Fetch](d) }

// TestOneWorkerMakesUpTheWhole has a node that was given nothing offer all of the job, as its own and as a merge of
// others' work: none of it is fetched, and the node is named.
func TestOneWorkerMakesUpTheWhole(t *testing.T) {
	for name, c := range map[string]struct {
		kids  []merge.ID
		rate  float64 // of all others
		after time.Duration
		named int
	}{
		"its own":            {nil, 100, time.Second, 1},
		"a merge of its own": {[]merge.ID{{Node: "x", Seq: 2}, {Node: "x", Seq: 3}}, 100, time.Second, 1},
		// The other may be the liar.
		"a merge of another's":      {[]merge.ID{{Node: "a", Seq: 2}, {Node: "x", Seq: 3}}, 100, time.Second, 0},
		"a merge of all others'":    {[]merge.ID{{Node: "a", Seq: 2}, {Node: "b", Seq: 3}}, 100, time.Second, 0},
		"as soon as it might be":    {nil, 100, 2 * time.Second, 0}, // a liar may have given it, and it has run all honestly
		"where no rate is known":    {nil, 0, time.Second, 0},
		"where others are as quick": {nil, 1000, time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := custodian(t)
			d.now, d.rate = c.after, c.rate
			p := part("x", 1, 0, units)
			p.Kids = c.kids
			d.step(Offered{Partial: p})
			d.wait(2 * namedAfter)
			if got := d.fetched(); len(got) > 0 {
				t.Errorf("fetched %+v", got)
			}
			if got := all[Reject](d); len(got) != 1 || got[0].To != "x" {
				t.Errorf("rejected %+v", got)
			}
			if got := all[False](d); len(got) != c.named || len(got) > 0 && (got[0].By != "x" || !got[0].Impossible) {
				t.Errorf("named %+v", got)
			}
			if got := all[Reissue](d); len(got) > 0 {
				t.Errorf("put to work again: %+v", got)
			}
		})
	}
}

// TestNobodyOffersWhatOthersHave has a node offer what others were given, and still have, bit by bit: no more is
// believed than its share, and that only when no report has explained it.
func TestNobodyOffersWhatOthersHave(t *testing.T) {
	d := custodian(t)
	for i := range int64(10) {
		d.step(Offered{Partial: part("x", uint64(1+i), 60*i, 60*i+60)})
	}
	d.wait(2)
	if got := d.fetched(); len(got) > 0 {
		t.Fatalf("fetched at once: %+v", got)
	}
	d.wait(2 * namedAfter)
	sum := int64(0)
	for _, f := range d.fetched() {
		sum += f.Partial.Units
	}
	if share := int64(units / 4); sum > share {
		t.Errorf("%d units are believed, more than a share of %d", sum, share)
	}
	if got := all[False](d); len(got) > 0 {
		t.Errorf("named %+v, though reports may have been lost", got)
	}
}

// TestWhatWasGivenIsBelieved has honest nodes offer what they were given, in ways of which the home learns sooner or
// later.
func TestWhatWasGivenIsBelieved(t *testing.T) {
	ours := part("x", 1, 100, 200)
	merged := part("x", 1, 100, 200)
	merged.Kids = []merge.ID{{Node: "a", Seq: 2}, {Node: "x", Seq: 3}}
	for name, c := range map[string]struct {
		part   merge.Partial
		before func(d *desk)
		after  func(d *desk)
	}{
		"stolen from one who said so": {ours, func(d *desk) {
			d.held["a"] = d.held["a"].Minus(ours.Cover)
			d.says("a", Gift{To: "x", Ranges: ours.Cover, Taken: true})
		}, func(*desk) {}},
		"stolen, and the report comes later": {ours, func(*desk) {}, func(d *desk) {
			d.held["a"] = d.held["a"].Minus(ours.Cover)
			d.says("a", Gift{To: "x", Ranges: ours.Cover, Taken: true})
		}},
		"stolen, and the report is lost": {ours, func(*desk) {}, func(d *desk) {
			d.held["a"] = d.held["a"].Minus(ours.Cover)
			d.says("a")
		}},
		"stolen from one that dies": {ours, func(*desk) {}, func(d *desk) { d.step(NodeDown{ID: "a"}); d.says("b") }},
		"stolen, and run by the giver, too": {ours, func(d *desk) {
			d.says("a", Gift{To: "x", Ranges: ours.Cover, Taken: true})
			d.wait(3)
		}, func(*desk) {}},
		"to be merged for another": {merged, func(d *desk) {
			d.home.nodes.byID["a"].uppers = []tasks.PeerID{"x"} // as it was told
			d.says("a", Gift{To: "x", Ranges: ours.Cover, Merge: true})
		}, func(*desk) {}},
		"its own": {part("a", 1, 0, 400), func(*desk) {}, func(*desk) {}},
	} {
		t.Run(name, func(t *testing.T) {
			d := custodian(t)
			c.before(d)
			d.step(Offered{Partial: c.part})
			c.after(d)
			if got := d.fetched(); len(got) != 1 {
				t.Errorf("fetched %+v", got)
			}
			if got := all[False](d); len(got) > 0 {
				t.Errorf("named %+v", got)
			}
		})
	}
}

// TestOnlyWhatWasGivenIsHeldAgainstOthers has a node claim to hold all, and to have been given all: others' offers are
// fetched all the same.
func TestOnlyWhatWasGivenIsHeldAgainstOthers(t *testing.T) {
	d := custodian(t)
	d.held["x"] = span(0, units)
	d.says("x", Gift{To: "x", Ranges: span(0, units), Taken: true}, Gift{To: "b", Ranges: span(0, 400), Taken: true})
	d.step(Offered{Partial: part("a", 1, 0, 400)})
	if got := d.fetched(); len(got) != 1 {
		t.Errorf("fetched %+v", got)
	}
}

// TestWhatIsOnItsWayIsNobodyElses has a node offer units that were given away a moment ago, and whose taker has yet to
// report.
func TestWhatIsOnItsWayIsNobodyElses(t *testing.T) {
	d := custodian(t)
	c := span(100, 200)
	d.held["a"] = d.held["a"].Minus(c)
	d.says("a", Gift{To: "b", Ranges: c})
	d.step(Offered{Partial: part("x", 1, 100, 200)})
	if got := d.fetched(); len(got) > 0 {
		t.Errorf("fetched %+v", got)
	}
	d.step(Offered{Partial: part("b", 1, 100, 200)})
	if got := d.fetched(); len(got) != 1 || got[0].Partial.Holder != "b" {
		t.Errorf("fetched %+v of the taker's", got)
	}
}

// TestTakenOverNothingIsKnown has a home that took over believe whoever offers: it cannot know who was given what.
func TestTakenOverNothingIsKnown(t *testing.T) {
	d := custodian(t)
	d.home = New(Config{Self: "h"}, d.home.Record(), d.home.data, false)
	d.take(d.home.Resume(d.now))
	d.step(Replicas{Ready: true})
	for _, id := range []tasks.PeerID{"h", "a", "b", "x"} {
		d.step(NodeUp{ID: id, Slots: 1})
		d.says(id)
	}
	d.step(Offered{Partial: part("x", 1, 0, 400)})
	if got := d.fetched(); len(got) != 1 {
		t.Errorf("fetched %+v", got)
	}
}

// TestWhoMergesIsSaidByTheHome: a node that another took for the one above it, without a word of the home, has
// nothing of that other's; neither where there is no tree, nor where there is one.
func TestWhoMergesIsSaidByTheHome(t *testing.T) {
	d := custodian(t)
	d.says("a", Gift{To: "x", Ranges: span(0, 400), Merge: true})
	forged := part("x", 1, 0, 400)
	forged.Kids = []merge.ID{{Node: "a", Seq: 1}}
	d.step(Offered{Partial: forged})
	d.wait(2 * namedAfter)
	if got := d.fetched(); len(got) > 0 {
		t.Errorf("fetched %+v", got)
	}
}

// TestTheHomeKnowsWhoIsAbove: who passes dealt work on, and merges for whom, follows from the deal alone.
func TestTheHomeKnowsWhoIsAbove(t *testing.T) {
	h := New(Config{Self: "h"}, &Record{Want: tasks.R(0, units)}, nil, true)
	var others []Worker
	for i := range 100 {
		others = append(others, Worker{ID: fmt.Sprintf("w%02d", i), Slots: 1})
	}
	h.dealing.putBelow("top", others)
	above := map[tasks.PeerID]int{}
	for _, o := range others {
		steps := 0
		for at := o.ID; at != "top"; at = h.dealing.upper[at] {
			if steps++; steps > 10 || h.dealing.upper[at] == "" {
				t.Fatalf("%s is not below the top", o.ID)
			}
		}
		above[h.dealing.upper[o.ID]]++
	}
	for id, n := range above {
		if n > tasks.DealFan {
			t.Errorf("%s is above %d", id, n)
		}
	}
}

// TestShareIsNotOneNumber: how many slots a node has is its own word, which does not make the whole job its share.
func TestShareIsNotOneNumber(t *testing.T) {
	d := newDesk(t, Config{}, "h", "a", "x")
	for _, tc := range []struct {
		slots int
		want  int64
	}{{1, units / 3}, {2, units / 2}, {1 << 12, units / 2}, {1 << 30, units / 2}, {0, 0}} {
		d.step(NodeUp{ID: "x", Slots: tc.slots})
		if got := d.home.nodes.share("x", units); got != tc.want {
			t.Errorf(
				"with %d slots of its own beside two others a node's share is %d of %d, want %d",
				tc.slots,
				got,
				units,
				tc.want,
			)
		}
	}
	for _, id := range []tasks.PeerID{"h", "a"} {
		d.step(NodeUp{ID: id})
	}
	d.step(NodeUp{ID: "x", Slots: 8})
	if got := d.home.nodes.share("x", units); got != units {
		t.Errorf("the only one that works has a share of %d", got)
	}
}

// TestReportsAreBoundedByTheJob: what a node says that it has done is shown and summed up. One that was given nothing
// has run nothing that is not committed, and nobody has done more than the job can have cost.
func TestReportsAreBoundedByTheJob(t *testing.T) {
	d := custodian(t)
	lie := Stats{
		Units:       1 << 49,
		Bytes:       1 << 60,
		Packets:     1 << 49,
		Steals:      1 << 49,
		Merges:      1 << 49,
		Generations: 1 << 49,
		Failures:    1 << 49,
	}
	for id, ran := range map[tasks.PeerID]int64{"x": 0, "a": 400} {
		d.seq++
		d.step(
			Reported{
				From:   id,
				Report: Report{Seq: d.seq, Ready: true, Held: span(0, units), Traced: true, Ran: 1 << 40, Stats: lie},
			},
		)
		r := d.home.Nodes()[id]
		if r.Ran != ran {
			t.Errorf("%s has run %d units, want %d", id, r.Ran, ran)
		}
		for _, n := range []int64{
			r.Stats.Units,
			r.Stats.Packets,
			r.Stats.Steals,
			r.Stats.Merges,
			r.Stats.Generations,
			r.Stats.Failures,
			r.Stats.Bytes / mostBytes,
		} {
			if n > someRuns*units+smallRuns {
				t.Errorf("%s: %+v", id, r.Stats)
			}
		}
	}
	var all int64
	for range mostNodes {
		r := Report{Stats: lie}.plausible(1 << 45)
		if all += r.Stats.Bytes; all < 0 {
			t.Fatal("the sum over all nodes is too large for a number")
		}
	}
}

// TestEntrusted: who was given units by the home, or reported by another to have been given them, may tell of them
// before there is an offer, and nobody else.
func TestEntrusted(t *testing.T) {
	d := custodian(t)
	d.home.Lent("x", span(600, 610))
	for _, tc := range []struct {
		who         tasks.PeerID
		first, last int64
		want        bool
	}{
		{"a", 0, 400, true},
		{"a", 399, 401, false},
		{"b", 400, 401, true},
		{"x", 600, 610, true}, // although it has not said that it has them
		{"x", 0, 1, false},
		{"x", 605, 611, false},
		{"stranger", 600, 601, false},
	} {
		if got := d.home.Entrusted(tc.who, tasks.R(tc.first, tc.last)); got != tc.want {
			t.Errorf("%s of %d to %d: %v", tc.who, tc.first, tc.last, got)
		}
	}
	d.home.custody.began = false // a home that took over does not know who was given what
	if d.home.Entrusted("a", tasks.R(0, 1)) {
		t.Error("a home that took over believes it")
	}
}
