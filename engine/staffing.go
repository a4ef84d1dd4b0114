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
	// complete says that commits may begin: there are as many replicas as there should be, or they were waited for.
	complete bool
	enlisted map[tasks.PeerID]*enlistment // nodes that were asked to become replicas, and are no voters yet
	// unfit are nodes that did not become replicas when asked, or could not keep what they were to, with the time until
	// which they are not asked.
	unfit       map[tasks.PeerID]time.Duration
	changed     tasks.Moment // when the change of voters that is under way was proposed; never if none is
	handed      int          // how often this home has tried to hand the lead over
	neededSince tasks.Moment // since when replicas are waited for that are to go, and keep what others do not keep yet
	fewSince    tasks.Moment // since when there are too few nodes for as many replicas as there should be
	stuckSince  tasks.Moment // since when this home may not try to make the result any more
}

func newStaffing() staffing {
	return staffing{enlisted: map[tasks.PeerID]*enlistment{}, unfit: map[tasks.PeerID]time.Duration{}}
}

// enlistment is a node that was asked to become a replica.
type enlistment struct {
	nonce uint64
	not   uint64        // the voter that the node was before, which it must not be again; 0 for none
	voter quorum.Voter  // the voter that the node has become, once ok is set
	since time.Duration // when the node was chosen
	asked time.Duration // when it was last asked
	ok    bool          // it has made its copy
}

// enlistWait is how long a node may take to make its copy before another is asked in its place.
const enlistWait = 5 * time.Second

// changeWait is how long a change of voters may take before another may be proposed.
const changeWait = 5 * time.Second

