package engine

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// fills has the disk of a rig take no output, until it is told otherwise, and counts the outputs that it did not take.
type fills struct {
	*rig
	full  bool
	tries int
}

func newFills(t *testing.T) *fills {
	f := &fills{rig: newRig(t, "h")}
	f.seals = func(e SealGen) Event {
		if !f.full {
			return nil
		}
		f.tries++
		return GenFailed{Gen: e.Gen, Failure: ledger.Failure{Kind: diskKind, Reason: "no space left on device"}}
	}
	return f
}

// TestOpenJobsWaitForRoom: an open job goes on for as long as the only disk is full, says so, tries again ever more
// seldom, and ends with all of its units when there is room.
func TestOpenJobsWaitForRoom(t *testing.T) {
	r := newFills(t)
	r.full = true
	r.step(Submit{ID: jobID, Job: openJob(t)})
	r.step(Append{ID: jobID, Seq: 1, Files: added(2)})
	r.pass(5 * time.Minute)
	v, ok := r.peer.View(jobID)
	if r.fail != nil || r.done != nil || !ok || v.Stopping {
		t.Fatalf("the job does not wait: failed %+v, ended %+v, led %v, stopping %v", r.fail, r.done, ok, v.Stopping)
	}
	if v.Nodes["h"].Full != "no space left on device" || len(v.Shunned) > 0 {
		t.Errorf("it says %q, and was taken from %v", v.Nodes["h"].Full, v.Shunned)
	}
	if r.tries < 10 || r.tries > 60 {
		t.Errorf("%d attempts in five minutes", r.tries)
	}
	r.full = false
	r.pass(20 * time.Second)
	if v, _ := r.peer.View(jobID); v.Nodes["h"].Full != "" || v.Committed.Len() != units+200 {
		t.Errorf("with room it says %q, and has %d units", v.Nodes["h"].Full, v.Committed.Len())
	}
	r.step(Append{ID: jobID, Seq: 2, Close: true})
	r.pass(20 * time.Second)
	if r.done == nil || len(r.done.Lost) > 0 {
		t.Errorf("it ends with %+v", r.done)
	}
}

// TestOpenJobsWaitForRoomForTheirCode: a node whose disk has no room for the code of an open job tells its home that it
// waits, which is no failure of the job.
func TestOpenJobsWaitForRoomForTheirCode(t *testing.T) {
	r := newRig(t, "m")
	r.step(PeerUp{ID: "h", Slots: 1})
	r.step(Recv{From: "h", Msg: open("h", 1)})
	r.step(Described{ID: jobID, Job: openJob(t)})
	for range 5 {
		r.step(NotPrepared{ID: jobID, Failure: ledger.Failure{Kind: diskKind, Reason: "no space left on device"}})
		r.pass(20 * time.Second)
	}
	last := lastReport(r)
	if last == nil || last.Full == "" || len(last.Failures) > 0 {
		t.Fatalf("it has reported %+v", last)
	}
	r.step(Prepared{ID: jobID, Job: openJob(t)})
	r.pass(time.Second)
	if last = lastReport(r); last.Full != "" || !last.Ready {
		t.Errorf("with room it has reported %+v", last)
	}
}

func lastReport(r *rig) (last *ledger.Report) {
	for _, s := range r.sent {
		if s.Msg.Report != nil {
			last = s.Msg.Report
		}
	}
	return last
}

// TestFullDiskEndsOtherJobs: a job that was whole when it was submitted ends with what the disk took, for a retry.
func TestFullDiskEndsOtherJobs(t *testing.T) {
	r := newFills(t)
	r.full = true
	r.step(Submit{ID: jobID, Job: testJob(t)})
	r.pass(time.Minute)
	if r.fail == nil || r.fail.Failure.Kind != diskKind || r.fail.Failure.Nodes[0] != tasks.PeerID("h") {
		t.Errorf("it has failed with %+v", r.fail)
	}
}
