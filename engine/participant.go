package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// work is what this node does for a job.
//
// blamed is the units that failures blame. This node reports to hold them, so that nobody else runs them before the
// home has booked the failures.
type work struct {
	parts    *merge.Local     // outputs that are not known to be committed
	stats    ledger.Stats     // of this node, for the home
	failures []ledger.Failure // that the home has not acknowledged
	failSeq  uint64           // number of the last failure
	blamed   tasks.Cover      // units that failures blame
	largest  int64            // size of the largest output of a generation so far, in bytes
	kills    int              // how many generations in a row were killed from outside
	full     full             // of the disk here, for an open job
	slots    time.Duration    // for which generations had slots here, all together
}

// killsInARow is how many generations may be killed from outside, with none sealed between, before the
// home is told that something on this node kills them.
const killsInARow = 5

// schedule steps the scheduler and carries out its effects.
func (p *Peer) schedule(ev steal.Event) {
	p.ticked = true
	for _, e := range p.sched.Step(p.now, ev) {
		switch e := e.(type) {
		case steal.Send:
			m := e.Msg
			p.noteGift(e.To, m.Grant)
			p.send(e.To, Message{Steal: &m})
		case steal.Start:
			if j := p.job(e.Job); j != nil {
				p.gens[e.Gen] = &genState{job: j, solo: e.Solo, slot: p.now}
				p.emit(StartGen{Job: e.Job, Gen: e.Gen, Solo: e.Solo})
			}
		case steal.Lease:
			p.emit(e)
		case steal.Preempt:
			p.emit(e)
		case steal.Seal:
			p.room.seals = append(p.room.seals, e.Gen)
		case steal.Kill:
			p.dropGen(e.Gen)
			p.emit(e)
		case steal.Taken:
			if j := p.job(e.Job); j != nil {
				j.reports.news = true
			}
		case steal.Stolen:
			if j := p.job(e.Job); j != nil {
				j.work.stats.Steals++
			}
			p.emit(e)
		case steal.Dealt:
			// The submitter has said who merges this node's partials, see mayPassOn. Where reports are frequent the home
			// says it in its answers to them.
			if j := p.job(e.Job); j != nil && e.Above != j.home && j.reports.every > p.cfg.Report {
				j.work.parts.SetAbove(e.Above)
			}
		}
	}
}

// noteGift has the home told soon to whom work was given, since it rejects partials of units that their maker was never
// given.
func (p *Peer) noteGift(to tasks.PeerID, g *steal.Grant) {
	if g == nil {
		return
	}
	if j := p.job(g.Job); j != nil {
		j.reports.news = true
		if j.leads() {
			j.led.home.Lent(to, g.Ranges)
		}
	}
}

// dropGen forgets a generation, whose slot is free.
func (p *Peer) dropGen(id steal.GenID) {
	if g := p.gens[id]; g != nil {
		g.countSlot(p.now)
		delete(p.gens, id)
	}
}

// countSlot adds the time that the generation had its slot until now to that of its job.
func (g *genState) countSlot(now time.Duration) {
	g.job.work.slots += now - g.slot
	g.slot = now
}

// slotTime is how long generations of a job have had slots here until now, all together, in milliseconds.
func (p *Peer) slotTime(j *jobState) int64 {
	for _, g := range p.gens {
		if g.job == j {
			g.countSlot(p.now)
		}
	}
	return j.work.slots.Milliseconds()
}

// packetDone adds what a generation has run to what its output must show.
func (p *Peer) packetDone(ev PacketDone) {
	g := p.gens[ev.Gen]
	if g == nil {
		return
	}
	done := tasks.R(ev.Packet.First, min(max(ev.Last, ev.Packet.First), ev.Packet.Last))
	if !done.Empty() {
		g.cover = g.cover.Add(done)
		g.canary += tasks.Canary(g.job.id.Seed(), done)
		g.job.work.stats.Packets++
	}
	g.job.work.stats.Units += done.Len()
	g.job.work.stats.Bytes += ev.Bytes
	p.schedule(ev)
}

// packetRefused ends a packet whose file could not be opened. If the cause is this host its units are left to others;
// otherwise the home is told of a failure.
func (p *Peer) packetRefused(ev PacketRefused) {
	g := p.gens[ev.Gen]
	if g == nil {
		return
	}
	j := g.job
	out := steal.PacketRefused{Gen: ev.Gen, Packet: ev.Packet}
	if ev.Failure.Host != "" && !mutant.On(mutant.BlindStrikes) && j.loaded {
		j.work.stats.Failures++
		p.cannotRead(j, ev.Failure)
		out.Blind = j.sight.cover(j.data(), j.want(), false)
	} else {
		p.book(j, ev.Failure)
		out.Blame = tasks.CoverOf(ev.Failure.Blame)
	}
	p.schedule(out)
}

// genSealed takes a generation's output, if it counts what the generation has run.
func (p *Peer) genSealed(ev GenSealed) {
	g := p.gens[ev.Gen]
	if g == nil {
		return
	}
	part := ev.Partial
	if part.Units != g.cover.Len() || part.Canary != g.canary {
		p.genFailed(GenFailed{Gen: ev.Gen, Failure: ledger.Failure{Kind: "internal",
			Reason: "the sealed output does not count the packets that were processed"}})
		return
	}
	p.dropGen(ev.Gen)
	j := g.job
	j.work.stats.Generations++
	j.work.kills = 0
	j.hasRoom()
	j.reports.news = true
	j.work.largest = max(j.work.largest, part.Size)
	part.Job, part.Cover, part.Holder = j.id, g.cover, p.self
	j.work.parts.Add(p.now, part)
	p.schedule(steal.GenSealed{Gen: ev.Gen})
}

