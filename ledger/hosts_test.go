package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

func (d *desk) lost() (out []Lost) { return slices.Clone(d.home.Record().Lost) }

// TestHostsThatLackAFriend has two of four nodes fail at all that they get, since the selector opens what is not there,
// while the others do it well, or have yet to begin: nothing is struck out, and the two are set aside for the job.
func TestHostsThatLackAFriend(t *testing.T) {
	for _, c := range []struct {
		name string
		kind string
		late bool // the others show only later that they can
	}{
		{"branches of a friend", "schema", false},
		{"crash", "signal", false},
		{"branches, and nobody has begun", "schema", true},
		{"crash, and nobody has begun", "signal", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, Config{}, "a", "b", "x", "y")
			can := map[tasks.PeerID]int64{"a": 7, "b": 9}
			if !c.late {
				d.well = can
				d.reports()
			}
			for i := range int64(6) {
				for _, id := range []tasks.PeerID{"x", "y"} {
					d.fails(id, Failure{Blame: tasks.R(100*i, 100*i+1), Kind: c.kind, Data: c.kind == "schema", Reason: "no friend"})
				}
				if i == 3 {
					d.well = can
				}
				d.audit()
			}
			if lost := d.lost(); len(lost) > 0 {
				t.Fatalf("struck out, though a and b can do it: %+v", lost)
			}
			d.audit()
			shunned := d.home.Shunned()
			if shunned["x"] != "no friend" || shunned["y"] != "no friend" || len(shunned) != 2 {
				t.Errorf("set aside: %v", shunned)
			}
			for _, s := range d.home.blame.suspects {
				if can[s.at] == 0 {
					t.Errorf("%v is still suspected by %v alone", s.Range, s.Nodes)
				}
			}
		})
	}
}

// TestAFileThatNobodySeesExcusesNoHost has been given up for all of many nodes, one of which fails at all else too:
// it is set aside after as few failures as without that file, though so many have missed it.
func TestAFileThatNobodySeesExcusesNoHost(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "x")
	d.well = map[tasks.PeerID]int64{"a": 7, "b": 9}
	d.reports()
	gone := Failed{Failure: Failure{Blame: tasks.R(900, 1000), Kind: "open", Data: true, Host: "missing"}, Tries: 70}
	for i := range 70 {
		gone.Nodes = append(gone.Nodes, fmt.Sprint("n", i))
	}
	gone.Nodes[5] = "x"
	d.home.record.Lost = append(d.home.record.Lost, Lost{Range: gone.Blame, Failed: gone})
	d.dark = map[tasks.PeerID]tasks.Cover{}
	for _, id := range []tasks.PeerID{"a", "b", "x"} {
		d.dark[id] = tasks.CoverOf(gone.Blame)
	}
	for i := range int64(3) {
		d.fails("x", Failure{Blame: tasks.R(100*i, 100*i+1), Kind: "signal", Reason: "no friend"})
		d.audit()
	}
	if got := d.home.Shunned(); got["x"] != "no friend" {
		t.Errorf("set aside: %v", got)
	}
}

// TestOneWordFailsNoJobWhenNoneSeesAll has hosts that see a half of the files each: one of four that says that no
// attempt can go well is not most of them.
func TestOneWordFailsNoJobWhenNoneSeesAll(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c", "x")
	want := d.home.record.Want
	middle := want.First + want.Len()/2
	left, right := tasks.CoverOf(tasks.R(want.First, middle)), tasks.CoverOf(tasks.R(middle, want.Last))
	d.dark = map[tasks.PeerID]tasks.Cover{"a": left, "b": right, "c": left, "x": right}
	d.reports()
	d.fails("x", Failure{Kind: "load", Reason: "it says so", Fatal: true})
	d.audit()
	if fails := all[Fail](d); len(fails) > 0 {
		t.Error("the job fails by one member's word")
	}
}

