package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// JobView is a led job as it stands, for display.
type JobView struct {
	Committed tasks.Cover                      // units
	Lost      []ledger.Lost                    // units that are set aside
	Failing   []ledger.Lost                    // units that have failed, and are not set aside yet
	Shunned   map[tasks.PeerID]string          // nodes on which everything failed, and the reason of the last failure
	Losers    []ledger.Loser                   // nodes that took work and did not do it
	Slow      map[tasks.PeerID]int             // nodes whose partials came too slowly, and how often
	Nodes     map[tasks.PeerID]ledger.Report   // the last report of each node, with all that it has ever counted
	Unseen    map[tasks.PeerID][]ledger.Unseen // what nodes cannot read, and leave to others
	// Awaited are units that wait for nodes which have gone and could read them; it has none if nothing waits so.
	Awaited  ledger.Awaited
	Cramped  string // why this node cannot keep what is committed; empty if it can
	Ran      int64  // units that were processed and are not committed
	Stopping bool   // the job is being wound up
	Ended    bool   // nothing more is committed
	Parts    int    // partials that are committed now
	Commits  int64  // partials that were ever committed
	Folds    int64  // merges that have taken the place of committed partials
	Counts   ledger.Counts
	Replicas []tasks.PeerID // of the ledger, the home among them
	// Staffed says that the job outlives the loss of its home: there are as many replicas as there should be, and they
	// keep all that is committed.
	Staffed  bool
	Attempts []ledger.Attempt // attempts to make the result that have failed
	Stuck    bool             // nobody tries to make the result any more, until RetryJob
	// Lapsed is the admin who has signed the recovery by which the job goes on, and has lost the right to since; empty if
	// there is no such recovery.
	Lapsed tasks.PeerID
}

// View describes a job this peer leads; ok is false if it leads no such job.
func (p *Peer) View(id tasks.JobID) (v JobView, ok bool) {
	j := p.job(id)
	if j == nil || !j.leads() {
		return JobView{}, false
	}
	rec := j.copy.record
	v = JobView{
		Committed: rec.Done.Cover(),
		Lost:      rec.Lost,
		Failing:   j.led.home.Failing(),
		Shunned:   j.led.home.Shunned(),
		Losers:    j.led.home.Losers(),
		Slow:      j.led.home.Slow(),
		Nodes:     j.allNodes(),
		Unseen:    j.led.home.Unseen(),
		Stopping:  j.led.home.Stopping(),
		Ended:     j.led.home.Ended(),
		Parts:     len(rec.Done.Parts()),
		Counts:    j.led.home.Counts(),
	}
	v.Awaited, _ = j.led.home.Awaited()
	v.Cramped = j.led.home.FullReason()
	v.Commits, v.Folds = rec.Commits, rec.Folds
	alone := j.copy.log == nil || len(j.copy.log.Voters()) == 1
	v.Staffed = j.staff.complete && (alone || j.copy.log.Dispensable(p.now, spareWait) && j.led.home.Copied())
	if j.copy.log != nil {
		for _, m := range j.copy.log.Voters() {
			v.Replicas = append(v.Replicas, m.Peer)
		}
	}
	for _, r := range v.Nodes {
		v.Ran += r.Ran
	}
	v.Attempts, v.Stuck, v.Lapsed = slices.Clone(rec.Attempts), p.stuck(j), p.lapsed(j)
	return v, true
}

// Leads tells whether this peer leads a job, and which of its units are committed. View tells more, and takes longer.
func (p *Peer) Leads(id tasks.JobID) (committed tasks.Cover, ok bool) {
	j := p.job(id)
	if j == nil || !j.leads() {
		return nil, false
	}
	return j.copy.record.Done.Cover(), true
}

// Rate is units a second for each slot, as measured here for a job; 0 if unknown.
func (p *Peer) Rate(id tasks.JobID) float64 { return p.sched.Rate(id) }

// Busy is the number of running generations.
func (p *Peer) Busy() int { return p.sched.Busy() }

