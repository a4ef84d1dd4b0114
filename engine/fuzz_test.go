package engine

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// FuzzMessage gives a member whatever bytes another may send: nothing panics, and what is decoded is bounded
// by what was sent.
func FuzzMessage(f *testing.F) {
	p := merge.Partial{
		ID:     merge.ID{Node: "x", Seq: 1},
		Job:    jobID,
		Cover:  tasks.CoverOf(tasks.R(0, 10)),
		Units:  10,
		Holder: "x",
	}
	r := tasks.R(1, 2)
	for _, m := range []Message{
		open("h", 1),
		open("x", 2),
		{Job: jobID, Report: &ledger.Report{Seq: 1, Held: p.Cover, Failures: []ledger.Failure{{Seq: 1}}}},
		{Job: jobID, Offer: &p},
		{Job: jobID, Reduce: &Reduce{Inputs: []merge.Partial{p, p}}},
		{Job: jobID, Drop: p.Cover}, {Job: jobID, Try: &r},
		{Job: jobID, Keep: &Keep{Partial: &p, Sources: []tasks.PeerID{"x"}}}, {Job: jobID, Kept: &Kept{ID: p.ID, OK: true}},
		{Job: jobID, Frame: []byte{8, 1}},
		{Job: jobID, Ended: ended(&ledger.Result{}, "h")},
		{Job: jobID, Moved: &Moved{Home: "x", Term: 9, Proof: mandate("x", 9)}},
		{Job: jobID, Moved: &Moved{Home: "x", Term: 9, Asks: true}},
		{Job: jobID, Moved: &Moved{Home: "x", Term: 9, Voters: &mandate("x", 9).Chain}},
		{Steal: &steal.Message{Grant: &steal.Grant{ID: 1, Job: jobID, Ranges: p.Cover}}},
	} {
		b, err := wire.Marshal(&m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Message
		if wire.Unmarshal(b, &m) != nil {
			return
		}
		for _, self := range []tasks.PeerID{"h", "m"} {
			rig := newRig(t, self)
			rig.step(PeerUp{ID: "x", Slots: 1})
			if self == "h" {
				rig.step(Submit{ID: jobID, Job: testJob(t)})
			} else {
				rig.step(Recv{From: "x", Msg: open("x", 2)})
				rig.step(Prepared{ID: jobID, Job: testJob(t)})
			}
			rig.step(Recv{From: "x", Msg: m})
			rig.now += time.Second
			rig.step(Tick{})
		}
	})
}
