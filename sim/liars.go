package sim

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/engine/liar"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Role is the role that a lying member has in the job.
type Role string

// These are the roles. A liar has its own identity, and no right or role beside this one.
const (
	LyingWorker   Role = "worker"   // works for the job, and is never a replica
	LyingFollower Role = "follower" // is one of the replicas, and does not lead
	LyingHome     Role = "home"     // is the job's submitter
)

// LiarAllowance is Allowance for runs with liars. Beside the usual timeouts two more must pass, perhaps one after the
// other: a merge that was ordered and never offered is given up (2 min), and what is held without progress runs
// elsewhere (1 min).
const LiarAllowance = 4 * time.Minute

// shunAfter is how many messages that no honest node sends a node accepts from a peer before it closes the link, and
// shunFor is how long it refuses the peer then. The daemon does the same.
const (
	shunAfter = 5
	shunFor   = 60 * time.Second
)

// Lying returns a run in which some members lie about their work, in ways that the seed decides.
func Lying(seed uint64) Config {
	c := Config{
		Seed:     seed,
		Nodes:    10 + int(seed%3)*6,
		Slots:    1 + int(seed%2),
		Units:    12_000 + int64(seed%7)*1_000,
		Files:    10,
		Replicas: 3,
		Packet:   200 * time.Millisecond,
		UnitTime: 5 * time.Millisecond,
		Latency:  time.Duration(1+seed%3) * time.Millisecond,
		Calm:     2 * time.Second,
		Deal:     seed%2 == 0,
		Liars:    1,
		Blob:     time.Duration(seed%3) * 5 * time.Millisecond,
	}
	c.Liar = LyingWorker
	if seed%4 == 2 && c.Liar != LyingHome {
		c.Drop, c.Repeat, c.Delay = 0.03, 0.03, 0.02
	}
	if seed%7 == 5 && c.Liar == LyingWorker {
		c.Crashes = 2
	}
	if seed%9 == 4 {
		c.Thieves = 1
	}
	c.Holds = seed%9 == 7
	if seed%6 == 1 {
		c.Poison = []int64{17, 3_456}
	}
	return c
}

// Usurping returns a run in which members also lie about their role, and send anything.
func Usurping(seed uint64) Config {
	c := Lying(seed)
	c.Usurp, c.Holds = true, false
	if seed%4 == 2 {
		c.Appends = 1 + int(seed%7)
	}
	switch seed % 5 {
	case 3:
		c.Liar, c.Liars = LyingFollower, 1
		c.Restarts = int(seed / 5 % 4)
	case 4:
		c.Liar, c.Liars = LyingHome, 1
		if seed%10 == 9 { // also about a job beside the one that is checked
			c.Liar, c.Second = LyingWorker, true
		}
	}
	return c
}

// planLiars chooses who lies, and from when on.
func (w *world) planLiars() {
	switch w.cfg.Liar {
	case LyingWorker:
		for i := range min(w.cfg.Liars, w.cfg.Nodes-4) {
			n := w.nodes[w.cfg.Nodes-1-i]
			n.honest = false
			w.after(w.random(w.cfg.Calm), func() { w.turn(n) })
		}
	case LyingHome:
		n := w.nodes[home]
		n.honest = false
		w.after(w.between(300*time.Millisecond, w.cfg.Calm), func() { w.turn(n) })
	case LyingFollower:
		w.after(w.between(time.Second, w.cfg.Calm), w.turnFollower)
	}
}

// turnFollower makes a liar of a replica that does not lead, as soon as there are three replicas.
func (w *world) turnFollower() {
	if w.ended {
		return
	}
	if lead := w.leader(); lead != nil {
		v, _ := lead.peer.Ledger(w.id)
		var followers []*node
		for _, m := range v.Voters {
			if n := w.nodes[w.index[m.Peer]]; n != lead {
				followers = append(followers, n)
			}
		}
		if len(v.Voters) == 3 && !v.Changing {
			n := followers[w.rng.IntN(2)]
			n.honest = false
			w.turn(n)
			w.planRestarts(lead, n, followers)
			return
		}
	}
	w.after(100*time.Millisecond, w.turnFollower)
}

