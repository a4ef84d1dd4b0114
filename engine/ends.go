package engine

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// The end of a job is proven by a seal: a majority of the voters of its ledger signed what the result is, each as its
// own record says. So anybody can check it, whoever tells of it.

// ending is what this peer has of a job's end beside the record.
type ending struct {
	proof     *Ended        // from elsewhere, which has ended the job here: the record may be behind it
	proven    bool          // others were told, or have told, how the job ended, with a seal
	lostChain *quorum.Chain // of the voters of the ledger that this peer had alone, and has lost
}

// ends remembers jobs that are over, for those who ask; the newest maxEnds of them, the newest maxResults with results.
type ends struct {
	ids []tasks.JobID
	of  map[tasks.JobID]*endedJob
}

// endedJob is what is remembered of a job that is over, and how it ended.
type endedJob struct {
	pastJob
	Ended
}

const (
	maxEnds    = 4096
	maxResults = 64
)

// put notes that a job is over. What is known of its end already stays, and is completed by what in says of the same
// end.
func (e *ends) put(id tasks.JobID, past pastJob, in Ended) {
	was := e.of[id]
	if was == nil {
		was = &endedJob{}
		e.of[id] = was
		e.ids = append(e.ids, id)
	}
	if past.term >= was.term {
		was.pastJob = past
	}
	switch was.Sum {
	case "":
		was.Ended = in
	case in.Sum:
		was.Result, was.Seal = cmp.Or(was.Result, in.Result), cmp.Or(was.Seal, in.Seal)
	}
	if n := len(e.ids) - maxResults; n > 0 {
		e.of[e.ids[n-1]].Result = nil
	}
	if len(e.ids) > maxEnds {
		delete(e.of, e.ids[0])
		e.ids = e.ids[1:]
	}
}

func (e *ends) forget(id tasks.JobID) {
	delete(e.of, id)
	e.ids = slices.DeleteFunc(e.ids, func(o tasks.JobID) bool { return o == id })
}

// endOf is how a job ended as its record here says, without a proof.
func endOf(rec *ledger.Record) Ended {
	e := Ended{Units: rec.Done.Cover().Len(), Result: rec.Result, Sum: rec.Result.Sum()}
	for _, l := range rec.Lost {
		e.Missing += l.Range.Len()
	}
	return e
}

// CheckEnd reports why an end is not proven, or why the result in it is not the one that is proven. The error is under
// quorum.ErrUnproven.
func CheckEnd(t quorum.Trust, e *Ended) error {
	if e.Seal == nil || (e.Result != nil && e.Result.Sum() != e.Sum) {
		return quorum.ErrUnproven
	}
	return quorum.CheckSeal(t, e.Text(), *e.Seal)
}

// newest is the number of the newest set of voters of the job's ledger that is known here.
func (j *jobState) newest() uint64 {
	seq := j.proofs.conf.Seq
	if j.copy.log != nil {
		seq = max(seq, j.copy.log.Chain().Conf().Seq)
	}
	return seq
}

// onEnded takes a member's word that a job is over, if it is proven.
func (p *Peer) onEnded(from tasks.PeerID, id tasks.JobID, j *jobState, e *Ended) {
	if p.earlierEnd(id, e) || j == nil || j.desc == nil || j.end.proven {
		return
	}
	if CheckEnd(p.trust(j.id, j.desc.Submitter), e) != nil && !mutant.On(mutant.NoSeal) {
		p.unproven(from, j.id, e.Seal.Chain)
		return
	}
	if p.overrules(j.id, j.desc.Submitter, j.recovery(), e) {
		p.takeEarlierEnd(j, e)
		return
	}
	if p.defiesChain(j, e.Seal.Chain) {
		return
	}
	voters := e.Seal.Chain.Conf()
	if (voters.Seq < j.newest() || j.outdated(voters.Term)) && !mutant.On(mutant.NoSeal) {
		return // its voters were replaced since
	}
	j.term = max(j.term, voters.Term)
	switch {
	case j.copy.record.Result != nil:
		if endOf(j.copy.record).Sum == e.Sum {
			p.endSealed(j, *e.Seal)
		}
	case e.Result != nil:
		j.end.proof = e
		r := *e.Result
		p.applied(j, ledger.Entry{Result: &r}, 0, 0)
	case j.copy.log == nil && !j.leads():
		p.ends.put(j.id, j.past(), *e)
		p.closeJob(j, false)
	case j.copy.log != nil && !seatedIn(e.Seal.Chain, p.self):
		// a copy that was to have a seat, or has lost it, and is told no more
		p.leaveLog(j, "")
		p.ends.put(j.id, j.past(), *e)
		p.closeJob(j, false)
	default:
		p.askForEnd(j, from, voters)
	}
}