// TestAbleNodesStillStrikeOut has nodes that have done other entries well fail at one: it is set aside, and they are
// not.
func TestAbleNodesStillStrikeOut(t *testing.T) {
	d := newDesk(t, Config{}, "a", "b", "c", "x")
	d.well = map[tasks.PeerID]int64{"a": 7, "b": 9, "c": 1}
	d.reports()
	for _, id := range []tasks.PeerID{"a", "x", "b", "c"} {
		d.fails(id, Failure{Blame: tasks.R(5, 6), Kind: "signal", Reason: "boom"})
	}
	d.audit()
	if lost := d.lost(); len(lost) != 1 || lost[0].Range != tasks.R(5, 6) {
		t.Errorf("struck out: %+v", lost)
	}
	if s := d.home.Shunned(); len(s) > 0 {
		t.Errorf("set aside: %v", s)
	}
}

// TestFileIsTriedByAll does not strike out a file as long as one of many nodes has not tried it.
func TestFileIsTriedByAll(t *testing.T) {
	all := []tasks.PeerID{"a", "b", "c", "d", "e"}
	d := newDesk(t, Config{}, all...)
	d.well = map[tasks.PeerID]int64{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}
	d.reports()
	for i, id := range all {
		if lost := d.lost(); len(lost) > 0 {
			t.Fatalf("struck out after %d of %d nodes: %+v", i, len(all), lost)
		}
		d.fails(id, Failure{Blame: tasks.R(0, units), Kind: "schema", Data: true, Reason: "no friend"})
	}
	if lost := d.lost(); len(lost) != 1 {
		t.Errorf("all have failed, and struck out is %+v", lost)
	}
}

// TestAwayForAMoment has the one node that sees a file go for a while: the file is not given up before minutes have
// passed, it is told what is waited for, and in the end who had seen it.
func TestAwayForAMoment(t *testing.T) {
	whole := func(d *desk) tasks.Cover { return tasks.CoverOf(d.home.record.Want) }
	blind := func(t *testing.T) *desk {
		d := newDesk(t, Config{}, "a", "b", "c")
		d.well = map[tasks.PeerID]int64{"c": 7}
		d.dark = map[tasks.PeerID]tasks.Cover{"a": whole(d), "b": whole(d)}
		d.held["a"], d.held["c"] = nil, whole(d)
		for range 30 {
			d.audit()
		}
		d.step(NodeDown{ID: "c"})
		return d
	}
	pass := func(d *desk, n int) {
		for range n {
			d.audit()
		}
	}
	t.Run("it comes back", func(t *testing.T) {
		d := blind(t)
		pass(d, 100)
		if a, ok := d.home.Awaited(); !ok || len(a.Nodes) != 1 || a.Nodes[0] != "c" || a.Units != units ||
			a.Since < 45*time.Second ||
			a.Until <= 0 {
			t.Errorf("waits for %+v", a)
		}
		d.step(NodeUp{ID: "c", Slots: 1})
		pass(d, 1000)
		if lost := d.lost(); len(lost) > 0 {
			t.Errorf("given up: %+v", lost)
		}
		if a, ok := d.home.Awaited(); ok {
			t.Errorf("still waits for %+v", a)
		}
	})
	t.Run("it does not", func(t *testing.T) {
		d := blind(t)
		pass(d, 340)
		if lost := d.lost(); len(lost) > 0 {
			t.Fatalf("given up after %v: %+v", d.now, lost)
		}
		pass(d, 60)
		lost := d.lost()
		if len(lost) != 1 || !slices.Contains(lost[0].Nodes, "c") || len(lost[0].Words) != 3 {
			t.Errorf("given up: %+v", lost)
		}
	})
	t.Run("it had led the job", func(t *testing.T) {
		d := newDesk(t, Config{Submitter: "c"}, "a", "b")
		d.take(d.home.Resume(d.now))
		d.dark = map[tasks.PeerID]tasks.Cover{"a": whole(d), "b": whole(d)}
		pass(d, 100)
		if lost := d.lost(); len(lost) > 0 {
			t.Errorf("given up: %+v", lost)
		}
	})
}

