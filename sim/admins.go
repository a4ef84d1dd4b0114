package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/engine/liar"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
)

// Here a member with the right admin lies: although nobody has asked for it, it signs that a healthy job is recovered
// from a copy of its own, then from another node's, and then once more from its own. It tells everybody again and
// again, leads the job by these recoveries, and ends it. No node with a copy of the ledger follows any of it. Nodes
// that join later, and know nothing else, may work for the liar, and accept its end until they hear of the true one.

// Ruling returns a run in which a member with the right admin lies in this way.
func Ruling(seed uint64) Config {
	c := Config{
		Seed:       seed,
		Nodes:      10 + int(seed%3)*4,
		Slots:      1 + int(seed%2),
		Units:      6_000 + int64(seed%7)*1_000,
		Files:      10,
		Replicas:   3,
		Packet:     200 * time.Millisecond,
		UnitTime:   5 * time.Millisecond,
		Latency:    time.Duration(1+seed%3) * time.Millisecond,
		Calm:       2 * time.Second,
		Deal:       seed%2 == 0,
		Blob:       time.Duration(seed%3) * 5 * time.Millisecond,
		Generation: time.Second,
		Liar:       LyingWorker,
		Liars:      1,
		Admin:      true,
		Late:       1 + int(seed%4),
	} // the liar joins late, too
	if seed%4 == 2 {
		c.Drop, c.Repeat, c.Delay = 0.03, 0.03, 0.02
	}
	if seed%5 == 1 {
		c.Snapshot = 16
	}
	if seed%7 == 3 {
		c.Poison = []int64{17, 3_456}
	}
	return c
}

// reignEvery is the interval at which a lying admin repeats its messages to somebody.
const reignEvery = 10 * time.Millisecond

// reign lets an admin sign recoveries of the job that is checked, and act by them from now on.
func (w *world) reign(n *node) {
	lead := w.leader()
	if lead == nil || n.peer == nil {
		w.after(reignEvery, func() { w.reign(n) })
		return
	}
	v, ok := lead.peer.Copy(w.id)
	if !ok || len(v.Seats[0]) < w.cfg.Replicas {
		w.after(reignEvery, func() { w.reign(n) })
		return
	}
	other := w.ids[w.rng.IntN(len(w.ids))]
	chain, term := quorum.Chain{Founders: v.Chain.Founders}, v.Term
	var all []engine.Message
	for i, of := range []string{n.id, other, n.id} {
		conf, err := quorum.NextRecovery(quorum.NewVoter(of, 1<<50+uint64(i)), term)
		if err != nil {
			w.fail("%v", err)
			return
		}
		link := quorum.Link{
			Conf: conf,
			Sigs: []quorum.Signature{{By: n.id, Sig: modelkeys.Keys(n.id).Sign(engine.RecoveryText(w.id, conf))}},
		}
		chain.Links = []quorum.Link{link}
		term = conf.Term + 1
		all = append(all, w.takeoverMessages(n, chain, term)...)
	}
	w.trace.printf(w.now, n, "SIGNS three recoveries, that of %s among them", other)
	w.proclaim(n, all)
}

// takeoverMessages returns the messages by which a liar takes over a job with a recovery.
func (w *world) takeoverMessages(n *node, chain quorum.Chain, term uint64) []engine.Message {
	keys, link := modelkeys.Keys(n.id), chain.Links[len(chain.Links)-1]
	self := link.Conf.Voters[0]
	out := []engine.Message{{Recovery: &link}}
	if self.Peer == n.id {
		m := quorum.Mandate{Chain: chain, Term: term, Leader: self.ID,
			Votes: []quorum.Signature{{
				By:  n.id,
				Sig: keys.Sign(quorum.VoteText(engine.GroupName(w.id), term, self.ID, self.ID)),
			}}}
		r := &ledger.Result{SHA256: forgedEnd, Status: []byte("done")}
		e := &engine.Ended{Sum: r.Sum(), Units: w.job.Want.Len(), Result: r}
		seal := quorum.SoleSeal(keys, engine.GroupName(w.id), chain, n.id, e.Text())
		e.Seal = &seal
		out = append(out, engine.Message{
			Term: term,
			Open: &engine.Open{Home: n.id, Proof: &m},
		}, engine.Message{Moved: &engine.Moved{Home: n.id, Term: term, Proof: &m}},
			engine.Message{Term: term, Enlist: &engine.Enlist{Nonce: 1, Voters: chain.Founders, Proof: &m}},
			engine.Message{Term: term, Order: engine.OrderRest}, engine.Message{Term: term, Ended: e})
	}
	for i := range out {
		out[i].Job = w.id
	}
	return out
}

// forgedEnd is the result with which a lying admin ends a job.
const forgedEnd = "forged"

// proclaim sends one of a liar's messages to somebody, and queues the next.
func (w *world) proclaim(n *node, all []engine.Message) {
	if w.over {
		return
	}
	if n.up {
		w.res.Faults.Lies++
		w.post(n, w.ids[w.rng.IntN(len(w.ids))], all[w.rng.IntN(len(all))])
	}
	w.after(reignEvery, func() { w.proclaim(n, all) })
}

// turnAdmin makes a liar of an admin, which otherwise keeps to the protocol.
func (w *world) turnAdmin(n *node) {
	n.liar.Habits = liar.Habits{Every: time.Second}
	w.reign(n)
}

// mayBelieve reports whether a node may follow a lying admin as the job's home: a node that had no copy of the ledger,
// and had heard of no home before the liar. The liar may then have made a copy of its own there.
func (w *world) mayBelieve(n *node) bool {
	_, replica := n.peer.Ledger(w.id)
	n.fooled = n.fooled || w.cfg.Admin && n.term == 0 && !replica
	return n.fooled
}

// checkEndsBelieved fails if a node still takes a lying admin's end for the job's when the job is over for all.
func (w *world) checkEndsBelieved() {
	for _, n := range w.nodes {
		if n.up && n.honest && n.disk.end != nil && n.disk.end.Ended.Sum != w.first.Sum() {
			w.fail("%s is told of the true end no more, and takes another for that", n.id)
		}
	}
}
