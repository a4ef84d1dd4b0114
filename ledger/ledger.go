// Package ledger is the home's side of one job: which units are committed, which are set aside as
// failed, who holds the rest, and what to do about units that nobody holds. It is pure, like the
// scheduler: Step(now, event) returns effects.
//
// The home does not follow work from node to node. Every node reports what it holds; what is wanted,
// not committed, not set aside and held by nobody for a few audits in a row is lost, by whatever
// accident, and is put back to work. That covers crashed nodes, lost messages and rejected partials
// alike. An audit that is wrong costs a range run twice, which the commit rules make harmless.
//
// The home decides, and the job's replicated log remembers: the record (Record) changes only by entries that
// a quorum has on disk. A home proposes an entry (Propose) and acts on it when it is applied (Applied), so
// that another replica can take its place at any moment: New around the record as it stands there is all
// that it takes. What a home knows beside the record (reports, offers, suspects) comes in again.
//
// A commit is proposed when a quorum of the replicas keeps the partial's blob (keep.go).
package ledger

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Config sets a home up. Zero values take the defaults.
type Config struct {
	Self       tasks.PeerID
	Submitter  tasks.PeerID  // of the job
	Audit      time.Duration // between audits; default 500 ms
	AuditWait  time.Duration // longest wait of an audit for the word of a silent node; default 3 s
	Audits     int           // audits in a row that must miss a unit before it runs again; default 3
	Strikes    int           // failures of a range before it is set aside; default 3
	MaxLost    int           // ranges set aside for crashing code before the job is given up; default 20
	StopWait   time.Duration // longest wait for partials after Stop; default 10 s
	ReduceWait time.Duration // a merge ordered from a node must be offered by then; default 2 min
	Repeat     time.Duration // between repeats of such an order; default 2 s
	Fetches    int           // blobs fetched at once; default 4
	GiveUp     time.Duration // what no node can read is set aside after so long; default 5 s
	Return     time.Duration // a node that worked and went is waited for so long before what only it can read is set aside; default 3 min
	Patience   time.Duration // units held so long without progress run elsewhere, see patience; default 1 min
	Unsealed   time.Duration // what a process has done lies in it for so long before it is sealed, where there is more to do; default 30 s
	Propose    time.Duration // a proposal not applied by then is made again; default 5 s
	Report     time.Duration // between a node's reports where there are few nodes; default 400 ms
	Reports    int           // of all nodes together a second, at most; default 250
	FoldAbove  int           // more committed partials than that are merged further; default 32
	MaxBlobs   int           // committed partials at most: commits wait beyond; default MaxBlobs
	FoldFloor  int64         // bytes of committed partials up to which only their number counts; default 16 MiB
	FoldWait   time.Duration // a merge of committed partials must be made by then; default 10 min
	Sampling   Sampling      `json:"-"` // checks what workers compute; nil for nobody
}

// MaxBlobs is how many partials of a job are committed at once at most.
const MaxBlobs = 64

// FoldFloor is how many bytes may be committed of a job, or be on their way to that, however small its partials are.
const FoldFloor = 16 << 20