// MayDeal reports whether a member without the right to work can have units of a job to give away: because it submitted
// the job, leads it, or has or had a seat in its ledger and so may have led it. It is true for a job whose description
// is not here, of which nothing is taken anyway.
func (p *Peer) MayDeal(id tasks.JobID, who tasks.PeerID) bool {
	j := p.job(id)
	return j == nil || j.desc == nil || who == j.desc.Submitter || who == j.home ||
		j.proofs.shown != nil && seatedIn(j.proofs.shown.Chain, who) || j.copy.log != nil && seatedIn(j.copy.log.Chain(), who)
}

// Makers are the nodes that may have run some units of a job, if this peer leads it. known are the units of which that
// is known: any node may have run the others.
func (p *Peer) Makers(
	id tasks.JobID, units tasks.Cover,
) (of map[tasks.PeerID]tasks.Cover, known tasks.Cover, leads bool) {
	j := p.job(id)
	if j == nil || !j.leads() {
		return nil, nil, false
	}
	of, known = j.led.home.Makers(units)
	return of, known, true
}

// Entrusted reports whether this peer leads a job, and knows that a member was given all of some units.
func (p *Peer) Entrusted(id tasks.JobID, who tasks.PeerID, units tasks.Range) bool {
	j := p.job(id)
	return j != nil && j.leads() && j.led.home.Entrusted(who, units)
}

// Submitter is the member that submitted a job; empty while the job's description is not here.
func (p *Peer) Submitter(id tasks.JobID) tasks.PeerID {
	if j := p.job(id); j != nil && j.desc != nil {
		return j.desc.Submitter
	}
	return ""
}

// Jobs lists the jobs this peer takes part in, with their homes.
func (p *Peer) Jobs() map[tasks.JobID]tasks.PeerID {
	out := map[tasks.JobID]tasks.PeerID{}
	for _, j := range p.jobs {
		out[j.id] = j.home
	}
	return out
}

// Uncommitted are the partials that this peer has made for a job and does not know to be committed. Their blobs are
// here.
func (p *Peer) Uncommitted(id tasks.JobID) []merge.Partial {
	if j := p.job(id); j != nil && j.work.parts != nil {
		return j.work.parts.Visible()
	}
	return nil
}

// Home is the node that leads a job as far as this peer knows; empty while it knows of none.
func (p *Peer) Home(id tasks.JobID) tasks.PeerID {
	if j := p.job(id); j != nil {
		return j.home
	}
	return ""
}

// Mandate proves that this peer leads a job; nil if it does not, or cannot prove it yet.
func (p *Peer) Mandate(id tasks.JobID) *quorum.Mandate {
	if j := p.job(id); j != nil {
		return p.mandate(j)
	}
	return nil
}

// spareWait is how long a replica may be silent and still count as one that can take the lead.
const spareWait = 3 * time.Second

// Ledger describes this peer's copy of a job's ledger; ok is false without one.
func (p *Peer) Ledger(id tasks.JobID) (v LedgerView, ok bool) {
	j := p.job(id)
	if j == nil || j.copy.log == nil {
		return LedgerView{}, false
	}
	v = LedgerView{
		Home:      j.home,
		Term:      j.term,
		Applied:   j.held.index,
		Committed: j.copy.record.Done.Cover(),
		Parts:     slices.Clone(j.copy.record.Done.Parts()),
		Voters:    j.copy.log.Voters(),
		Changing:  j.copy.log.Changing(),
		Ended:     j.copy.record.Ended,
		Complete:  j.staff.complete,
	}
	for _, m := range v.Voters {
		v.Replicas = append(v.Replicas, m.Peer)
	}
	v.Lost = slices.Clone(j.copy.record.Lost)
	v.Attempts, v.Round = slices.Clone(j.copy.record.Attempts), j.copy.record.Round
	v.Heard, v.Self, v.Recovery = j.copy.log.Heard(p.now), j.copy.self, j.copy.record.Recovery
	v.Alive, v.Majority = j.copy.log.Alive(p.now, recoverAlive)
	v.Answering, v.Answered = j.copy.log.Alive(p.now, answerWithin)
	return v, true
}

