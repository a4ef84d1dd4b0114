package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
)

// Here two of a ledger's three replicas are lost: their disks are destroyed, or they are away for so long that the user
// takes them for lost, and come back later with everything they had. The user has the job recovered from the copy that
// is left. The job must not go on before that, and must then end with each unit once. Replicas that come back must
// follow the new ledger, and have no other end.

// Recovering returns a run in which a ledger loses its majority and is recovered.
func Recovering(seed uint64) Config {
	c := Config{
		Seed:       seed,
		Nodes:      6 + int(seed%3)*4,
		Slots:      1 + int(seed%2),
		Units:      6_000 + int64(seed%7)*1_000,
		Files:      10,
		Replicas:   3,
		Packet:     200 * time.Millisecond,
		UnitTime:   10 * time.Millisecond,
		Latency:    time.Duration(1+seed%3) * time.Millisecond,
		Calm:       3 * time.Second,
		Deal:       seed%2 == 0,
		Blob:       time.Duration(seed%3) * 5 * time.Millisecond,
		Generation: time.Second,
		Recover:    true,
		Return:     int(seed % 3),
	}
	if seed%4 == 2 {
		c.Drop, c.Repeat, c.Delay = 0.03, 0.03, 0.02
	}
	if seed%5 == 1 {
		c.Snapshot = 16
	}
	if seed%3 == 2 {
		c.Appends = 1 + int(seed%9)
	}
	if seed%7 == 3 {
		c.Poison = []int64{17, 3_456}
	}
	return c
}

// recovery is the state of a recovery in a run.
type recovery struct {
	recovered bool
	away      map[*node]bool // replicas that are away with an outdated copy
}

// counts reports whether a copy of the ledger is in force: after a recovery, only those of the recovered ledger are.
func (w *world) counts(v engine.LedgerView) bool { return !w.recovered || v.Recovery != nil }

func (w *world) planRecovery() {
	if w.cfg.Recover {
		w.away = map[*node]bool{}
		w.after(w.between(time.Second, w.cfg.Calm), w.loseMajority)
	}
}

// loseMajority removes two of three replicas, as soon as there are three and something is committed.
func (w *world) loseMajority() {
	lead := w.leader()
	if w.ended {
		return
	}
	var v engine.LedgerView
	if lead != nil {
		v, _ = lead.peer.Ledger(w.id)
	}
	if len(v.Voters) != 3 || v.Changing || v.Committed.Empty() {
		w.after(20*time.Millisecond, w.loseMajority)
		return
	}
	last := w.nodes[w.index[v.Voters[w.rng.IntN(3)].Peer]]
	w.trace.printf(w.now, last, "LAST COPY")
	back := w.cfg.Return
	var late []*node
	for _, m := range v.Voters {
		n := w.nodes[w.index[m.Peer]]
		if n == last {
			continue
		}
		w.takeDown(n, 5*time.Second)
		if back--; back >= 0 || w.silenced(n) {
			late = append(late, n)
			w.away[n] = true
			continue
		}
		n.gone = true
		w.lostDisk(n)
	}
	w.after(w.between(11*time.Second, 15*time.Second), func() { w.recoverFrom(last, late) })
	w.settle(w.now + 15*time.Second)
}

// recoverFrom plays the user, who has the job recovered. Later the replicas come back that kept their disks.
func (w *world) recoverFrom(last *node, late []*node) {
	v, ok := last.peer.Copy(w.id)
	switch {
	case !ok || w.leader() != nil:
		w.fail("%s has a copy that cannot be recovered: it is there %v, and somebody leads %v", last.id, ok,
			w.leader() != nil)
		return
	case v.Majority: // a delayed message still makes the majority seem alive
		w.settle(w.now + 2*time.Second)
		w.after(2*time.Second, func() { w.recoverFrom(last, late) })
		return
	}
	w.sayAll()
	w.recovered, w.commits, w.truth = true, map[merge.ID]bool{}, nil
	for _, n := range w.nodes { // from now on blobs from before the recovery may be on any disk
		for id := range n.disk.kept {
			w.harmed[id] = true
		}
	}
	c, err := quorum.NextRecovery(quorum.NewVoter(last.id, 1<<50+uint64(w.now)), v.Term)
	if err != nil {
		w.fail("%v", err)
		return
	}
	user := w.nodes[home].id
	text := engine.RecoveryText(w.id, c)
	w.trace.printf(w.now, last, "RECOVER")
	w.res.Faults.Recoveries++
	w.step(last, engine.Recover{
		ID:   w.id,
		Link: quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: user, Sig: modelkeys.Keys(user).Sign(text)}}},
	})
	for _, n := range late {
		after := w.between(100*time.Millisecond, 20*time.Second)
		w.settle(w.now + after)
		w.after(after, func() {
			w.res.Faults.Returns++
			w.join(n)
		})
	}
	w.after(5*time.Second, func() {
		if lead := w.leader(); lead == nil && !w.ended {
			w.fail("nobody leads the job 5 s after it was recovered")
		}
	})
	w.settle(w.now + 5*time.Second)
}

// mayGiveUp reports whether a node may drop its copy of the ledger, since it is from before a recovery.
func (w *world) mayGiveUp(n *node) bool {
	back := w.away[n]
	delete(w.away, n)
	return back
}
