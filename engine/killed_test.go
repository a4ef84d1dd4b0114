package engine

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestUnitThatKillsItsProcess: a unit that is killed whenever it runs is set aside, after as many failures as any
// other, of which none is one that others shared; those that were killed with it once are run, and so is the rest of
// the job.
func TestUnitThatKillsItsProcess(t *testing.T) {
	const bad = 42
	r := newRig(t, "h")
	kills, victims := 0, map[int64]bool{}
	r.runs = func(e LeasePacket) Event {
		killed := func(unit int64) Event {
			blame := tasks.R(unit, unit+1)
			return GenFailed{Gen: e.Gen, Killed: true, Failure: ledger.Failure{Kind: "killed", Reason: "SIGKILL", Blame: blame}}
		}
		if r.peer.gens[e.Gen] == nil { // its first packet has killed it
			return nil
		}
		switch first := e.Packet.First; {
		case e.Packet.Contains(bad):
			kills++
			return killed(bad)
		case first%3 > 0 && len(victims) < 20 && !victims[first]:
			victims[first] = true
			return killed(first)
		}
		return nil
	}
	r.step(Submit{ID: jobID, Job: testJob(t)})
	r.pass(time.Minute)
	if r.fail != nil || r.done == nil || r.done.Units != units-1 || len(r.done.Lost) != 1 {
		t.Fatalf("it has failed with %+v, ended with %+v", r.fail, r.done)
	}
	lost := r.done.Lost[0]
	if lost.Range != tasks.R(bad, bad+1) || lost.Tries != 3 || kills != 4 || lost.Reason != "SIGKILL" {
		t.Errorf("after %d kills is lost: %+v", kills, lost)
	}
	if len(victims) < 5 {
		t.Errorf("%d others were killed", len(victims))
	}
}

// TestKilledWithoutAUnit: where nothing ran nothing is to blame, and the home is told when that goes on.
func TestKilledWithoutAUnit(t *testing.T) {
	r := newRig(t, "h")
	r.runs = func(e LeasePacket) Event {
		return GenFailed{Gen: e.Gen, Killed: true, Failure: ledger.Failure{Kind: "killed"}}
	}
	r.step(Submit{ID: jobID, Job: testJob(t)})
	r.pass(time.Minute)
	if r.fail == nil || r.fail.Failure.Kind != "killed" {
		t.Errorf("it has failed with %+v, ended with %+v", r.fail, r.done)
	}
}
