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

// busyHints is how many peers with work a report's answer names.
const busyHints = 4

// maxJobs bounds the jobs that a peer takes part in at once.
const maxJobs = 1024

// recv takes a message. Words of a home are taken from that job's home only.
func (p *Peer) recv(from tasks.PeerID, m Message) {
	j := p.job(m.Job)
	if from != p.self {
		if why := p.wrong(from, j, &m); why != "" {
			p.violated(from, m.Job, why)
			return
		}
		if p.tooMuch(from, &m) {
			return
		}
		defer p.chargeChecks(from, p.checks.n)
	}
	switch {
	case m.Steal != nil:
		p.onSteal(from, *m.Steal)
	case m.Open != nil:
		p.onOpen(from, m)
	case m.Report != nil || m.Offer != nil || m.Refuse != nil:
		p.toHome(from, j, m)
	case m.Enlist != nil:
		p.onEnlist(from, j, m)
	case m.Ended != nil:
		p.onEnded(from, m.Job, j, m.Ended)
	case m.Frame != nil:
		p.toReplica(from, j, m)
	case m.Resign != nil:
		p.onResign(from, j, m)
	case m.Moved != nil:
		p.onMoved(from, j, m)
	case m.Recovery != nil:
		p.onRecovery(from, j, m)
	case j != nil:
		p.recvFor(j, from, m)
	case m.Enlisted != nil: // its copy comes too late
		p.tellEnd(from, m.Job)
	}
}

// onSteal takes what schedulers send each other. Dealt work is taken from the job's submitter and from whom that has put above
// this node, for it comes with words about others: to whom it is passed on, and who merges what comes of it.
func (p *Peer) onSteal(from tasks.PeerID, m steal.Message) {
	if g := m.Grant; g != nil && g.Dealt && from != p.self && !p.mayPassOn(from, g) {
		p.violated(from, g.Job, Unproven)
		p.send(from, Message{Steal: &steal.Message{Ack: &steal.Ack{ID: g.ID, Job: g.Job}}})
		return
	}
	p.schedule(steal.Recv{From: from, Msg: m})
}

// mayPassOn reports whether a member may deal work to this node, as it does. It does not matter who leads the job by now: all
// that is dealt was so by the submitter, when the job began.
func (p *Peer) mayPassOn(from tasks.PeerID, g *steal.Grant) bool {
	j := p.job(g.Job)
	if j == nil || j.desc == nil || mutant.On(mutant.AnyDealer) {
		return true // nothing is taken of a job that is not known
	}
	if from == j.desc.Submitter { // what it has not signed this node could not pass on
		return len(g.Others) == 0 || g.Proof != nil && p.cfg.Keys.Verify(from, steal.DealText(g.Job, p.self, g.Others), g.Proof.Sig)
	}
	text := g.Proof.Signed(g.Job, from, p.self, g.Others)
	return g.Above == "" && text != nil && p.cfg.Keys.Verify(j.desc.Submitter, text, g.Proof.Sig)
}

// recvFor takes a message for a job that this peer takes part in.
func (p *Peer) recvFor(j *jobState, from tasks.PeerID, m Message) {
	switch {
	case m.Enlisted != nil:
		p.onEnlisted(j, from, *m.Enlisted)
	case m.Kept != nil:
		p.onKept(j, from, *m.Kept)
	case m.Resigned != nil:
		p.onResigned(from, j, *m.Resigned)
	case m.Gather != nil:
		p.onGather(j, from, *m.Gather)
	case m.Told != nil:
		p.local(j.work.parts.Told(p.now, from, m.Told.ID, m.Told.Word))
	case p.obeys(j, from, m.Term):
		p.fromHome(j, m)
	}
}

