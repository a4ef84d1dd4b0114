package sim

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/wire"
)

// A follower that restarts beside one that lies hears that one first, and before its leader. It must go on following
// the leader that there was.

// planRestarts has the follower that does not lie restart.
func (w *world) planRestarts(lead, liar *node, followers []*node) {
	other := followers[0]
	if other == liar {
		other = followers[1]
	}
	for i := range w.cfg.Restarts {
		w.after(time.Duration(4*i)*time.Second+w.random(2*time.Second), func() { w.restart(lead, liar, other) })
	}
}

// restart crashes a follower, which is back in less time than it takes to be replaced, and lies to it at once.
func (w *world) restart(lead, liar, n *node) {
	if w.ended || !n.up || n.gone || w.leader() != lead || !liar.up {
		return
	}
	w.res.Faults.Crashes++
	w.res.Faults.ReplicaCrashes++
	w.trace.printf(w.now, n, "CRASH")
	w.takeDown(n, time.Second)
	back := w.between(200*time.Millisecond, 2*time.Second)
	w.settle(w.now + back)
	w.after(back, func() {
		w.join(n)
		for i := range 40 {
			w.after(time.Duration(i)*20*time.Millisecond, func() { w.lieToFollower(lead, liar, n) })
		}
	})
}

// lieToFollower claims to lead in the term of the leader, or in the next one, and what a follower would then do.
func (w *world) lieToFollower(lead, liar, n *node) {
	v, ok := lead.peer.Ledger(w.id)
	if w.ended || !ok {
		return
	}
	member := func(n *node) (m quorum.Member) {
		if i := slices.IndexFunc(v.Voters, func(m quorum.Member) bool { return m.Peer == n.id }); i >= 0 {
			m = v.Voters[i]
		}
		return m
	}
	c, _ := lead.peer.Copy(w.id)
	m := raftpb.Message{
		From:    member(liar).ID,
		To:      member(n).ID,
		Term:    v.Term + uint64(w.rng.IntN(2)),
		Index:   c.Index,
		LogTerm: c.Term,
		Commit:  c.Index + 1,
	}
	switch w.rng.IntN(4) {
	case 0:
		m.Type, m.Commit = raftpb.MsgHeartbeat, 1<<40
	case 1:
		m.Type, m.Commit = raftpb.MsgVote, 0
	default:
		data, _ := wire.Marshal(&ledger.Entry{Result: &ledger.Result{SHA256: "forged", Size: 1}})
		m.Type, m.Entries = raftpb.MsgApp, []raftpb.Entry{{Index: m.Index + 1, Term: m.Term, Data: data}}
	}
	if b, err := m.Marshal(); err == nil {
		w.res.Faults.Lies++
		w.post(liar, n.id, engine.Message{Job: w.id, Frame: append([]byte{0}, b...)})
	}
}

// calmNet reports whether no message is lost or late, so that a leader that lives is heard; and the leader lives.
func (w *world) calmNet() bool {
	return w.cfg.Drop == 0 && w.cfg.Delay == 0 && w.res.Faults.HomeCrashes == 0
}
