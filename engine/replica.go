package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// voters is how many replicas a ledger has where there are enough nodes. Elsewhere it has one, and never two: with two
// the loss of either would stop the job.
func (p *Peer) voters() int { return p.cfg.Replicas }

// founding is a copy of a ledger that is being made on disk.
type founding struct {
	log   quorum.Log
	by    tasks.PeerID    // who asked for it; this peer for its own jobs
	nonce uint64          // of the request, for the answer
	was   *quorum.Replica // the copy that this one replaces when the ledger is recovered; nil for none
	aside bool            // the ledger is recovered from a copy that had been superseded
}

// found makes the ledger of a new job. Its only voter is this peer, until others have joined.
func (p *Peer) found(j *jobState) {
	p.seq++
	self := quorum.NewVoter(p.self, p.seq)
	alone := quorum.SoleMandate(p.cfg.Keys, GroupName(j.id), self)
	j.show(&alone)
	if p.voters() == 0 {
		j.staff.complete = true
		return
	}
	j.copy.neverLed = true
	j.copy.founding = &founding{by: p.self, log: quorum.Log{Self: self, Voters: []quorum.Voter{self}}}
	p.emit(FoundLedger{ID: j.id, Log: j.copy.founding.log})
}

// founded takes the word of this node's disk that a copy was made, or could not be.
func (p *Peer) founded(ev Founded) {
	j := p.job(ev.ID)
	if j == nil && ev.Reason == "" { // the job ended while the copy was made, and nobody counts on that
		p.emit(DropLedger{ID: ev.ID})
	}
	if j == nil || j.copy.founding == nil || j.copy.founding.log.Self.ID != ev.Voter {
		return
	}
	f := j.copy.founding
	j.copy.founding = nil
	if ev.Reason == "" {
		ev.Reason = p.startLog(j, ev.Job, f.log)
	}
	ok := ev.Reason == ""
	switch {
	case (f.was != nil || f.aside) && ok:
		j.term = max(j.term, f.log.Hard.Term)
		p.stepLog(j, quorum.Campaign{})
	case f.aside:
		p.emit(NotRecovered{ID: j.id, Reason: ev.Reason})
		p.closeJob(j, true)
	case f.was != nil:
		j.copy.log = f.was
		if j.copy.log.Leading() {
			p.takeOver(j, j.term)
		}
		p.emit(NotRecovered{ID: j.id, Reason: ev.Reason})
	case f.by != p.self:
		p.send(f.by, Message{Job: j.id, Enlisted: &Enlisted{Nonce: f.nonce, Voter: f.log.Self, OK: ok}})
	case ok:
		p.stepLog(j, quorum.Campaign{})
	default: // a job whose ledger cannot be kept is no job
		j.copy.neverLed = false
		j.copy.log, j.staff.complete = nil, true // its end is written nowhere
		p.failLedger(j, ev.Reason)
	}
}

// logConfig is what a copy of a job's log is to know of this peer and of the job.
func (p *Peer) logConfig(id tasks.JobID, desc *tasks.Job, authority func(tasks.PeerID) bool) quorum.Config {
	cfg := p.cfg.Quorum
	cfg.Seed ^= p.cfg.Boot
	cfg.Keys, cfg.Group, cfg.Authority = p.cfg.Keys, GroupName(id), authority
	cfg.CheckState = func(state []byte) error {
		_, err := ledger.DecodeRecord(state, p.newRecord(id, desc))
		return err
	}
	return cfg
}

