package engine

import (
	"slices"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// memberState is what this peer knows of a member that it is connected to.
type memberState struct {
	slots   int           // slots with which it works for anybody's jobs; 0 if it has no right to work
	own     int           // slots with which it works for the jobs that it has submitted itself
	submits bool          // whether it may submit jobs
	offers  []tasks.Offer // of its runtimes
}

func (p *Peer) peerUp(ev PeerUp) {
	p.members[ev.ID] = memberState{slots: ev.Slots, own: ev.Own, submits: ev.Submits, offers: ev.Offers}
	p.relink(ev.ID)
	p.tellRecoveredEnds(ev.ID)
	p.schedule(steal.PeerUp{ID: ev.ID, Slots: max(ev.Slots, ev.Own), Offers: ev.Offers})
	for _, j := range slices.Clone(p.jobs) { // one may end
		if j.leads() {
			p.stepHome(j, ledger.NodeUp{ID: ev.ID, Slots: p.slotsFor(j, ev.ID)})
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

func (p *Peer) peerDown(id tasks.PeerID) {
	delete(p.members, id)
	p.forgetDues()
	p.schedule(steal.PeerDown{ID: id})
	for _, j := range slices.Clone(p.jobs) {
		p.carryOutMerge(j.work.parts.Down(p.now, id))
		if j.leads() {
			j.keepStats(id)
			p.stepHome(j, ledger.NodeDown{ID: id})
		}
	}
}

// able takes note of what this peer's own runtimes offer now. It prepares the jobs that it could not run until now;
// those that it has prepared go on, for their runtimes are in use.
func (p *Peer) able(ev Able) {
	before := p.cfg.Offers
	p.cfg.Offers = ev.Offers
	for _, j := range slices.Clone(p.jobs) { // one may end
		if j.leads() {
			p.stepHome(j, ledger.NodeUp{ID: p.self, Slots: p.slotsFor(j, p.self)})
		}
		if j.desc != nil && !j.loaded && !tasks.Met(j.desc.Needs(), before) && p.canRun(j, p.self) {
			j.prep.failed, j.prep.tried = true, p.now-prepareEvery
		}
	}
}

// relink has offers repeated to a home that may have taken this node for gone.
func (p *Peer) relink(id tasks.PeerID) {
	for _, j := range p.jobs {
		if j.home == id {
			j.work.parts.HomeLink()
		}
	}
}

// slotsFor is the number of slots with which a connected member, or this peer itself, works for a job: none if it has
// no runtime for the job.
func (p *Peer) slotsFor(j *jobState, id tasks.PeerID) int {
	switch {
	case !p.canRun(j, id), id == p.self && j.leading:
		return 0
	case id == p.self:
		return p.cfg.Steal.Slots
	}
	return p.members[id].slotsFor(j, id)
}

// slotsFor is the number of slots with which a member may work for a job, whatever its runtimes are.
func (m memberState) slotsFor(j *jobState, id tasks.PeerID) int {
	if j.desc != nil && j.desc.Submitter == id {
		return max(m.slots, m.own)
	}
	return m.slots
}

// canRun reports whether a connected member, or this peer itself, has a runtime for a job. It is false as long as the
// description of the job is not here.
func (p *Peer) canRun(j *jobState, id tasks.PeerID) bool {
	offers := p.cfg.Offers
	if id != p.self {
		offers = p.members[id].offers
	}
	return j.desc != nil && tasks.Met(j.desc.Needs(), offers)
}

func (p *Peer) sortedPeers() []tasks.PeerID {
	ids := make([]tasks.PeerID, 0, len(p.members))
	for id := range p.members {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// up reports whether a member is connected.
func (p *Peer) up(id tasks.PeerID) bool {
	_, up := p.members[id]
	return up
}
