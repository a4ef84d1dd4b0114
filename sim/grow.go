package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Here an open job grows while nodes and homes die. Its client, a process beside the submitter's daemon, appends files
// at random times. It repeats each append until it learns that it is in the log, and sometimes after that. At the end
// each appended unit must count once, and no other. The ledger of whoever leads must have what was acknowledged, unless
// it was recovered from a copy that lacked it. No node may run units that it has not been told of.

// Growing returns a hostile run of a job that grows.
func Growing(seed uint64) Config {
	c := Hostile(seed)
	c.Appends = 1 + int(seed%9)
	return c
}

// client appends to the job. For each step it knows whether the append was acknowledged.
type client struct {
	steps []tasks.Append // its appends: files, and whether the job is closed then
	begun int            // number of steps that it has made
	heard []bool
	// This is not the world's source, so that runs of jobs that do not grow stay as they were.
	rng  *rand.Rand
	desc *tasks.Job // the job as it is submitted
}

// planGrowth divides a job's files into those with which it begins, if any, and those that are appended.
func (w *world) planGrowth() {
	w.client = client{desc: w.job, rng: rand.New(rand.NewPCG(w.cfg.Seed, 0x960))}
	if w.cfg.Appends == 0 {
		return
	}
	c, files := &w.client, w.job.Data.Files
	first := c.rng.IntN(len(files)/2 + 1)
	w.linkUnits(files[first:])
	data, err := tasks.NewDataset(slices.Clone(files[:first]))
	if err != nil {
		w.fail("%v", err)
		return
	}
	data.Whole = w.job.Data.Whole
	desc := *w.job
	desc.Data, desc.Want, desc.Open = *data, data.Space(), true
	c.desc = &desc
	rest := files[first:]
	for i := range w.cfg.Appends {
		n := len(rest) * (i + 1) / w.cfg.Appends
		part := rest[len(rest)*i/w.cfg.Appends : n]
		if len(part) > 0 {
			c.steps = append(c.steps, tasks.Append{Seq: uint64(len(c.steps) + 1), Files: part})
		}
	}
	if last := &c.steps[len(c.steps)-1]; c.rng.IntN(2) == 0 {
		last.Close = true
	} else {
		c.steps = append(c.steps, tasks.Append{Seq: last.Seq + 1, Close: true})
	}
	c.heard = make([]bool, len(c.steps))
}

// startClient plans the times of the client's steps, one after the other.
func (w *world) startClient() {
	c := &w.client
	if len(c.steps) == 0 {
		return
	}
	end := max(w.cfg.Calm, time.Second)
	at := make([]time.Duration, len(c.steps))
	for i := range at {
		at[i] = time.Duration(c.rng.Int64N(int64(end)))
	}
	slices.Sort(at)
	for i := range at {
		w.after(at[i], func() {
			c.begun = i + 1
			w.say(i)
		})
	}
	w.after(0, w.repeat)
}

// say sends one of the client's appends through the submitter's daemon, if that is up.
func (w *world) say(i int) {
	a := w.client.steps[i]
	w.trace.printf(w.now, w.nodes[home], "CLIENT appends %d", a.Seq)
	w.step(w.nodes[home], engine.Append{ID: w.id, Seq: a.Seq, Files: a.Files, Close: a.Close, Near: w.hints(&a)})
}

// hints say at random which nodes are near some units of an append, and now and then what makes no sense.
func (w *world) hints(a *tasks.Append) (out []steal.Near) {
	rng := w.client.rng
	for range rng.IntN(4) {
		first := rng.Int64N(a.Units() + 2)
		out = append(out, steal.Near{
			To:     w.nodes[rng.IntN(len(w.nodes))].id,
			Ranges: tasks.CoverOf(tasks.R(first, first+rng.Int64N(a.Units()+2))),
			Cost:   time.Duration(rng.Int64N(int64(2 * time.Second))),
		})
	}
	return out
}