// startLog begins to follow a log that is on disk.
func (p *Peer) startLog(j *jobState, desc *tasks.Job, log quorum.Log) (why string) {
	may, own := p.authority(desc.Submitter), true
	// What is on this node's disk was checked before it was written, and counts whoever may sign what by now.
	believed := func(by tasks.PeerID) bool { return own || may(by) }
	r, err := quorum.New(p.now, p.logConfig(j.id, desc, believed), log)
	own = false
	if err != nil {
		return err.Error()
	}
	j.desc, j.copy.log, j.copy.self, j.copy.founders = desc, r, log.Self, log.Voters
	j.copy.leaveAt = tasks.Moment{}
	j.weigh(desc)
	j.copy.ledAt = p.now
	if !j.leads() {
		j.held = held{since: max(log.Hard.Term, j.term), unswept: true}
	}
	if !j.leads() { // a home that led before its log was on disk has a record already
		j.copy.record = p.newRecord(j.id, desc)
	}
	p.stepLog(j, quorum.Tick{})
	return ""
}

// restore brings a job back from this peer's disk.
func (p *Peer) restore(ev Restore) {
	if p.job(ev.ID) != nil {
		return
	}
	j := p.addJob(ev.ID, "")
	if why := p.startLog(j, ev.Job, ev.Log); why != "" {
		p.forgetJob(j)
		p.emit(DropLedger{ID: ev.ID, Reason: why})
		return
	}
	p.letSettle(j)
	if !j.shut {
		p.loadCode(j, "")
	}
	if len(j.copy.log.Voters()) == 1 {
		p.stepLog(j, quorum.Campaign{}) // nobody else could lead
	}
}

// stepLog feeds the job's log and carries out what it wants.
func (p *Peer) stepLog(j *jobState, ev quorum.Event) {
	for _, e := range j.copy.log.Step(p.now, ev) {
		switch e := e.(type) {
		case quorum.Write:
			p.emit(WriteLedger{ID: j.id, Write: e})
		case quorum.Send:
			p.send(e.To, Message{Job: j.id, Frame: e.Frame})
		case quorum.Apply:
			p.apply(j, e)
		case quorum.TakeSnapshot:
			p.takeSnapshot(j, e.Index)
		case quorum.Restore:
			p.restoreRecord(j, e.Index, e.State)
		case quorum.Changed:
			j.staff.changed = tasks.Moment{}
			p.tellReplicas(j)
		case quorum.Role:
			p.role(j, e)
		case quorum.Suspect:
			p.violated(e.From, j.id, FalseProof)
		case quorum.Misaddressed:
			p.tellRecovery(j, e.From)
		case quorum.Removed:
			j.copy.leaveAt, j.copy.resigned = tasks.At(p.now+p.cfg.Silent), p.now
		case quorum.Broken:
			p.leaveLog(j, e.Reason)
			return
		}
		if j.copy.log == nil {
			return
		}
	}
	if j.led.unannounced && j.leads() {
		p.announce(j)
	}
	if s, ok := j.copy.log.Sealed(); ok && !j.end.proven {
		p.endSealed(j, s)
	}
}

// apply brings a committed entry to the record.
func (p *Peer) apply(j *jobState, e quorum.Apply) {
	var entry ledger.Entry
	if err := wire.Unmarshal(e.Data, &entry); err != nil {
		return // every replica passes it over alike
	}
	p.applied(j, entry, e.Index, e.Term)
}

// applied applies an entry to the record. index and term are its place in the log, 0 for a ledger without one.
func (p *Peer) applied(j *jobState, entry ledger.Entry, index, term uint64) {
	v, changed := j.copy.record.Apply(entry)
	j.noteApplied(entry, index, term, changed)
	if entry.Append != nil && changed {
		p.followRecord(j)
	}
	if changed && (entry.Commit != nil || entry.Lost != nil || entry.End != nil) {
		p.emit(Settled{ID: j.id})
	}
	if j.leads() {
		p.stepHome(j, ledger.Applied{Entry: entry, Verdict: v, Changed: changed})
	}
	if j.held.result != nil && j.mayHaveResult() {
		p.onKeepResult(j, *j.held.result)
	}
	if entry.Result != nil && changed {
		p.jobEnded(j)
	}
}

