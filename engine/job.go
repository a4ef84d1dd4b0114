package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// jobState is what this peer knows of one job. Each of its parts has a file of its own, which says what always holds of
// it.
//
// While shut is false this peer takes part in the job; once it is true only the copy of the ledger may live on, to
// serve the other replicas, until closeAt.
type jobState struct {
	id     tasks.JobID
	desc   *tasks.Job   // nil until a member has handed the description out
	loaded bool         // the job's code is ready to run here; then desc is not nil
	home   tasks.PeerID // the node that this peer takes for the job's home; empty while it knows of none
	term   uint64       // in which home leads; it never falls

	stopped bool          // the home has stopped the job: none of it is begun any more
	aside   bool          // the home has taken the job from this node, since all of it failed here
	leading bool          // this peer has submitted the job, and leads it without being able to run any of it
	shut    bool          // this peer takes no part in the job any more
	closeAt time.Duration // when it forgets the job, once shut is true

	prep    preparation
	proofs  proofs
	seeking seeking
	growth  growth
	work    work
	reports reporting
	sight   sight
	losses  losses
	copy    replica
	held    held
	led     leading
	staff   staffing
	end     ending
}

func (p *Peer) addJob(id tasks.JobID, home tasks.PeerID) *jobState {
	j := &jobState{
		id:      id,
		home:    home,
		seeking: seeking{heard: p.now},
		work:    work{parts: merge.NewLocal(id, p.self, home)},
		reports: reporting{last: p.now, next: p.now, every: p.cfg.Report},
		copy:    replica{record: &ledger.Record{}},
		staff:   newStaffing(),
	}
	p.jobs = append(p.jobs, j)
	return j
}

// forgetJob removes a job from those that this peer takes part in.
func (p *Peer) forgetJob(j *jobState) {
	p.jobs = slices.DeleteFunc(p.jobs, func(o *jobState) bool { return o == j })
}

func (p *Peer) submit(ev Submit) {
	if p.ends.of[ev.ID] != nil || p.job(ev.ID) != nil {
		return
	}
	j := p.addJob(ev.ID, p.self)
	j.desc, j.loaded, j.term, j.leading = ev.Job, true, 1, ev.LeadOnly
	j.copy.record = p.newRecord(j.id, ev.Job)
	p.schedule(steal.Open{
		Job:   j.id,
		Home:  p.self,
		Data:  j.data(),
		Want:  j.want(),
		Open:  ev.Job.Open,
		Rate:  ev.Rate,
		Needs: ev.Job.Needs(),
	})
	if j.leading {
		p.schedule(steal.Shun{Job: j.id})
	}
	p.found(j)
	p.becomeHome(j)
	p.carryOut(j, j.led.home.Start(p.now, p.takeBase(j, ev.Base)))
}

// takeBase takes the outputs that a job begins with, and returns the units that they cover. They are offered and
// committed as any others, by R3. If they are not what they should be, none is taken, and their units run.
func (p *Peer) takeBase(j *jobState, base []merge.Partial) tasks.Cover {
	all, err := merge.Recommit(base, j.want())
	if err != nil {
		return nil
	}
	for _, b := range base {
		b.Job, b.Holder, b.Kids = j.id, p.self, nil
		j.work.parts.Add(p.now, b)
	}
	return all.Cover()
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
	j.stopped = true // nothing of it is begun either if it is prepared only later
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
	p.dropOutbox(j, "the job is over")
	j.shut, j.closeAt = true, p.now+p.cfg.Linger
	p.emit(JobOver{ID: j.id, Lost: lost})
	if j.copy.log == nil {
		p.forgetJob(j)
	} else if j.copy.record.Result == nil && j.seated() {
		// The end is in the other voters' logs and comes here soon, or no voter is left that knows of it.
		j.closeAt = p.now + 3*p.cfg.Replace
	}
}

// dropJob forgets a job, and drops the copy of its ledger if there is one.
func (p *Peer) dropJob(j *jobState, why string) {
	if j.copy.log != nil {
		p.emit(DropLedger{ID: j.id, Reason: why})
	}
	p.forgetJob(j)
}

// expelled gives up all jobs but those that this peer can go on with alone.
func (p *Peer) expelled() {
	for _, j := range slices.Clone(p.jobs) {
		if j.leads() && (j.copy.log == nil || len(j.copy.log.Voters()) == 1) {
			continue
		}
		p.closeJob(j, true)
		if j.copy.log != nil {
			p.leaveLog(j, "this node is no member of the cluster any more")
		}
	}
}

// beginLeaving begins to hand work back and ledgers over.
func (p *Peer) beginLeaving() {
	p.leaving.on, p.leaving.since = true, p.now
	p.schedule(steal.Leave{})
	for _, j := range slices.Clone(p.jobs) {
		j.reports.urgent = true
		p.maintain(j)
	}
}

// checkLeft emits Left when this peer leaves and nobody needs it any more.
func (p *Peer) checkLeft() {
	if !p.leaving.on || p.leaving.done {
		return
	}
	for _, j := range p.jobs {
		if !j.shut && (p.needed(j) || !p.handedBack(j) || !j.work.parts.Empty()) || p.sealing(j) || p.lingering(j) {
			return
		}
	}
	p.leaving.done = true
	p.emit(Left{})
}

// handedBack reports whether a peer that leaves has handed back all its work of a job. If it leads the job itself, and
// the job waits on its disk for its return, nobody else can take what waits here.
func (p *Peer) handedBack(j *jobState) bool {
	if j.copy.log != nil && j.home == p.self && !p.needed(j) {
		return p.sched.AtRest(j.id)
	}
	return p.sched.Idle(j.id)
}

// unseated is how long a peer that leaves keeps a copy of a ledger that has no seat.
const unseated = 5 * time.Second

// needed reports whether others need this peer's copy of a ledger before it may leave.
func (p *Peer) needed(j *jobState) bool {
	switch {
	case j.copy.log == nil:
		return j.leads()
	case !j.seated():
		// The home may have been about to give the copy a seat, before it heard that this peer leaves.
		return p.now-p.leaving.since < unseated
	case len(j.copy.log.Voters()) == 1 && j.seated() && (!j.leads() || len(p.fit(j)) == 0):
		// Nobody can take the ledger over: the job waits on this peer's disk for its return.
		return false
	}
	return true
}
