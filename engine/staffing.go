package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// staffing is what a home does to have as many replicas of the ledger as it should.
//
// At most one change of the voters is under way, since changed; none begins before the last has ended or been given up.
type staffing struct {
	complete bool // there are as many as there should be, or they have been waited for: commits may begin
	enlisted map[tasks.PeerID]*enlistment
	// nodes that did not become replicas when asked, and until when they are not asked
	unfit       map[tasks.PeerID]time.Duration
	changed     tasks.Moment // when a change of the voters was last proposed, while it is under way
	handed      int          // how often the lead was handed over in vain
	neededSince tasks.Moment // since when replicas are to go that keep what others do not
	fewSince    tasks.Moment // since when there are too few nodes for as many replicas
	stuckSince  tasks.Moment // since when this home may not try to make the result any more
}

func newStaffing() staffing {
	return staffing{enlisted: map[tasks.PeerID]*enlistment{}, unfit: map[tasks.PeerID]time.Duration{}}
}

// enlistment is a node that was asked to become a replica.
type enlistment struct {
	nonce uint64
	not   uint64       // what it was before
	voter quorum.Voter // what it is, once it is ok
	since time.Duration
	asked time.Duration
	ok    bool
}

// enlistWait is how long a node may take to become a replica; then another is asked.
const enlistWait = 5 * time.Second

// changeWait is how long a change of voters may take; then it is proposed again.
const changeWait = 5 * time.Second

func (p *Peer) onEnlisted(j *jobState, from tasks.PeerID, e Enlisted) {
	en := j.staff.enlisted[from]
	if !j.leads() || j.copy.log == nil || en == nil || en.nonce != e.Nonce || e.Voter.Peer != from {
		return
	}
	voter, ever := j.copy.log.Knows(e.Voter.ID)
	switch {
	case !e.OK || voter: // it was silent, but is there
		delete(j.staff.enlisted, from)
		j.staff.unfit[from] = p.now + 4*p.cfg.Replace
	case ever:
		en.not, en.asked = e.Voter.ID, -time.Second
	default:
		en.voter, en.ok = e.Voter, true
	}
	p.maintain(j)
}

// maintain keeps the replicas of a led job's ledger as many as they should be, on nodes that are there: a
// silent or leaving one is replaced; where there are too few nodes, the home goes on alone.
func (p *Peer) maintain(j *jobState) {
	if j.copy.log != nil && j.leads() {
		p.stepLog(j, quorum.Tick{}) // or it would take a leap of the clock for the others' silence
	}
	if !j.leads() || j.copy.log == nil || !j.copy.log.Leading() || j.copy.record.Result != nil {
		return
	}
	if !j.staff.complete && p.now-j.led.since >= p.cfg.Found {
		p.letCommit(j)
	}
	if !j.leads() || j.staff.changed.Within(changeWait, p.now) {
		return
	}
	keep, gone := p.sortVoters(j)
	if p.leaving.on || p.unable(j) || p.passesOn(j) {
		p.handOver(j, keep)
		return
	}
	keep, gone = p.withoutFull(j, keep, gone)
	add, remove := p.change(j, keep, gone)
	if len(add)+len(remove) == 0 || !p.maySpare(j, remove) {
		return
	}
	j.staff.changed = tasks.At(p.now)
	clear(j.staff.enlisted)
	for _, m := range j.copy.log.Voters() {
		if slices.Contains(remove, m.ID) && j.led.home.CannotWrite(m.Peer) {
			j.staff.unfit[m.Peer] = p.now + 4*p.cfg.Replace
		}
	}
	p.stepLog(j, quorum.Change{Add: add, Remove: remove})
}

// change decides which voters are to come and to go now; none of either if all is well, or not ready yet.
func (p *Peer) change(j *jobState, keep []quorum.Voter, gone []uint64) (add []quorum.Voter, remove []uint64) {
	lack := p.voters() - len(keep)
	var fit []tasks.PeerID
	if lack > 0 {
		fit = p.fit(j) // which looks at all nodes
	}
	switch {
	case lack > 0 && len(fit) >= lack:
		j.staff.fewSince = tasks.Moment{}
		if add = p.enlist(j, fit[:lack], lack); len(add) < lack {
			return nil, nil
		}
		return add[:lack], gone // earlier enlistments may have come to something too
	case lack > 0 && len(keep)+len(gone) == 1:
		p.letCommit(j) // there are too few others
		return nil, nil
	case lack > 0:
		return nil, p.shrink(j, keep, gone)
	case lack < 0 || len(gone) > 0:
		return nil, append(gone, p.surplus(j, keep, -lack)...)
	}
	j.staff.fewSince, j.staff.neededSince = tasks.Moment{}, tasks.Moment{}
	if !j.copy.log.Changing() {
		p.letCommit(j)
	}
	return nil, nil
}