// genFailed has a failed generation's units run again, but for those that are to blame, and tells the home of the
// failure if it is not this host's own.
//
// Who killed a generation is not known. The units that it ran are run again alone: others lose nothing by it then, and
// those that are innocent go well. If they are killed alone, too, that is a failure of theirs.
func (p *Peer) genFailed(ev GenFailed) {
	g := p.gens[ev.Gen]
	if g == nil {
		return
	}
	p.dropGen(ev.Gen)
	j := g.job
	var pause time.Duration
	var blind tasks.Cover
	var alone tasks.Range
	switch {
	case ev.Killed && !ev.Failure.Blame.Empty():
		if g.solo {
			p.book(j, ev.Failure)
			break
		}
		j.work.stats.Failures++
		alone = ev.Failure.Blame
	case ev.Killed:
		j.work.stats.Failures++
		if j.work.kills++; j.work.kills%killsInARow == 0 {
			p.book(j, ledger.Failure{Kind: "killed", Reason: ev.Failure.Reason, Tail: ev.Failure.Tail})
		}
		pause = 10 * time.Millisecond << min(j.work.kills, 8)
	case j.waitsForRoom(ev.Failure):
		j.work.stats.Failures++
		pause = j.noRoom(ev.Failure.Reason)
	case ev.Failure.Blame.Empty():
		p.book(j, ev.Failure)
		pause = 250 * time.Millisecond
	case ev.Failure.Host != "" && !mutant.On(mutant.BlindStrikes):
		j.work.stats.Failures++
		p.cannotRead(j, ev.Failure)
		ev.Failure.Blame = tasks.Range{} // others run it
		if j.loaded {
			blind = j.sight.cover(j.data(), j.want(), false)
		}
	default:
		if j.work.stats.Units == 0 { // nothing may ever go well here, and then the home sets this node aside
			pause = 250 * time.Millisecond
		}
		p.book(j, ev.Failure)
	}
	p.schedule(steal.GenFailed{
		Gen: ev.Gen, Blame: tasks.CoverOf(ev.Failure.Blame), Alone: alone, Pause: pause, Blind: blind,
	})
}

// merged takes a merge of partials that was made here.
func (p *Peer) merged(ev Merged) {
	m := ev.Partial
	j := p.job(m.Job)
	if j == nil {
		p.emit(ForgetBlob{Job: m.Job, ID: m.ID})
		return
	}
	eff, err := j.work.parts.Merged(p.now, m)
	foreign := slices.ContainsFunc(m.Kids, func(k merge.ID) bool { return k.Node != p.self })
	if err != nil && !foreign { // what another node has made may be false, and is no failure of this one
		p.book(j, ledger.Failure{Kind: "internal", Reason: err.Error()})
	}
	p.carryOutMerge(eff)
	j.reports.news = true
}

// book notes a failure for the home.
func (p *Peer) book(j *jobState, f ledger.Failure) {
	j.work.failSeq++
	f.Seq = p.cfg.Boot<<24 + j.work.failSeq
	j.work.failures = append(j.work.failures, f.Cut())
	j.work.blamed = j.work.blamed.Add(f.Blame)
	j.work.stats.Failures++
	j.reports.urgent = true
}

// carryOutMerge carries out what the partials of a job here want.
func (p *Peer) carryOutMerge(effects []merge.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case merge.Offer:
			part := e.Partial
			if j := p.job(part.Job); j != nil && e.To == "" {
				p.tellHome(j, Message{Offer: &part})
			} else if j != nil {
				p.send(e.To, Message{Job: j.id, Gather: &part})
			}
		case merge.Tell:
			p.send(e.To, Message{Job: e.Job, Gathered: &Gathered{ID: e.ID, Word: e.Word}})
		case merge.Merge:
			p.emit(e)
		case merge.Refuse:
			if j := p.job(e.Job); j != nil {
				p.tellHome(j, Message{Refuse: e.Inputs})
			}
		case merge.Forget:
			if j := p.job(e.Job); j == nil || !j.leads() || !j.led.home.Needs(e.ID) {
				p.emit(e)
			}
		}
	}
}

// flush offers the sealed partials of a job when that is due. Outputs that are about to be sealed are waited for, to be
// merged with them. Outputs that wait for room on the disk are not, for there is room only when the others are
// committed.
func (p *Peer) flush(j *jobState) {
	if due := p.flushDue(j); due >= 0 && p.now >= due {
		p.carryOutMerge(p.roomFor(j).Flush(p.now, p.nextID))
	}
}

// flushDue is when flush is to offer what is sealed; -1 if there is nothing to offer.
func (p *Peer) flushDue(j *jobState) time.Duration {
	if !j.work.parts.Waiting() || p.sched.Draining(j.id) && len(p.room.seals) == 0 {
		return -1
	}
	return j.work.parts.Due(p.now, p.sched.Busy() == 0)
}

// onGather takes another node's partial, to merge it with others on its way to the home.
func (p *Peer) onGather(j *jobState, from tasks.PeerID, part merge.Partial) {
	if part.Holder != from || part.ID.Node != from || part.Job != j.id {
		return
	}
	if j.shut || !j.loaded || j.leads() || p.leaving.on || p.room.full || !part.Cover.Valid(j.want()) {
		p.send(from, Message{Job: j.id, Gathered: &Gathered{ID: part.ID, Word: merge.Released}})
		return
	}
	p.carryOutMerge(j.work.parts.Gather(p.now, part))
}

// onTry runs a suspect range by itself, as the home has ordered.
func (p *Peer) onTry(j *jobState, r tasks.Range) {
	if !j.loaded || r.Empty() || r.Intersect(j.want()) != r {
		return
	}
	p.schedule(steal.Work{Job: j.id, Ranges: tasks.Cover{r}, Solo: true})
	j.reports.urgent = true
}