// askForEnd asks for the result of a job, which a copy of its ledger needs: who has told that the job is over, for that
// was not the whole where it did not know of this copy's seat, and those who have signed it, for they have the result.
func (p *Peer) askForEnd(j *jobState, teller tasks.PeerID, signers quorum.Conf) {
	if j.seeking.resultAsked.Within(seekEvery, p.now) {
		return
	}
	j.seeking.resultAsked = tasks.At(p.now)
	ask := []tasks.PeerID{teller}
	for _, m := range signers.Voters {
		if m.Peer != p.self && m.Peer != teller {
			ask = append(ask, m.Peer)
		}
	}
	for _, id := range ask {
		p.send(id, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
	}
}

// jobEnded closes a job whose result is in the ledger, and has the voters sign that.
func (p *Peer) jobEnded(j *jobState) {
	e := endOf(j.copy.record)
	if j.end.proof != nil { // the end was heard of before the log has come to it
		e = *j.end.proof
		e.Seal = nil
	}
	p.ends.put(j.id, j.past(), e)
	p.emit(JobEnded{ID: j.id, Term: j.term, Result: *j.copy.record.Result, Recovery: j.recovery()})
	p.closeJob(j, false)
	j.closeAt = p.now + p.cfg.Unsealed
	switch {
	case j.end.proof != nil:
		p.endSealed(j, *j.end.proof.Seal)
	case j.copy.log != nil:
		p.stepLog(j, quorum.ToSeal{Text: e.Text()})
	case j.leads() && j.proofs.shown != nil:
		chain := j.proofs.shown.Chain
		if j.end.lostChain != nil {
			chain = *j.end.lostChain
		}
		p.endSealed(j, quorum.SoleSeal(p.cfg.Keys, GroupName(j.id), chain, p.self, e.Text()))
	}
}

// endSealed tells all members of a job's end, now that it is proven: those that keep its ledger or result with the
// result, the others without. Whoever misses it is told when it asks or reports.
func (p *Peer) endSealed(j *jobState, s quorum.Seal) {
	if j.end.proven {
		return
	}
	j.end.proven = true
	e := p.ends.of[j.id]
	if e == nil {
		return
	}
	e.Seal = &s
	p.emit(EndSealed{ID: j.id, Term: e.term, Ended: e.Ended, Submitter: e.submitter, Recovery: e.recovery})
	if j.copy.log != nil {
		j.closeAt = p.now + p.cfg.Linger
	}
	if j.end.proof != nil {
		return // this peer has the proof from others, who tell everybody
	}
	for _, id := range p.sortedPeers() {
		p.sayEnd(id, j.id, j.copy.log != nil && p.isVoter(j, id) || slices.Contains(j.led.spares, id))
	}
}

// tellEnd tells a member how a job ended, if that is proven. It reports whether the job is over. Members that had a
// seat in the ledger are told the result, too, since their copies need it, and so are those who may see the job. The
// others are told only that it is over: a result says more of a job than they may know.
func (p *Peer) tellEnd(to tasks.PeerID, id tasks.JobID) (over bool) {
	e := p.ends.of[id]
	if e == nil {
		return false
	}
	p.sayEnd(to, id, p.authority(e.submitter)(to) || e.Seal != nil && seatedIn(e.Seal.Chain, to))
	return true
}

// seatedIn reports whether a member was one of the voters in any of a ledger's sets.
func seatedIn(c quorum.Chain, id tasks.PeerID) bool {
	has := func(voters []quorum.Voter) bool {
		return slices.ContainsFunc(voters, func(m quorum.Voter) bool { return m.Peer == id })
	}
	return has(c.Founders) || slices.ContainsFunc(c.Links, func(l quorum.Link) bool { return has(l.Conf.Voters) })
}

// sayEnd tells a member how a job ended, if that is proven: with the whole result, or only with its sum.
func (p *Peer) sayEnd(to tasks.PeerID, id tasks.JobID, whole bool) {
	e := p.ends.of[id]
	if e == nil {
		return
	}
	if e.recovery != nil && to != p.self {
		p.send(to, Message{Job: id, Recovery: e.recovery})
	}
	if e.Seal != nil && to != p.self {
		told := e.Ended
		if !whole {
			told.Result = nil
		}
		p.send(to, Message{Job: id, Term: e.term, Ended: &told})
	}
}

// sealing reports whether the others may need this peer's signature under a job's end before it may leave.
func (p *Peer) sealing(j *jobState) bool {
	return j.shut && j.copy.log != nil && j.copy.record.Result != nil && !j.end.proven &&
		p.now < j.closeAt-p.cfg.Unsealed+sealWait
}

// lingering reports whether another replica of an ended job may still need to hear of the end, and to fetch the result,
// from this peer. If two of three replicas left before the third has heard of the end, it would wait for a majority for
// ever.
func (p *Peer) lingering(j *jobState) bool {
	up := func(m quorum.Voter) bool {
		_, is := p.members[m.Peer]
		return is && m.Peer != p.self
	}
	return j.shut && j.copy.log != nil && j.end.proven && p.now < j.closeAt &&
		slices.ContainsFunc(j.copy.log.Voters(), up)
}

// sealWait is how long a node that leaves waits for a job's end to be proven.
const sealWait = 5 * time.Second

// sealAgain asks the other voters for the proof of an end if it was missed here.
func (p *Peer) sealAgain(j *jobState) {
	if j.copy.record.Result == nil || j.end.proven || j.copy.log == nil || p.now-j.seeking.sought < resignAgain {
		return
	}
	j.seeking.sought = p.now
	for _, m := range j.copy.log.Voters() {
		if m.Peer != p.self {
			p.send(m.Peer, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
		}
	}
}

// pastJob is what is remembered of a job that is over.
type pastJob struct {
	term      uint64       // in which it ended
	submitter tasks.PeerID // empty if the job's description was never here
	recovery  *quorum.Link // the last one of its ledger, nil for none
}

func (e pastJob) epoch() uint64 { return quorum.Epoch(e.term) }

// past is what is to be remembered of a job that ends.
func (j *jobState) past() pastJob {
	e := pastJob{term: j.term, recovery: j.recovery()}
	if j.desc != nil {
		e.submitter = j.desc.Submitter
	}
	return e
}
