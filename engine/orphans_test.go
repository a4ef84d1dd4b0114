package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// asCopy is a member that is asked to become a replica of the job of h, and makes its copy.
func asCopy(t *testing.T) (*rig, FoundLedger) {
	t.Helper()
	r := newRig(t, "m")
	r.peer.cfg.Replicas = 3
	for _, id := range []string{"h", "x"} {
		r.step(PeerUp{ID: id, Slots: 1})
	}
	r.step(Recv{From: "h", Msg: open("h", 1)})
	r.step(Prepared{ID: jobID, Job: testJob(t), Rate: 1000})
	made := find[FoundLedger](
		r.step(Recv{
			From: "h",
			Msg:  Message{Job: jobID, Term: 1, Enlist: &Enlist{Nonce: 7, Voters: founders, Proof: mandate("h", 1)}},
		}),
	)
	if len(made) != 1 {
		t.Fatal("no copy is made")
	}
	return r, made[0]
}

// TestCopyThatComesTooLateGoes: a job may end while a member that was asked to become a replica writes its copy. It
// would be taken up again in the next life, as one of a job that waits for ever.
func TestCopyThatComesTooLateGoes(t *testing.T) {
	r, made := asCopy(t)
	e := ended(&ledger.Result{Status: []byte("cancelled")}, "h")
	e.Result = nil
	r.step(Recv{From: "h", Msg: Message{Job: jobID, Ended: e}})
	if len(r.peer.jobs) != 0 {
		t.Fatal("the job has not ended")
	}
	if drop := find[DropLedger](r.step(Founded{ID: jobID, Job: testJob(t), Voter: made.Log.Self.ID})); len(drop) != 1 ||
		drop[0].ID != jobID {
		t.Error("the copy of a job that is over stays:", drop)
	}
}

// TestWhatItsSubmitterDisownsGoes: a copy that never had a seat goes when the job's submitter, and all others that are
// up, say that they know of no such job; or when the submitter does and the others do not answer for as long as a home
// is waited for. It does not go by the word of the submitter alone, whose disk may be lost while others count on the
// copy; nor does one go that knows that others count on it.
func TestWhatItsSubmitterDisownsGoes(t *testing.T) {
	for name, tc := range map[string]struct {
		deny   []string
		wait   time.Duration
		seated bool
		goes   bool
	}{
		"all say so":                   {deny: []string{"h", "x"}, goes: true},
		"all say so, another first":    {deny: []string{"x", "h"}, goes: true},
		"the submitter alone says so":  {deny: []string{"h"}},
		"nobody else ever answers":     {deny: []string{"h"}, wait: 10 * time.Minute, goes: true},
		"another alone says so":        {deny: []string{"x"}, wait: 10 * time.Minute},
		"others count on the copy":     {deny: []string{"h", "x"}, wait: 10 * time.Minute, seated: true},
		"nobody says anything at all":  {wait: 10 * time.Minute},
		"the submitter says so, again": {deny: []string{"h", "h"}},
	} {
		_, made := asCopy(t)
		r := newRig(t, "m") // another life of it
		r.peer.cfg.Replicas = 3
		for _, id := range []string{"h", "x"} {
			r.step(PeerUp{ID: id, Slots: 1})
		}
		log := made.Log
		log.Hard = quorum.Hard{}
		if tc.seated {
			log.Voters = append([]quorum.Voter{log.Self}, log.Voters...)
		}
		r.step(Restore{ID: jobID, Job: testJob(t), Log: log})
		if len(r.peer.jobs) != 1 {
			t.Fatal("the copy is not taken up")
		}
		r.pass(seekAfter + 3*seekEvery)
		if !r.asked("h") {
			t.Errorf("%s: the submitter was not asked", name)
		}
		for _, id := range tc.deny {
			r.sent = nil
			r.step(Recv{From: id, Msg: Message{Job: jobID, Moved: &Moved{Gone: true}}})
			r.pass(2 * seekEvery)
		}
		if slices.Equal(tc.deny, []string{"h"}) && !r.asked("x") {
			t.Errorf("%s: nobody else was asked", name)
		}
		r.pass(tc.wait)
		if goes := len(r.peer.jobs) == 0; goes != tc.goes {
			t.Errorf("%s: the copy goes: %v", name, goes)
		}
	}
}

// asked reports whether a peer was asked what it knows of the job, in a way that it answers if that is nothing.
func (r *rig) asked(id tasks.PeerID) bool {
	return slices.ContainsFunc(r.sent, func(s Send) bool {
		return s.To == id && s.Msg.Moved != nil && (s.Msg.Moved.Home == "" || s.Msg.Moved.Home == id)
	})
}

// TestWhoKnowsOfNoJobSaysSo answers a member that has nobody else to ask, and nobody who knows better.
func TestWhoKnowsOfNoJobSaysSo(t *testing.T) {
	r := newRig(t, "h")
	r.step(PeerUp{ID: "m", Slots: 1})
	for home, says := range map[string]bool{"": true, "h": true, "x": false} {
		told := find[Send](r.step(Recv{From: "m", Msg: Message{Job: jobID, Moved: &Moved{Home: home}}}))
		if got := len(told) == 1 && told[0].Msg.Moved != nil && told[0].Msg.Moved.Gone; got != says {
			t.Errorf("asked by one whose home is %q: %v", home, told)
		}
	}
	if told := find[Send](r.step(Recv{From: "m", Msg: Message{Job: jobID, Moved: &Moved{Gone: true}}})); len(told) > 0 {
		t.Error("two that know of no job tell each other for ever:", told)
	}
}
