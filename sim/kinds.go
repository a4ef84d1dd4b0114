package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// Jobs of several kinds run at once on nodes that have one runtime, two, or none. The first job is the one that all of
// a run's checks are about; the others, the side jobs, are modelled with less: their disks take every write, and
// nothing rots. Each of them must be done, exactly once, and whichever node begins a generation of a job, loads its
// code, is asked for work of it or is dealt some, must have a runtime for it.

// kindsOfWork is how many kinds there are; a job is of the kind of its number.
const kindsOfWork = 3

// runtimeFor is what jobs of a kind need, and what a runtime for that offers.
func runtimeFor(kind int) string { return fmt.Sprint("k", kind) }

// needing is a description of a job that needs a runtime for a kind.
func needing(job tasks.Job, kind int) *tasks.Job {
	job.Work.Needs = []string{runtimeFor(kind)}
	return &job
}

// kindsOf are those that a node has runtimes for: one of six nodes has none, half of them have one, and two of six two.
// Who submits a job has the runtime for it.
func (w *world) kindsOf(num int) (kinds []int) {
	rng := rand.New(rand.NewPCG(w.cfg.Seed, uint64(num)<<8|0x4b))
	first, more := rng.IntN(kindsOfWork), rng.IntN(6)
	if num < kindsOfWork {
		first, more = num, max(more, 1)
	}
	if more > 0 {
		kinds = append(kinds, first)
	}
	if more > 3 {
		kinds = append(kinds, (first+1+rng.IntN(kindsOfWork-1))%kindsOfWork)
	}
	return kinds
}

// offers are those of a node's runtimes.
func (w *world) offers(n *node) (out []tasks.Offer) {
	if !w.cfg.Kinds {
		return nil
	}
	for _, k := range w.kindsOf(n.num) {
		out = append(out, tasks.Offer{runtimeFor(k)})
	}
	return out
}

// runs reports whether a node has a runtime for one of the run's jobs. It looks at the model, not at what nodes offer.
func (w *world) runs(n *node, id tasks.JobID) bool {
	if !w.cfg.Kinds {
		return true
	}
	kind := 0
	if s := w.side(id); s != nil {
		kind = s.kind
	}
	return slices.Contains(w.kindsOf(n.num), kind)
}

// sideJob is a job beside the first.
type sideJob struct {
	id      tasks.JobID
	job     *tasks.Job
	kind    int
	from    time.Duration // submitted
	founded bool          // its ledger is on its submitter's disk: from then on it must be done
	dropped bool          // its submitter left before that, and nobody else knows of it
	bound   time.Duration // when it must have ended, once all faults have
	results map[string]content
	first   string        // the result that was told first
	ended   time.Duration // when that was; 0 while nobody has
	ran     int64
}

// sideDisk is what a node keeps of a side job when it crashes.
type sideDisk struct {
	log     *quorum.Log
	kept    map[merge.ID]blob
	results []string
	end     *engine.EndSealed
}

// side is the side job of a name, nil for none.
func (w *world) side(id tasks.JobID) *sideJob {
	for _, s := range w.sides {
		if s.id == id {
			return s
		}
	}
	return nil
}

// sideDisk is a node's disk for a side job.
func (n *node) sideDisk(id tasks.JobID) *sideDisk {
	if n.sides == nil {
		n.sides = map[tasks.JobID]*sideDisk{}
	}
	d := n.sides[id]
	if d == nil {
		d = &sideDisk{kept: map[merge.ID]blob{}}
		n.sides[id] = d
	}
	return d
}

// makeSides makes the side jobs, of as many units each as the first.
func (w *world) makeSides() {
	if !w.cfg.Kinds {
		return
	}
	w.job = needing(*w.job, 0)
	for k := 1; k < kindsOfWork; k++ {
		job := *w.job
		job.Submitter, job.SeedLocal = nodeID(k), (w.cfg.Seed/2+uint64(k))%2 == 0
		w.sides = append(w.sides, &sideJob{
			id:      tasks.NameOf([]byte(fmt.Sprint("job", w.cfg.Seed, "side", k))),
			job:     needing(job, k),
			kind:    k,
			from:    time.Duration(k) * w.cfg.Apart,
			results: map[string]content{},
		})
	}
}

