package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// killsInARow is how many generations may be killed from outside, with none sealed between, before the
// home is told that something on this node kills them.
const killsInARow = 5

func (p *Peer) handle(ev Event) {
	switch ev := ev.(type) {
	case Tick:
		p.tick()
	case PeerUp:
		p.peerUp(ev)
	case PeerDown:
		p.peerDown(ev.ID)
	case Recv:
		p.recv(ev.From, ev.Msg)
	case Submit:
		p.submit(ev)
	case Described:
		if j := p.job(ev.ID); j != nil {
			p.describe(j, ev)
		}
	case NotDescribed:
		p.notDescribed(ev)
	case Prepared:
		p.prepared(ev)
	case NotPrepared:
		p.notPrepared(ev)
	case PacketDone:
		p.packetDone(ev)
	case GenSealed:
		p.genSealed(ev)
	case PacketRefused:
		p.packetRefused(ev)
	case GenFailed:
		p.genFailed(ev)
	case Merged:
		p.merged(ev)
	case NotMerged:
		if j := p.job(ev.Job); j != nil {
			p.local(j.work.parts.MergeFailed(p.now, ev.Kids, ev.Holder))
		}
	case Expelled:
		p.expelled()
	case Leave:
		p.goAway()
	default:
		p.handleOrder(ev)
	}
}

// handleOrder takes what is wanted of a job from outside, and what came of its end.
func (p *Peer) handleOrder(ev Event) {
	switch ev := ev.(type) {
	case StopJob:
		p.lead(ev.ID, ledger.Stop{Reason: ev.Reason})
	case CancelJob:
		p.cancel(ev.ID)
	case Finished:
		p.lead(ev.ID, ledger.Finished{Result: ev.Result})
	case Unfinished:
		p.lead(ev.ID, ledger.Unfinished{Attempt: ev.Attempt})
	case RetryJob:
		p.lead(ev.ID, ledger.Retry{})
	case Remember:
		p.ends.put(ev.ID, pastJob{term: ev.Term, submitter: ev.Submitter, recovery: ev.Recovery}, ev.Ended)
	case Revoked:
		p.revoked(ev.ID)
	default:
		p.handleLedger(ev)
	}
}

// goAway hands work and ledgers over.
func (p *Peer) goAway() {
	p.leave, p.leaveAt = true, p.now
	p.schedule(steal.Leave{})
	for _, j := range slices.Clone(p.jobs) {
		j.reports.urgent = true
		p.maintain(j)
	}
}

// handleLedger takes what comes back from disks: ledgers and kept blobs.
func (p *Peer) handleLedger(ev Event) {
	switch ev := ev.(type) {
	case Stored:
		if p.arrived(ev.Partial.Job, ev.Partial) {
			p.lead(ev.Partial.Job, ledger.Stored{ID: ev.Partial.ID, Units: ev.Units, Canary: ev.Canary})
		}
	case NotStored:
		p.lead(ev.Job, ledger.NotStored{ID: ev.ID, Here: ev.Here, Slow: ev.Slow})
	case Founded:
		p.founded(ev)
	case Written:
		p.written(ev)
	case BlobKept:
		if !ev.OK || p.arrived(ev.Partial.Job, ev.Partial) {
			p.blobKept(ev.Partial.Job, ev.To, Kept{ID: ev.Partial.ID, OK: ev.OK, Full: ev.Full, Term: ev.Term, Seq: ev.Seq})
		}
	case ResultKept:
		p.blobKept(ev.Job, ev.To, Kept{SHA256: ev.SHA256, OK: ev.OK, Full: ev.Full})
	case Looked:
		p.looked(ev)
	case Folded:
		p.folded(ev)
	case NotFolded:
		p.lead(ev.Job, ledger.NotFolded{Inputs: ev.Kids, Here: ev.Here})
	case BlobDamaged:
		p.lead(ev.Job, ledger.Damaged{ID: ev.ID})
	case Restore:
		p.restore(ev)
	case Recover:
		p.recoverJob(ev)
	case Admins:
		p.admins = ev.IDs
	}
}