func (p *Peer) onEnlisted(j *jobState, from tasks.PeerID, e Enlisted) {
	en := j.staff.enlisted[from]
	if !j.leads() || j.copy.log == nil || en == nil || en.nonce != e.Nonce || e.Voter.Peer != from {
		return
	}
	voter, ever := j.copy.log.Knows(e.Voter.ID)
	switch {
	case !e.OK || voter: // the node could not make a copy; or it is a voter already, which was only silent
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
		p.stepLog(j, quorum.Tick{}) // after a leap of the clock the log must not take it for the others' silence
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

// change decides which voters are to be added and removed now. It returns none if all is well, and none as long as
// those to be added have not made their copies.
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
		return add[:lack], gone // there may be more, of nodes that were asked earlier
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

// surplus chooses n voters to be removed where there are too many: never this peer, and first those that do not have
// the job's code.
func (p *Peer) surplus(j *jobState, keep []quorum.Voter, n int) (remove []uint64) {
	keep = slices.DeleteFunc(slices.Clone(keep), func(m quorum.Voter) bool { return m.Peer == p.self })
	slices.SortStableFunc(keep, func(a, b quorum.Voter) int { return p.ableRank(j, b.Peer) - p.ableRank(j, a.Peer) })
	for _, m := range keep[:min(n, len(keep))] {
		remove = append(remove, m.ID)
	}
	return remove
}

// withoutFull moves voters whose disks are full from keep to gone, if other nodes can take their place, or if so many
// are full that nothing can be committed.
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

// maySpare reports whether replicas may be removed: because the others keep all that is committed, or because that was
// waited for long enough.
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
	if !j.staff.neededSince.Within(10*p.cfg.Replace, p.now) { // an earlier wait was for something else
		j.staff.neededSince = tasks.At(p.now)
	}
	if j.staff.neededSince.Within(2*p.cfg.Replace, p.now) {
		return false
	}
	j.staff.neededSince = tasks.Moment{}
	return true
}

// letCommit lets commits begin, with the replicas that there are.
func (p *Peer) letCommit(j *jobState) {
	if !j.staff.complete {
		j.staff.complete = true
		p.tellReplicas(j)
	}
}

// sortVoters sorts the voters into those that can stay, and those that are to be replaced since they are silent or
// leave.
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

// fit lists nodes that could become replicas: those that have the right to work and are no voters, or only silent ones.
// They need no runtime for the job, but nodes that have its code come first and, among equals, those that may submit
// jobs. Different jobs start at different places in the list, so that their replicas are spread over the nodes.
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

// ableRank orders nodes by whether they could lead the job: first those that have its code, last those that have no
// runtime for it.
func (p *Peer) ableRank(j *jobState, id tasks.PeerID) int {
	switch {
	case j.led.home.Ready(id):
		return 0
	case p.canRun(j, id):
		return 1
	}
	return 2
}

// ruleRank orders members that may submit jobs before the others: a home can spoil its job, which they could do anyway.
func (p *Peer) ruleRank(id tasks.PeerID) int {
	if p.members[id].submits {
		return 0
	}
	return 1
}

// unable reports whether another node should lead the job, since this one cannot load its code, or has no room for what
// is committed, and another can.
func (p *Peer) unable(j *jobState) bool {
	if !j.led.home.Full() && (j.loaded || p.canRun(j, p.self) && p.now-j.led.since < p.cfg.Replace) {
		return false
	}
	return slices.ContainsFunc(p.sortedPeers(), j.capable)
}

// enlist asks nodes to become replicas, as many as are wanted, and returns those that have made their copies.
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

// askWait is how long a new home that is to hand over the lead waits to hear from the other replicas.
const askWait = 3 * time.Second

// handOver gives the lead to another replica, since this peer leaves or cannot lead the job. Where there is no other
// replica a node is made one first. A replica that has left is removed by the next home.
func (p *Peer) handOver(j *jobState, keep []quorum.Voter) {
	all := len(keep)
	keep = slices.DeleteFunc(keep, func(m quorum.Voter) bool {
		return m.Peer == p.self || !j.led.home.Heard(m.Peer) || !p.leaving.on && !j.capable(m.Peer)
	})
	if len(keep) < all && len(keep) == 0 && p.now-j.led.since < askWait {
		return // they may only not have reported yet
	}
	slices.SortStableFunc(keep, func(a, b quorum.Voter) int { return p.ruleRank(a.Peer) - p.ruleRank(b.Peer) })
	if len(keep) > 0 {
		j.staff.changed = tasks.At(p.now)
		j.staff.handed++
		// Another one is tried each time, since the last one may not have been able to take the lead.
		p.stepLog(j, quorum.Transfer{To: keep[(j.staff.handed-1)%len(keep)].ID})
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

// shrink leaves the home alone with the ledger where there are too few nodes for all replicas, and all that is
// committed is kept here. Otherwise, with one replica lost for good, the loss of one more node would stop the job.
// Where two replicas are left and well, a third is waited for first.
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

// capable reports whether a node could lead the job to its end, as far as is known here.
func (j *jobState) capable(id tasks.PeerID) bool {
	return j.led.home.Ready(id) && !j.led.home.CannotWrite(id) && (!j.led.home.Stuck() || j.led.home.MayTry(id))
}

// passWait is how long a home that could not make the result tries to hand the lead to another node. After that the job
// counts as one that cannot be finished, until its user has it retried or another node comes to lead it.
const passWait = 20 * time.Second

// passesOn reports whether this home hands the lead over since it could not make the result, and another node may.
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

// another reports whether some other node could try to make the result.
func (p *Peer) another(j *jobState) bool {
	return slices.ContainsFunc(p.sortedPeers(), func(id tasks.PeerID) bool { return id != p.self && j.capable(id) })
}

// stuck reports whether nobody tries to make the result any more. A new home is not stuck before it has had time to
// hear which nodes could.
func (p *Peer) stuck(j *jobState) bool {
	if !j.led.home.Stuck() || p.now-j.led.since < askWait && len(p.members) > 0 {
		return false
	}
	return p.voters() == 0 || j.copy.log == nil || !p.another(j) || j.staff.stuckSince.Past(passWait, p.now)
}