// fromHome does what the job's home says.
func (p *Peer) fromHome(j *jobState, m Message) {
	j.seeking.heard = p.now
	if m.Keep != nil {
		p.onKeep(j, *m.Keep)
		return
	}
	if j.shut {
		return
	}
	switch {
	case m.Ack != nil:
		p.onAck(j, *m.Ack)
	case m.Answer != nil && m.Answer.Accept:
		p.local(j.work.parts.Accepted(m.Answer.ID))
		j.reports.news, j.reports.urgent = true, j.reports.urgent || j.stopped
	case m.Answer != nil && m.Answer.Note:
		j.work.parts.Noted(m.Answer.ID, m.Answer.Known)
	case m.Answer != nil:
		p.local(j.work.parts.Rejected(p.now, m.Answer.ID))
		j.reports.news, j.reports.urgent = true, j.reports.urgent || j.stopped
	case m.Reduce != nil:
		p.local(p.roomFor(j).Reduce(p.now, p.nextID(), m.Reduce.Inputs))
	case m.Drop != nil:
		if j.loaded && m.Drop.Valid(j.desc.Want) {
			p.schedule(steal.Drop{Job: j.id, Cover: m.Drop})
			p.local(j.work.parts.Committed(m.Drop))
		}
	case m.Undone != nil:
		if j.loaded && m.Undone.Valid(j.desc.Want) {
			p.schedule(steal.Undone{Job: j.id, Cover: m.Undone})
		}
	case m.Yield != nil:
		if j.loaded && m.Yield.Valid(j.desc.Want) {
			p.schedule(steal.Yield{Job: j.id, Cover: m.Yield})
		}
	case m.Try != nil:
		p.onTry(j, *m.Try)
	case m.Order == OrderStop:
		j.stopped, j.reports.urgent = true, true
		p.schedule(steal.Stop{Job: j.id})
	case m.Order == OrderRest:
		p.schedule(steal.Rest{Job: j.id})
	case m.Order == OrderShun:
		if !j.leads() && !j.aside {
			p.emit(SetAside{ID: j.id, Node: p.self})
		}
		j.aside, j.reports.urgent = true, true
		p.schedule(steal.Shun{Job: j.id})
	}
}

func (p *Peer) onOpen(from tasks.PeerID, m Message) {
	if p.ends.of[m.Job] != nil {
		p.tellPast(from, m)
		return
	}
	c := claim{from: from, proof: m.Open.Proof, every: m.Open.Every}
	switch j := p.job(m.Job); {
	case j == nil || j.desc == nil:
		p.claimed(m.Job, c)
	default:
		p.opened(from, j, m.Term, c.proof, c.every)
	}
}

// opened takes the announcement of a job whose description is here.
func (p *Peer) opened(from tasks.PeerID, j *jobState, term uint64, proof *quorum.Mandate, every time.Duration) {
	if !p.heed(from, j, from, term, proof) {
		return
	}
	j.seeking.heard, j.reports.urgent = p.now, true
	p.pace(j, every)
	j.work.parts.HomeLink()
	if j.prep.failed && !j.shut {
		j.prep.failed = false
		p.emit(Prepare{ID: j.id, Home: from, Job: j.desc})
	}
}

// maxEvery bounds what a home may ask for.
const maxEvery = time.Hour

// pace sets the time between reports, which is no shorter than with few nodes: each costs this node as much as the home.
func (p *Peer) pace(j *jobState, every time.Duration) {
	if every > 0 && every <= maxEvery {
		every = max(every, p.cfg.Report)
		j.reports.every = every
		j.work.parts.SetPace(every)
		j.reports.next = min(j.reports.next, j.reports.last+every)
	}
}

// onGather takes another node's partial to merge it.
func (p *Peer) onGather(j *jobState, from tasks.PeerID, part merge.Partial) {
	if part.Holder != from || part.ID.Node != from || part.Job != j.id {
		return
	}
	if j.shut || !j.loaded || j.leads() || p.leave || p.full || !part.Cover.Valid(j.desc.Want) {
		p.send(from, Message{Job: j.id, Told: &Told{ID: part.ID, Word: merge.Released}})
		return
	}
	p.local(j.work.parts.Gather(p.now, part))
}