// tick repeats what may have been lost and gives up jobs whose home has gone for good.
func (p *Peer) tick() {
	for _, j := range slices.Clone(p.jobs) {
		if j.copy.log != nil {
			p.stepLog(j, quorum.Tick{})
		}
		p.noteLed(j)
		p.resign(j)
		if j.shut {
			p.sealAgain(j)
			if p.now >= j.closeAt {
				p.dropJob(j, "")
			}
			continue
		}
		p.local(j.work.parts.Tick(p.now))
		p.prepareAgain(j)
		p.lookAgain(j)
		if j.leads() {
			p.maintain(j)
			p.step(j, ledger.Tick{})
			if j.leads() && p.now-j.led.announced > 5*p.cfg.Report {
				p.openTo(j)
			}
			continue
		}
		p.seek(j)
		if j.copy.log == nil && p.now-j.seeking.heard > p.silent(j) {
			p.closeJob(j, true)
		}
	}
}

// openTo tells members that do not report about a job again.
func (p *Peer) openTo(j *jobState) {
	j.led.announced = p.now
	for _, id := range p.sortedPeers() {
		if !j.led.home.Ended() && j.led.home.Silent(id) {
			p.tellRecovery(j, id)
			p.openFor(j, id)
		}
	}
}

func (p *Peer) sortedPeers() []tasks.PeerID {
	ids := make([]tasks.PeerID, 0, len(p.peers))
	for id := range p.peers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (p *Peer) peerUp(ev PeerUp) {
	p.peers[ev.ID], p.own[ev.ID], p.rules[ev.ID] = ev.Slots, ev.Own, ev.Submits
	p.relink(ev.ID)
	p.tellRecoveredEnds(ev.ID)
	p.schedule(steal.PeerUp{ID: ev.ID, Slots: max(ev.Slots, ev.Own)})
	for _, j := range slices.Clone(p.jobs) { // one may end
		if j.leads() {
			p.step(j, ledger.NodeUp{ID: ev.ID, Slots: p.slotsFor(j, ev.ID)})
		}
		if j.leads() {
			p.tellRecovery(j, ev.ID)
			p.openFor(j, ev.ID)
			p.maintain(j)
		}
		if j.home == ev.ID {
			j.reports.urgent = true
		}
	}
}

// slotsFor is with how many slots a connected member may work for a job.
func (p *Peer) slotsFor(j *jobState, id tasks.PeerID) int {
	if j.desc != nil && j.desc.Submitter == id {
		return max(p.peers[id], p.own[id])
	}
	return p.peers[id]
}

// relink has offers repeated to a home that may have taken this node for gone.
func (p *Peer) relink(id tasks.PeerID) {
	for _, j := range p.jobs {
		if j.home == id {
			j.work.parts.HomeLink()
		}
	}
}

func (p *Peer) peerDown(id tasks.PeerID) {
	delete(p.peers, id)
	delete(p.own, id)
	delete(p.rules, id)
	p.forgetDues()
	p.schedule(steal.PeerDown{ID: id})
	for _, j := range slices.Clone(p.jobs) {
		p.local(j.work.parts.Down(p.now, id))
		if j.leads() {
			j.keepStats(id)
			p.step(j, ledger.NodeDown{ID: id})
		}
	}
}

func (p *Peer) submit(ev Submit) {
	if p.ends.of[ev.ID] != nil || p.job(ev.ID) != nil {
		return
	}
	j := p.addJob(ev.ID, p.self)
	j.desc, j.loaded, j.term = ev.Job, true, 1
	j.copy.record = &ledger.Record{Want: ev.Job.Want}
	p.schedule(steal.Open{Job: j.id, Home: p.self, Data: &ev.Job.Data, Want: ev.Job.Want, Rate: ev.Rate})
	p.found(j)
	p.becomeHome(j)
	p.obey(j, j.led.home.Start(p.now, p.takeBase(j, ev.Base)))
}

// takeBase takes the outputs that a job begins with, and returns the units that they cover. They are offered and committed
// as any others, by R3. If they are not what they should be, none is taken, and their units run.
func (p *Peer) takeBase(j *jobState, base []merge.Partial) tasks.Cover {
	all, err := merge.Recommit(base, j.desc.Want)
	if err != nil {
		return nil
	}
	for _, b := range base {
		b.Job, b.Holder, b.Kids = j.id, p.self, nil
		j.work.parts.Add(p.now, b)
	}
	return all.Cover()
}

func (p *Peer) prepared(ev Prepared) {
	j := p.job(ev.ID)
	if j == nil || j.shut { // it ended meanwhile
		p.emit(JobOver{ID: ev.ID})
		return
	}
	if j.loaded {
		return
	}
	p.describe(j, Described{ID: ev.ID, Job: ev.Job})
	j.desc, j.loaded, j.reports.urgent = ev.Job, true, true
	if !j.stopped {
		p.schedule(steal.Open{Job: j.id, Home: j.home, Data: &ev.Job.Data, Want: ev.Job.Want, Rate: ev.Rate, Dealt: !ev.Job.SeedLocal})
		if p.leave || j.aside {
			p.schedule(steal.Shun{Job: j.id})
		}
	}
}

func (p *Peer) notPrepared(ev NotPrepared) {
	j := p.job(ev.ID)
	if j == nil || j.loaded {
		return
	}
	if ev.Reason == "" { // forget it until it is announced again
		if j.copy.log != nil || j.leads() || j.copy.founding != nil {
			j.prep.failed, j.prep.tried = true, p.now
			return
		}
		p.forgetJob(j)
		return
	}
	p.book(j, ledger.Failure{Kind: ev.Kind, Reason: ev.Reason, Tail: ev.Tail})
}

func (p *Peer) book(j *jobState, f ledger.Failure) {
	j.work.failSeq++
	f.Seq = p.cfg.Boot<<24 + j.work.failSeq
	j.work.failures = append(j.work.failures, f.Cut())
	j.work.blamed = j.work.blamed.Add(f.Blame)
	j.work.stats.Failures++
	j.reports.urgent = true
}

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
	p.schedule(steal.PacketDone{Gen: ev.Gen, Packet: ev.Packet, Last: ev.Last, Elapsed: ev.Elapsed, Opened: ev.Opened})
}

