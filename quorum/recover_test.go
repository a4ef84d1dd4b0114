package quorum_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// recovery is the signed link by which a voter goes on alone.
func recovery(t *testing.T, self quorum.Voter, by tasks.PeerID, terms ...uint64) quorum.Link {
	t.Helper()
	c, err := quorum.NextRecovery(self, terms...)
	if err != nil {
		t.Fatal(err)
	}
	return quorum.Link{Conf: c, Sigs: sign(quorum.ConfText(group, c), by)}
}

// TestRecoverGoesOnFromOneCopy recovers the last of three copies. All that it has is there, including what it did not
// know to be committed; it leads at once, in a term that the old group never reaches; and it restarts from its disk.
func TestRecoverGoesOnFromOneCopy(t *testing.T) {
	g, old := follower(t)
	g.step(quorum.Recv{
		From: "b",
		Frame: frame(raftpb.Message{
			Type:    raftpb.MsgApp,
			From:    old[1].ID,
			To:      old[0].ID,
			Term:    2,
			LogTerm: 2,
			Index:   1,
			Commit:  2,
			Entries: []raftpb.Entry{{Index: 2, Term: 2, Data: []byte("known")}, {Index: 3, Term: 2, Data: []byte("unknown")}},
		}),
	})
	if tail := g.r.Tail(); len(tail) != 1 || string(tail[0]) != "unknown" {
		t.Fatalf("not applied is %q", tail)
	}
	if i, term := g.r.Last(); i != 3 || term != 2 {
		t.Errorf("the last entry is %d of term %d", i, term)
	}
	self := quorum.NewVoter("a", 7)
	l := recovery(t, self, "owner", 2)
	log, err := g.r.Recover(l, old, []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	n := newRig(t, log)
	out := n.step(quorum.Campaign{})
	if r := find[quorum.Restore](out); len(r) != 1 || string(r[0].State) != "state" {
		t.Error("does not go on from the state:", out)
	}
	_, term := n.r.Leader()
	if !n.r.Leading() || term <= l.Conf.Term || quorum.Epoch(term) != quorum.Epoch(l.Conf.Term) ||
		quorum.Epoch(term) == 0 {
		t.Fatalf("leads %v in term %d", n.r.Leading(), term)
	}
	if m := n.r.Voters(); !slices.Equal(m, []quorum.Voter{self}) {
		t.Error("its voters are", m)
	}
	if out := n.step(quorum.Change{Add: []quorum.Voter{old[1]}}); len(find[quorum.Refused](out)) != 1 {
		t.Error("a voter of the old group is taken in again")
	}
	if again, err := quorum.NextRecovery(self, term); err != nil || again.Term <= term ||
		quorum.Epoch(again.Term) <= quorum.Epoch(term) {
		t.Error("the next recovery is in term", again.Term, err)
	}
}

// TestOldGroupHasNoPartInTheNewOne sends a recovered copy what voters of the old group send.
func TestOldGroupHasNoPartInTheNewOne(t *testing.T) {
	g, old := follower(t)
	self := quorum.NewVoter("a", 7)
	log, err := g.r.Recover(recovery(t, self, "owner"), old, []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	n := newRig(t, log)
	n.step(quorum.Campaign{})
	_, term := n.r.Leader()
	out := n.step(quorum.Recv{
		From: "b",
		Frame: frame(raftpb.Message{
			Type:    raftpb.MsgPreVote,
			From:    old[1].ID,
			To:      old[0].ID,
			Term:    term + 5,
			Index:   9,
			LogTerm: term,
		}),
	})
	if a := find[quorum.Misaddressed](out); len(a) != 1 || a[0].From != "b" {
		t.Error("the sender is not told of:", out)
	}
	out = append(out, n.pass(10*time.Second)...)
	if _, now := n.r.Leader(); now != term || !n.r.Leading() || len(find[quorum.Send](out)) > 0 {
		t.Error("it is heard:", out)
	}
}

// TestRecoverRefuses checks that invalid recoveries are refused.
func TestRecoverRefuses(t *testing.T) {
	g, old := follower(t)
	l := recovery(t, quorum.NewVoter("a", 7), "owner", 2)
	for what, l := range map[string]quorum.Link{
		"another's copy":   recovery(t, quorum.NewVoter("b", 7), "owner", 2),
		"a known voter":    recovery(t, old[0], "owner", 2),
		"a term of before": {Conf: quorum.Conf{Term: 2, Seq: 2, Prior: 1, Voters: l.Conf.Voters}},
	} {
		if _, err := g.r.Recover(l, old, nil); err == nil {
			t.Errorf("%s is recovered", what)
		}
	}
	owner := trust("s")
	owner.Authority = func(by tasks.PeerID) bool { return by == "owner" }
	if err := quorum.CheckRecovery(owner, l); err != nil {
		t.Error(err)
	}
	for what, l := range map[string]quorum.Link{
		"nobody signed":  {Conf: l.Conf},
		"another signed": recovery(t, quorum.NewVoter("a", 7), "b", 2),
		"two voters": {
			Conf: quorum.Conf{Seq: l.Conf.Seq, Term: l.Conf.Term, Prior: l.Conf.Prior, Voters: voters("a", "b")},
			Sigs: l.Sigs,
		},
		"an usual term": {Conf: quorum.Conf{Seq: 9, Term: 9, Prior: 8, Voters: l.Conf.Voters}, Sigs: l.Sigs},
		"another voter": {
			Conf: quorum.Conf{Seq: l.Conf.Seq, Term: l.Conf.Term, Prior: l.Conf.Prior, Voters: voters("a")},
			Sigs: l.Sigs,
		},
	} {
		if err := quorum.CheckRecovery(owner, l); !errors.Is(err, quorum.ErrUnproven) {
			t.Errorf("%s, and it holds: %v", what, err)
		}
	}
	if err := quorum.CheckRecovery(trust("s"), l); err == nil {
		t.Error("holds where nobody has authority")
	}
}

// TestAlive checks which voters count as alive.
func TestAlive(t *testing.T) {
	g, old := follower(t)
	if who, most := g.r.Alive(g.now, time.Second); !most || len(who) != 3 {
		t.Error("has not listened for long, and takes for alive", who, most)
	}
	g.pass(5 * time.Second)
	if who, most := g.r.Alive(g.now, time.Second); most || !slices.Equal(who, []tasks.PeerID{"a"}) {
		t.Error("has heard nobody for long, and takes for alive", who, most)
	}
	g.step(quorum.Recv{
		From:  "b",
		Frame: frame(raftpb.Message{Type: raftpb.MsgHeartbeat, From: old[1].ID, To: old[0].ID, Term: 2}),
	})
	if who, most := g.r.Alive(g.now, time.Second); !most || len(who) != 2 {
		t.Error("has just heard its leader, and takes for alive", who, most)
	}
}
