package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// leading is what a peer keeps while it leads a job.
//
// home is nil exactly while this peer does not lead. When it steps down only what is displayed stays (stepDown).
type leading struct {
	home        *ledger.Home          // decides what is to be done
	since       time.Duration         // when this peer came to lead
	announced   time.Duration         // when members that do not report were last told of the job
	unannounced bool                  // the lead has yet to be announced, for there is no mandate to show yet
	waiting     []ledger.Entry        // to be proposed when the log takes proposals
	spares      []tasks.PeerID        // nodes that keep the result and are no replicas
	gone        map[life]ledger.Stats // what nodes that have gone had counted, for display
	lost        []lostAt              // losses of late, of which the nodes are told
	lostSeq     uint64                // number of the last loss
}

// leads reports whether this peer leads the job.
func (j *jobState) leads() bool { return j.led.home != nil }

// takeOver makes this peer the job's home, or confirms its lead in a later term.
func (p *Peer) takeOver(j *jobState, term uint64) {
	if !j.leads() {
		if j.copy.record.Result != nil || term < j.term { // it is over, or another leads already
			return
		}
		j.staff.complete = true // a majority of the voters has elected this peer, so commits can begin
		p.setHome(j, p.self, term)
		p.becomeHome(j)
		if !j.leads() {
			return
		}
		p.carryOut(j, j.led.home.Resume(p.now))
	}
	if term > j.term {
		j.term = term
		p.announce(j)
	}
	for id, b := range j.held.blobs { // some were asked for before the log was on disk, in no term
		b.term = j.term
		j.held.blobs[id] = b
	}
	waiting := j.led.waiting
	j.led.waiting = nil
	for _, e := range waiting {
		p.propose(j, e)
	}
	p.maintain(j)
}

// becomeHome leads the job from the record as it stands.
func (p *Peer) becomeHome(j *jobState) {
	if j.growth.known() > j.copy.record.Growth.Count() { // the ledger was recovered from a copy that lacks some of it
		p.regrow(j)
	}
	p.followRecord(j)
	cfg := p.cfg.Ledger
	cfg.Submitter = j.desc.Submitter
	j.led.home = ledger.New(cfg, j.copy.record, j.data(), !j.desc.SeedLocal)
	j.led.announced, j.led.since, j.reports.urgent = p.now, p.now, true
	p.emit(HomeIs{ID: j.id, Home: p.self, Term: j.term})
	p.stepHome(j, ledger.NodeUp{ID: p.self, Slots: p.slotsFor(j, p.self)})
	for _, id := range p.sortedPeers() {
		p.stepHome(j, ledger.NodeUp{ID: id, Slots: p.slotsFor(j, id)})
	}
	p.tellReplicas(j)
	if !j.leads() { // the job was over at once
		return
	}
	if j.copy.record.Recovery != nil {
		p.emit(Announce{Msg: Message{Job: j.id, Recovery: j.copy.record.Recovery}})
	}
	p.announce(j)
}

// stepDown ends this peer's lead. The next home learns from reports and offers what this one knew beside the record.
func (p *Peer) stepDown(j *jobState) {
	// neededSince stays as it is: if the lead went back and forth the wait would otherwise begin anew for ever.
	j.led.home, j.led.waiting = nil, nil
	j.staff.complete = false
	j.staff.changed, j.staff.fewSince, j.staff.stuckSince = tasks.Moment{}, tasks.Moment{}, tasks.Moment{}
	clear(j.staff.enlisted)
}

func (p *Peer) stepIfLed(id tasks.JobID, ev ledger.Event) {
	if j := p.job(id); j != nil && j.leads() {
		p.stepHome(j, ev)
	}
}

// stepHome feeds the logic of a led job. What comes of it may end this peer's lead.
func (p *Peer) stepHome(j *jobState, ev ledger.Event) {
	if j.leads() {
		p.carryOut(j, j.led.home.Step(p.now, ev))
	}
}