// surplus chooses voters that are too many; not this peer, and rather those that have not the job's code.
func (p *Peer) surplus(j *jobState, keep []quorum.Voter, n int) (remove []uint64) {
	keep = slices.DeleteFunc(slices.Clone(keep), func(m quorum.Voter) bool { return m.Peer == p.self })
	slices.SortStableFunc(keep, func(a, b quorum.Voter) int { return p.ableRank(j, b.Peer) - p.ableRank(j, a.Peer) })
	for _, m := range keep[:min(n, len(keep))] {
		remove = append(remove, m.ID)
	}
	return remove
}

// withoutFull counts voters whose disks are full as gone, if others can take their place or nothing could be committed
// with them.
func (p *Peer) withoutFull(j *jobState, keep []quorum.Voter, gone []uint64) ([]quorum.Voter, []uint64) {
	full := func(m quorum.Voter) bool { return m.Peer != p.self && j.led.home.CannotWrite(m.Peer) }
	n := 0
	for _, m := range keep {
		if full(m) {
			n++
		}
	}
	if n == 0 || (2*n < len(keep)+len(gone) && len(p.fit(j)) < p.voters()-len(keep)+n) {
		return keep, gone
	}
	for _, m := range keep {
		if full(m) {
			gone = append(gone, m.ID)
		}
	}
	return slices.DeleteFunc(keep, full), gone
}

// maySpare reports whether replicas may go: what they keep is kept by others, or has been waited for.
func (p *Peer) maySpare(j *jobState, remove []uint64) bool {
	var gone []tasks.PeerID
	for _, m := range j.copy.log.Voters() {
		if slices.Contains(remove, m.ID) {
			gone = append(gone, m.Peer)
		}
	}
	if len(gone) == 0 || j.led.home.SafeWithout(gone) {
		j.staff.neededSince = tasks.Moment{}
		return true
	}
	if !j.staff.neededSince.Within(10*p.cfg.Replace, p.now) { // what was waited for earlier is another matter
		j.staff.neededSince = tasks.At(p.now)
	}
	if j.staff.neededSince.Within(2*p.cfg.Replace, p.now) {
		return false
	}
	j.staff.neededSince = tasks.Moment{}
	return true
}

// letCommit lets commits begin.
func (p *Peer) letCommit(j *jobState) {
	if !j.staff.complete {
		j.staff.complete = true
		p.tellReplicas(j)
	}
}

// sortVoters tells voters that can stay, this peer among them unless it leaves, from those to be replaced.
func (p *Peer) sortVoters(j *jobState) (keep []quorum.Voter, gone []uint64) {
	heard := j.copy.log.Heard(p.now)
	for _, m := range j.copy.log.Voters() {
		silent := heard[m.Peer] >= p.cfg.Replace
		if m.Peer == p.self {
			silent = p.leaving.on
		}
		if silent || j.led.home.Leaving(m.Peer) {
			gone = append(gone, m.ID)
		} else {
			keep = append(keep, m)
		}
	}
	return keep, gone
}

// fit lists nodes that could become replicas: those with the right to work, whether they have a runtime for this job or
// not, that are not voters already. Nodes that have the job's code come first, and of equals those that may submit
// jobs. Jobs begin at different places in the list, so that their replicas spread.
func (p *Peer) fit(j *jobState) []tasks.PeerID {
	ids := p.sortedPeers()
	heard := j.copy.log.Heard(p.now)
	ids = slices.DeleteFunc(ids, func(id tasks.PeerID) bool {
		since, voter := heard[id]
		return p.members[id].slotsFor(j, id) == 0 || (voter && since < p.cfg.Replace) || j.staff.unfit[id] > p.now ||
			j.led.home.Leaving(id)
	})
	if len(ids) > 0 {
		at := int(j.id.Seed() % uint64(len(ids)))
		ids = append(slices.Clone(ids[at:]), ids[:at]...)
	}
	slices.SortStableFunc(ids, func(a, b tasks.PeerID) int {
		return 2*(p.ableRank(j, a)-p.ableRank(j, b)) + p.ruleRank(a) - p.ruleRank(b)
	})
	return ids
}

// ableRank puts nodes first that have the job's code, and those last that have no runtime for it: one that never gets
// the code loaded could not lead the job.
func (p *Peer) ableRank(j *jobState, id tasks.PeerID) int {
	switch {
	case j.led.home.Ready(id):
		return 0
	case p.canRun(j, id):
		return 1
	}
	return 2
}

// ruleRank puts members first that may submit jobs.
func (p *Peer) ruleRank(id tasks.PeerID) int {
	if p.members[id].submits {
		return 0
	}
	return 1
}

// unable reports whether this peer had better not lead a job: it does not get the code loaded, or has no room for
// what is committed, while others have.
func (p *Peer) unable(j *jobState) bool {
	if !j.led.home.Full() && (j.loaded || p.canRun(j, p.self) && p.now-j.led.since < p.cfg.Replace) {
		return false
	}
	return slices.ContainsFunc(p.sortedPeers(), j.capable)
}

