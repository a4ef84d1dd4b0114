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

// Here an honest follower restarts while another follower lies, and hears the liar before its leader. It must go on
// following the leader that it had.

// planRestarts plans restarts of the follower that does not lie.
func (w *world) planRestarts(lead, liar *node, followers []*node) {
	other := followers[0]
	if other == liar {
		other = followers[1]
	}
	for i := range w.cfg.Restarts {
		w.after(time.Duration(4*i)*time.Second+w.random(2*time.Second), func() { w.restart(lead, liar, other) })
	}
}

// restart crashes a follower, which comes back before it is replaced, and then has the liar lie to it.
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
	w.longAway = w.longAway || back > leadTimeout/2
	w.after(back, func() {
		w.join(n)
		for i := range 40 {
			w.after(time.Duration(i)*20*time.Millisecond, func() { w.lieToFollower(lead, liar, n) })
		}
	})
}

// leadTimeout is after how long a leader gives its lead up that no follower answers: as a liar does not, and one that
// is away.
const leadTimeout = time.Second

// lieToFollower sends a follower what a leader would send, claiming to lead in the leader's term or the next one.
func (w *world) lieToFollower(lead, liar, n *node) {
	v, ok := lead.peer.Ledger(w.id)
	if w.ended || !ok {
		return
	}
	voter := func(n *node) (m quorum.Voter) {
		if i := slices.IndexFunc(v.Voters, func(m quorum.Voter) bool { return m.Peer == n.id }); i >= 0 {
			m = v.Voters[i]
		}
		return m
	}
	c, _ := lead.peer.Copy(w.id)
	m := raftpb.Message{
		From:    voter(liar).ID,
		To:      voter(n).ID,
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

// calmNet reports whether no message is lost or late, and no home has crashed or given its lead up for want of an
// answer, so that the leader is heard.
func (w *world) calmNet() bool {
	return w.cfg.Drop == 0 && w.cfg.Delay == 0 && w.res.Faults.HomeCrashes == 0 && !w.stoodDown
}