// written tells a log what came of its write.
func (p *Peer) written(ev Written) {
	j := p.job(ev.ID)
	switch {
	case j == nil || j.copy.log == nil:
	case ev.Reason != "":
		p.stepLog(j, quorum.NotWritten{Seq: ev.Seq, Reason: ev.Reason})
	default:
		p.stepLog(j, quorum.Written{Seq: ev.Seq})
	}
}

// role follows the log's elections.
func (p *Peer) role(j *jobState, r quorum.Role) {
	switch {
	case r.Leading:
		j.copy.neverLed = false
		p.takeOver(j, r.Term)
	case j.copy.neverLed: // this peer leads already, and the log will say so when it is on disk
	case r.Leader == p.self: // it leads when its record has all entries of earlier terms
	case r.Leader != "":
		p.setHome(j, r.Leader, r.Term)
	case j.leads():
		p.stepDown(j)
		j.home = ""
		p.emit(HomeIs{ID: j.id, Term: j.term})
	}
}

func (p *Peer) isVoter(j *jobState, id tasks.PeerID) bool {
	return slices.ContainsFunc(j.copy.log.Voters(), func(m quorum.Voter) bool { return m.Peer == id })
}

// seated reports whether this peer's copy is one of those that count.
func (j *jobState) seated() bool {
	return slices.ContainsFunc(j.copy.log.Voters(), func(m quorum.Voter) bool { return m.ID == j.copy.self.ID })
}

// leaveLog ends this peer's copy of a log, since it is no voter any more, or cannot go on for the reason why.
func (p *Peer) leaveLog(j *jobState, why string) {
	if j.leads() && why != "" && len(j.copy.log.Voters()) == 1 {
		p.loseLedger(j, why)
		return
	}
	p.dropLog(j, DropLedger{ID: j.id, Reason: why})
}

// dropLog ends this peer's copy of a log, and has what is on disk dropped as how says.
func (p *Peer) dropLog(j *jobState, how DropLedger) {
	j.copy.log = nil
	if j.leads() {
		p.stepDown(j)
		j.home = ""
	}
	p.emit(how)
	if j.shut {
		p.forgetJob(j)
	}
}

// loseLedger fails a job whose only ledger cannot be written any more; its end is in memory alone.
func (p *Peer) loseLedger(j *jobState, why string) {
	chain := j.copy.log.Chain()
	j.end.lostChain = &chain
	j.copy.log, j.led.waiting = nil, nil
	j.staff.complete, j.staff.changed = true, tasks.Moment{}
	p.emit(DropLedger{ID: j.id, Reason: why})
	j.led.home.GiveUp()
	p.rest(j)
	p.failLedger(j, why)
}

// failLedger fails a job whose ledger cannot be kept.
func (p *Peer) failLedger(j *jobState, why string) {
	f := ledger.Failure{Kind: "disk", Reason: "the job's ledger could not be written: " + why}
	p.emit(FailJob{ID: j.id, Failure: ledger.Failed{Failure: f, Nodes: []tasks.PeerID{p.self}, Tries: 1}})
}

// replica is this peer's copy of a job's ledger.
//
// log is nil if this peer has no copy, if one is being made (founding), or if the ledger is in memory alone. record is
// never nil: it is what the ledger says as far as this peer has followed it.
type replica struct {
	record    *ledger.Record
	log       *quorum.Replica
	self      quorum.Voter   // which voter of the log this copy is
	founders  []quorum.Voter // with whom the log began
	founding  *founding      // a copy is on its way to disk
	neverLed  bool           // this peer has founded the log, which has not elected it yet since it is not on disk
	leaveAt   tasks.Moment   // when a copy that has lost its seat is dropped if nobody answers; else never
	resigned  time.Duration  // when the voters were last asked whether it may be dropped sooner
	recovery  *quorum.Link   // the ledger's last recovery, which was checked; the record may not have it yet
	defied    uint64         // term of the last recovery that this peer has ignored
	ledAt     time.Duration  // when this copy last heard a leader
	settledAt time.Duration  // from when on hearing a leader shows that the ledger lives, see settleTime
}