// TestOnlyHostsThatCanDoNothingAreHeard has a home hear, so far, of none of the nodes that have done what is committed:
// what all others fail at is not struck out before minutes have passed.
func TestOnlyHostsThatCanDoNothingAreHeard(t *testing.T) {
	d := newDesk(t, Config{}, "x", "y", "z")
	d.commit(part("a", 1, 500, 600))
	for range 3 {
		for _, id := range []tasks.PeerID{"x", "y", "z"} {
			d.fails(id, Failure{Blame: tasks.R(5, 6), Kind: "signal", Reason: "no friend"})
		}
		d.audit()
	}
	if lost := d.lost(); len(lost) > 0 {
		t.Fatalf("struck out, though somebody has done other entries: %+v", lost)
	}
	for range 400 {
		d.audit()
	}
	d.fails("x", Failure{Blame: tasks.R(5, 6), Kind: "signal", Reason: "no friend"})
	if lost := d.lost(); len(lost) != 1 {
		t.Errorf("nobody else has come for minutes, and struck out is %+v", lost)
	}
}

// TestARetryIsDecidedByItsOwnNodes has all nodes of a job fail at what an earlier job lacked: that job's nodes did
// the rest, which is committed here from the beginning, and are not waited for.
func TestARetryIsDecidedByItsOwnNodes(t *testing.T) {
	d := newDesk(t, Config{}, "x", "y", "z")
	d.commit(part("a", 1, 500, 600))
	d.home.blame.inherited = 100
	for range 3 {
		for _, id := range []tasks.PeerID{"x", "y", "z"} {
			d.fails(id, Failure{Blame: tasks.R(5, 6), Kind: "signal", Reason: "it divides by zero"})
		}
		d.audit()
	}
	if lost := d.lost(); len(lost) != 1 {
		t.Errorf("struck out is %+v", lost)
	}
}

// TestSetAsideIsTold: a home that takes a job over learns from a node that the job was taken from it, and waits for
// it no more; a node that has not had that order gets it again.
func TestSetAsideIsTold(t *testing.T) {
	d := newDesk(t, Config{}, "h", "a", "b")
	d.step(Reported{From: "a", Report: Report{Seq: 100, Ready: true, Aside: true}})
	if d.home.Ready("a") || d.home.Shunned()["a"] == "" {
		t.Error("a says that it was set aside, and counts as one that works")
	}
	if s := all[Shun](d); len(s) > 0 {
		t.Errorf("it is told so again: %+v", s)
	}
	d.now += 3 * time.Second
	d.step(Reported{From: "a", Report: Report{Seq: 101, Ready: true}})
	if s := all[Shun](d); len(s) != 1 || s[0].ID != "a" || !s[0].Again {
		t.Errorf("a does not know that it is set aside, and is told %+v", s)
	}
}

// TestAbortInSlaveBeginIsOfTheHost has the selector abort before any entry on some nodes: they are set aside at once,
// with what it said, and the others work, the home among them or not. On all nodes it is the job that fails.
func TestAbortInSlaveBeginIsOfTheHost(t *testing.T) {
	abort := Failure{Kind: "abort", Reason: "SlaveBegin: the selector called Abort(kAbortProcess)"}
	nodes := []tasks.PeerID{"a", "b", "c"}
	for n := 1; n <= len(nodes); n++ {
		d := newDesk(t, Config{}, nodes...)
		for _, id := range nodes[:n] {
			for range 2 { // it has two slots
				d.fails(id, abort)
			}
		}
		failed := all[Fail](d)
		if n == len(nodes) {
			if len(failed) == 0 || failed[0].Failure.Reason != abort.Reason || len(failed[0].Failure.Nodes) != n {
				t.Errorf("on all nodes: %+v", failed)
			}
			continue
		}
		shunned := d.home.Shunned()
		if len(failed) > 0 || len(shunned) != n || shunned["a"] != abort.Reason {
			t.Errorf("on %d of %d nodes: failed %+v, set aside %v", n, len(nodes), failed, shunned)
		}
	}
	d := newDesk(t, Config{}, "a")
	d.fails("a", abort)
	if len(all[Fail](d)) != 1 {
		t.Error("on the only node: the job goes on")
	}
	d = newDesk(t, Config{}, "a", "b")
	d.fails("a", Failure{Kind: "abort", Fatal: true, Reason: "Process: the selector called Abort(kAbortProcess)"})
	d.fails("b", Failure{Kind: "abort", Fatal: true, Reason: "Process: the selector called Abort(kAbortProcess)"})
	if len(all[Fail](d)) == 0 {
		t.Error("an abort at an entry does not fail the job")
	}
}
