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
	"github.com/dtpnode/dtpnode/wire"
)

// voters is how many replicas a ledger has where there are enough nodes; else it has one, for with two the
// loss of either would stop the job.
func (p *Peer) voters() int { return p.cfg.Replicas }

// founding is a copy on its way to disk.
type founding struct {
	log   quorum.Log
	by    tasks.PeerID    // who asked for it; this peer for its own jobs
	nonce uint64          // with which
	was   *quorum.Replica // the copy that it takes the place of, for it is recovered; nil for none
	aside bool            // it goes on from a copy that was superseded
}

// enlistment is a node that was asked to become a replica.
type enlistment struct {
	nonce  uint64
	not    uint64        // what it was before
	member quorum.Member // what it is, once it is ok
	since  time.Duration
	asked  time.Duration
	ok     bool
}

// enlistWait is how long a node may take to become a replica; then another is asked.
const enlistWait = 5 * time.Second

// changeWait is how long a change of voters may take; then it is proposed again.
const changeWait = 5 * time.Second

// found makes the ledger of a new job. Its only member is this peer, until others have joined.
func (p *Peer) found(j *jobState) {
	p.seq++
	self := quorum.NewMember(p.self, p.seq)
	alone := quorum.Alone(p.cfg.Keys, GroupName(j.id), self)
	j.show(&alone)
	if p.voters() == 0 {
		j.staff.complete = true
		return
	}
	j.copy.neverLed = true
	j.copy.founding = &founding{by: p.self, log: quorum.Log{Self: self, Voters: []quorum.Member{self}}}
	p.emit(FoundLedger{ID: j.id, Log: j.copy.founding.log})
}

func (p *Peer) founded(ev Founded) {
	j := p.job(ev.ID)
	if j == nil && ev.Reason == "" { // the job ended while the copy was made, and nobody counts on that
		p.emit(DropLedger{ID: ev.ID})
	}
	if j == nil || j.copy.founding == nil || j.copy.founding.log.Self.ID != ev.Member {
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
		p.send(f.by, Message{Job: j.id, Enlisted: &Enlisted{Nonce: f.nonce, Member: f.log.Self, OK: ok}})
	case ok:
		p.stepLog(j, quorum.Campaign{})
	default: // a job whose ledger cannot be kept is no job
		j.copy.neverLed = false
		j.copy.log, j.staff.complete = nil, true // and its end is in memory alone
		p.failLedger(j, ev.Reason)
	}
}

// logConfig is what a copy of a job's log is to know of this peer and of the job.
func (p *Peer) logConfig(id tasks.JobID, desc *tasks.Job, authority func(tasks.PeerID) bool) quorum.Config {
	cfg := p.cfg.Quorum
	cfg.Seed ^= p.cfg.Boot
	cfg.Keys, cfg.Group, cfg.Authority = p.cfg.Keys, GroupName(id), authority
	cfg.CheckState = func(state []byte) error {
		_, err := ledger.DecodeRecord(state, desc.Want)
		return err
	}
	return cfg
}

// startLog begins to follow a log that is on disk.
func (p *Peer) startLog(j *jobState, desc *tasks.Job, log quorum.Log) (why string) {
	may, own := p.authority(desc.Submitter), true
	believed := func(by tasks.PeerID) bool { return own || may(by) } // what is on this disk was believed before it came there
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
	if !j.leads() { // else it leads since before the log was on disk
		j.copy.record = &ledger.Record{Want: desc.Want}
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
	p.restoredLog(j)
	if !j.shut {
		p.emit(Prepare{ID: ev.ID, Job: j.desc})
	}
	if len(j.copy.log.Members()) == 1 {
		p.stepLog(j, quorum.Campaign{}) // nobody else could
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
		case quorum.Astray:
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
		return // alike on every replica
	}
	p.applied(j, entry, e.Index, e.Term)
}

// applied brings an entry to the record, with its place in the log; 0 without one.
func (p *Peer) applied(j *jobState, entry ledger.Entry, index, term uint64) {
	v, changed := j.copy.record.Apply(entry)
	j.follow(entry, index, term, changed)
	if j.leads() {
		p.step(j, ledger.Applied{Entry: entry, Verdict: v, Changed: changed})
	}
	if j.held.early != nil && j.mayHaveResult() {
		p.onKeepResult(j, *j.held.early)
	}
	if entry.Result != nil && changed {
		p.jobEnded(j)
	}
}

// propose puts an entry in the log, or keeps it until the log takes some.
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
	case j.copy.neverLed: // it leads as soon as the log is on disk
	case r.Leader == p.self: // its record is not complete yet
	case r.Leader != "":
		p.setHome(j, r.Leader, r.Term)
	case j.leads():
		p.stepDown(j)
		j.home = ""
		p.emit(HomeIs{ID: j.id, Term: j.term})
	}
}