func (p *Peer) onAck(j *jobState, a ReportAck) {
	p.pace(j, a.Every)
	if a.Above != "" {
		j.work.parts.SetAbove(a.Above)
	}
	j.work.failures = slices.DeleteFunc(j.work.failures, func(f ledger.Failure) bool { return f.Seq <= a.Failures })
	j.work.blamed, j.reports.urgent = nil, j.reports.urgent || len(j.work.failures) > 0
	for _, f := range j.work.failures {
		j.work.blamed = j.work.blamed.Add(f.Blame)
	}
	if len(a.Busy) <= busyHints {
		p.schedule(steal.Busy{Peers: a.Busy, Left: a.Left})
	}
	p.heedLosses(j, a)
}

func (p *Peer) onTry(j *jobState, r tasks.Range) {
	if !j.loaded || r.Empty() || r.Intersect(j.desc.Want) != r {
		return
	}
	p.schedule(steal.Work{Job: j.id, Ranges: tasks.Cover{r}, Solo: true})
	j.reports.urgent = true
}

// toHome takes what nodes send to a job's home. Where that is another, or the job is over, it says so.
func (p *Peer) toHome(from tasks.PeerID, j *jobState, m Message) {
	switch {
	case p.tellEnd(from, m.Job):
		return
	case j == nil:
		return
	case !j.leads():
		if j.home != p.self && j.home != "" && j.home != from {
			p.tellMoved(from, j)
		}
		return
	}
	if m.Offer != nil {
		if m.Offer.Holder == from && m.Offer.ID.Node == from && m.Offer.Job == j.id {
			p.step(j, ledger.Offered{Partial: *m.Offer})
		}
		return
	}
	if m.Refuse != nil {
		p.step(j, ledger.NotReduced{From: from, Inputs: m.Refuse})
		return
	}
	p.step(j, ledger.Reported{From: from, Report: *m.Report})
	if !j.leads() {
		return
	}
	a, due := j.led.home.Answer(from, *m.Report, busyHints)
	if !due {
		return
	}
	ack := &ReportAck{Seq: m.Report.Seq, Every: a.Every, Above: a.Above, Busy: a.Busy, Left: a.Left}
	ack.Lost, ack.Losers = p.lostLately(j), losers(j)
	for _, f := range m.Report.Failures {
		ack.Failures = max(ack.Failures, f.Seq)
	}
	p.sendAsHome(j, from, Message{Ack: ack})
}

func (p *Peer) lead(id tasks.JobID, ev ledger.Event) {
	if j := p.job(id); j != nil && j.leads() {
		p.step(j, ev)
	}
}

// step feeds the logic of a led job. What comes of it may end this peer's lead.
func (p *Peer) step(j *jobState, ev ledger.Event) {
	if j.leads() {
		p.obey(j, j.led.home.Step(p.now, ev))
	}
}

