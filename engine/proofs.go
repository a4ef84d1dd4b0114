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

// A node with a copy of a job's ledger learns who leads the job from the log. Everybody else believes what is proven:
// that a majority of the voters of the ledger follow the home in its term (quorum.Mandate), with voters that go back, by
// signatures, to the job's submitter, who is its first home and is named in its signed description. So a node that hears
// of a job gets the description first, and remembers meanwhile who claims to lead it.

// claim is the word of a member that it leads a job of which there is no description here yet.
type claim struct {
	from   tasks.PeerID
	term   uint64
	proof  *quorum.Mandate // nil if there was no room for it: then it is asked for
	every  time.Duration
	enlist *Enlist // nil if it asks for no copy of the ledger
	weight int     // bytes
}

const (
	maxClaims     = 8         // remembered of one job
	maxUnknown    = 64        // jobs without a description that one member may claim to lead here
	maxClaimBytes = 256 << 10 // of proofs in the claims of one member; beyond that they are asked for when they are needed

	// unledFor is how long a job is kept of which the description is here, and nobody has proven that he leads it: whoever
	// does announces it every few seconds.
	unledFor = 20 * time.Second

	// reservedJobs are places for jobs of members that have few here, fewJobs at most: one that announces as many as it
	// can, with or without a description, leaves them to the others.
	reservedJobs = maxJobs / 4
	fewJobs      = reservedJobs / 4
)

// GroupName is the name of a job's replicas in all that they sign.
func GroupName(id tasks.JobID) string { return "job " + string(id) }

// TrustOf is what the proofs of a job rest on: its submitter founded its ledger, and who may have it recovered.
func TrustOf(k quorum.Keys, id tasks.JobID, may func(tasks.PeerID) bool, submitter tasks.PeerID) quorum.Trust {
	return quorum.Trust{Keys: k, Group: GroupName(id), Founders: []tasks.PeerID{submitter}, Authority: may}
}

func (p *Peer) trust(id tasks.JobID, submitter tasks.PeerID) quorum.Trust {
	t := TrustOf(p.cfg.Keys, id, p.authority(submitter), submitter)
	t.Checked = &p.checked
	return t
}

// same reports whether two mandates say the same: then one proof does for both.
func same(a, b *quorum.Mandate) bool {
	return a.Term == b.Term && a.Leader == b.Leader && a.Home() == b.Home()
}

// believe reports whether a mandate proves what it says. One that was believed before, or is older than that, is not
// looked at.
func (p *Peer) believe(from tasks.PeerID, j *jobState, m *quorum.Mandate) bool {
	switch {
	case m == nil || j.desc == nil:
		return false
	case mutant.On(mutant.NoMandate):
		return true
	case j.proofs.shown != nil && same(j.proofs.shown, m):
		return true
	case m.Term < j.term && !mutant.On(mutant.StaleTerm):
		return false
	}
	if quorum.CheckMandate(p.trust(j.id, j.desc.Submitter), *m) != nil {
		p.unproven(from, j.id, m.Chain)
		return false
	}
	if p.defiesChain(j, m.Chain) {
		return false
	}
	if !j.proofs.conf.Admits(*m) && !mutant.On(mutant.OwnTerm) {
		return false // of voters that were replaced since
	}
	j.show(m)
	return true
}

// unproven tells of a member that shows what proves nothing. Whether an admin signed that a ledger was recovered is not
// seen alike by all at any time, so of that nobody is accused.
func (p *Peer) unproven(from tasks.PeerID, id tasks.JobID, c quorum.Chain) {
	if !slices.ContainsFunc(c.Links, func(l quorum.Link) bool { return l.RecoveryConf() == nil }) {
		p.violated(from, id, Unproven)
	}
}

// show takes note of a mandate that holds.
func (j *jobState) show(m *quorum.Mandate) {
	if c := m.Chain.Conf(); c.Seq >= j.proofs.conf.Seq {
		j.proofs.conf = c
	}
	if j.proofs.shown == nil || m.Term >= j.proofs.shown.Term {
		j.proofs.shown = m
	}
}