// submitSides has each side job submitted, again if its submitter dies before it was accepted, and sees that it ends.
func (w *world) submitSides() {
	if len(w.sides) > 0 {
		w.res.Able = w.ableSpeed()
	}
	for _, s := range w.sides {
		w.after(s.from, func() { w.followSide(s) })
	}
}

func (w *world) followSide(s *sideJob) {
	n := w.nodes[s.kind]
	s.dropped = n.gone && !s.founded
	if s.ended > 0 || s.dropped {
		return
	}
	_, known := n.peer.Jobs()[s.id]
	if !s.founded && !known && n.up && n.paused <= w.now {
		w.step(n, engine.Submit{ID: s.id, Job: s.job})
	}
	switch all := float64(w.job.Want.Len()) * kindsOfWork; {
	case !w.hostile() || w.now < w.res.Settled:
	case s.bound == 0:
		clean := time.Duration(all * float64(w.cfg.UnitTime) / (w.ableSpeed() * float64(w.cfg.Slots)))
		s.bound = w.now + 2*clean + Allowance
	case w.now > s.bound:
		w.fail("job %d has not ended at %v: %d of %d units have run", s.kind, w.now, s.ran, s.job.Want.Len())
	}
	w.after(500*time.Millisecond, func() { w.followSide(s) })
}

// sidesEnded reports whether all side jobs have ended.
func (w *world) sidesEnded() bool {
	return !slices.ContainsFunc(w.sides, func(s *sideJob) bool { return s.ended == 0 && !s.dropped })
}

// ableSpeed is the speed of the nodes that can run the job which the slowest nodes can run, and how many jobs there
// are.
func (w *world) ableSpeed() (least float64) {
	for k := range kindsOfWork {
		var speed float64
		for _, n := range w.nodes {
			if n.up && slices.Contains(w.kindsOf(n.num), k) && (k > 0 || !w.everBlind(n)) {
				speed += n.speed
			}
		}
		if k == 0 || speed < least {
			least = speed
		}
	}
	return least
}

// checkRuntime sees that an effect asks no node for what it has no runtime for.
func (w *world) checkRuntime(n *node, e engine.Effect) {
	if !w.cfg.Kinds {
		return
	}
	switch e := e.(type) {
	case engine.StartGen:
		if !w.runs(n, e.Job) {
			w.fail("%s begins a generation of job %s, for which it has no runtime", n.id, e.Job.Short())
		}
	case engine.Prepare:
		if !w.runs(n, e.ID) {
			w.fail("%s is to load the code of job %s, for which it has no runtime", n.id, e.ID.Short())
		}
	case engine.Send:
		s := e.Msg.Steal
		i, known := w.index[e.To]
		if s == nil || !known {
			return
		}
		if s.Grant != nil && s.Grant.Dealt && !w.runs(w.nodes[i], s.Grant.Job) {
			w.fail("%s deals work of job %s to %s, which has no runtime for it", n.id, s.Grant.Job.Short(), e.To)
		}
		if s.Request == nil {
			return
		}
		for _, id := range s.Request.Jobs {
			if !w.runs(n, id) || !w.runs(w.nodes[i], id) {
				w.fail("%s asks %s for work of job %s, for which one of them has no runtime", n.id, e.To, id.Short())
			}
		}
	}
}

// ofSide carries out what a node wants for a side job. False for what is of the first job, or alike for all.
func (w *world) ofSide(n *node, e engine.Effect) bool {
	switch e := e.(type) {
	case engine.FoundLedger:
		return w.sideFounds(n, e)
	case engine.WriteLedger:
		return w.sideWrites(n, e)
	case engine.DropLedger:
		if w.side(e.ID) == nil {
			return false
		}
		if e.Reason != "" {
			w.fail("%s gives up its copy of a side job's ledger: %s", n.id, e.Reason)
		}
		d := n.sideDisk(e.ID)
		w.sideWrite(n, func() { d.log, d.kept = nil, map[merge.ID]blob{} }, func() {})
	case engine.FinishJob:
		return w.sideFinishes(n, e)
	case engine.KeepResult:
		return w.sideKeepsResult(n, e)
	case engine.JobEnded:
		return w.sideEnds(n, e)
	case engine.EndSealed:
		if w.side(e.ID) == nil {
			return false
		}
		n.sideDisk(e.ID).end = &e
	case engine.JobOver:
		if w.side(e.ID) == nil {
			return false
		}
		for id, b := range n.blobs {
			if b.job == e.ID {
				delete(n.blobs, id)
			}
		}
	default:
		return w.sideBlobs(n, e)
	}
	return true
}