// obey carries out what a led job's ledger wants.
func (p *Peer) obey(j *jobState, effects []ledger.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case ledger.Reissue:
			p.noteLoss(j, e.Ranges)
			p.schedule(steal.Work{Job: j.id, Ranges: e.Ranges})
			j.reports.urgent = true
		case ledger.Deal:
			deal := steal.Deal{Job: j.id, To: e.To, Units: e.Units, Above: e.Above, Blind: e.Blind}
			for _, w := range e.Others {
				deal.Others = append(deal.Others, steal.Share{ID: w.ID, Slots: w.Slots})
			}
			if len(deal.Others) > 0 {
				deal.Sig = p.cfg.Keys.Sign(steal.DealText(j.id, e.To, deal.Others))
			}
			p.schedule(deal)
		case ledger.Shun:
			if !e.Again {
				p.emit(SetAside{ID: j.id, Node: e.ID, Reason: e.Reason})
			}
			p.sendAsHome(j, e.ID, Message{Order: OrderShun})
		case ledger.Fetch:
			j.hold(e.Partial, j.held.index)
			p.emit(FetchBlob{Partial: e.Partial, Sources: e.Sources})
		case ledger.Fold:
			p.emit(FoldBlobs{Job: j.id, ID: p.nextID(), Inputs: e.Inputs})
		case ledger.StopAll:
			p.tellAll(j, OrderStop)
			p.sendAsHome(j, p.self, Message{Order: OrderStop})
		case ledger.Finish:
			p.finish(j, e)
		case ledger.Fail:
			p.rest(j)
			p.emit(FailJob{ID: j.id, Failure: e.Failure})
		case ledger.Propose:
			if j.leads() { // the next lead decides anew
				p.freeEarly(j, e.Entry)
				p.propose(j, e.Entry)
			}
		case ledger.False:
			what := FalsePartial
			if e.Impossible {
				what = Impossible
			}
			p.violated(e.By, j.id, what)
		case ledger.Over:
			j.led.spares = e.Spares
		default:
			p.tell(j, e)
		}
	}
}

// tell passes on what a led job's ledger has to say to other nodes.
func (p *Peer) tell(j *jobState, e ledger.Effect) {
	switch e := e.(type) {
	case ledger.Try:
		r := e.Range
		p.sendAsHome(j, e.To, Message{Try: &r})
	case ledger.Accept:
		p.sendAsHome(j, e.To, Message{Answer: &Answer{ID: e.ID, Accept: true}})
	case ledger.Reject:
		p.sendAsHome(j, e.To, Message{Answer: &Answer{ID: e.ID}})
	case ledger.Note:
		p.sendAsHome(j, e.To, Message{Answer: &Answer{ID: e.ID, Note: true, Known: e.Known}})
	case ledger.Reduce:
		p.sendAsHome(j, e.To, Message{Reduce: &Reduce{Inputs: e.Inputs}})
	case ledger.Drop:
		p.sendAsHome(j, e.To, Message{Drop: e.Cover})
	case ledger.Undone:
		for _, id := range p.sortedPeers() {
			p.sendAsHome(j, id, Message{Undone: e.Cover})
		}
		p.schedule(steal.Undone{Job: j.id, Cover: e.Cover})
	case ledger.Yield:
		p.sendAsHome(j, e.To, Message{Yield: e.Cover})
	case ledger.Keep:
		part := e.Partial
		p.sendAsHome(j, e.To, Message{Keep: &Keep{Partial: &part, Sources: e.Sources, At: j.held.index, Seq: e.Seq}})
	case ledger.Release:
		part := e.Partial
		part.Job = j.id
		if e.To == p.self {
			p.release(j, part.ID)
		} else {
			p.sendAsHome(j, e.To, Message{Keep: &Keep{Partial: &part, Seq: e.Seq, Free: true}})
		}
	case ledger.KeepResult:
		r := e.Result
		r.Status = nil // comes with the log
		p.sendAsHome(j, e.To, Message{Keep: &Keep{Result: &r}})
	}
}

// restBelow is the time between reports, which grows with the number of nodes, above which they are not told to
// rest before they are told that the job is over: hardly any still works for it.
const restBelow = 2 * time.Second

// finish has the result of a led job made: nobody needs to work on it any more.
func (p *Peer) finish(j *jobState, e ledger.Finish) {
	if j.leads() && j.led.home.Every() <= restBelow {
		p.rest(j)
	}
	done := &j.copy.record.Done
	p.emit(FinishJob{ID: j.id, Parts: slices.Clone(done.Parts()), Units: done.Cover().Len(), Canary: done.Canary(), Lost: e.Lost})
}

// rest has all nodes forget what they hold of a job. Nothing is booked as committed by that: should the end not come
// to the log, the next home finds what nobody holds, and has it run.
func (p *Peer) rest(j *jobState) {
	p.tellAll(j, OrderRest)
	p.schedule(steal.Rest{Job: j.id})
}