// enlist asks nodes to become replicas and returns those that have.
func (p *Peer) enlist(j *jobState, fit []tasks.PeerID, want int) (ready []quorum.Voter) {
	for id, en := range j.staff.enlisted {
		if _, up := p.members[id]; !up || (!en.ok && p.now-en.since > enlistWait) {
			delete(j.staff.enlisted, id)
			j.staff.unfit[id] = p.now + 4*p.cfg.Replace
		}
	}
	for _, id := range fit {
		if len(j.staff.enlisted) < want && j.staff.enlisted[id] == nil {
			p.seq++
			j.staff.enlisted[id] = &enlistment{nonce: p.seq, since: p.now, asked: -time.Second}
		}
	}
	proof := p.mandate(j)
	for _, id := range p.sortedPeers() {
		switch en := j.staff.enlisted[id]; {
		case en == nil:
		case en.ok:
			ready = append(ready, en.voter)
		case p.now-en.asked >= time.Second && proof != nil:
			en.asked = p.now
			p.sendAsHome(j, id, Message{Enlist: &Enlist{Nonce: en.nonce, Voters: j.copy.founders, Not: en.not, Proof: proof}})
		}
	}
	return ready
}

// askWait is how long a home that leaves waits for the first word of the other replicas.
const askWait = 3 * time.Second

// handOver gives the lead to another replica, since this peer leaves or cannot lead the job. Where there is no other
// replica a node is made one first. A replica that has left is removed by the next home.
func (p *Peer) handOver(j *jobState, keep []quorum.Voter) {
	all := len(keep)
	keep = slices.DeleteFunc(keep, func(m quorum.Voter) bool {
		return m.Peer == p.self || !j.led.home.Heard(m.Peer) || !p.leaving.on && !j.capable(m.Peer)
	})
	if len(keep) < all && len(keep) == 0 && p.now-j.led.since < askWait {
		return // some may leave too: a report will tell
	}
	slices.SortStableFunc(keep, func(a, b quorum.Voter) int { return p.ruleRank(a.Peer) - p.ruleRank(b.Peer) })
	if len(keep) > 0 {
		j.staff.changed = tasks.At(p.now)
		j.staff.handed++
		p.stepLog(j, quorum.Transfer{To: keep[(j.staff.handed-1)%len(keep)].ID}) // another each time: it may be of no use
		return
	}
	fit := p.fit(j)
	if j.led.home.Stuck() && !p.leaving.on {
		fit = slices.DeleteFunc(fit, func(id tasks.PeerID) bool { return !j.capable(id) })
	}
	if len(fit) > 0 {
		if add := p.enlist(j, fit[:1], 1); len(add) > 0 {
			j.staff.changed = tasks.At(p.now)
			clear(j.staff.enlisted)
			p.stepLog(j, quorum.Change{Add: add})
		}
	}
}

// shrink leaves the home alone with the ledger when there are too few nodes, and all that is committed is kept
// here: with a replica gone for good, the loss of one more would stop the job. Where two are left and well, a
// third is waited for.
func (p *Peer) shrink(j *jobState, keep []quorum.Voter, gone []uint64) (remove []uint64) {
	if j.staff.fewSince.Never() {
		j.staff.fewSince = tasks.At(p.now)
	}
	if !j.led.home.KeepsAll() || (len(gone) == 0 && j.staff.fewSince.Within(p.cfg.Replace, p.now)) {
		return nil
	}
	for _, m := range keep {
		if m.Peer != p.self {
			remove = append(remove, m.ID)
		}
	}
	return append(remove, gone...)
}

// capable reports whether a node could do what this one cannot: lead the job to its end.
func (j *jobState) capable(id tasks.PeerID) bool {
	return j.led.home.Ready(id) && !j.led.home.CannotWrite(id) && (!j.led.home.Stuck() || j.led.home.MayTry(id))
}

// passWait is how long a home whose attempt to make the result failed tries to hand the lead to another node. Then
// the job cannot be finished, until its user or a change of homes says otherwise.
const passWait = 20 * time.Second

// passesOn reports whether this home hands the lead over, since another node may do better at making the result.
func (p *Peer) passesOn(j *jobState) bool {
	if !j.led.home.Stuck() {
		j.staff.stuckSince = tasks.Moment{}
		return false
	}
	if j.staff.stuckSince.Never() {
		j.staff.stuckSince = tasks.At(p.now)
	}
	return j.staff.stuckSince.Within(passWait, p.now) && p.another(j)
}

// another reports whether some node could try to make the result that this one cannot make.
func (p *Peer) another(j *jobState) bool {
	return slices.ContainsFunc(p.sortedPeers(), func(id tasks.PeerID) bool { return id != p.self && j.capable(id) })
}

// stuck reports whether nobody tries to make the result any more. A new home first hears who could.
func (p *Peer) stuck(j *jobState) bool {
	if !j.led.home.Stuck() || p.now-j.led.since < askWait && len(p.members) > 0 {
		return false
	}
	return p.voters() == 0 || j.copy.log == nil || !p.another(j) || j.staff.stuckSince.Past(passWait, p.now)
}
