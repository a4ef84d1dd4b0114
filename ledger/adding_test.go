package ledger

import (
	"testing"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestResultsThatCannotBeAdded has results not be added. On one node alone it is that node which gets no more; on two,
// or on the only one, it fails the job, with what was said and by whom, though no unit is to blame. Where results were
// added before, a crash must happen more often, and an exception needs not.
func TestResultsThatCannotBeAdded(t *testing.T) {
	crash := Failure{Kind: "exit", Adds: true, Reason: "op ended its process"}
	raised := Failure{Kind: "exception", Adds: true, Reason: "op has raised", Cause: "a pickle"}
	for _, c := range []struct {
		name    string
		nodes   []tasks.PeerID
		by      []tasks.PeerID // who fails, one after the other
		what    Failure
		added   bool
		fails   bool
		shunned int
	}{
		{"twice", []tasks.PeerID{"a"}, []tasks.PeerID{"a", "a"}, crash, false, false, 0},
		{"on the only node", []tasks.PeerID{"a"}, []tasks.PeerID{"a", "a", "a"}, crash, false, true, 0},
		{"on one of two", []tasks.PeerID{"a", "b"}, []tasks.PeerID{"a", "a", "a"}, crash, false, false, 1},
		{"on two", []tasks.PeerID{"a", "b", "c"}, []tasks.PeerID{"a", "a", "b"}, raised, false, true, 0},
		{"on few of many", []tasks.PeerID{"a", "b", "c", "d", "e"}, []tasks.PeerID{"a", "a", "b"}, crash, false, false, 0},
		{"after it went well", []tasks.PeerID{"a", "b"}, []tasks.PeerID{"a", "b", "a", "b"}, crash, true, false, 0},
		{"raised after it went well", []tasks.PeerID{"a", "b"}, []tasks.PeerID{"a", "b", "a"}, raised, true, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, Config{}, c.nodes...)
			if c.added {
				d.home.record.Done.Commit(merge.Partial{Cover: tasks.CoverOf(tasks.R(0, 2)), Units: 2})
			}
			for _, id := range c.by {
				d.fails(id, c.what)
			}
			failed := all[Fail](d)
			if (len(failed) > 0) != c.fails || len(d.home.Shunned()) != c.shunned {
				t.Fatalf("failed %+v, set aside %v", failed, d.home.Shunned())
			}
			if !c.fails {
				return
			}
			if f := failed[0].Failure; f.Reason != c.what.Reason || f.Cause != c.what.Cause || f.Tries != 3 {
				t.Errorf("it says %+v", f)
			}
			if len(d.lost()) > 0 {
				t.Errorf("struck out: %v", d.lost())
			}
		})
	}
}