func (p *Peer) tellAll(j *jobState, o Order) {
	for _, id := range p.sortedPeers() {
		p.sendAsHome(j, id, Message{Order: o})
	}
}

// cancel stops all work for a job this peer leads; what becomes of it, Finished tells.
func (p *Peer) cancel(id tasks.JobID) {
	if j := p.job(id); j != nil && j.leads() {
		j.led.home.GiveUp()
		p.rest(j)
	}
}

// revoked ends all work for a job whose submitter may submit no more.
func (p *Peer) revoked(id tasks.JobID) {
	j := p.job(id)
	switch {
	case j == nil || j.shut:
		return
	case j.leads():
		p.cancel(id)
	case j.copy.log == nil && j.copy.founding == nil:
		p.closeJob(j, true)
		return
	}
	j.stopped = true // should it be prepared yet
	p.schedule(steal.Rest{Job: id})
	p.schedule(steal.Shun{Job: id})
}

// closeJob ends this peer's part in a job. Lost says that its home has gone for good.
func (p *Peer) closeJob(j *jobState, lost bool) {
	if j.shut {
		return
	}
	p.schedule(steal.Close{Job: j.id})
	if !lost {
		p.ends.put(j.id, j.past(), Ended{})
	}
	for id, g := range p.gens {
		if g.job == j {
			delete(p.gens, id)
		}
	}
	j.shut, j.closeAt = true, p.now+p.cfg.Linger
	p.emit(JobOver{ID: j.id, Lost: lost})
	if j.copy.log == nil {
		p.forgetJob(j)
	} else if j.copy.record.Result == nil && j.seated() {
		j.closeAt = p.now + 3*p.cfg.Replace // the log knows better, and tells soon; or nobody is left who does
	}
}

// spareWait is how long a replica may be silent and still count as one that can take over.
const spareWait = 3 * time.Second

// JobView is a led job as it stands, for display.
type JobView struct {
	Committed tasks.Cover
	Lost      []ledger.Lost
	Failing   []ledger.Lost
	Shunned   map[tasks.PeerID]string // nodes on which everything failed, and how
	Losers    []ledger.Loser          // nodes that took work and did not do it
	Slow      map[tasks.PeerID]int    // nodes whose partials came too slowly, and how often
	Nodes     map[tasks.PeerID]ledger.Report
	Unseen    map[tasks.PeerID][]ledger.Unseen // what nodes cannot read, and others run
	Awaited   ledger.Awaited                   // what waits for nodes that have gone and could read it; without units if nothing does
	Cramped   string                           // why this node cannot keep what is committed; empty if it can
	Ran       int64                            // processed, not committed
	Stopping  bool
	Ended     bool
	Parts     int
	Commits   int64 // partials that were ever committed
	Folds     int64 // merges that took the place of some
	Counts    ledger.Counts
	Replicas  []tasks.PeerID   // of the ledger, the home among them
	Staffed   bool             // there are as many as there should be, and they keep all that is committed: the job outlives its home
	Attempts  []ledger.Attempt // to make the result, that failed
	Stuck     bool             // nobody tries any more: the job cannot be finished until RetryJob
	Lapsed    tasks.PeerID     // has signed the recovery by which the job goes on, and may sign none any more; empty if all is well
}

// keepStats keeps what a node that goes has counted.
func (j *jobState) keepStats(id tasks.PeerID) {
	if r, ok := j.led.home.Nodes()[id]; ok && r.Seq > 0 {
		j.wentBy(lifeOf(id, r), r.Stats)
	}
}

// allNodes are the last reports of all nodes, with what those counted that went, or went and came back.
func (j *jobState) allNodes() map[tasks.PeerID]ledger.Report {
	out := j.led.home.Nodes()
	now := map[life]bool{}
	for id, r := range out {
		now[lifeOf(id, r)] = true
	}
	for l, s := range j.led.gone {
		if now[l] {
			continue
		}
		r := out[l.id]
		r.Stats = sum(r.Stats, s)
		out[l.id] = r
	}
	return out
}

