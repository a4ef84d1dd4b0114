package sim

import (
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/engine/liar"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
)

// A member with the right admin lies: it signs that a job which lives goes on from a copy of its own, and again from
// another's, and then once more from its own, though nobody has asked for that. It says so to all, time and again,
// leads the job by that, and ends it. Whoever has a copy of the ledger follows none of it. Nodes that join later, and
// know nothing else, may work for it, and take its end for the job's until they are told of the other.

// Ruling is a run in which a member with the right admin lies so.
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
	} // the liar is late, too
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

// reignEvery is how long a lying admin waits until it says all of it again to somebody.
const reignEvery = 10 * time.Millisecond

// reign has an admin sign recoveries of the job that is looked at, and act by them from now on.
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
		conf, err := quorum.NextRecovery(quorum.NewMember(of, 1<<50+uint64(i)), term)
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
		all = append(all, w.ruled(n, chain, term)...)
	}
	w.trace.printf(w.now, n, "SIGNS three recoveries, that of %s among them", other)
	w.proclaim(n, all)
}

// ruled are the messages with which a liar has a job by a recovery.
func (w *world) ruled(n *node, chain quorum.Chain, term uint64) []engine.Message {
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

// proclaim says one of a liar's messages to somebody, and comes back for the next.
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

// turnAdmin has an admin lie, which keeps to what the protocol wants in all else.
func (w *world) turnAdmin(n *node) {
	n.liar.Habits = liar.Habits{Every: time.Second}
	w.reign(n)
}

// mayBelieve reports whether a node may take a lying admin for who leads the job: one that had no copy of the ledger,
// and had heard of no home when it heard of that one, which may then have made a copy of its own there.
func (w *world) mayBelieve(n *node) bool {
	_, replica := n.peer.Ledger(w.id)
	n.fooled = n.fooled || w.cfg.Admin && n.term == 0 && !replica
	return n.fooled
}

// believed tells of a node that still takes the end of a lying admin for the job's, when the job is over for all.
func (w *world) believed() {
	for _, n := range w.nodes {
		if n.up && n.honest && n.disk.end != nil && n.disk.end.Ended.Sum != w.first.Sum() {
			w.fail("%s is told of the true end no more, and takes another for that", n.id)
		}
	}
}