// LedgerView is a copy of a ledger as it stands.
type LedgerView struct {
	Home      tasks.PeerID
	Term      uint64
	Applied   uint64                         // index in the log of the last entry that the record has
	Self      quorum.Voter                   // which voter this copy is
	Alive     []tasks.PeerID                 // voters that were heard lately, this one among them
	Majority  bool                           // these are a majority, so that the ledger can be written to
	Answering []tasks.PeerID                 // voters heard within answerWithin; at the home, those that answer it
	Answered  bool                           // these are a majority
	Recovery  *quorum.Link                   // nil unless the ledger was recovered
	Replicas  []tasks.PeerID                 // the peers of the voters
	Voters    []quorum.Voter                 // of the log
	Changing  bool                           // a change is under way: Voters are those before and those after it
	Complete  bool                           // at the home: they are as many as they should be, or were waited for
	Ended     bool                           // nothing more is committed
	Lost      []ledger.Lost                  // units that are set aside
	Attempts  []ledger.Attempt               // attempts to make the result that have failed in this round
	Round     uint64                         // how often the user has asked for new attempts
	Heard     map[tasks.PeerID]time.Duration // how long ago each other voter was heard; at the home only
	Committed tasks.Cover
	Parts     []merge.Partial
}

// answerWithin is how long ago a voter may have been heard and still count as answering the leader, which asks the
// voters several times a second.
const answerWithin = 2 * time.Second

// CopyView is this peer's copy of a ledger, for somebody who may recover the job from it. Entries count that are in the
// copy's log, whether the copy knows them to be committed or not.
type CopyView struct {
	Voter quorum.Voter // which voter the copy is
	// Index and Term are those of the last entry. Of several copies the newest is the one with the highest term and, of
	// these, the highest index.
	Index, Term uint64
	Seats       [][]quorum.Voter // the voters; two sets while a change is under way, of which each must have a majority
	Alive       []tasks.PeerID   // voters that this peer has heard lately
	Majority    bool             // these are a majority, so that the job can go on without a recovery
	Committed   int64            // units of committed partials
	Open        int64            // units that are neither committed nor set aside
	Parts       []merge.Partial  // the committed partials
	Result      *ledger.Result   // nil until the job is over
	Recovery    *quorum.Link     // the last recovery of the ledger, nil for none
	Chain       quorum.Chain     // proves who the voters are, or were before the change that is under way
	Mandate     *quorum.Mandate  // proves that this peer leads the job; nil if it does not
}

// Copy describes this peer's copy of a job's ledger; ok is false if it has none, or one that is no voter.
func (p *Peer) Copy(id tasks.JobID) (v CopyView, ok bool) {
	j := p.job(id)
	if j == nil || j.copy.log == nil || !j.seated() {
		return v, false
	}
	v, err := p.view(j)
	return v, err == nil
}

func (p *Peer) view(j *jobState) (v CopyView, err error) {
	record, err := p.wholeRecord(j)
	if err != nil {
		return v, err
	}
	v = CopyView{
		Voter:     j.copy.self,
		Seats:     j.copy.log.VoterSets(),
		Committed: record.Done.Cover().Len(),
		Open:      record.Open().Len(),
		Parts:     slices.Clone(record.Done.Parts()),
		Result:    record.Result,
		Recovery:  record.Recovery,
	}
	v.Chain, v.Mandate = j.copy.log.Chain(), p.mandate(j)
	v.Index, v.Term = j.copy.log.Last()
	v.Alive, v.Majority = j.copy.log.Alive(p.now, recoverAlive)
	return v, nil
}

// Description is the description of a job, nil if it is not here.
func (p *Peer) Description(id tasks.JobID) *tasks.Job {
	if j := p.job(id); j != nil {
		return j.desc
	}
	return nil
}
