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

// put takes note of a job that is over. What is known of it already stays.
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

// endOf is how a job ended, as its record here says; without a seal.
func endOf(rec *ledger.Record) Ended {
	e := Ended{Units: rec.Done.Cover().Len(), Result: rec.Result, Sum: rec.Result.Sum()}
	for _, l := range rec.Lost {
		e.Missing += l.Range.Len()
	}
	return e
}

// CheckEnd reports why the end of a job is not proven, or is not what it says; the error is under quorum.ErrUnproven.
func CheckEnd(t quorum.Trust, e *Ended) error {
	if e.Seal == nil || (e.Result != nil && e.Result.Sum() != e.Sum) {
		return quorum.ErrUnproven
	}
	return quorum.CheckSeal(t, e.Text(), *e.Seal)
}

// newest counts the sets of voters of the job's ledger, up to the newest that is known here.
func (j *jobState) newest() uint64 {
	seq := j.proofs.conf.Seq
	if j.copy.log != nil {
		seq = max(seq, j.copy.log.Chain().Conf().Seq)
	}
	return seq
}

// onEnded takes the word that a job is over, if it is proven.
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
		return // of voters that were replaced since
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

// jobEnded closes a job whose result is in the ledger, and has that sealed.
func (p *Peer) jobEnded(j *jobState) {
	e := endOf(j.copy.record)
	if j.end.proof != nil { // the record may be behind the end
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

// endSealed has the proof of a job's end known: by those who keep its ledger and its result with that, by all others
// without. Whoever misses it is told when it asks, or reports.
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
		return // others have told
	}
	for _, id := range p.sortedPeers() {
		p.sayEnd(id, j.id, j.copy.log != nil && p.isVoter(j, id) || slices.Contains(j.led.spares, id))
	}
}

// tellEnd tells a member that asks how a job ended, if that is proven; it reports whether it is over. Whoever had a
// seat in the ledger is told the whole, which its copy needs, and so is who may see the job; all others that it is
// over, for a result says more of a job than a member may know who has no part in it.
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

// sayEnd shows a member how a job ended, if that is proven: the whole, or no more than the sum of the result.
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

// lingering reports whether another replica of an ended job may still need this peer's word of the end, and the result
// that this peer has. Two of three that leave at once, before the third has heard, would leave it without a majority
// for good.
func (p *Peer) lingering(j *jobState) bool {
	up := func(m quorum.Voter) bool {
		_, is := p.members[m.Peer]
		return is && m.Peer != p.self
	}
	return j.shut && j.copy.log != nil && j.end.proven && p.now < j.closeAt &&
		slices.ContainsFunc(j.copy.log.Voters(), up)
}

// sealWait is how long a node that leaves waits for that.
const sealWait = 5 * time.Second

// sealAgain asks the others for a seal that was missed.
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
	submitter tasks.PeerID // empty where its description was never here
	recovery  *quorum.Link // of its ledger, nil for none
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