// turn makes a liar of a node (package liar).
func (w *world) turn(n *node) {
	lies := []liar.Lie{w.falseBlob(n), w.claim(n)}
	if w.cfg.Liar == LyingWorker {
		lies = append(lies, w.whole(n))
	}
	n.liar = liar.New(w.rng, n.id, modelkeys.Keys(n.id), w.cfg.Usurp, lies...)
	if w.cfg.Holds {
		n.liar.Habits = liar.Habits{Every: time.Second, Greedy: true, Hog: true}
	}
	if w.cfg.Admin {
		w.turnAdmin(n)
	}
	if w.cfg.Climbs {
		n.liar.Habits = liar.Habits{Every: time.Second}
		w.climb(n)
	}
	w.submitSecond(n)
	w.trace.printf(w.now, n, "LIES: %+v", n.liar.Habits)
	w.settle(w.now)
	if !w.cfg.Holds && !w.cfg.Climbs && !w.cfg.Admin {
		w.forge(n)
		w.lie(n)
	}
}

// lie sends one lie, and queues the next.
func (w *world) lie(n *node) {
	if w.over {
		return
	}
	if n.up {
		s := w.scene()
		if lead := w.leader(); lead != nil { // a real liar could find it out
			v, _ := lead.peer.Ledger(w.id)
			s.Home, s.Voters = lead.id, v.Voters
		}
		if to, m, ok := n.liar.Speak(s); ok {
			w.res.Faults.Lies++
			w.post(n, to, m)
		}
	}
	w.after(n.liar.Pause(), func() { w.lie(n) })
}

// climbEvery is the interval at which a liar claims again to be above all others in the merge tree.
const climbEvery = 100 * time.Millisecond

// climb lets a liar deal units to all other nodes, such that it would merge their partials.
func (w *world) climb(n *node) {
	if w.over {
		return
	}
	for _, o := range w.nodes {
		if n.up && o != n {
			w.res.Faults.Lies++
			n.thefts++
			u := w.job.Want.First + w.rng.Int64N(w.job.Want.Len())
			g := steal.Grant{ID: 1<<50 + n.thefts, Job: w.id, Ranges: tasks.CoverOf(tasks.R(u, u+1)), Dealt: true, Above: n.id}
			w.post(n, o.id, engine.Message{Steal: &steal.Message{Grant: &g}})
		}
	}
	w.after(climbEvery, func() { w.climb(n) })
}

// scene is what a liar knows about the job.
func (w *world) scene() liar.Scene {
	s := liar.Scene{Job: w.id, Want: w.job.Want, Peers: w.ids, Term: 1, Own: w.second, OwnTerm: 1, Result: w.first.SHA256}
	for t := range w.homes {
		s.Term = max(s.Term, t)
	}
	return s
}

// falseBlob lets a liar offer a partial whose blob exists, but has other units.
func (w *world) falseBlob(n *node) liar.Lie {
	return func(l *liar.Liar) (engine.Message, bool) {
		c := l.Units()
		p := merge.Partial{
			ID:     merge.ID{Node: n.id, Seq: l.Next()},
			Job:    w.id,
			Cover:  c,
			Units:  c.Len(),
			Canary: w.rng.Uint64(),
			SHA256: w.sha(),
			Holder: n.id,
		}
		b := blob{sha: p.SHA256, lie: true, packets: l.Units(), canary: p.Canary + uint64(w.rng.IntN(2))}
		if b.units() == p.Units {
			b.packets, b.canary = nil, p.Canary
		}
		n.blobs[p.ID] = b
		if w.rng.IntN(3) == 0 {
			return engine.Message{Gather: &p}, true
		}
		return engine.Message{Offer: &p}, true
	}
}

// claim lets a liar offer a few units that it has not run, in a partial without a visible fault: whether a worker has
// really computed something cannot be checked.
func (w *world) claim(n *node) liar.Lie {
	return func(l *liar.Liar) (engine.Message, bool) { return w.madeUp(n, l, tasks.CoverOf(l.Some(50))) }
}