// sum adds what an earlier life counted; what is gone has no rate.
func sum(s, gone ledger.Stats) ledger.Stats {
	s.Units += gone.Units
	s.Bytes += gone.Bytes
	s.Packets += gone.Packets
	s.Steals += gone.Steals
	s.Merges += gone.Merges
	s.Generations += gone.Generations
	s.Failures += gone.Failures
	return s
}

// View describes a job this peer leads; ok is false if it leads no such job.
func (p *Peer) View(id tasks.JobID) (v JobView, ok bool) {
	j := p.job(id)
	if j == nil || !j.leads() {
		return JobView{}, false
	}
	rec := j.copy.record
	v = JobView{Committed: rec.Done.Cover(), Lost: rec.Lost, Failing: j.led.home.Failing(), Shunned: j.led.home.Shunned(), Losers: j.led.home.Losers(), Slow: j.led.home.Slow(), Nodes: j.allNodes(), Unseen: j.led.home.Unseen(),
		Stopping: j.led.home.Stopping(), Ended: j.led.home.Ended(), Parts: len(rec.Done.Parts()), Counts: j.led.home.Counts()}
	v.Awaited, _ = j.led.home.Awaited()
	v.Cramped = j.led.home.Cramped()
	v.Commits, v.Folds = rec.Commits, rec.Folds
	v.Staffed = j.staff.complete && (j.copy.log == nil || len(j.copy.log.Members()) == 1 || j.copy.log.Spared(p.now, spareWait) && j.led.home.Copied())
	if j.copy.log != nil {
		for _, m := range j.copy.log.Members() {
			v.Replicas = append(v.Replicas, m.Peer)
		}
	}
	for _, r := range v.Nodes {
		v.Ran += r.Ran
	}
	v.Attempts, v.Stuck, v.Lapsed = slices.Clone(rec.Attempts), p.stuck(j), p.lapsed(j)
	return v, true
}

// Leads tells whether this peer leads a job, and what of it is committed; View tells all of it, which takes longer.
func (p *Peer) Leads(id tasks.JobID) (committed tasks.Cover, ok bool) {
	j := p.job(id)
	if j == nil || !j.leads() {
		return nil, false
	}
	return j.copy.record.Done.Cover(), true
}

// Rate is units/s a slot measured here for a job, 0 if unknown.
func (p *Peer) Rate(id tasks.JobID) float64 { return p.sched.Rate(id) }

// Busy is the number of running generations.
func (p *Peer) Busy() int { return p.sched.Busy() }

// MayDeal reports whether a member that does not work can have units of a job to give away: it submitted the job, leads
// it, or has or had a seat in its ledger, and so may have led it. Of a job that is not described here nothing is known, and
// nothing is taken.
func (p *Peer) MayDeal(id tasks.JobID, who tasks.PeerID) bool {
	j := p.job(id)
	return j == nil || j.desc == nil || who == j.desc.Submitter || who == j.home ||
		j.proofs.shown != nil && seatedIn(j.proofs.shown.Chain, who) || j.copy.log != nil && seatedIn(j.copy.log.Chain(), who)
}

// Submitter is who has submitted a job; empty while there is no description of it here.
func (p *Peer) Submitter(id tasks.JobID) tasks.PeerID {
	if j := p.job(id); j != nil && j.desc != nil {
		return j.desc.Submitter
	}
	return ""
}

// Jobs lists the jobs this peer takes part in, with their homes.
func (p *Peer) Jobs() map[tasks.JobID]tasks.PeerID {
	out := map[tasks.JobID]tasks.PeerID{}
	for _, j := range p.jobs {
		out[j.id] = j.home
	}
	return out
}
