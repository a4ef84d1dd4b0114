package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// crowd is the home of a job with n nodes, of which none is ready yet.
func crowd(t *testing.T, n int, dealing bool) *desk {
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: units}})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{
		T:    t,
		home: New(Config{Self: "h"}, &Record{Want: data.Space()}, data, dealing),
		held: map[tasks.PeerID]tasks.Cover{},
		fail: map[tasks.PeerID][]Failure{},
	}
	d.take(d.home.Start(0, nil))
	d.step(Replicas{Ready: true})
	for i := range n {
		d.step(NodeUp{ID: worker(i), Slots: 1 + i%2})
	}
	return d
}

func worker(i int) tasks.PeerID { return fmt.Sprintf("w%04d", i) }

// TestEachIsDealtItsShareOnce lets many nodes become ready: a few are dealt the work of all, by slots.
func TestEachIsDealtItsShareOnce(t *testing.T) {
	const nodes = 300
	d := crowd(t, nodes, true)
	for i := range nodes {
		d.report(worker(i))
	}
	d.now += d.home.nodes.dealWait()
	d.step(Tick{})
	deals := all[Deal](d)
	if len(deals) > merge.FanIn {
		t.Fatalf("%d deals at once", len(deals))
	}
	seen, total := map[tasks.PeerID]int{}, int64(0)
	for _, e := range deals {
		slots := d.home.nodes.byID[e.To].slots
		seen[e.To]++
		for _, w := range e.Others {
			seen[w.ID]++
			slots += w.Slots
		}
		if want := float64(units) * float64(slots) / (1.5 * nodes); float64(e.Units) < want-1 || float64(e.Units) > want+1 {
			t.Errorf("%d slots are dealt %d units of %d", slots, e.Units, units)
		}
		total += e.Units
	}
	for i := range nodes {
		if seen[worker(i)] != 1 {
			t.Errorf("%s is dealt %d shares", worker(i), seen[worker(i)])
		}
	}
	if total > units {
		t.Errorf("%d units are dealt of %d", total, units)
	}
	for i := range nodes { // a second word of the same nodes is no reason to deal again
		d.report(worker(i))
	}
	d.now += time.Second
	d.step(Tick{})
	if again := all[Deal](d); len(again) > 0 {
		t.Errorf("dealt again: %v", again)
	}
}

// TestNoNodeIsAboveItself has nodes come, go and come back, and follows the tree from each to the home.
func TestNoNodeIsAboveItself(t *testing.T) {
	const nodes = 300
	d := crowd(t, nodes, false)
	above := map[tasks.PeerID]tasks.PeerID{}
	hear := func(i int) {
		d.report(worker(i))
		a, due := d.home.Answer(worker(i), d.home.nodes.byID[worker(i)].report, 4)
		if due {
			above[worker(i)] = a.Above
		}
	}
	for i := range nodes {
		hear(i)
	}
	for i := 0; i < nodes; i += 3 {
		d.step(NodeDown{ID: worker(i)})
		d.step(NodeUp{ID: worker(i), Slots: 1})
		hear((i * 7) % nodes)
		hear(i)
	}
	depth := 0
	for id := range above {
		steps := 0
		for up := above[id]; up != ""; up = above[up] {
			if steps++; steps > nodes {
				t.Fatalf("%s is above itself", id)
			}
		}
		depth = max(depth, steps)
	}
	if depth == 0 || depth > 4 {
		t.Errorf("the tree of %d nodes is %d deep", nodes, depth)
	}
}

// TestReportsGetRarer holds what all nodes together report below what the home can take.
func TestReportsGetRarer(t *testing.T) {
	small, large := crowd(t, 50, true), crowd(t, 3000, true)
	if small.home.Every() != small.home.cfg.Report {
		t.Errorf("50 nodes report every %v", small.home.Every())
	}
	every := large.home.Every()
	if perSecond := 3000 / every.Seconds(); perSecond > float64(large.home.cfg.Reports) {
		t.Errorf("3000 nodes report %.0f times a second", perSecond)
	}
	if large.home.nodes.auditEvery() < every {
		t.Errorf("audits come every %v, reports every %v", large.home.nodes.auditEvery(), every)
	}
}

// TestGivenAwayIsNotLost has work between two reports: the giver answers for it.
func TestGivenAwayIsNotLost(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b")
	all[Reissue](d)
	d.held["a"] = tasks.CoverOf(tasks.R(0, 500))
	given := tasks.CoverOf(tasks.R(500, units))
	for i := range 8 {
		d.now += 500 * time.Millisecond
		d.step(Reported{From: "a", Report: Report{Seq: uint64(1000 + i), Ready: true, Held: d.held["a"], Also: given}})
		d.report("b")
		d.report("h")
	}
	if got := all[Reissue](d); len(got) > 0 {
		t.Fatalf("reissued %v, which was just given away", got)
	}
	if got := all[Yield](d); len(got) > 0 {
		t.Fatalf("yield %v", got)
	}
	d.seq = 2000
	for range 4 { // and when the giver forgets it without the taker's word it is lost
		d.audit()
	}
	if got := all[Reissue](d); len(got) != 1 || !got[0].Ranges.Equal(given) {
		t.Fatalf("reissued %v, lost is %v", got, given)
	}
}