// packetRefused takes a file that could not be opened: by this host, which then leaves it to others, or by any.
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
		out.Blind = j.sight.cover(&j.desc.Data, j.desc.Want, false)
	} else {
		p.book(j, ev.Failure)
		out.Blame = tasks.CoverOf(ev.Failure.Blame)
	}
	p.schedule(out)
}

func (p *Peer) genSealed(ev GenSealed) {
	g := p.gens[ev.Gen]
	if g == nil {
		return
	}
	if ev.Units != g.cover.Len() || ev.Canary != g.canary {
		p.genFailed(GenFailed{Gen: ev.Gen, Failure: ledger.Failure{Kind: "internal",
			Reason: "the sealed output does not count the packets that were processed"}})
		return
	}
	delete(p.gens, ev.Gen)
	j := g.job
	j.work.stats.Generations++
	j.work.kills = 0
	j.reports.news = true
	j.work.largest = max(j.work.largest, ev.Size)
	j.work.parts.Add(p.now, merge.Partial{ID: ev.ID, Job: j.id, Cover: g.cover, Units: ev.Units, Canary: ev.Canary,
		SHA256: ev.SHA256, Size: ev.Size, Holder: p.self})
	p.schedule(steal.GenSealed{Gen: ev.Gen})
}

func (p *Peer) genFailed(ev GenFailed) {
	g := p.gens[ev.Gen]
	if g == nil {
		return
	}
	delete(p.gens, ev.Gen)
	j := g.job
	var pause time.Duration
	var blind tasks.Cover
	switch {
	case ev.Killed:
		j.work.stats.Failures++
		if j.work.kills++; j.work.kills%killsInARow == 0 {
			p.book(j, ledger.Failure{Kind: "killed", Reason: ev.Failure.Reason, Tail: ev.Failure.Tail})
		}
		pause = 10 * time.Millisecond << min(j.work.kills, 8)
	case ev.Failure.Blame.Empty():
		p.book(j, ev.Failure)
		pause = 250 * time.Millisecond
	case ev.Failure.Host != "" && !mutant.On(mutant.BlindStrikes):
		j.work.stats.Failures++
		p.cannotRead(j, ev.Failure)
		ev.Failure.Blame = tasks.Range{} // others run it
		if j.loaded {
			blind = j.sight.cover(&j.desc.Data, j.desc.Want, false)
		}
	default:
		if j.work.stats.Units == 0 { // perhaps nothing ever goes well here, which the home finds
			pause = 250 * time.Millisecond
		}
		p.book(j, ev.Failure)
	}
	p.schedule(steal.GenFailed{Gen: ev.Gen, Blame: tasks.CoverOf(ev.Failure.Blame), Pause: pause, Blind: blind})
}

