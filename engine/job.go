package engine

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// jobState is what this peer knows of one job. Each of its parts has a file of its own, which says what always holds of it.
//
// While shut is false this peer takes part in the job; once it is true only the copy of the ledger may live on, to serve
// the other replicas, until closeAt.
type jobState struct {
	id     tasks.JobID
	desc   *tasks.Job   // nil until a member has handed the description out
	loaded bool         // the job's code is ready to run here; then desc is not nil
	home   tasks.PeerID // whom this peer takes for the job's home; empty while it knows of none
	term   uint64       // in which that one leads; it never falls

	stopped bool          // the home has said so: nothing of the job is begun any more
	aside   bool          // the home has taken the job from this node, since all of it failed here
	shut    bool          // this peer takes no part any more
	closeAt time.Duration // when it forgets the job then

	prep    preparation
	proofs  proofs
	seeking seeking
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

// preparation is how far this peer has come with getting a job ready to run.
//
// There are claims only while the description is not here; failed and tried are of no use once the code is loaded.
type preparation struct {
	claims  []claim       // of members that they lead the job: one for each, at most maxClaims
	weighed weighed       // the memory that the description takes
	failed  bool          // the code could not be loaded when that was last tried
	tried   time.Duration // when that was
}

// proofs are what was proven here about who leads a job.
//
// shown holds by package quorum's rules, and no mandate of an earlier term takes its place. conf never goes back to an
// older set of voters.
type proofs struct {
	shown *quorum.Mandate // the last that was believed, or is this peer's own
	conf  quorum.Conf     // the newest set of voters in such a one
	asked tasks.Moment    // when a member was last asked for its mandate
}

// seeking is what this peer does when it has lost a job's home.
type seeking struct {
	heard  time.Duration // when the home was last heard
	sought time.Duration // when others were last asked what they know of the job
	asked  tasks.PeerID  // which of them was asked last
}

// work is what this node does for a job.
//
// Of every unit in blamed a failure is in failures: the home has not booked it yet, and nobody else is to run it before.
type work struct {
	parts    *merge.Local // outputs that are not known to be committed
	stats    ledger.Stats
	failures []ledger.Failure // that the home has not acknowledged
	failSeq  uint64           // of the last failure
	blamed   tasks.Cover      // by these failures
	largest  int64            // output of a generation here so far, in bytes
	kills    int              // generations in a row that were killed from outside
}

// reporting is when this node next tells a job's home where things stand.
//
// A report is due at next at the latest. It goes sooner when it is urgent, or when there is news and the home has few
// nodes to listen to; not so often that this node comes near to its share of the home's time (see allowance).
type reporting struct {
	last   time.Duration
	next   time.Duration
	every  time.Duration // between two reports, as the home has asked
	urgent bool
	news   bool
	spread bool // next has been moved to a time of this node's own, so that not all nodes report at once
}

// losses is what this node has heard from the home of units that were lost.
type losses struct {
	heardSeq uint64       // of the last loss that was heard of
	heardOn  tasks.PeerID // the home that has counted so
	someLose bool         // the home has named nodes that lose what they take
}

// replica is this peer's copy of a job's ledger.
//
// log is nil without a copy, while one is being made (founding), and where the only copy is in memory; record is what
// the ledger says as far as it was followed, and is there in any case.
type replica struct {
	record    *ledger.Record
	log       *quorum.Replica
	self      quorum.Member   // which member of the log this copy is
	founders  []quorum.Member // with whom the log began
	founding  *founding       // a copy is on its way to disk
	neverLed  bool            // this peer has founded the log, and leads it as soon as it is on disk
	leaveAt   tasks.Moment    // when a copy that the log has removed goes, if nobody answers
	resigned  time.Duration   // when the others were last asked whether it may go sooner
	recovery  *quorum.Link    // of the ledger, which was checked; the record may not have it yet
	defied    uint64          // term of the last recovery that was refused
	ledAt     time.Duration   // when the log last had a leader that this copy heard
	settledAt time.Duration   // from when on a leader tells that the ledger lives, see settleTime
}

// leading is what a peer keeps while it leads a job.
//
// home is nil exactly while this peer does not lead. What else was known goes with it (stepDown), but what display needs.
type leading struct {
	home        *ledger.Home // decides what is to be done
	since       time.Duration
	announced   time.Duration         // when members that do not report were last told
	unannounced bool                  // nobody was told yet, for there is no mandate to show
	waiting     []ledger.Entry        // to be proposed when the log takes some
	spares      []tasks.PeerID        // nodes that keep the result beside the replicas
	gone        map[life]ledger.Stats // what nodes had counted that went, for display
	lost        []lostAt              // what was put back to work of late
	lostSeq     uint64                // counts that
}

// staffing is what a home does to have as many replicas of the ledger as it should.
//
// At most one change of the voters is under way, since changed; none begins before the last has ended or been given up.
type staffing struct {
	complete    bool // there are as many as there should be, or they have been waited for: commits may begin
	enlisted    map[tasks.PeerID]*enlistment
	unfit       map[tasks.PeerID]time.Duration // nodes that did not become replicas when asked, and until when they are not asked
	changed     tasks.Moment                   // when a change of the voters was last proposed, while it is under way
	handed      int                            // how often the lead was handed over in vain
	neededSince tasks.Moment                   // since when replicas are to go that keep what others do not
	fewSince    tasks.Moment                   // since when there are too few nodes for as many replicas
	stuckSince  tasks.Moment                   // since when this home may not try to make the result any more
}

func newStaffing() staffing {
	return staffing{enlisted: map[tasks.PeerID]*enlistment{}, unfit: map[tasks.PeerID]time.Duration{}}
}

// ending is what this peer has of a job's end beside the record.
type ending struct {
	proof     *Ended        // from elsewhere, which has ended the job here: the record may be behind it
	proven    bool          // others were told, or have told, how the job ended, with a seal
	lostChain *quorum.Chain // of the voters of the ledger that this peer had alone, and has lost
}

// leads reports whether this peer leads the job.
func (j *jobState) leads() bool { return j.led.home != nil }
