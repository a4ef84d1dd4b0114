package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/tasks"
)

// admin is a member with the right to recover the ledgers of all.
const admin tasks.PeerID = "n9"

// recovery is a signed word that a host's copy is the one to go on from.
func (h *host) recovery(by tasks.PeerID) quorum.Link {
	v, ok := h.peer.Copy(jobID)
	if !ok {
		h.Fatalf("%s has no copy", h.id)
	}
	c, err := quorum.NextRecovery(quorum.NewVoter(h.id, 1<<40+uint64(h.now)+h.boot), v.Term)
	if err != nil {
		h.Fatal(err)
	}
	return quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: by, Sig: modelkeys.Keys(by).Sign(RecoveryText(jobID, c))}}}
}

func (h *host) recover() { h.recoverBy(admin) }

func (h *host) recoverBy(who tasks.PeerID) { h.step(Recover{ID: jobID, Link: h.recovery(who)}) }

// destroy kills a host with its disk.
func (h *host) destroy() {
	h.kill()
	clear(h.logs)
	clear(h.kept)
}

// lastOf is a group of hosts with a job that has three replicas and some commits; all but the one that is returned are
// dead, with their disks if wiped.
func lastOf(t *testing.T, n int, wiped bool) (g *group, last *host) {
	t.Helper()
	g = newGroup(t, n)
	g.submit()
	some := func() bool {
		v, ok := g.hosts[0].peer.Ledger(jobID)
		return ok && g.replicas() == 3 && !v.Committed.Empty() && !v.Changing
	}
	if !g.run(time.Minute, some) || g.hosts[0].ended != nil {
		t.Fatal("no job with three replicas and some commits")
	}
	for _, h := range g.hosts[1:] {
		if _, ok := h.peer.Copy(jobID); ok {
			last = h
		}
	}
	for _, h := range g.hosts {
		switch _, ok := h.peer.Copy(jobID); {
		case h == last || !ok:
		case wiped:
			h.destroy()
		default:
			h.kill()
		}
	}
	g.pass(seekAfter + time.Second)
	return g, last
}

func (g *group) pass(d time.Duration) { g.run(d, func() bool { return false }) }

// TestLastCopyIsRecovered goes on from the last copy of three, and ends the job with all of its units; what this copy
// had committed does not run again. Without being asked it does nothing.
func TestLastCopyIsRecovered(t *testing.T) {
	g, last := lastOf(t, 5, true)
	if last.ended != nil || g.home() != nil {
		t.Fatal("goes on by itself")
	}
	v, _ := last.peer.Copy(jobID)
	if v.Majority || !slices.Equal(v.Alive, []tasks.PeerID{last.id}) || len(v.Seats) != 1 || len(v.Seats[0]) != 3 ||
		v.Committed == 0 ||
		v.Open != units-v.Committed {
		t.Errorf("its copy is %+v", v)
	}
	ran := g.allRan()
	last.recover()
	if !g.run(time.Minute, func() bool { return last.ended != nil }) {
		t.Fatalf("the job did not end: %v", last.no)
	}
	if again := g.allRan() - ran; again > v.Open {
		t.Errorf("%d units ran, and %d were open", again, v.Open)
	}
}

// TestRecoveredLedgerLacksBlobs has what nobody keeps any more run again.
func TestRecoveredLedgerLacksBlobs(t *testing.T) {
	g, last := lastOf(t, 5, true)
	clear(last.kept)
	for _, h := range g.hosts {
		h.lacks = true
	}
	last.recover()
	lost := func() bool {
		v, ok := last.peer.Copy(jobID)
		return ok && v.Index > 0 && v.Recovery != nil && v.Open > 0
	}
	if !g.run(20*time.Second, lost) {
		t.Fatal("what is lost is taken for committed")
	}
	for _, h := range g.hosts {
		h.lacks = false
	}
	if !g.run(time.Minute, func() bool { return last.ended != nil }) {
		t.Fatal("the job did not end")
	}
}

// TestOldReplicasGiveUp has the other replicas come back with what they had: before the recovered job ends, and after.
func TestOldReplicasGiveUp(t *testing.T) {
	for _, over := range []bool{false, true} {
		g, last := lastOf(t, 5, false)
		last.recover()
		if !g.run(10*time.Second, func() bool { return g.home() == last }) {
			t.Fatal("not recovered:", last.no)
		}
		if over && !g.run(time.Minute, func() bool { return last.ended != nil }) {
			t.Fatal("the job did not end")
		}
		if over {
			g.pass(10 * time.Second) // and is forgotten
		}
		for _, h := range g.hosts {
			if h.peer == nil {
				h.gives = true
				h.start()
			}
		}
		all := func() bool {
			return !slices.ContainsFunc(g.hosts, func(h *host) bool { return !h.over || len(h.logs) > 0 })
		}
		if !g.run(2*time.Minute, all) {
			for _, h := range g.hosts {
				t.Logf("%s: over %v, copies %d, homes %v", h.id, h.over, len(h.logs), h.homes)
			}
			t.Fatalf("over %v: not all know of the end", over)
		}
	}
}