// whole lets a liar offer the whole job in this way, or all but what was committed a moment ago.
func (w *world) whole(n *node) liar.Lie {
	return func(l *liar.Liar) (engine.Message, bool) {
		c := tasks.CoverOf(w.job.Want)
		if lead := w.leader(); lead != nil && w.rng.IntN(2) == 0 {
			v, _ := lead.peer.Ledger(w.id)
			c = c.Minus(v.Committed)
		}
		return w.madeUp(n, l, c)
	}
}

// madeUp is a false partial of units, except those that must fail.
func (w *world) madeUp(n *node, l *liar.Liar, c tasks.Cover) (engine.Message, bool) {
	for _, u := range w.cfg.Poison {
		c = c.Minus(tasks.Cover{tasks.R(u, u+1)})
	}
	if c.Empty() {
		return engine.Message{}, false
	}
	b := blob{sha: w.sha(), packets: c, claimed: c}
	for _, r := range c {
		b.canary += tasks.Canary(w.id.Seed(), r)
	}
	p := merge.Partial{
		ID:     merge.ID{Node: n.id, Seq: l.Next()},
		Job:    w.id,
		Cover:  c,
		Units:  c.Len(),
		Canary: b.canary,
		SHA256: b.sha,
		Size:   1,
		Holder: n.id,
	}
	if w.rng.IntN(2) == 0 { // as if it were a merge of others' work
		p.Kids = []merge.ID{{Node: w.ids[w.rng.IntN(len(w.ids))], Seq: 1}, {Node: n.id, Seq: 1}}
	}
	n.blobs[p.ID] = b
	w.res.Claimed += c.Len()
	return engine.Message{Offer: &p}, true
}

// lends notes the units that a message gives to a liar.
func (w *world) lends(m engine.Message) {
	switch {
	case m.Steal != nil && m.Steal.Grant != nil && m.Steal.Grant.Job == w.id:
		w.lent = w.lent.Union(m.Steal.Grant.Ranges)
	case m.Try != nil && m.Job == w.id:
		w.lent = w.lent.Add(*m.Try)
	}
}

// falsified checks how much of a result a liar has made up against what a worker can achieve: no more than it was
// given, and its share once more. This holds as long as the first home leads the job. The check fails if there is a
// quarter of the units more than that, which allows for what the liar merged for others and what was under way: in 700
// seeds most had less than a tenth more, and none a fifth.
func (w *world) falsified(c content) error {
	if w.cfg.Liar != LyingWorker || w.res.Homes > 1 || w.cfg.Crashes+w.cfg.Pauses > 0 {
		return nil
	}
	made := tasks.CoverOf(c.claimed...)
	w.res.Falsified = made.Len()
	share := w.job.Want.Len() / int64(w.cfg.Nodes)
	if beyond := made.Minus(w.lent).Len(); beyond > int64(max(w.cfg.Liars, 1))*share+w.job.Want.Len()/4 {
		return fmt.Errorf("a liar has falsified %d of %d units beside those that it was given, %d", beyond, w.job.Want.Len(),
			w.lent.Len())
	}
	return nil
}

// violated counts a violation by a peer that a node noticed, and closes the link after a few.
func (w *world) violated(n *node, e engine.Violation) {
	i, ok := w.index[e.From]
	if !ok {
		return
	}
	o := w.nodes[i]
	if o.honest {
		w.fail("%s accuses %s, which is honest: %s", n.id, o.id, e.What)
		return
	}
	w.res.Faults.Violations++
	if n.wrongs == nil {
		n.wrongs, n.shuns = map[int]int{}, map[int]time.Duration{}
	}
	if n.wrongs[i]++; n.wrongs[i] < shunAfter {
		return
	}
	w.res.Faults.Shuns++
	delete(n.wrongs, i)
	n.shuns[i] = w.now + shunFor
	w.notice(n, o, 0)
	w.notice(n, o, shunFor)
}

// shunned reports whether either of two nodes refuses the other.
func (w *world) shunned(a, b *node) bool {
	return (len(a.shuns) > 0 && w.now < a.shuns[b.num]) || (len(b.shuns) > 0 && w.now < b.shuns[a.num])
}