func (p *Peer) merged(ev Merged) {
	j := p.job(ev.Job)
	if j == nil {
		p.emit(ForgetBlob{Job: ev.Job, ID: ev.ID})
		return
	}
	m := merge.Partial{ID: ev.ID, Job: ev.Job, Units: ev.Units, Canary: ev.Canary, SHA256: ev.SHA256,
		Size: ev.Size, Kids: ev.Kids, Holder: p.self}
	eff, err := j.work.parts.Merged(p.now, m)
	if err != nil && !slices.ContainsFunc(ev.Kids, func(k merge.ID) bool { return k.Node != p.self }) { // else another's may be false
		p.book(j, ledger.Failure{Kind: "internal", Reason: err.Error()})
	}
	p.local(eff)
	j.reports.news = true
}

// schedule feeds the scheduler and carries its effects over.
func (p *Peer) schedule(ev steal.Event) {
	p.ticked = true
	for _, e := range p.sched.Step(p.now, ev) {
		switch e := e.(type) {
		case steal.Send:
			m := e.Msg
			p.gives(m.Grant)
			p.send(e.To, Message{Steal: &m})
		case steal.Start:
			if j := p.job(e.Job); j != nil {
				p.gens[e.Gen] = &genState{job: j}
				p.emit(StartGen{Job: e.Job, Gen: e.Gen, Solo: e.Solo})
			}
		case steal.Lease:
			p.emit(LeasePacket(e))
		case steal.Preempt:
			p.emit(PreemptGen(e))
		case steal.Seal:
			p.seals = append(p.seals, e.Gen)
		case steal.Kill:
			delete(p.gens, e.Gen)
			p.emit(KillGen(e))
		case steal.Taken:
			if j := p.job(e.Job); j != nil {
				j.reports.news = true
			}
		case steal.Stolen:
			if j := p.job(e.Job); j != nil {
				j.work.stats.Steals++
			}
			p.emit(Stolen{Wait: e.Wait})
		case steal.Dealt:
			// The submitter has said so, see mayPassOn. Where the home answers each report, it is the one to say it.
			if j := p.job(e.Job); j != nil && e.Above != j.home && j.reports.every > p.cfg.Report {
				j.work.parts.SetAbove(e.Above)
			}
		}
	}
}

// gives has the home know soon who has what, for it believes nobody else's partials of that.
func (p *Peer) gives(g *steal.Grant) {
	if g == nil {
		return
	}
	if j := p.job(g.Job); j != nil {
		j.reports.news = true
		if j.leads() {
			j.led.home.Granted(g.Ranges)
		}
	}
}

// local carries out what the store of partials wants.
func (p *Peer) local(effects []merge.Effect) {
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
			p.send(e.To, Message{Job: e.Job, Told: &Told{ID: e.ID, Word: e.Word}})
		case merge.Merge:
			p.emit(MergeBlobs(e))
		case merge.Refuse:
			if j := p.job(e.Job); j != nil {
				p.tellHome(j, Message{Refuse: e.Inputs})
			}
		case merge.Forget:
			if j := p.job(e.Job); j == nil || !j.leads() || !j.led.home.Needs(e.ID) {
				p.emit(ForgetBlob(e))
			}
		}
	}
}

// flush offers sealed partials, after those that are about to be sealed have joined them; not after those that wait for
// room, which there is when these are committed.
func (p *Peer) flush(j *jobState) {
	if due := p.flushDue(j); due >= 0 && p.now >= due {
		p.local(p.roomFor(j).Flush(p.now, p.nextID))
	}
}

// flushDue is when that is to be, or -1.
func (p *Peer) flushDue(j *jobState) time.Duration {
	if !j.work.parts.Waiting() || p.sched.Draining(j.id) && len(p.seals) == 0 {
		return -1
	}
	return j.work.parts.Due(p.now, p.sched.Busy() == 0)
}