// takeOver makes this peer the job's home, or confirms that it is.
func (p *Peer) takeOver(j *jobState, term uint64) {
	if !j.leads() {
		if j.copy.record.Result != nil || term < j.term { // it is over, or another leads already
			return
		}
		j.staff.complete = true // the voters that there are have elected
		p.setHome(j, p.self, term)
		p.becomeHome(j)
		if !j.leads() {
			return
		}
		p.obey(j, j.led.home.Resume(p.now))
	}
	if term > j.term {
		j.term = term
		p.announce(j)
	}
	for id, b := range j.held.blobs { // asked for before the log was there
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
	cfg := p.cfg.Ledger
	cfg.Submitter = j.desc.Submitter
	j.led.home = ledger.New(cfg, j.copy.record, &j.desc.Data, !j.desc.SeedLocal)
	j.led.announced, j.led.since, j.reports.urgent = p.now, p.now, true
	p.emit(HomeIs{ID: j.id, Home: p.self, Term: j.term})
	p.step(j, ledger.NodeUp{ID: p.self, Slots: p.cfg.Steal.Slots})
	for _, id := range p.sortedPeers() {
		p.step(j, ledger.NodeUp{ID: id, Slots: p.slotsFor(j, id)})
	}
	p.tellReplicas(j)
	if !j.leads() { // it was over before it began
		return
	}
	if j.copy.record.Recovery != nil {
		p.emit(Announce{Msg: Message{Job: j.id, Recovery: j.copy.record.Recovery}})
	}
	p.announce(j)
}

// stepDown ends this peer's lead. What it knew beside the record comes to the next home anew.
func (p *Peer) stepDown(j *jobState) {
	// Since when replicas are to go is kept: where the lead goes to and fro it would begin anew for ever.
	j.led.home, j.led.waiting = nil, nil
	j.staff.complete = false
	j.staff.changed, j.staff.fewSince, j.staff.stuckSince = tasks.Moment{}, tasks.Moment{}, tasks.Moment{}
	clear(j.staff.enlisted)
}

// setHome follows a job to another home.
func (p *Peer) setHome(j *jobState, home tasks.PeerID, term uint64) {
	if (term < j.term && !mutant.On(mutant.StaleTerm)) || home == "" || (home == j.home && term == j.term) {
		return
	}
	if j.leads() && home != p.self {
		p.stepDown(j)
	}
	if term != j.term {
		j.held.late, j.held.early = nil, nil
	}
	moved := home != j.home
	j.home, j.term, j.seeking.heard = home, term, p.now
	if home != p.self {
		p.emit(HomeIs{ID: j.id, Home: home, Term: term})
	}
	if moved && !j.shut {
		p.schedule(steal.Home{Job: j.id, Home: home})
		j.work.parts.SetAbove("") // the new home makes a tree of its own
		p.local(j.work.parts.SetHome(p.now, home))
		j.reports.urgent = true
	}
}

// tellReplicas tells the home's logic who else has the record.
func (p *Peer) tellReplicas(j *jobState) {
	if !j.leads() {
		return
	}
	ev := ledger.Replicas{Ready: j.staff.complete}
	if j.copy.log != nil {
		for _, m := range j.copy.log.Members() {
			if m.Peer != p.self {
				ev.IDs, ev.Members = append(ev.IDs, m.Peer), append(ev.Members, m.ID)
			}
		}
	}
	p.step(j, ev)
}

// toReplica takes what replicas send each other. One that knows the end of a job tells it to those that go
// on asking for votes.
func (p *Peer) toReplica(from tasks.PeerID, j *jobState, m Message) {
	switch {
	case j != nil && j.copy.log != nil && !p.mayFrame(j, from):
	case j != nil && j.copy.log != nil:
		p.stepLog(j, quorum.Recv{From: from, Frame: m.Frame})
	default:
		p.tellEnd(from, m.Job)
	}
}

// mayFrame reports whether frames of a member are taken here. A copy that is to become one of those that count has no log
// yet that could tell: it hears the home, and those who are proven to be voters; or anybody, while it knows of none.
func (p *Peer) mayFrame(j *jobState, from tasks.PeerID) bool {
	return j.seated() || from == j.home || len(j.proofs.conf.Voters) == 0 || slices.ContainsFunc(j.proofs.conf.Voters, func(m quorum.Member) bool { return m.Peer == from })
}

func (p *Peer) isVoter(j *jobState, id tasks.PeerID) bool {
	return slices.ContainsFunc(j.copy.log.Members(), func(m quorum.Member) bool { return m.Peer == id })
}

// seated reports whether this peer's copy is one of those that count.
func (j *jobState) seated() bool {
	return slices.ContainsFunc(j.copy.log.Members(), func(m quorum.Member) bool { return m.ID == j.copy.self.ID })
}

// onEnlist makes a copy of a job's ledger here.
func (p *Peer) onEnlist(from tasks.PeerID, j *jobState, m Message) {
	if p.ends.of[m.Job] != nil || p.voters() == 0 || p.leave {
		return
	}
	c := claim{from: from, proof: m.Enlist.Proof, enlist: m.Enlist}
	switch {
	case j == nil || j.desc == nil:
		p.claimed(m.Job, c)
	default:
		p.enlistHere(from, j, m.Term, m.Enlist)
	}
}

// enlistHere is onEnlist for a job whose description is here.
func (p *Peer) enlistHere(from tasks.PeerID, j *jobState, term uint64, e *Enlist) {
	if !p.heed(from, j, from, term, e.Proof) || j.leads() || j.shut {
		return
	}
	switch {
	case j.copy.founding != nil:
		j.copy.founding.by, j.copy.founding.nonce = from, e.Nonce
	case j.copy.log != nil && j.isBefore(term): // it hears of the recovery, and gives its copy up, first
	case j.copy.log != nil && (j.copy.self.ID != e.Not || e.Not == 0): // the others may count on it already
		p.send(from, Message{Job: j.id, Enlisted: &Enlisted{Nonce: e.Nonce, Member: j.copy.self, OK: true}})
	default: // as another member than before, if it was one
		p.seq++
		j.copy.log = nil
		log := quorum.Log{Self: quorum.NewMember(p.self, p.seq), Voters: e.Voters}
		if e.Proof != nil { // who is obeyed until another is elected
			log.Hard.Term, log.Hard.Lead = e.Proof.Term, e.Proof.Leader
		}
		j.copy.founding = &founding{by: from, nonce: e.Nonce, log: log}
		p.emit(FoundLedger{ID: j.id, Log: j.copy.founding.log, From: from})
	}
}

func (p *Peer) onEnlisted(j *jobState, from tasks.PeerID, e Enlisted) {
	en := j.staff.enlisted[from]
	if !j.leads() || j.copy.log == nil || en == nil || en.nonce != e.Nonce || e.Member.Peer != from {
		return
	}
	voter, ever := j.copy.log.Knows(e.Member.ID)
	switch {
	case !e.OK || voter: // it was silent, but is there
		delete(j.staff.enlisted, from)
		j.staff.unfit[from] = p.now + 4*p.cfg.Replace
	case ever:
		en.not, en.asked = e.Member.ID, -time.Second
	default:
		en.member, en.ok = e.Member, true
	}
	p.maintain(j)
}

// onKeepResult has a job's result kept for its home, once this peer knows that the job has ended: the home asks at once, and no
// more when most replicas have it.
func (p *Peer) onKeepResult(j *jobState, r ledger.Result) {
	if j.held.early = nil; j.mayHaveResult() {
		p.emit(KeepResult{ID: j.id, Result: r, To: j.home})
	} else if j.copy.log != nil {
		j.held.early = &r
	}
}

// mayHaveResult reports whether a home may have this peer keep the job's result. With a copy of the ledger it knows that the
// job has ended; without one it works for the job, and keeps the result where there are no other replicas.
func (j *jobState) mayHaveResult() bool {
	if j.copy.log != nil {
		return j.copy.record != nil && j.copy.record.Ended
	}
	return j.desc != nil
}

// onKeep has a blob kept for the home.
func (p *Peer) onKeep(j *jobState, k Keep) {
	switch {
	case k.Result != nil:
		p.onKeepResult(j, *k.Result)
	case j.copy.log == nil || k.Partial == nil:
	case k.Partial.Job != j.id:
	case k.Free:
		if b, ok := j.held.blobs[k.Partial.ID]; ok && b.term == j.term && b.seq < k.Seq {
			p.release(j, k.Partial.ID)
		}
	default:
		p.onKeepPartial(j, k)
	}
}

// blobKept gives this node's word to a home. It is not given in a term that the disk does not know yet: after a crash this
// node could take what it has told of then for what an earlier home had wanted (held.since). The home asks again.
func (p *Peer) blobKept(id tasks.JobID, to tasks.PeerID, k Kept) {
	if j := p.job(id); j != nil && j.copy.log != nil {
		if k.OK && k.Term > j.copy.log.Sure() {
			return
		}
		k.Member = j.copy.self.ID
	}
	p.send(to, Message{Job: id, Kept: &k})
}

// onKept takes a replica's word on a blob; not the late one of a member that is none any more, for that deletes
// what it kept.
func (p *Peer) onKept(j *jobState, from tasks.PeerID, k Kept) {
	if !j.leads() {
		return
	}
	if k.ID != (merge.ID{}) && j.copy.log != nil && !slices.Contains(j.copy.log.Members(), quorum.Member{ID: k.Member, Peer: from}) {
		return
	}
	if k.ID != (merge.ID{}) && k.Term != j.term {
		return
	}
	p.step(j, ledger.Kept{From: from, ID: k.ID, SHA256: k.SHA256, OK: k.OK, Full: k.Full, Seq: k.Seq})
}

// resignAgain is how often a member that is none any more asks whether the others know that.
const resignAgain = time.Second

// resign asks for leave. Until the others have the change of members, they may need this one's vote for it.
func (p *Peer) resign(j *jobState) {
	switch {
	case j.copy.log == nil || j.copy.leaveAt.Never():
	case j.copy.leaveAt.Past(0, p.now): // nobody is left to answer
		p.leaveLog(j, "")
	case p.now-j.copy.resigned >= resignAgain:
		j.copy.resigned = p.now
		for _, m := range j.copy.log.Members() {
			if m.Peer != p.self {
				p.send(m.Peer, Message{Job: j.id, Resign: &Resign{Member: j.copy.self.ID}})
			}
		}
	}
}

// onResign lets a member go that is none any more for those that count.
func (p *Peer) onResign(from tasks.PeerID, j *jobState, m Message) {
	if j == nil || j.copy.log == nil {
		p.tellEnd(from, m.Job)
		return
	}
	if voter, _ := j.copy.log.Knows(m.Resign.Member); !voter && j.copy.log.Leading() && !j.copy.log.Changing() {
		p.send(from, Message{Job: j.id, Resigned: m.Resign})
	}
}

// onResigned drops a copy that nobody counts on any more.
func (p *Peer) onResigned(from tasks.PeerID, j *jobState, r Resign) {
	if j.copy.log != nil && !j.copy.leaveAt.Never() && r.Member == j.copy.self.ID && p.isVoter(j, from) {
		p.leaveLog(j, "")
	}
}

// leaveLog ends this peer's copy of a log: it is no member any more, or cannot go on.
func (p *Peer) leaveLog(j *jobState, why string) {
	if j.leads() && why != "" && len(j.copy.log.Members()) == 1 {
		p.loseLedger(j, why)
		return
	}
	p.dropLog(j, DropLedger{ID: j.id, Reason: why})
}

// dropLog ends this peer's copy of a log as told.
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

// failLedger tells of a job that its ledger cannot be kept.
func (p *Peer) failLedger(j *jobState, why string) {
	f := ledger.Failure{Kind: "disk", Reason: "the job's ledger could not be written: " + why}
	p.emit(FailJob{ID: j.id, Failure: ledger.Failed{Failure: f, Nodes: []tasks.PeerID{p.self}, Tries: 1}})
}

// expelled gives up what this peer can have no part in any more.
func (p *Peer) expelled() {
	for _, j := range slices.Clone(p.jobs) {
		if j.leads() && (j.copy.log == nil || len(j.copy.log.Members()) == 1) {
			continue
		}
		p.closeJob(j, true)
		if j.copy.log != nil {
			p.leaveLog(j, "this node is no member of the cluster any more")
		}
	}
}

// dropJob forgets a job that this peer has nothing to do with any more.
func (p *Peer) dropJob(j *jobState, why string) {
	if j.copy.log != nil {
		p.emit(DropLedger{ID: j.id, Reason: why})
	}
	p.forgetJob(j)
}

// unseated is how long a peer that leaves keeps a copy that has no seat.
const unseated = 5 * time.Second

// needed reports whether others need this peer's copy of a ledger before it may leave.
func (p *Peer) needed(j *jobState) bool {
	switch {
	case j.copy.log == nil:
		return j.leads()
	case !j.seated(): // it may have been about to get a seat; who leads knows that this peer leaves, and may not know of the copy
		return p.now-p.leaveAt < unseated
	case len(j.copy.log.Members()) == 1 && j.seated() && (!j.leads() || len(p.fit(j)) == 0): // the job waits on disk for this peer's return
		return false
	}
	return true
}

// tellHome sends what is for a job's home; nowhere while there is none.
func (p *Peer) tellHome(j *jobState, m Message) {
	if j.home != "" {
		m.Job = j.id
		p.send(j.home, m)
	}
}

// sendAsHome sends a word of this job's home.
func (p *Peer) sendAsHome(j *jobState, to tasks.PeerID, m Message) {
	m.Job, m.Term = j.id, j.term
	p.send(to, m)
}

// Ledger describes this peer's copy of a job's ledger; ok is false without one.
func (p *Peer) Ledger(id tasks.JobID) (v LedgerView, ok bool) {
	j := p.job(id)
	if j == nil || j.copy.log == nil {
		return LedgerView{}, false
	}
	v = LedgerView{Home: j.home, Term: j.term, Applied: j.held.index, Committed: j.copy.record.Done.Cover(), Parts: slices.Clone(j.copy.record.Done.Parts()),
		Voters: j.copy.log.Members(), Changing: j.copy.log.Changing(), Ended: j.copy.record.Ended}
	for _, m := range v.Voters {
		v.Members = append(v.Members, m.Peer)
	}
	v.Lost = slices.Clone(j.copy.record.Lost)
	v.Attempts, v.Round = slices.Clone(j.copy.record.Attempts), j.copy.record.Round
	v.Heard, v.Self, v.Recovery = j.copy.log.Heard(p.now), j.copy.self, j.copy.record.Recovery
	v.Alive, v.Majority = j.copy.log.Alive(p.now, recoverAlive)
	v.Answering, v.Answered = j.copy.log.Alive(p.now, answerWithin)
	return v, true
}

// answerWithin is how long ago the other voters may have spoken to the one that leads them, which asks them several
// times a second, and still count as answering it.
const answerWithin = 2 * time.Second

// LedgerView is a copy of a ledger as it stands.
type LedgerView struct {
	Home      tasks.PeerID
	Term      uint64
	Applied   uint64         // index in the log of the last entry that the record has
	Self      quorum.Member  // which member this copy is
	Alive     []tasks.PeerID // members that were heard lately, this one among them
	Majority  bool           // they are enough for the ledger to be written to
	Answering []tasks.PeerID // members that were heard within answerWithin: where the job is led, those that answer
	Answered  bool           // they are enough
	Recovery  *quorum.Link   // nil unless the ledger was recovered
	Members   []tasks.PeerID
	Voters    []quorum.Member                // the same, as members of the log
	Changing  bool                           // they are those of before and after a change, and both count
	Ended     bool                           // nothing more is committed
	Lost      []ledger.Lost                  // set aside
	Attempts  []ledger.Attempt               // to make the result, that failed
	Round     uint64                         // how often the user has asked for more
	Heard     map[tasks.PeerID]time.Duration // since the last word of each other member; at the home only
	Committed tasks.Cover
	Parts     []merge.Partial
}