func (c *Config) defaults() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Audit, 500 * time.Millisecond}, {&c.StopWait, 10 * time.Second}, {&c.ReduceWait, 2 * time.Minute}, {&c.Patience, time.Minute},
		{&c.AuditWait, 3 * time.Second}, {&c.Repeat, 2 * time.Second}, {&c.Propose, 5 * time.Second},
		{&c.Report, 400 * time.Millisecond}, {&c.FoldWait, 10 * time.Minute}, {&c.GiveUp, 5 * time.Second},
		{&c.Return, 3 * time.Minute}, {&c.Unsealed, 30 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	for _, d := range []struct {
		v   *int
		def int
	}{{&c.Audits, 3}, {&c.Strikes, 3}, {&c.MaxLost, 20}, {&c.Fetches, 4}, {&c.Reports, 250},
		{&c.FoldAbove, 32}, {&c.MaxBlobs, MaxBlobs}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if c.FoldFloor <= 0 {
		c.FoldFloor = FoldFloor
	}
}

// Report is a node's regular word to the home of a job it takes part in.
type Report struct {
	Seq     uint64      `msgpack:"q"`
	Ready   bool        `msgpack:"y"` // selector loaded, may be dealt work
	Leaving bool        `msgpack:"e"` // hands its work back and goes
	Held    tasks.Cover `msgpack:"h"` // waiting, running, sealed here
	// Also is what this node answers for beside Held, though others hold it too: given away so lately that
	// the taker may not have reported it, or merged here from other nodes' partials.
	Also     tasks.Cover   `msgpack:"o"`
	Ran      int64         `msgpack:"n"` // units processed and not yet committed
	Left     time.Duration `msgpack:"l"` // run time of what waits here
	Failures []Failure     `msgpack:"f"` // until acknowledged
	// Unseen tells what this host cannot read now, though others may; at most MaxUnseen groups. Presumed is what
	// of that it has not tried yet.
	Unseen   []Unseen    `msgpack:"u,omitempty"`
	Presumed tasks.Cover `msgpack:"p,omitempty"`
	Blames   []Blame     `msgpack:"b,omitempty"` // who has lost most of what it took from this node; at most maxBlames
	Stats    Stats       `msgpack:"s"`
	// Traced says that Gave tells all that this node has given others lately, to run or in partials to be merged. It does
	// where reports come often.
	Traced bool   `msgpack:"t,omitempty"`
	Gave   []Gift `msgpack:"g,omitempty"`
	// Aside says that the job was taken from this node, since all of it failed here: a home that has taken the lead over,
	// or that lost the link for a moment, learns it from this.
	Aside bool `msgpack:"i,omitempty"`
}

// Stats counts one node's work for a job.
type Stats struct {
	Units       int64   `msgpack:"u"`
	Bytes       int64   `msgpack:"b"`
	Rate        float64 `msgpack:"r"` // units/s of the node
	Packets     int64   `msgpack:"p"`
	Steals      int64   `msgpack:"s"`
	Merges      int64   `msgpack:"m"`
	Generations int64   `msgpack:"g"`
	Failures    int64   `msgpack:"f"`
}

// Failure tells that user code or data failed on a node. Blame is empty when no unit is to blame.
type Failure struct {
	Seq    uint64      `msgpack:"q"` // counts a node's failures for the job
	Blame  tasks.Range `msgpack:"b"`
	Kind   string      `msgpack:"k"`
	Reason string      `msgpack:"r"`
	Stack  string      `msgpack:"s"`
	Tail   string      `msgpack:"t"`
	// Here says that the node is suspected too: the file may be there for others (kind open).
	Here bool `msgpack:"h"`
	// Host says in a word why the host, and not the file, is to blame: it does not see the file (see
	// exec.Cause). Empty for all other failures.
	Host string `msgpack:"w,omitempty"`
	// Data says that the input is to blame, not the code.
	Data bool `msgpack:"d"`
	// Fatal says that no other attempt can go better: the selector gave the job up.
	Fatal bool `msgpack:"f"`
}

// maxText bounds each text of a Failure, in bytes: user code writes them, and they must fit into a message and an
// entry of the log.
const maxText = 8 << 10

// Cut returns f with texts of bounded length: the beginning of what happened, the end of what was printed.
func (f Failure) Cut() Failure {
	const mark = " [...] "
	if len(f.Reason) > maxText {
		f.Reason = strings.ToValidUTF8(f.Reason[:maxText], "") + mark
	}
	if len(f.Stack) > maxText {
		f.Stack = strings.ToValidUTF8(f.Stack[:maxText], "") + mark
	}
	if n := len(f.Tail); n > maxText {
		f.Tail = mark + strings.ToValidUTF8(f.Tail[n-maxText:], "")
	}
	return f
}

// Event is what happened; the types below.
type Event interface{ isLedgerEvent() }

// Events.
type (
	// Tick lets audits happen.
	Tick struct{}
	// NodeUp tells of a connected member; Slots is 0 for one that does not work.
	NodeUp struct {
		ID    tasks.PeerID
		Slots int
	}
	// NodeDown tells that a member is not reachable.
	NodeDown struct{ ID tasks.PeerID }
	// Reported carries a node's report; From may be this node.
	Reported struct {
		From   tasks.PeerID
		Report Report
	}
	// Offered carries a partial that a node wants committed.
	Offered struct{ Partial merge.Partial }
	// Stored tells that a partial's blob is here and durable, with what was counted in it.
	Stored struct {
		ID     merge.ID
		Units  int64
		Canary uint64
	}
	// NotStored tells that a partial's blob could not be had. Here is the reason if it is this node that
	// cannot keep it.
	NotStored struct {
		ID   merge.ID
		Here string
		Slow bool // it came too slowly
	}
	// NotReduced tells that a node cannot carry out an order to reduce.
	NotReduced struct {
		From   tasks.PeerID
		Inputs []merge.ID
	}
	// Folded answers Fold: the merge is here, durable, with what was counted in it. Its cover is not set.
	Folded struct{ Partial merge.Partial }
	// NotFolded tells that committed partials could not be merged. Here is the reason if it is this node's disk.
	NotFolded struct {
		Inputs []merge.ID
		Here   string
	}
	// Replicas names the other replicas of the record. Until Ready there are fewer than there should be,
	// and commits wait.
	Replicas struct {
		IDs     []tasks.PeerID
		Members []uint64 // of the log, as which the replicas are there, in the same order: a copy goes with its member
		Ready   bool
	}
	// Kept tells that a replica keeps a partial's blob, or the result's, durably; or, not OK, that it
	// cannot.
	Kept struct {
		From   tasks.PeerID
		ID     merge.ID // zero for the result
		SHA256 string   // of the result
		OK     bool
		Full   bool   // it could not be written there
		Seq    uint64 // of the request that it answers
	}
	// Applied tells that an entry of the log has come to the record, with what Record.Apply said of it.
	Applied struct {
		Entry   Entry
		Verdict merge.Verdict
		Changed bool
	}
	// Finished answers Finish or Fail: the result as it lies here, durably.
	Finished struct{ Result Result }
	// Damaged tells that a committed partial's blob is here no longer as it was.
	Damaged struct{ ID merge.ID }
	// Stop ends the job with what is done.
	Stop struct {
		Reason string `msgpack:"r"`
	}
)

func (Tick) isLedgerEvent()       {}
func (NodeUp) isLedgerEvent()     {}
func (NodeDown) isLedgerEvent()   {}
func (Reported) isLedgerEvent()   {}
func (Offered) isLedgerEvent()    {}
func (Stored) isLedgerEvent()     {}
func (NotStored) isLedgerEvent()  {}
func (NotReduced) isLedgerEvent() {}
func (Folded) isLedgerEvent()     {}
func (NotFolded) isLedgerEvent()  {}
func (Replicas) isLedgerEvent()   {}
func (Kept) isLedgerEvent()       {}
func (Applied) isLedgerEvent()    {}
func (Damaged) isLedgerEvent()    {}
func (Finished) isLedgerEvent()   {}
func (Stop) isLedgerEvent()       {}

// Effect is what the caller must do; the types below.
type Effect interface{ isLedgerEffect() }

// Effects.
type (
	// Reissue puts units back to work on this node's scheduler, from where they are stolen.
	Reissue struct{ Ranges tasks.Cover }
	// Deal pushes their share of waiting work to nodes that have become ready: to To, which passes on what
	// is for the others.
	Deal struct {
		To     tasks.PeerID
		Blind  tasks.Cover // what it cannot read
		Units  int64       // for all of them
		Others []Worker
		Above  tasks.PeerID // merges To's partials; empty for the home
	}
	// Try runs a suspect range by itself on a node.
	Try struct {
		To    tasks.PeerID
		Range tasks.Range
	}
	// Shun tells a node to hand this job's work back: it fails there and nowhere else.
	Shun struct {
		ID     tasks.PeerID
		Reason string // of its last failure
		Again  bool   // it was told so before
	}
	// Fetch a partial's blob, from its holder or one of Sources, and store it durably; answer with Stored or
	// NotStored.
	Fetch struct {
		Partial merge.Partial
		Sources []tasks.PeerID
	}
	// Fold merges committed partials, whose blobs are all here, and stores the result durably; answer with Folded or
	// NotFolded.
	Fold struct{ Inputs []merge.Partial }
	// Keep asks a replica to keep a partial's blob durably; Kept answers.
	Keep struct {
		To      tasks.PeerID
		Partial merge.Partial
		Sources []tasks.PeerID
		Seq     uint64 // counts the home's requests
	}
	// Release tells a replica, or this node, that a blob which it keeps on its way to a commit is not to be committed; not
	// if it has been asked to keep it by a later request than Seq. One that does not hear it finds out by the record.
	Release struct {
		To      tasks.PeerID
		Partial merge.Partial
		Seq     uint64
	}
	// KeepResult asks a replica to keep the result's file durably; Kept answers.
	KeepResult struct {
		To     tasks.PeerID
		Result Result
	}
	// Propose an entry to the log; Applied answers, or nothing, and then it is proposed again.
	Propose struct{ Entry Entry }
	// Accept tells a holder that its partial, or all of its units, are committed.
	Accept struct {
		To tasks.PeerID
		ID merge.ID
	}
	// Note tells a holder that its offer is known; or, not Known, that it is not any more.
	Note struct {
		To    tasks.PeerID
		ID    merge.ID
		Known bool
	}
	// Reject tells a holder that its partial cannot be committed: it explodes.
	Reject struct {
		To tasks.PeerID
		ID merge.ID
	}
	// Reduce orders a node to merge partials and to offer the result.
	Reduce struct {
		To     tasks.PeerID
		Inputs []merge.Partial
	}
	// Drop tells a node that some of what it holds is committed already.
	Drop struct {
		To    tasks.PeerID
		Cover tasks.Cover
	}
	// Undone tells all nodes that units which they may take for committed are not any more.
	Undone struct{ Cover tasks.Cover }
	// Yield tells a node that another holds some of what waits there too.
	Yield struct {
		To    tasks.PeerID
		Cover tasks.Cover
	}
	// StopAll tells all nodes to wind the job up.
	StopAll struct{}
	// Finish merges the committed partials, which are all here, into the result; answer with Finished.
	// Lost is empty for a complete result.
	Finish struct{ Lost []Lost }
	// Fail ends the job without a file; answer with Finished.
	Fail struct{ Failure Failed }
	// False tells that a node offered a partial whose blob holds something else; or, Impossible, units that it was never given and cannot have run.
	False struct {
		By         tasks.PeerID
		Impossible bool
	}
	// Over tells that the result is in the log: the job is done with. Spares keep the result beside the
	// replicas.
	Over struct{ Spares []tasks.PeerID }
)

func (Reissue) isLedgerEffect()    {}
func (Deal) isLedgerEffect()       {}
func (Try) isLedgerEffect()        {}
func (Shun) isLedgerEffect()       {}
func (Fetch) isLedgerEffect()      {}
func (Fold) isLedgerEffect()       {}
func (Keep) isLedgerEffect()       {}
func (Release) isLedgerEffect()    {}
func (KeepResult) isLedgerEffect() {}
func (Propose) isLedgerEffect()    {}
func (Accept) isLedgerEffect()     {}
func (Reject) isLedgerEffect()     {}
func (Note) isLedgerEffect()       {}
func (Reduce) isLedgerEffect()     {}
func (Drop) isLedgerEffect()       {}
func (Undone) isLedgerEffect()     {}
func (Yield) isLedgerEffect()      {}
func (StopAll) isLedgerEffect()    {}
func (Finish) isLedgerEffect()     {}
func (Fail) isLedgerEffect()       {}
func (Over) isLedgerEffect()       {}
func (False) isLedgerEffect()      {}

// Lost is a range that is not in the result, and why.
type Lost struct {
	Range tasks.Range
	Failed
}

// Failed says how something failed, over all tries.
type Failed struct {
	Failure
	Nodes []tasks.PeerID // that tried
	Words []string       `msgpack:",omitempty"` // what each of Nodes said, where they may differ; else empty
	Tries int
}

// Worker is a node that works for a job.
type Worker struct {
	ID    tasks.PeerID
	Slots int
}

// Home leads one job. It is not safe for concurrent use.
type Home struct {
	cfg    Config
	want   tasks.Range
	todo   int64 // units that were to be run when the job began
	data   *tasks.Dataset
	deal   bool
	now    time.Duration
	out    []Effect
	record *Record

	replicas  []tasks.PeerID          // beside this node
	staffed   bool                    // as many as there should be
	crammed   map[tasks.PeerID]int    // how often in a row a replica could not write a blob
	memberAs  map[tasks.PeerID]uint64 // which member of the log a replica is
	keeps     []*keeping              // of what is committed
	keptAs    map[merge.ID]*keeping
	asks      uint64        // requests to keep blobs
	keptBytes int64         // of what is committed
	fold      *fold         // under way, nil for none
	foldFails int           // in a row
	foldAgain time.Duration // no other fold before
	pressed   bool          // commits wait for a fold
	result    *keeping      // of the result, once there is one
	final     Result
	finalAt   time.Duration // when it was there
	told      bool          // Finish was emitted for the record as it stands
	givenUp   bool          // Fail was emitted
	endAt     time.Duration // when the end was last proposed, 0 for never
	stopping  time.Duration // when Stop was last proposed, 0 for never
	stopFor   string        // why
	spreadAt  time.Duration // when what is committed was last looked after

	attempt   *Attempt      // to make the result, that failed here, until the log has it
	attemptAt time.Duration // when it was last proposed

	nodes     map[tasks.PeerID]*node
	away      map[tasks.PeerID]*absent
	resumed   bool // another has led the job before
	waitFor   waitFor
	order     []tasks.PeerID // of nodes, sorted: effects must not depend on map order
	offers    []*offer
	byID      map[merge.ID]*offer
	suspects  []*suspect
	general   Failed // failures that blame no unit
	strikes   map[tasks.PeerID]int
	shunned   map[tasks.PeerID]string       // nodes that are set aside, and why
	waited    int                           // audits since the first was
	slots     int                           // of all nodes
	undealt   []tasks.PeerID                // have become ready and wait for their share
	undealtAt time.Duration                 // since when the first of them does
	heads     []tasks.PeerID                // the nodes right below the home in the tree by which work is dealt
	tree      []tasks.PeerID                // nodes in the order in which they became ready, also those that have gone:
	upper     map[tasks.PeerID]tasks.PeerID // who merges for whom what was dealt to it; empty for the home
	had       int64                         // units that an earlier job has done
	places    map[tasks.PeerID]int          // one that comes back keeps its place, from 1, so that no node is above itself
	missing   []tasks.Cover                 // what the last audits missed
	twice     map[pair]tasks.Cover          // what the last audit found with two nodes
	audited   time.Duration
	unheard   int           // nodes that have reported before, but not since the last audit
	planned   time.Duration // when offers were last planned for
	repeated  time.Duration // when orders were last looked after
	audits    int
	auditedAt time.Duration         // when the last of them was
	dark      map[int]time.Duration // files of which no node can read what is open, and since when
	rejected  map[merge.ID]bool     // answered so before
	standings map[tasks.PeerID]*standing
	fatal     map[tasks.PeerID]bool // nodes that say that no attempt can go well
	unstored  map[merge.ID]int      // how often its blob could not be had, though its holder was there
	full      int                   // how often in a row this node could not keep a blob
	fullFor   string                // why it could not, the last time
	orders    []*order              // to reduce, not seen carried out
	counts    Counts
	commits   int64
	dirty     bool           // offers have changed since they were last planned for
	rest      tasks.Cover    // wanted, neither committed nor set aside
	restOld   bool           // rest must be computed anew
	busy      []tasks.PeerID // nodes with waiting work, the longest first; as of the last audit
	stopped   bool
	stopAt    time.Duration
	custody   custody
}

type node struct {
	slots    int
	report   Report
	heard    bool
	dealt    bool
	fresh    bool // reported since Stop
	spoke    bool // reported since the last audit
	last     time.Duration
	doubt    doubtful
	blind    tasks.Cover   // what it cannot read, of report.Unseen
	upAt     time.Duration // since when it is there
	failures int           // that blame units, while nothing had gone well
	lastWord string        // of these
	every    time.Duration // between its reports, as it was told
	acked    time.Duration // when it was last answered
	asideAt  time.Duration // when it was last told that the job is taken from it

	uppers  []tasks.PeerID // that it was told to have merge its partials
	coming  tasks.Cover    // others say that they gave it to this node, whose reports have yet to tell
	awaited int            // so many reports until they have
}

// Counts says how often a home had to mend or merge.
type Counts struct {
	Reissued   int64 // units put back to work by audits and rejections
	Reduces    int64 // merges ordered
	Refused    int64 // of these, that could not be done
	Duplicates int64 // partials dropped since all of them was committed
	Rejected   int64 // partials rejected since some of them was committed
	Exploded   int64 // of these, merges
	Doubted    int64 // units that were held for too long, and run elsewhere
	Yields     int64 // orders to drop waiting work that was held twice
	Folds      int64 // merges of committed partials ordered
	Unfolded   int64 // of these, that did not come to the record
}

// Counts returns them.
func (h *Home) Counts() Counts { return h.counts }

// New returns the home of a job whose record stands as it does: a new one, or one that another home has led
// before. With dealing, nodes get their share of the work as soon as they are ready; without, they steal
// it.
func New(cfg Config, record *Record, data *tasks.Dataset, dealing bool) *Home {
	cfg.defaults()
	h := &Home{cfg: cfg, want: record.Want, record: record, data: data, deal: dealing,
		nodes: map[tasks.PeerID]*node{}, away: map[tasks.PeerID]*absent{}, strikes: map[tasks.PeerID]int{}, shunned: map[tasks.PeerID]string{}, rejected: map[merge.ID]bool{}, unstored: map[merge.ID]int{}, standings: map[tasks.PeerID]*standing{}, fatal: map[tasks.PeerID]bool{}, restOld: true,
		byID: map[merge.ID]*offer{}, places: map[tasks.PeerID]int{}, upper: map[tasks.PeerID]tasks.PeerID{}, keptAs: map[merge.ID]*keeping{}, crammed: map[tasks.PeerID]int{}, memberAs: map[tasks.PeerID]uint64{}}
	for _, p := range record.Done.Parts() {
		h.addKeep(newKeeping(p))
	}
	return h
}

// Start puts all work of a new job into this node's hands, but for those units of which it has outputs already.
func (h *Home) Start(now time.Duration, have tasks.Cover) []Effect {
	h.now, h.out = now, nil
	h.audited, h.custody.began, h.custody.beganAt = now, true, now
	h.had = have.Len()
	todo := tasks.CoverOf(h.want).Minus(have)
	if h.todo = todo.Len(); h.todo > 0 {
		h.emit(Reissue{Ranges: todo})
	}
	h.checkEnd()
	return h.out
}

// Resume takes over a job that another home has led, or this node in an earlier life. What nobody holds
// is found by the audits.
func (h *Home) Resume(now time.Duration) []Effect {
	h.now, h.out = now, nil
	h.audited = now
	h.deal = false // it is with the nodes already
	h.resumed = true
	h.missed(h.cfg.Submitter)
	if h.record.Stop != nil {
		h.windUp()
	}
	h.checkEnd()
	return h.out
}

// Step takes one event at time now and returns what is to be done.
func (h *Home) Step(now time.Duration, ev Event) []Effect {
	h.now, h.out = max(h.now, now), nil
	switch ev := ev.(type) {
	case NodeUp:
		h.nodeUp(ev)
	case NodeDown:
		h.nodeDown(ev.ID)
	case Replicas:
		h.replicasAre(ev)
	case Stored:
		h.stored(ev)
	case NotStored:
		h.notStored(ev)
	case Kept:
		h.keptBy(ev)
	case Folded:
		h.folded(ev)
	case NotFolded:
		h.notFolded(ev)
	case Applied:
		h.applied(ev)
	case Damaged:
		h.damaged(ev.ID)
	case Finished:
		h.finished(ev.Result)
	case Unfinished:
		h.unfinished(ev.Attempt)
	case Retry:
		h.newRound()
	default:
		if h.Ended() {
			h.late(ev)
		} else {
			h.work(ev)
		}
	}
	if h.record.Result != nil {
		return h.out
	}
	if !h.Ended() {
		if h.auditDue() {
			h.audited = h.now
			h.audit()
		}
		h.dealAll()
		h.plan()
		h.foldSteps()
	}
	h.spread()
	h.checkEnd()
	return h.out
}

// work takes what matters only until the end.
func (h *Home) work(ev Event) {
	switch ev := ev.(type) {
	case Reported:
		h.reported(ev.From, ev.Report)
	case Offered:
		h.offered(ev.Partial)
	case NotReduced:
		h.notReduced(ev)
	case Stop:
		h.stop(ev.Reason)
	}
}

// late answers offers that come after the end, so that their holders can forget them.
func (h *Home) late(ev Event) {
	switch ev := ev.(type) {
	case Offered:
		h.emit(Accept{To: ev.Partial.Holder, ID: ev.Partial.ID})
	case Reported: // it is there, which matters where a blob is looked for
		if n := h.nodes[ev.From]; n != nil {
			n.last = h.now
			if !n.spoke && n.heard {
				h.unheard--
			}
			n.report, n.spoke, n.heard = h.plausible(ev.Report), true, true // it may have to make the result
		}
	}
}

func (h *Home) emit(e Effect) { h.out = append(h.out, e) }

func (h *Home) nodeUp(ev NodeUp) {
	n := h.nodes[ev.ID]
	if n == nil {
		n = &node{upAt: h.now}
		h.nodes[ev.ID] = n
		i, _ := slices.BinarySearch(h.order, ev.ID)
		h.order = slices.Insert(h.order, i, ev.ID)
	}
	h.slots += ev.Slots - n.slots
	n.slots = ev.Slots
}

func (h *Home) nodeDown(id tasks.PeerID) {
	n := h.nodes[id]
	if n == nil {
		return
	}
	if n.heard && !n.spoke {
		h.unheard--
	}
	h.goes(id, n)
	delete(h.nodes, id)
	delete(h.shunned, id) // it may come back mended
	delete(h.strikes, id)
	h.slots -= n.slots
	if i, ok := slices.BinarySearch(h.order, id); ok {
		h.order = slices.Delete(h.order, i, i+1)
	}
	h.dropOffers(func(o *offer) bool { return o.Holder == id && o.state != fetching && o.state != proposed })
	h.dirty = true
	for _, o := range h.offers {
		if o.state == reducing && o.at == id {
			o.state = waiting
		}
	}
	for _, s := range h.suspects {
		if s.at == id {
			s.at = ""
		}
	}
	h.lookAgain(false, []tasks.PeerID{id}) // what it had is another's now
}

// reported takes a node's word. An older one than known is late, or a repetition; unless nothing newer has come
// for long: then the newer ones were those of another process with the node's identity, which is gone.
func (h *Home) reported(from tasks.PeerID, r Report) {
	n := h.nodes[from]
	if n == nil || (n.heard && r.Seq <= n.report.Seq && !h.silent(from)) || !r.Held.Valid(h.want) || !r.Also.Valid(h.want) || !r.unseenValid(h.want) || !r.giftsValid(h.want) {
		return
	}
	fresh := slices.DeleteFunc(slices.Clone(r.Failures), func(f Failure) bool { return n.heard && f.Seq <= lastSeq(n.report.Failures) })
	first := r.Ready && !(n.heard && n.report.Ready)
	n.report = h.plausible(r)
	h.sees(from, n)
	if r.Ready || n.slots == 0 {
		delete(h.away, from)
	}
	n.fresh = n.fresh || h.stopped
	if !n.spoke && n.heard {
		h.unheard--
	}
	n.spoke, n.heard, n.last = true, true, h.now
	for _, f := range fresh {
		h.failed(from, f)
	}
	if done := h.record.Done.Cover(); r.Held.Intersects(done) {
		h.emit(Drop{To: from, Cover: r.Held.Intersect(done)})
	}
	h.knowAside(from, r.Aside)
	h.lookAgain(false, h.follow(from, n, &n.report))
	n.report.Ran = min(n.report.Ran, h.has(from, n).Len()+n.also().Len()) // who was given nothing has run nothing
	if first {
		h.becameReady(from, n)
	}
}

// plausible bounds numbers, which are shown, sorted by and summed up, by what the job can have cost a node at most.
func (h *Home) plausible(r Report) Report {
	most := min(someRuns*h.want.Len()+smallRuns, mostUnits)
	r.Ran, r.Left = min(max(r.Ran, 0), h.want.Len()), max(r.Left, 0)
	s := &r.Stats
	for _, v := range []*int64{&s.Units, &s.Packets, &s.Steals, &s.Merges, &s.Generations, &s.Failures} {
		*v = min(max(*v, 0), most)
	}
	s.Bytes = min(max(s.Bytes, 0), most*min(mostBytes, math.MaxInt64/most/mostNodes))
	r.Blames = r.Blames[:min(len(r.Blames), maxBlames)]
	if !(s.Rate >= 0 && s.Rate <= mostRate) {
		s.Rate = 0
	}
	return r
}

// Bounds of what a node may say that it has done: each unit so many times, and some more in a small job, whose units may be
// tried again and again; and all in all so much that sums over all nodes are numbers still.
const (
	someRuns  = 16
	smallRuns = 1000
	mostUnits = 1 << 50
	mostBytes = 64 << 20 // read for a unit
	mostNodes = 1 << 10
	mostRate  = 1e12 // units a second
)

func lastSeq(fs []Failure) (s uint64) {
	for _, f := range fs {
		s = max(s, f.Seq)
	}
	return s
}

// lostCover is what is set aside.
func (h *Home) lostCover() tasks.Cover { return h.record.lostCover() }

// open is what is wanted and neither committed nor set aside.
func (h *Home) open() tasks.Cover {
	if h.restOld {
		h.rest, h.restOld = h.record.Open(), false
	}
	return h.rest
}

// stop has the job wound up, once that is in the log.
func (h *Home) stop(why string) {
	if h.record.Stop == nil && (h.stopping == 0 || h.now-h.stopping >= h.cfg.Propose) {
		h.stopping, h.stopFor = max(h.now, 1), why
		h.emit(Propose{Entry{Stop: &Stop{Reason: why}}})
	}
}

// stopAgain proposes a stop again that the log may have lost; called at each audit.
func (h *Home) stopAgain() {
	if h.stopping > 0 {
		h.stop(h.stopFor)
	}
}

// windUp ends the job: what comes in within StopWait is in the result.
func (h *Home) windUp() {
	if h.stopped {
		return
	}
	h.stopped, h.stopAt = true, h.now
	for _, n := range h.nodes {
		n.fresh = false
	}
	h.emit(StopAll{})
}

// checkEnd is the only test of completion: committed and set aside together are what is wanted; or,
// after Stop, nobody holds anything that could still be committed.
func (h *Home) checkEnd() {
	switch {
	case h.givenUp:
		return
	case h.record.Ended:
		h.attemptAgain()
		h.finish()
		return
	case h.endAt > 0 && h.now-h.endAt < h.cfg.Propose:
		return
	}
	if !h.open().Empty() && !(h.stopped && (h.quiet() || h.now-h.stopAt >= h.cfg.StopWait)) {
		return
	}
	h.endAt = max(h.now, 1)
	h.emit(Propose{Entry{End: &End{}}})
}

// rankBusy sorts the nodes by the time they still have to work.
func (h *Home) rankBusy() {
	h.busy = h.busy[:0]
	for _, id := range h.order {
		if h.nodes[id].report.Left > 0 {
			h.busy = append(h.busy, id)
		}
	}
	slices.SortStableFunc(h.busy, func(a, b tasks.PeerID) int {
		return cmp.Compare(h.nodes[b].report.Left, h.nodes[a].report.Left)
	})
}

// Busy names up to n nodes that have most left to do, and for how long; not the one who asks.
func (h *Home) Busy(n int, asks tasks.PeerID) (ids []tasks.PeerID, left []time.Duration) {
	for _, id := range h.busy {
		if len(ids) == n {
			break
		}
		if o := h.nodes[id]; o != nil && id != asks && o.report.Left > 0 {
			ids, left = append(ids, id), append(left, o.report.Left)
		}
	}
	return ids, left
}

// Heard reports whether a node has reported to this home.
func (h *Home) Heard(id tasks.PeerID) bool { return h.nodes[id] != nil && h.nodes[id].heard }

// Ready reports whether a node has the job's code loaded.
func (h *Home) Ready(id tasks.PeerID) bool {
	return h.loaded(id) && h.shunned[id] == ""
}

// canMerge reports whether this home can merge what is committed: also while it leaves and has nobody to hand the lead to.
func (h *Home) canMerge() bool {
	n := h.nodes[h.cfg.Self]
	return h.loaded(h.cfg.Self) || n != nil && n.report.Leaving
}

// loaded is Ready also of a node from which the job's work was taken since all of it fails there: it can merge.
func (h *Home) loaded(id tasks.PeerID) bool {
	n := h.nodes[id]
	return n != nil && n.heard && n.report.Ready
}

// Leaving reports whether a node has said that it goes.
func (h *Home) Leaving(id tasks.PeerID) bool { return h.nodes[id] != nil && h.nodes[id].report.Leaving }

// Silent reports whether a node has not reported yet, or not for long: the last report may be of an earlier life,
// and it knows nothing of the job.
func (h *Home) Silent(id tasks.PeerID) bool {
	n := h.nodes[id]
	return n == nil || !n.heard || h.now-n.last > h.cfg.AuditWait+4*h.slack()
}

// quiet reports whether all nodes have answered Stop and hold nothing any more.
func (h *Home) quiet() bool {
	if len(h.offers) > 0 {
		return false
	}
	for _, n := range h.nodes {
		if n.heard && (!n.fresh || !h.record.Done.Cover().Covers(n.report.Held) || !h.record.Done.Cover().Covers(n.report.Also)) {
			return false
		}
	}
	return true
}

// Record returns the job's state.
func (h *Home) Record() *Record { return h.record }

// Ended reports whether nothing more is committed: the job is complete, wound up or failed.
func (h *Home) Ended() bool { return h.record.Ended || h.givenUp }

// Stopping reports whether the job is being wound up.
func (h *Home) Stopping() bool { return h.stopped }

// Wake is the latest time by which Step must be called again.
func (h *Home) Wake() time.Duration {
	if h.record.Result != nil {
		return -1
	}
	if h.Ended() {
		return h.now + h.cfg.Audit
	}
	wake := h.audited + h.auditEvery()
	if h.now >= wake {
		wake = h.audited + h.auditWait()
	}
	if len(h.undealt) > 0 {
		wake = min(wake, h.undealtAt+h.dealWait())
	}
	if h.dirty {
		wake = min(wake, h.planned+planEvery)
	}
	return wake
}