// heed follows a member that is proven to lead a job, by itself or another, and reports whether it is the job's home in
// that term.
func (p *Peer) heed(from tasks.PeerID, j *jobState, home tasks.PeerID, term uint64, proof *quorum.Mandate) bool {
	switch {
	case p.knowsByLog(j):
		if home == j.home && term == j.term {
			p.believe(from, j, proof) // to show it to others
		}
	case (term > j.term || j.home == "" && term == j.term || mutant.On(mutant.StaleTerm)) && p.believe(from, j, proof):
		p.setHome(j, home, term)
	}
	return home == j.home && term == j.term
}

// obeys reports whether a word of from is that of the job's home. One of a later term than any that was proven is asked
// for its proof, since its announcement may have been lost.
func (p *Peer) obeys(j *jobState, from tasks.PeerID, term uint64) bool {
	if term > j.term && !p.knowsByLog(j) && j.desc != nil {
		p.askProof(j, from)
	}
	return from == j.home && term == j.term
}

// askProof asks a member that may lead a job to show it.
func (p *Peer) askProof(j *jobState, from tasks.PeerID) {
	if !j.proofs.asked.Within(p.cfg.Report/2, p.now) {
		j.proofs.asked = tasks.At(p.now)
		p.send(from, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
	}
}

// knowsByLog reports whether this peer learns of another home from the job's log, and from nobody's mere word: it
// leads the job, or has a copy of the ledger that counts. So a member that claims to lead in a later term cannot have
// the ledger forgotten.
func (p *Peer) knowsByLog(j *jobState) bool { return j.leads() || (j.copy.log != nil && j.seated()) }

// mandate proves that this peer leads a job; nil if it does not, or cannot prove it yet.
func (p *Peer) mandate(j *jobState) *quorum.Mandate {
	if !j.leads() {
		return nil
	}
	if j.copy.log != nil {
		if m, ok := j.copy.log.Mandate(); ok && (j.proofs.shown == nil || !same(j.proofs.shown, &m)) {
			j.show(&m)
		}
	}
	return p.proofOf(j)
}

// Mandate proves that this peer leads a job; nil if it does not, or cannot prove it yet.
func (p *Peer) Mandate(id tasks.JobID) *quorum.Mandate {
	if j := p.job(id); j != nil {
		return p.mandate(j)
	}
	return nil
}

// proofOf proves who leads a job now, as this peer knows it; nil if it cannot.
func (p *Peer) proofOf(j *jobState) *quorum.Mandate {
	if m := j.proofs.shown; m != nil && m.Term == j.term && m.Home() == j.home {
		return m
	}
	return nil
}

// announce tells all members that this peer leads a job, as soon as it can show that.
func (p *Peer) announce(j *jobState) {
	m := p.mandate(j)
	j.led.unannounced = m == nil
	if m != nil {
		p.emit(Announce{Msg: Message{Job: j.id, Term: j.term, Open: &Open{Home: p.self, Every: j.led.home.Every(), Proof: m}}})
	}
}

// openFor tells one member the same.
func (p *Peer) openFor(j *jobState, id tasks.PeerID) {
	if m := p.mandate(j); m != nil {
		p.sendAsHome(j, id, Message{Open: &Open{Home: p.self, Every: j.led.home.Every(), Proof: m}})
	}
}

// admits reports whether a job that a member announces, or submits and has announced, finds a place here.
func (p *Peer) admits(who tasks.PeerID) bool {
	switch n := len(p.jobs); {
	case n < maxJobs-reservedJobs:
		return true
	case n >= maxJobs:
		return false
	}
	n := 0
	for _, j := range p.jobs {
		if j.desc != nil && j.desc.Submitter == who || len(j.prep.claims) > 0 && j.prep.claims[0].from == who || j.home == who {
			n++
		}
	}
	return n < fewJobs
}

// claimed takes the word of a member that it leads a job of which there is no description here, and asks it for that. So it
// does with all who say so, each for itself: one that never answers holds nobody up. What is not taken is said again.
func (p *Peer) claimed(id tasks.JobID, c claim) {
	j := p.job(id)
	if j == nil && !p.admits(c.from) {
		return
	}
	c.term = c.proof.Term
	at := -1
	if j != nil {
		at = j.claimOf(c.from)
	}
	if at >= 0 && c.enlist == nil && j.prep.claims[at].proof != nil && same(j.prep.claims[at].proof, c.proof) {
		return // it has said so, and is being asked
	}
	if at < 0 && (p.unknown(c.from) >= p.mayClaim(c.from) || j != nil && !p.makePlace(j, c.from)) || !p.consistent(id, c) {
		return
	}
	if j == nil {
		j = p.addJob(id, "")
	}
	submitter := c.founder()
	if p.lighten(&c); at >= 0 {
		j.prep.claims[at] = c
		return
	}
	j.prep.claims = append(j.prep.claims, c)
	p.emit(Describe{ID: id, From: c.from, Submitter: submitter})
}

func (j *jobState) claimOf(from tasks.PeerID) int {
	return slices.IndexFunc(j.prep.claims, func(c claim) bool { return c.from == from })
}

// unknown counts the jobs without a description that a member claims to lead.
func (p *Peer) unknown(from tasks.PeerID) (n int) {
	for _, j := range p.jobs {
		if j.desc == nil && j.claimOf(from) >= 0 {
			n++
		}
	}
	return n
}

// mayClaim is how many such jobs a member may have: one that has let questions for descriptions go unanswered is asked few
// at once, until it answers one.
func (p *Peer) mayClaim(from tasks.PeerID) int { return max(maxUnknown>>min(p.unanswered(from), 8), 1) }

// unanswered counts the questions for descriptions, the last ones, that a member did not answer in time.
func (p *Peer) unanswered(from tasks.PeerID) int {
	if d := p.dues[from]; d != nil {
		return d.unanswered
	}
	return 0
}

// makePlace reports whether there is a place for one more claim on a job. Who has not answered gives way to who has.
func (p *Peer) makePlace(j *jobState, from tasks.PeerID) bool {
	if len(j.prep.claims) < maxClaims {
		return true
	}
	at := slices.IndexFunc(j.prep.claims, func(c claim) bool { return p.unanswered(c.from) > p.unanswered(from) })
	if at >= 0 {
		j.prep.claims = slices.Delete(j.prep.claims, at, at+1)
	}
	return at >= 0
}

// consistent reports whether a claim would be proven if its job were of the member that its mandate says has founded the
// ledger. Whether it is shows with the description; what is made up without signatures is not worth a question.
func (p *Peer) consistent(id tasks.JobID, c claim) bool {
	if c.founder() != "" && (mutant.On(mutant.NoMandate) || quorum.CheckMandate(p.trust(id, c.founder()), *c.proof) == nil) {
		return true
	}
	p.unproven(c.from, id, c.proof.Chain)
	return false
}

// founder is whose job it is, as a claim says.
func (c *claim) founder() tasks.PeerID {
	if f := c.proof.Chain.Founders; len(f) == 1 {
		return f[0].Peer
	}
	return ""
}

// lighten bounds what the proofs take that are kept of one member's claims. A copy of the ledger is asked for again.
func (p *Peer) lighten(c *claim) {
	c.weight = c.proof.Weight()
	if c.enlist != nil {
		c.weight += quorum.WeightOf(c.enlist.Voters)
	}
	sum := c.weight
	for _, j := range p.jobs {
		if at := j.claimOf(c.from); at >= 0 {
			sum += j.prep.claims[at].weight
		}
	}
	if sum > maxClaimBytes {
		c.proof, c.enlist, c.weight = nil, nil, 0
	}
}

// weigh looks at the claims on a job whose description is here now, those of the latest term first.
func (p *Peer) weigh(j *jobState) {
	claims := j.prep.claims
	j.prep.claims = nil
	slices.SortStableFunc(claims, func(a, b claim) int { return cmp.Compare(b.term, a.term) })
	for _, c := range claims {
		if p.owes(c.from) {
			continue // it is announced again
		}
		if c.proof == nil {
			p.send(c.from, Message{Job: j.id, Moved: &Moved{}})
			continue
		}
		before := p.checks.n
		p.opened(c.from, j, c.term, c.proof, c.every)
		if c.enlist != nil {
			p.enlistHere(c.from, j, c.term, c.enlist)
		}
		p.chargeChecks(c.from, before)
	}
}

// describe takes a job's description, whoever has handed it out: the job's name is its hash. Who is proven to lead the job
// by it is who this peer gets the code from; while nobody is, his next announcement is waited for.
func (p *Peer) describe(j *jobState, ev Described) {
	if d := p.dues[ev.From]; d != nil {
		d.unanswered = 0
	}
	if j.desc != nil {
		return
	}
	j.desc, j.seeking.heard = ev.Job, p.now
	j.prep.weighed.by = ev.Job.Submitter
	j.prep.failed, j.prep.tried = true, p.now
	p.weigh(j)
	if j.prep.failed && j.home != "" {
		j.prep.failed = false
		p.emit(Prepare{ID: j.id, Home: j.home, Job: j.desc})
	}
}

// notDescribed forgets the claim of a member that did not hand out the job's description, and the job if nobody else claims
// to lead it, until one announces it again.
func (p *Peer) notDescribed(ev NotDescribed) {
	if ev.Silent {
		p.duesOf(ev.From).unanswered++
	}
	j := p.job(ev.ID)
	if j == nil || j.desc != nil {
		return
	}
	if at := j.claimOf(ev.From); at >= 0 {
		j.prep.claims = slices.Delete(j.prep.claims, at, at+1)
	}
	if len(j.prep.claims) == 0 && j.copy.founding == nil {
		p.forgetJob(j)
	}
}

// silent is how long a job may be without any word of a home.
func (p *Peer) silent(j *jobState) time.Duration {
	if j.desc != nil && j.home == "" && j.term == 0 { // nobody was ever proven to lead it
		return min(unledFor, p.cfg.Silent)
	}
	return p.cfg.Silent
}

// The end of a job is proven by a seal: a majority of the voters of its ledger signed what the result is, each as its
// own record says. So anybody can check it, whoever tells of it.

// ends remembers jobs that are over, for those who ask; the newest maxEnds of them, the newest maxResults with results.
type ends struct {
	ids []tasks.JobID
	of  map[tasks.JobID]*end
}

type end struct {
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
		was = &end{}
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
	case j.copy.log != nil && !seatedIn(e.Seal.Chain, p.self): // a copy that was to have a seat, or has lost it, and is told no more
		p.leaveLog(j, "")
		p.ends.put(j.id, j.past(), *e)
		p.closeJob(j, false)
	case p.now-j.seeking.sought >= seekEvery || j.seeking.sought == 0: // this copy needs the result too, and who tells may not have it either
		j.seeking.sought = p.now
		p.send(from, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
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
		p.endSealed(j, quorum.SealAlone(p.cfg.Keys, GroupName(j.id), chain, p.self, e.Text()))
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

// tellEnd tells a member that asks how a job ended, if that is proven; it reports whether it is over. Whoever had a seat in
// the ledger is told the whole, which its copy needs, and so is who may see the job; all others that it is over, for a
// result says more of a job than a member may know who has no part in it.
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
	has := func(voters []quorum.Member) bool {
		return slices.ContainsFunc(voters, func(m quorum.Member) bool { return m.Peer == id })
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
	return j.shut && j.copy.log != nil && j.copy.record.Result != nil && !j.end.proven && p.now < j.closeAt-p.cfg.Unsealed+sealWait
}

// lingering reports whether another replica of an ended job may still need this peer's word of the end, and the result that
// this peer has. Two of three that leave at once, before the third has heard, would leave it without a majority for good.
func (p *Peer) lingering(j *jobState) bool {
	up := func(m quorum.Member) bool {
		_, is := p.peers[m.Peer]
		return is && m.Peer != p.self
	}
	return j.shut && j.copy.log != nil && j.end.proven && p.now < j.closeAt && slices.ContainsFunc(j.copy.log.Members(), up)
}

// sealWait is how long a node that leaves waits for that.
const sealWait = 5 * time.Second

// sealAgain asks the others for a seal that was missed.
func (p *Peer) sealAgain(j *jobState) {
	if j.copy.record.Result == nil || j.end.proven || j.copy.log == nil || p.now-j.seeking.sought < resignAgain {
		return
	}
	j.seeking.sought = p.now
	for _, m := range j.copy.log.Members() {
		if m.Peer != p.self {
			p.send(m.Peer, Message{Job: j.id, Moved: &Moved{Home: j.home, Term: j.term}})
		}
	}
}