// twoEnds cuts the last copy off; the others end the job without it, which is then recovered from that copy by the word
// of a member. It ends, if it is to, before they meet.
func twoEnds(t *testing.T, by tasks.PeerID, over bool) (g *group, last *host) {
	t.Helper()
	g, last = lastOf(t, 5, false)
	last.gives = false
	logs := last.logs
	last.kill()
	last.late = nil
	for _, h := range g.hosts {
		if h.peer == nil && h != last {
			h.start()
		}
	}
	others := func(so func(*host) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(g.hosts, func(h *host) bool { return h != last && !so(h) }) }
	}
	if !g.run(time.Minute, others(func(h *host) bool { return h.over })) {
		t.Fatal("the job did not end without it")
	}
	g.pass(30 * time.Second)
	last.logs = logs
	asleep := map[*host]*Peer{}
	for _, h := range g.hosts {
		asleep[h], h.peer = h.peer, nil
	}
	last.start() // it sees nobody
	g.run(11*time.Second, func() bool { return false })
	last.recoverBy(by)
	if !g.run(10*time.Second, func() bool { return g.home() == last }) {
		t.Fatal("not recovered:", last.no)
	}
	if over && !g.run(time.Minute, func() bool { return last.ended != nil }) {
		t.Fatal("the recovered job did not end")
	}
	for _, h := range g.hosts {
		if h != last {
			h.peer = asleep[h]
			last.step(PeerUp{ID: h.id, Slots: 1})
			h.step(PeerUp{ID: last.id, Slots: 1})
		}
	}
	return g, last
}

// others reports whether something holds for all hosts but one.
func (g *group) others(than *host, so func(*host) bool) bool {
	return !slices.ContainsFunc(g.hosts, func(h *host) bool { return h != than && !so(h) })
}

// TestRecoveredJobCountsOverOldEnd has the submitter recover a job that had ended without the copy it goes on from:
// when they meet, it goes on for the others too, to the recovered end.
func TestRecoveredJobCountsOverOldEnd(t *testing.T) {
	g, last := twoEnds(t, "n0", false)
	if !g.run(
		2*time.Minute,
		func() bool { return g.others(last, func(h *host) bool { return h.opened == 1 && h.over }) },
	) ||
		last.ended == nil {
		for _, h := range g.hosts {
			t.Logf("%s: over %v, opened %d, wrongs %v", h.id, h.over, h.opened, h.wrongs)
		}
		t.Fatal("not all have the end that counts")
	}
}

// TestEndCountsOverAnAdminsRecovery has an admin do so: the end stands, and where the job was recovered it is taken for
// its end too, whether it had ended there by then or not.
func TestEndCountsOverAnAdminsRecovery(t *testing.T) {
	for _, over := range []bool{false, true} {
		g, last := twoEnds(t, admin, over)
		last.gives = true
		meets := func() bool {
			past := last.peer.ends.of[jobID]
			return past != nil && past.recovery == nil && past.Seal != nil && (last.over || last.opened == 1) &&
				len(last.logs) == 0
		}
		if !g.run(2*time.Minute, meets) {
			t.Fatalf("ended before they met %v: the recovered job goes on: over %v, copies %d", over, last.over, len(last.logs))
		}
		if !g.others(last, func(h *host) bool { return h.opened == 0 && h.over }) {
			t.Error("an end that was proven was taken back")
		}
	}
}