// repeat sends the appends again that were not acknowledged, and sometimes one that was.
func (w *world) repeat() {
	c := &w.client
	if w.over || w.ended {
		return
	}
	for i := range c.begun {
		if !c.heard[i] || c.rng.IntN(20) == 0 {
			w.say(i)
		}
	}
	w.after(100*time.Millisecond+time.Duration(c.rng.Int64N(int64(time.Second))), w.repeat)
}

// sayAll makes the client repeat all appends, since the ledger was recovered and may lack acknowledged ones.
func (w *world) sayAll() { clear(w.client.heard) }

// silenced reports whether a node must not leave now, since the client has more to append and no other daemon to use.
func (w *world) silenced(n *node) bool {
	return n.num == home && slices.Contains(w.client.heard, false)
}

// grew handles what a node reports about the growth of the job.
func (w *world) grew(n *node, e engine.Effect) {
	switch e := e.(type) {
	case engine.Grown:
		if e.ID != w.id {
			return
		}
		if n.knows = e.Units.Last; n.knows > w.job.Want.Last && n.honest && w.honestHome() {
			w.fail("%s takes the job to have grown to %d units, of %d that were appended", n.id, n.knows, w.job.Want.Last)
		}
	case engine.ReadLinks:
		if e.ID == w.id {
			w.readLinks(n, e.Append)
		}
	case engine.Regrown:
		if e.ID != w.id {
			return
		}
		if n.knows = w.client.desc.Want.Last; !w.recovered && n.honest && w.honestHome() {
			w.fail("%s is told that the job has not grown as it knows", n.id)
		}
		clear(n.blobs)
		if n == w.nodes[home] {
			w.sayAll()
		}
	case engine.Appended:
		w.appended(n, e)
	}
}

// appended handles the answer to an append of the client.
func (w *world) appended(n *node, e engine.Appended) {
	if e.ID != w.id || n != w.nodes[home] || e.Seq == 0 || e.Seq > uint64(len(w.client.heard)) {
		return
	}
	switch {
	case e.Reason == "":
		w.trace.printf(w.now, n, "CLIENT hears of %d", e.Seq)
		w.client.heard[e.Seq-1] = true
	case !e.Again && !w.ended && w.honestHome() && n.honest && !n.fooled:
		w.fail("append %d is refused: %s", e.Seq, e.Reason)
	}
}

// checkGrowth checks that a home has all appends that were acknowledged.
func (w *world) checkGrowth(n *node) {
	v, ok := n.peer.Growth(w.id)
	if l, has := n.peer.Ledger(w.id); ok && (!has || w.counts(l) && !w.outdated(l)) && w.honestHome() {
		for i, heard := range w.client.heard {
			if heard && uint64(i) >= v.Appends && !w.ended {
				w.fail("%s leads the job without append %d, which was acknowledged", n.id, i+1)
			}
		}
	}
}

// checkKnown checks that a node runs only units that it has been told of.
func (w *world) checkKnown(n *node, r tasks.Range) {
	if r.Last > n.knows {
		w.fail("%s runs units %v, and has been told of %d", n.id, r, n.knows)
	}
}

// forgeEvery is the interval at which a liar appends.
const forgeEvery = 200 * time.Millisecond

// forge lets a liar append units of its own to the job, as if it were the submitter.
func (w *world) forge(n *node) {
	if w.over || w.cfg.Appends == 0 {
		return
	}
	if lead := w.leader(); lead != nil && lead != n && n.up {
		v, _ := lead.peer.Growth(w.id)
		w.res.Faults.Lies++
		a := tasks.Append{Seq: v.Appends + 1, Files: []tasks.File{{URL: "forged", Entries: 100}}}
		a.Sig = modelkeys.Keys(n.id).Sign(tasks.AppendText(w.id, a.Seq, a.Sum(tasks.AppendSum{})))
		w.post(n, lead.id, engine.Message{Job: w.id, Append: &a})
	}
	w.after(forgeEvery, func() { w.forge(n) })
}
