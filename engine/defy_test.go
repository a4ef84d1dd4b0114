package engine

import (
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/internal/modelkeys"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
)

// usurper is an admin that lies: it signs that a job goes on from a copy of its own, leads it by that and ends it.
type usurper struct {
	self  quorum.Member
	chain quorum.Chain
	link  quorum.Link
}

func newUsurper(t *testing.T, g *group) usurper {
	t.Helper()
	u := usurper{self: quorum.NewMember(admin, 7)}
	v, ok := g.hosts[0].peer.Copy(jobID)
	if !ok {
		t.Fatal("the submitter has no copy")
	}
	c, err := quorum.NextRecovery(u.self, v.Term)
	if err != nil {
		t.Fatal(err)
	}
	u.link = quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: admin, Sig: modelkeys.Keys(admin).Sign(RecoveryText(jobID, c))}}}
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
	seal := quorum.SealAlone(keys, GroupName(jobID), u.chain, admin, e.Text())
	e.Seal = &seal
	out := []Message{{Recovery: &u.link}, {Term: term, Open: &Open{Home: admin, Proof: m}}, {Moved: &Moved{Home: admin, Term: term, Proof: m}},
		{Term: term, Enlist: &Enlist{Nonce: 1, Voters: u.chain.Founders, Proof: m}}, {Term: term, Order: OrderRest}, {Term: term, Ended: e}}
	for i := range out {
		out[i].Job = jobID
	}
	return out
}

// TestAdminDisplacesNoLivingLedger has an admin sign that a job goes on from a copy of its own, while its ledger lives: no
// node follows, before the job has ended nor after, and it is told who has signed that.
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

// TestLedgerSettlesAfterARestart: replicas that come back may have been away for long, and give way to an admin's recovery at
// first; when they have had a leader for a while they do not.
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