// sideBlobs is ofSide for what is kept of partials.
func (w *world) sideBlobs(n *node, e engine.Effect) bool {
	switch e := e.(type) {
	case engine.FetchBlob:
		return w.sideKeeps(n, e.Partial, e.Sources, func(b blob, ok bool) engine.Event {
			if !ok {
				return engine.NotStored{Partial: e.Partial, Seq: e.Seq}
			}
			return engine.Stored{Partial: e.Partial, Units: b.units(), Canary: b.canary, Seq: e.Seq}
		})
	case engine.KeepBlob:
		return w.sideKeeps(n, e.Partial, append([]tasks.PeerID{e.To}, e.Sources...), func(_ blob, ok bool) engine.Event {
			return engine.BlobKept{Asked: e, OK: ok}
		})
	case engine.FoldBlobs:
		return w.sideFolds(n, e)
	case engine.FreeBlob:
		if w.side(e.Partial.Job) == nil {
			return false
		}
		delete(n.sideDisk(e.Partial.Job).kept, e.Partial.ID)
	case engine.SweepBlobs:
		if w.side(e.Job) == nil {
			return false
		}
		kept := n.sideDisk(e.Job).kept
		for id := range kept {
			if !slices.ContainsFunc(e.Keep, func(p merge.Partial) bool { return p.ID == id }) {
				delete(kept, id)
			}
		}
	case engine.ForgetBlob:
		if w.side(e.Job) == nil {
			return false
		}
		delete(n.blobs, e.ID)
	default:
		return false
	}
	return true
}

// sideWrite makes something durable a little later, unless the node crashes before.
func (w *world) sideWrite(n *node, apply, done func()) {
	boot := n.boot
	n.sideFree = max(n.sideFree, w.now) + w.between(200*time.Microsecond, 2*time.Millisecond)
	w.after(n.sideFree-w.now, func() {
		if n.boot == boot {
			apply()
			done()
		}
	})
}

func (w *world) sideFounds(n *node, e engine.FoundLedger) bool {
	s := w.side(e.ID)
	if s == nil {
		return false
	}
	d, log := n.sideDisk(e.ID), e.Log
	w.sideWrite(n, func() { d.log, s.founded = &log, true }, func() {
		w.step(n, engine.Founded{ID: e.ID, Voter: log.Self.ID, Job: s.job})
	})
	return true
}

func (w *world) sideWrites(n *node, e engine.WriteLedger) bool {
	if w.side(e.ID) == nil {
		return false
	}
	log := n.sideDisk(e.ID).log
	if log == nil {
		w.fail("%s writes a side job's ledger that it has not", n.id)
		return true
	}
	w.sideWrite(n, func() { log.Keep(e.Write) }, func() { w.step(n, engine.Written{ID: e.ID, Seq: e.Seq}) })
	return true
}

// sideKeeps brings a partial's blob to a node's disk.
func (w *world) sideKeeps(
	n *node, p merge.Partial, from []tasks.PeerID, answer func(b blob, ok bool) engine.Event,
) bool {
	if w.side(p.Job) == nil {
		return false
	}
	boot := n.boot
	w.after(2*w.cfg.Latency+w.transfer(n, p), func() {
		if n.boot != boot {
			return
		}
		b, ok := w.lookup(n, p, from...)
		if !ok || p.Holder != n.id && w.unlucky() {
			w.step(n, answer(b, false))
			return
		}
		d := n.sideDisk(p.Job)
		w.sideWrite(n, func() { d.kept[p.ID] = b }, func() { w.step(n, answer(b, true)) })
	})
	return true
}