// TestRecoveryIsRefused: by anybody's word, and while a majority lives.
func TestRecoveryIsRefused(t *testing.T) {
	g, last := lastOf(t, 5, true)
	last.step(Recover{ID: jobID, Link: last.recovery("n4")})
	if len(last.no) != 1 || !strings.Contains(last.no[0], "nobody who may") {
		t.Error("recovered by a stranger's word:", last.no)
	}
	last.step(Recover{ID: "other", Link: last.recovery(admin)})
	for _, h := range g.hosts {
		if h.peer == nil {
			h.start()
		}
	}
	last.recover()
	if !g.run(10*time.Second, func() bool { return g.home() == last }) {
		t.Fatal("not recovered:", last.no)
	}
	g.run(20*time.Second, func() bool { return g.replicas() == 3 })
	for _, h := range g.hosts {
		if _, ok := h.peer.Copy(jobID); ok && h != last {
			h.recover()
			if len(h.no) != 1 || !strings.Contains(h.no[0], "are alive") {
				t.Error("recovered though most replicas are alive:", h.no)
			}
		}
	}
	last.recover()
	if len(last.no) != 3 {
		t.Error("recovered though it leads:", last.no)
	}
}

// TestForgedRecoveryIsTold has a member say that the ledger was recovered, and nobody has signed that.
func TestForgedRecoveryIsTold(t *testing.T) {
	_, last := lastOf(t, 5, false)
	l := last.recovery("n8")
	last.step(Recv{From: "n8", Msg: Message{Job: jobID, Recovery: &l}})
	if _, ok := last.peer.Copy(jobID); !ok || len(last.wrongs) != 1 || last.wrongs[0].What != FalseProof {
		t.Errorf("the copy is there: %v, told of: %v", ok, last.wrongs)
	}
}

// TestPassingOnARevokedAdminsRecoveryIsNoWrong has a member tell, as it must, of a recovery that was signed by one who
// has the right for it no more.
func TestPassingOnARevokedAdminsRecoveryIsNoWrong(t *testing.T) {
	_, last := lastOf(t, 5, false)
	last.step(Admins{})
	l := last.recovery(admin)
	last.step(Recv{From: "n8", Msg: Message{Job: jobID, Recovery: &l}})
	if _, ok := last.peer.Copy(jobID); !ok || len(last.wrongs) != 0 {
		t.Errorf("the copy is there: %v, told of: %v", ok, last.wrongs)
	}
}

// TestRecoveryKeepsOldCopyWhenTheDiskFails goes on with the old copy where the new one could not be written.
func TestRecoveryKeepsOldCopyWhenTheDiskFails(t *testing.T) {
	_, last := lastOf(t, 5, false)
	before, _ := last.peer.Copy(jobID)
	l := last.recovery(admin)
	last.peer.Step(last.now, Recover{ID: jobID, Link: l})
	last.step(Founded{ID: jobID, Voter: l.Conf.Voters[0].ID, Reason: "no space left on device"})
	if after, ok := last.peer.Copy(jobID); !ok || after.Voter != before.Voter || len(last.no) != 1 {
		t.Errorf("its copy is %+v, told %q", after, last.no)
	}
}

// TestLapsedRecoveryIsSignedAnew has a job recovered by an admin that is revoked then: who comes to it later does not
// believe who leads it, which its home knows; and the home goes on by the word of another admin, and loses nothing.
func TestLapsedRecoveryIsSignedAnew(t *testing.T) {
	g, last := lastOf(t, 5, true)
	for _, h := range g.hosts {
		h.stays, h.gives = true, true
	}
	last.recover()
	all := func() bool {
		v, ok := last.peer.View(jobID)
		return ok && v.Committed.Len() == units && g.replicas() == 3
	}
	if !g.run(time.Minute, all) {
		t.Fatal("not recovered:", last.no)
	}
	if v, _ := last.peer.View(jobID); v.Lapsed != "" {
		t.Error("it has lapsed at once:", v.Lapsed)
	}
	g.admin = "n8"
	var joins *host
	for _, h := range g.hosts {
		h.step(Admins{IDs: []tasks.PeerID{g.admin}})
		if h != last && h.peer == nil {
			joins = h
		}
	}
	joins.start()
	follows := func() bool { return len(joins.homes) > 0 && joins.homes[len(joins.homes)-1] == last.id }
	joins.homes = nil
	if g.run(15*time.Second, follows) {
		t.Fatal("a recovery is believed that nobody has signed who may")
	}
	before, _ := last.peer.View(jobID)
	if before.Lapsed != admin {
		t.Errorf("the home does not know that it has lapsed: %q", before.Lapsed)
	}
	if last.recoverBy(admin); len(last.no) != 1 {
		t.Error("signed anew by who may not:", last.no)
	}
	ran := g.allRan()
	last.stays = false
	last.recoverBy(g.admin)
	if !g.run(2*time.Minute, func() bool { return joins.over && last.ended != nil }) {
		t.Fatal("the job did not end for all:", last.no)
	}
	if again := g.allRan() - ran; again != 0 {
		t.Errorf("%d units ran again", again)
	}
}
