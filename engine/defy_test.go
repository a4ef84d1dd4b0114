package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
)

// usurper is an admin that lies: it signs that a job goes on from a copy of its own, leads it by that and ends it.
type usurper struct {
	self  quorum.Voter
	chain quorum.Chain
	link  quorum.Link
}

func newUsurper(t *testing.T, g *group) usurper {
	t.Helper()
	u := usurper{self: quorum.NewVoter(admin, 7)}
	v, ok := g.hosts[0].peer.Copy(jobID)
	if !ok {
		t.Fatal("the submitter has no copy")
	}
	c, err := quorum.NextRecovery(u.self, v.Term)
	if err != nil {
		t.Fatal(err)
	}
	u.link = quorum.Link{
		Conf: c,
		Sigs: []quorum.Signature{{By: admin, Sig: modelkeys.Keys(admin).Sign(RecoveryText(jobID, c))}},
	}
	u.chain = quorum.Chain{Founders: v.Chain.Founders, Links: []quorum.Link{u.link}}
	return u
}

// messages are all with which it tries to have the job.
func (u usurper) messages() []Message {
	keys, term := modelkeys.Keys(admin), u.link.Conf.Term+1
	m := &quorum.Mandate{Chain: u.chain, Term: term, Leader: u.self.ID,
		Votes: []quorum.Signature{{By: admin, Sig: keys.Sign(quorum.VoteText(GroupName(jobID), term, u.self.ID, u.self.ID))}}}
	r := &ledger.Result{SHA256: "forged", Status: []byte("done")}
	e := &Ended{Sum: r.Sum(), Units: units, Result: r}
	seal := quorum.SoleSeal(keys, GroupName(jobID), u.chain, admin, e.Text())
	e.Seal = &seal
	out := []Message{
		{Recovery: &u.link},
		{Term: term, Open: &Open{Home: admin, Proof: m}},
		{Moved: &Moved{Home: admin, Term: term, Proof: m}},
		{
			Term:   term,
			Enlist: &Enlist{Nonce: 1, Voters: u.chain.Founders, Proof: m},
		},
		{Term: term, Order: OrderRest},
		{Term: term, Ended: e},
	}
	for i := range out {
		out[i].Job = jobID
	}
	return out
}

// TestAdminDisplacesNoLivingLedger has an admin sign that a job goes on from a copy of its own, while its ledger lives:
// no node follows, before the job has ended nor after, and it is told who has signed that.
func TestAdminDisplacesNoLivingLedger(t *testing.T) {
	g := newGroup(t, 5)
	g.submit()
	if !g.run(time.Minute, func() bool { return g.replicas() == 3 }) {
		t.Fatal("no job with three replicas")
	}
	u := newUsurper(t, g)
	all := func(again bool) {
		for _, h := range g.hosts {
			for _, m := range u.messages() {
				h.step(Recv{From: admin, Msg: m})
				if h.over && !again || slices.Contains(h.homes, admin) {
					t.Fatalf("%s follows what %s has signed, homes %v", h.id, admin, h.homes)
				}
			}
		}
	}
	for range 5 {
		all(false)
		g.pass(20 * time.Millisecond)
	}
	for _, h := range g.hosts {
		if h.refused != admin {
			t.Errorf("%s does not tell whom it refuses: %q", h.id, h.refused)
		}
	}
	over := func() bool { return !slices.ContainsFunc(g.hosts, func(h *host) bool { return !h.over }) }
	if !g.run(time.Minute, over) {
		t.Fatal("the job did not end")
	}
	if r := g.hosts[0].ended; r == nil || r.SHA256 != "result" {
		t.Fatalf("it ended as %+v", r)
	}
	g.run(10*time.Second, func() bool { return false })
	all(true)
	if i := slices.IndexFunc(g.hosts, func(h *host) bool { return h.opened > 0 }); i >= 0 {
		t.Errorf("%s takes the end back", g.hosts[i].id)
	}
}

// TestSubmitterMayDisplaceItsLedger: it is its own job.
func TestSubmitterMayDisplaceItsLedger(t *testing.T) {
	g := newGroup(t, 5)
	g.submit()
	if !g.run(time.Minute, func() bool { return g.replicas() == 3 }) {
		t.Fatal("no job with three replicas")
	}
	u := newUsurper(t, g)
	u.link.Sigs = []quorum.Signature{{By: "n0", Sig: modelkeys.Keys("n0").Sign(RecoveryText(jobID, u.link.Conf))}}
	for _, h := range g.hosts {
		h.gives = true
		h.step(Recv{From: admin, Msg: Message{Job: jobID, Recovery: &u.link}})
	}
	if slices.ContainsFunc(g.hosts, func(h *host) bool { return len(h.logs) > 0 }) {
		t.Error("a copy is kept against the submitter's word")
	}
}