func (w *world) sideFolds(n *node, e engine.FoldBlobs) bool {
	if w.side(e.Job) == nil {
		return false
	}
	d, out, ok := n.sideDisk(e.Job), blob{job: e.Job, sha: w.sha()}, true
	for _, p := range e.Inputs {
		b, have := d.kept[p.ID]
		ok = ok && have
		out.packets = append(out.packets, b.packets...)
		out.canary += b.canary
	}
	out.packets = joined(out.packets)
	if !ok {
		w.reply(n, w.cfg.Latency, engine.NotFolded{Job: e.Job, Inputs: merge.IDs(e.Inputs)})
		return true
	}
	w.sideWrite(n, func() { d.kept[e.ID] = out }, func() {
		w.step(n, engine.Folded{Partial: w.partial(e.Job, e.ID, e.Inputs, out)})
	})
	return true
}

func (w *world) sideFinishes(n *node, e engine.FinishJob) bool {
	s := w.side(e.ID)
	if s == nil {
		return false
	}
	d, out := n.sideDisk(e.ID), content{lost: e.Lost}
	for _, p := range e.Parts {
		b, ok := d.kept[p.ID]
		if !ok || b.sha != p.SHA256 {
			w.fail("%s makes the result of job %d without %v, which it does not keep", n.id, s.kind, p.ID)
			return true
		}
		out.packets = append(out.packets, b.packets...)
		out.canary += b.canary
	}
	slices.SortFunc(out.packets, func(a, b tasks.Range) int { return int(min(max(a.First-b.First, -1), 1)) })
	if out.canary != e.Canary {
		w.fail("the canary of job %d is not what the ledger says", s.kind)
	}
	r := out.result()
	s.results[r.SHA256] = out
	w.sideWrite(n, func() { d.results = append(d.results, r.SHA256) }, func() {
		w.step(n, engine.Finished{ID: e.ID, Result: r})
	})
	return true
}

func (w *world) sideKeepsResult(n *node, e engine.KeepResult) bool {
	if w.side(e.ID) == nil {
		return false
	}
	boot := n.boot
	w.after(2*w.cfg.Latency+w.cfg.Blob, func() {
		o := w.at(e.To)
		if n.boot != boot {
			return
		}
		answer := engine.ResultKept{Asked: e}
		if !w.reaches(n, o) || !slices.Contains(o.sideDisk(e.ID).results, e.Result.SHA256) {
			w.step(n, answer)
			return
		}
		answer.OK = true
		d := n.sideDisk(e.ID)
		w.sideWrite(n, func() { d.results = append(d.results, e.Result.SHA256) }, func() { w.step(n, answer) })
	})
	return true
}

// sideEnds takes the word of a replica that a side job's result is in its ledger: it has every unit once, and is the
// same wherever it is told.
func (w *world) sideEnds(n *node, e engine.JobEnded) bool {
	s := w.side(e.ID)
	if s == nil {
		return false
	}
	if s.first != "" {
		if s.first != e.Result.SHA256 {
			w.fail("%s tells another result of job %d", n.id, s.kind)
		}
		return true
	}
	s.first, s.ended = e.Result.SHA256, w.now
	w.res.Sides = append(w.res.Sides, Side{Kind: s.kind, Took: w.now - s.from})
	c := s.results[s.first]
	next := s.job.Want.First
	for _, r := range c.packets {
		if r.First != next {
			w.fail("job %d has units %v after unit %d", s.kind, r, next)
		}
		next = r.Last
	}
	if next != s.job.Want.Last || len(c.lost) > 0 {
		w.fail("the result of job %d ends at unit %d of %d, with %d ranges lost", s.kind, next, s.job.Want.Last, len(c.lost))
	}
	if !w.hostile() && w.ended && w.sidesEnded() {
		w.over = true
	}
	return true
}

// restoreSides gives a process what is on its disk of side jobs.
func (w *world) restoreSides(n *node) {
	for _, s := range w.sides {
		d := n.sides[s.id]
		if d == nil {
			continue
		}
		if d.end != nil {
			w.step(n, engine.Remember(*d.end))
		}
		if d.log == nil {
			continue
		}
		log := *d.log
		log.Entries = slices.Clone(log.Entries)
		w.step(n, engine.Restore{ID: s.id, Job: s.job, Log: log})
	}
}

// Side tells how a side job ended.
type Side struct {
	Kind int
	Took time.Duration // from when it was submitted
}