// carryOut carries out what a led job's ledger wants.
func (p *Peer) carryOut(j *jobState, effects []ledger.Effect) {
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
			p.emit(e)
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
			if j.leads() { // otherwise an effect before this one has ended the lead, and the next home decides anew
				p.freeEarly(j, e.Entry)
				p.propose(j, e.Entry)
			}
		case ledger.False:
			what := FalsePartial
			if e.Impossible {
				what = Impossible
			}
			p.violated(e.By, j.id, what)
		case ledger.Concluded:
			j.led.spares = e.Spares
		case ledger.Grown, ledger.Appended, ledger.Refused, ledger.ReadLinks, ledger.Ready:
			p.carryOutGrowth(j, e)
		default:
			p.tellNodes(j, e)
		}
	}
}

// tellNodes passes on what a led job's ledger has to say to other nodes.
func (p *Peer) tellNodes(j *jobState, e ledger.Effect) {
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
		r.Status = nil // replicas get it with the log
		p.sendAsHome(j, e.To, Message{Keep: &Keep{Result: &r}})
	}
}

// busyHints is how many peers with waiting work the answer to a report names.
const busyHints = 4

// tellReplicas tells the home's logic who the other replicas are.
func (p *Peer) tellReplicas(j *jobState) {
	if !j.leads() {
		return
	}
	ev := ledger.Replicas{Ready: j.staff.complete}
	if j.copy.log != nil {
		for _, m := range j.copy.log.Voters() {
			if m.Peer != p.self {
				ev.IDs, ev.Voters = append(ev.IDs, m.Peer), append(ev.Voters, m.ID)
			}
		}
	}
	p.stepHome(j, ev)
}

// announce tells all members that this peer leads a job, or notes that it has to as soon as it can prove it.
func (p *Peer) announce(j *jobState) {
	m := p.mandate(j)
	j.led.unannounced = m == nil
	if m != nil {
		open := &Open{Home: p.self, Every: j.led.home.Every(), Proof: m}
		p.emit(Announce{Msg: Message{Job: j.id, Term: j.term, Open: open}})
	}
}

// openFor tells one member that this peer leads a job, if it can prove it.
func (p *Peer) openFor(j *jobState, id tasks.PeerID) {
	if m := p.mandate(j); m != nil {
		p.sendAsHome(j, id, Message{Open: &Open{Home: p.self, Every: j.led.home.Every(), Proof: m}})
	}
}

// openTo tells members that do not report about a job once more that this peer leads it.
func (p *Peer) openTo(j *jobState) {
	j.led.announced = p.now
	for _, id := range p.sortedPeers() {
		if !j.led.home.Ended() && j.led.home.Silent(id) {
			p.tellRecovery(j, id)
			p.openFor(j, id)
		}
	}
}

// restBelow is the longest time between reports with which nodes are told to rest when all is committed. It grows with
// the number of nodes. Where there are many, hardly any still works for the job then, and they are told only of its
// end.
const restBelow = 2 * time.Second

// finish has the result of a led job made. Nobody needs to work for the job any more.
func (p *Peer) finish(j *jobState, e ledger.Finish) {
	if j.leads() && j.led.home.Every() <= restBelow {
		p.rest(j)
	}
	done := &j.copy.record.Done
	p.emit(FinishJob{
		ID:     j.id,
		Parts:  slices.Clone(done.Parts()),
		Units:  done.Cover().Len(),
		Canary: done.Canary(),
		Lost:   e.Lost,
	})
}

// rest has all nodes forget the work that they hold of a job. Nothing counts as committed by that: should the end not
// come to the log, the next home finds that nobody holds those units, and has them run.
func (p *Peer) rest(j *jobState) {
	p.tellAll(j, OrderRest)
	p.schedule(steal.Rest{Job: j.id})
}

// cancel stops all work for a job that this peer leads. The job ends when Finished follows.
func (p *Peer) cancel(id tasks.JobID) {
	if j := p.job(id); j != nil && j.leads() {
		j.led.home.GiveUp()
		p.rest(j)
	}
}

// propose puts an entry into the log, or keeps it until the log takes proposals.
func (p *Peer) propose(j *jobState, e ledger.Entry) {
	if j.copy.log == nil && j.copy.founding == nil {
		p.applied(j, e, 0, 0)
		return
	}
	if j.copy.log == nil || !j.copy.log.Leading() {
		j.led.waiting = append(j.led.waiting, e)
		return
	}
	b, err := wire.Marshal(&e)
	if err != nil {
		return // nothing in an entry can fail to encode
	}
	p.stepLog(j, quorum.Propose{Data: b})
}