// TestLedgerSettlesAfterARestart: replicas that come back may have been away for long, and give way to an admin's
// recovery at first; when they have had a leader for a while they do not.
func TestLedgerSettlesAfterARestart(t *testing.T) {
	for _, settled := range []bool{false, true} {
		g := newGroup(t, 3)
		for _, h := range g.hosts {
			h.slow, h.gives = true, true
		}
		g.submit()
		if !g.run(time.Minute, func() bool { return g.replicas() == 3 }) {
			t.Fatal("no job with three replicas")
		}
		u := newUsurper(t, g)
		for _, h := range g.hosts {
			h.kill()
		}
		for _, h := range g.hosts {
			h.start()
		}
		if !g.run(20*time.Second, func() bool { return g.home() != nil }) {
			t.Fatal("nobody leads after the restart")
		}
		if settled {
			g.pass(settleTime + 2*time.Second)
		}
		h := g.hosts[1]
		h.step(Recv{From: admin, Msg: Message{Job: jobID, Recovery: &u.link}})
		if kept := len(h.logs) > 0; kept != settled {
			t.Errorf("settled %v: the copy is kept %v", settled, kept)
		}
	}
}

// TestEndInALivingLogStands has an admin sign that a job goes on from a copy of its own in the moments between the end
// in the log and the proof of it: no replica takes that end back, or gives its copy up.
func TestEndInALivingLogStands(t *testing.T) {
	g := newGroup(t, 5)
	g.submit()
	if !g.run(time.Minute, func() bool { return g.replicas() == 3 }) {
		t.Fatal("no job with three replicas")
	}
	u := newUsurper(t, g)
	tried := 0
	ended := func() bool {
		for _, h := range g.hosts {
			past, j := h.peer.ends.of[jobID], h.peer.job(jobID)
			if past == nil || past.Seal != nil || j == nil || j.copy.log == nil {
				continue
			}
			tried++
			for _, m := range u.messages() {
				h.step(Recv{From: admin, Msg: m})
			}
			if h.opened > 0 || len(h.logs) == 0 {
				t.Fatalf("%s takes the end back, %d times, and has %d copies", h.id, h.opened, len(h.logs))
			}
		}
		return !slices.ContainsFunc(g.hosts, func(h *host) bool { return !h.over })
	}
	if !g.run(time.Minute, ended) || tried == 0 {
		t.Fatalf("there was no such moment: %d", tried)
	}
}

// TestWhoWasFooledLearnsOfTheEnd has a node hear of a job by an admin alone who lies that it leads it, and that it has
// ended: when it is told of the true end it takes that.
func TestWhoWasFooledLearnsOfTheEnd(t *testing.T) {
	for _, ends := range []bool{false, true} {
		g := newGroup(t, 4)
		late := g.hosts[3]
		late.kill()
		g.submit()
		if !g.run(time.Minute, func() bool { return g.replicas() == 3 }) {
			t.Fatal("no job with three replicas")
		}
		u := newUsurper(t, g)
		if !g.run(time.Minute, func() bool { return g.others(late, func(h *host) bool { return h.over }) }) {
			t.Fatal("the job did not end")
		}
		proven := g.hosts[0].peer.ends.of[jobID].Ended
		if proven.Seal == nil {
			g.pass(5 * time.Second)
			proven = g.hosts[0].peer.ends.of[jobID].Ended
		}
		late.gives = true
		for _, h := range g.hosts[:3] {
			h.peer = nil // it sees nobody
		}
		late.start()
		for _, m := range u.messages() {
			if m.Open == nil && (m.Ended == nil || !ends) {
				continue // the recovery itself is never shown
			}
			late.step(Recv{From: admin, Msg: m})
			g.pass(time.Second)
		}
		if got := late.homes; len(got) == 0 || got[len(got)-1] != admin || late.over != ends {
			t.Fatalf("it is not fooled: homes %v, over %v", got, late.over)
		}
		late.step(Recv{From: "n0", Msg: Message{Job: jobID, Ended: &proven}})
		if past := late.peer.ends.of[jobID]; past == nil || past.Sum != proven.Sum || past.recovery != nil {
			t.Errorf("fooled to the end %v: it does not take the true end: %+v", ends, past)
		}
	}
}