// report tells the home, this peer itself perhaps, where things stand.
func (p *Peer) report(j *jobState) {
	if j.leads() {
		j.reports.every = p.cfg.Report // it costs no message
	}
	few := j.reports.every <= p.cfg.Report
	hurry := (j.reports.urgent || j.reports.news && few) && (j.leads() || p.hurries())
	if j.home == "" || (!hurry && p.now < j.reports.next) || (j.leads() && j.led.home.Ended()) {
		return
	}
	j.reports.next = p.now + j.reports.every
	if !few && j.loaded && !j.reports.spread { // not all nodes at the same time
		j.reports.next, j.reports.spread = p.now+j.reports.every*time.Duration(p.cfg.Steal.Seed%1024)/1024, true
	}
	j.reports.last, j.reports.urgent, j.reports.news = p.now, false, false
	p.seq++
	j.work.stats.Rate = p.sched.Rate(j.id) * float64(p.cfg.Steal.Slots)
	j.work.stats.Merges = j.work.parts.Merges()
	r := &ledger.Report{
		Seq: p.seq, Ready: j.loaded && !p.leave, Leaving: p.leave, Held: p.held(j), Also: p.also(j), Ran: p.sched.Ran(j.id) + j.work.parts.Own().Len(),
		Left: p.sched.Left(j.id), Failures: j.told(), Blames: p.blames(j), Stats: j.work.stats, Aside: j.aside,
	}
	if few {
		r.Traced, r.Gave = true, p.gifts(j)
	}
	if j.loaded {
		r.Unseen, r.Presumed = j.sight.unseen(&j.desc.Data, j.desc.Want)
		if !j.stopped {
			p.lookAhead(j, r.Held)
		}
	}
	if j.home != p.self {
		r.Held, r.Also = r.Held[:min(len(r.Held), maxRanges)], r.Also[:min(len(r.Also), maxRanges)] // the rest may run elsewhere too
		p.sends(r)
	}
	p.tellHome(j, Message{Report: r})
}

// maxTold bounds the text of the failures in one report, which must fit in a message.
const maxTold = 256 << 10

// told are the failures for a report, the oldest first; what has no room follows the home's answer.
func (j *jobState) told() []ledger.Failure {
	size := 0
	for i, f := range j.work.failures {
		if size += len(f.Reason) + len(f.Stack) + len(f.Tail); size > maxTold && i > 0 {
			return slices.Clone(j.work.failures[:i])
		}
	}
	return slices.Clone(j.work.failures)
}

func (p *Peer) held(j *jobState) tasks.Cover {
	return p.sched.Here(j.id).Union(j.work.parts.Own()).Union(j.work.blamed)
}

// also is what this node answers for though others hold it. What was given away stays in two reports: when
// the giver's next one comes, the taker's may be as old as one is at most, and one may be lost.
func (p *Peer) also(j *jobState) tasks.Cover {
	return p.sched.Given(j.id, p.now-2*j.reports.every).Union(j.work.parts.InMerges())
}

// gifts are what was given away as lately as also says, and what others are to merge.
func (p *Peer) gifts(j *jobState) (out []ledger.Gift) {
	room := maxRanges // what has none is not told, and explains nothing
	add := func(g ledger.Gift, most int) {
		if len(out) < most && len(g.Ranges) <= room {
			out, room = append(out, g), room-len(g.Ranges)
		}
	}
	for _, m := range j.work.parts.Passed() {
		add(ledger.Gift{To: m.To, Ranges: m.Partial.Cover, Merge: true}, ledger.MaxGifts/2)
	}
	for _, g := range p.sched.Gifts(j.id, p.now-2*j.reports.every) {
		add(ledger.Gift{To: g.To, Ranges: g.Ranges, Taken: g.Taken}, ledger.MaxGifts)
	}
	return out
}

// giftPieces counts the ranges in gifts.
func giftPieces(gifts []ledger.Gift) (n int) {
	for _, g := range gifts {
		n += len(g.Ranges)
	}
	return n
}

func (p *Peer) checkLeft() {
	if !p.leave || p.left {
		return
	}
	for _, j := range p.jobs {
		if !j.shut && (p.needed(j) || !p.handedBack(j) || !j.work.parts.Empty()) || p.sealing(j) || p.lingering(j) {
			return
		}
	}
	p.left = true
	p.emit(Left{})
}

// handedBack reports whether this peer, which leaves, owes a job nothing any more. Work that waits here goes back to the
// job's home; where that is this peer and the job waits on its disk, there is nobody to take it: it runs after its return.
func (p *Peer) handedBack(j *jobState) bool {
	if j.copy.log != nil && j.home == p.self && !p.needed(j) {
		return p.sched.AtRest(j.id)
	}
	return p.sched.Idle(j.id)
}
