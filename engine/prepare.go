package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// preparation is how far this peer has come with getting a job ready to run.
//
// There are claims only while the description is not here; failed and tried are of no use once the code is loaded.
type preparation struct {
	claims  []claim       // of members that they lead the job: one for each, at most maxClaims
	weighed weighed       // the memory that the description takes
	failed  bool          // the code could not be loaded when that was last tried, and is to be loaded again
	tried   time.Duration // when that was
	full    int           // how often that failed for this node's disk
	lacks   bool          // it failed since this node lacks what the code runs in
}

// describe takes a job's description, whoever has handed it out: the job's name is its hash. Who is proven to lead the
// job by it is who this peer gets the code from; while nobody is, his next announcement is waited for.
func (p *Peer) describe(j *jobState, ev Described) {
	if d := p.charges.of[ev.From]; d != nil {
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
		p.loadCode(j, j.home)
	}
}

// notDescribed forgets the claim of a member that did not hand out the job's description, and the job if nobody else
// claims to lead it, until one announces it again.
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

func (p *Peer) prepared(ev Prepared) {
	j := p.job(ev.ID)
	if j == nil || j.shut { // it ended meanwhile
		p.emit(JobOver{ID: ev.ID})
		return
	}
	if j.loaded {
		return
	}
	p.describe(j, Described{ID: ev.ID, Job: ev.Job})
	j.desc, j.loaded, j.reports.urgent = ev.Job, true, true
	j.hasRoom()
	if j.prep.full > 0 { // if the job was taken from this node it was for that
		j.prep.full, j.aside = 0, false
	}
	if !j.stopped {
		p.schedule(steal.Open{
			Job:   j.id,
			Home:  j.home,
			Data:  j.data(),
			Want:  j.want(),
			Open:  j.desc.Open && !j.growth.closed,
			Rate:  ev.Rate,
			Needs: ev.Job.Needs(),
			Dealt: !ev.Job.SeedLocal,
		})
		if p.leaving.on || j.aside {
			p.schedule(steal.Shun{Job: j.id})
		}
	}
}

func (p *Peer) notPrepared(ev NotPrepared) {
	j := p.job(ev.ID)
	if j == nil || j.loaded {
		return
	}
	if ev.Failure.Reason == "" { // forget it until it is announced again
		if j.copy.log != nil || j.leads() || j.copy.founding != nil {
			j.prep.failed, j.prep.tried = true, p.now
			return
		}
		p.forgetJob(j)
		return
	}
	if ev.Failure.Kind == lacksKind { // which says nothing of the job, and counts as a strike against nobody
		j.prep.failed, j.prep.tried, j.prep.lacks = true, p.now, true
		return
	}
	if ev.Failure.Kind == diskKind { // it may get room, even after the home has taken the job from it for this
		j.prep.failed, j.prep.tried, j.prep.full = true, p.now, j.prep.full+1
		if j.waitsForRoom(ev.Failure) {
			j.noRoom(ev.Failure.Reason)
			return
		}
	}
	if !j.aside {
		p.book(j, ev.Failure)
	}
}

const (
	// diskKind is the kind of a failure to write.
	diskKind = "disk"
	// lacksKind is the kind of a failure to make what code runs in.
	lacksKind = "lacks"
	// prepareEvery is how often a replica tries to load the job's code; it may be the home that lacks it.
	prepareEvery = time.Second
	// prepareFull is how often a node does whose disk has failed it some times, since people make room, and not soon.
	prepareFull = 10 * time.Second
	// prepareLacking is how often a node does that lacks what the code runs in, since a network may come back.
	prepareLacking = 2 * time.Minute
)

// mayPrepare reports whether it is time to try once more to load the job's code.
func (p *Peer) mayPrepare(j *jobState) bool {
	wait := prepareEvery
	if j.prep.full >= 3 {
		wait = prepareFull
	}
	if j.prep.lacks {
		wait = prepareLacking
	}
	return j.prep.failed && !j.shut && !j.loaded && p.now-j.prep.tried >= wait
}

func (p *Peer) prepareAgain(j *jobState) {
	if !p.mayPrepare(j) {
		return
	}
	from := j.home
	if from == "" && j.copy.log == nil {
		return // until it is known who leads the job
	}
	if from == p.self { // a replica has on disk what is needed
		from = ""
	}
	p.loadCode(j, from)
}

// loadCode has the job's code made ready to run here, by what a home hands out, or by what is on this node's disk where
// from is empty. A node without a runtime for the job does nothing for it but keep its ledger.
func (p *Peer) loadCode(j *jobState, from tasks.PeerID) {
	j.prep.failed = false
	if p.canRun(j, p.self) {
		p.emit(Prepare{ID: j.id, Home: from, Job: j.desc})
	}
}
