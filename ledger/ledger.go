// Package ledger is one job's record and the home that leads it: which units are committed, which are set aside as
// failed, who holds the rest, and what to do about units that nobody holds. It is pure, like the scheduler:
// Step(now, event) returns effects.
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
// A Home is carved into parts, each with its invariant and a file of its own. A commit goes through them in this order:
// an offer comes in (offers.go), may have been given to who makes it (custody.go), is merged with others or fetched
// (plan.go), is kept by a quorum of the replicas (keep.go, replicas.go), is proposed and applied (commit.go), is folded
// later (fold.go), and counts towards the end (end.go). What is lost on the way is found by audits (audit.go), what
// fails is looked into (blame.go, hosts.go, sight.go), and who is believed in that is told by trust.go, losers.go and
// slow.go.
package ledger

import (
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Home leads one job. It is not safe for concurrent use.
//
// Its parts know each other through Home alone: a part's methods read and change that part, Home's methods are what
// takes several of them.
type Home struct {
	cfg    Config
	record *Record // follows the log; everything below is gone with this home
	data   *tasks.Dataset
	now    time.Duration // of the event that is being handled
	out    []Effect      // of that event, so far
	counts Counts
	rest   rest

	nodes     nodes     // who is there, and what each reported last
	growing   growing   // appends on their way to the record
	dependent dependent // units that wait for others
	dealing   dealing   // who was given which share, and who merges for whom
	audits    audits    // what the last audits found
	offers    offers    // partials on their way to a commit
	replicas  replicas  // who keeps copies of the record, and of blobs
	kept      kept      // blobs of what is committed
	folding   folding   // the merge of committed partials that is under way
	custody   custody   // who may have which units
	standings standings // what came of each node's words
	blame     blame     // what failed, where, and what is done about it
	sight     sight     // what hosts cannot read, and who is waited for
	stopping  stopping  // whether the job is being wound up
	ending    ending    // the way from the last commit to the result
}

// rest is what is wanted and neither committed nor set aside, remembered between changes of the record. It equals
// Record.Open unless it is stale.
type rest struct {
	cover tasks.Cover
	stale bool
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
func New(cfg Config, record *Record, data *tasks.Dataset, deal bool) *Home {
	cfg.defaults()
	h := &Home{
		cfg:       cfg,
		record:    record,
		data:      data,
		rest:      rest{stale: true},
		nodes:     newNodes(&cfg),
		dealing:   newDealing(deal),
		offers:    newOffers(),
		replicas:  newReplicas(cfg.Self),
		kept:      newKept(),
		custody:   custody{self: cfg.Self},
		standings: standings{},
		blame:     newBlame(),
		sight:     newSight(),
	}
	for _, p := range record.Done.Parts() {
		h.kept.add(newKeeping(p))
	}
	h.dependent.followAll(record)
	return h
}

// Start puts all work of a new job into this node's hands, but for those units of which it has outputs already.
func (h *Home) Start(now time.Duration, have tasks.Cover) []Effect {
	h.now, h.out = now, nil
	h.audits.last, h.custody.began, h.custody.beganAt = now, true, now
	h.blame.inherited = have.Len()
	todo := tasks.CoverOf(h.record.Want).Minus(have)
	if h.dealing.units = todo.Len(); h.dealing.units > 0 {
		h.emit(Reissue{Ranges: todo})
	}
	h.checkEnd()
	return h.out
}

// Resume takes over a job that another home has led, or this node in an earlier life. What nobody holds
// is found by the audits.
func (h *Home) Resume(now time.Duration) []Effect {
	h.now, h.out = now, nil
	h.audits.last = now
	h.dealing.on = false // it is with the nodes already
	h.replicas.resumed = true
	h.expect(h.cfg.Submitter)
	h.askForLinks()
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
		h.nodes.up(ev.ID, ev.Slots, h.now)
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
	case Damaged, Unusable:
		h.isBad(ev)
	case Finished:
		h.finished(ev.Result)
	case Unfinished:
		h.unfinished(ev.Attempt)
	case Retry:
		h.newRound()
	default:
		if h.Ended() {
			h.afterEnd(ev)
		} else {
			h.work(ev)
		}
	}
	if h.record.Result != nil {
		return h.out
	}
	if !h.Ended() {
		if h.auditDue() {
			h.audits.last = h.now
			h.audit()
		}
		h.dealAll()
		h.plan()
		h.foldSteps()
		h.growSteps()
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
	case Append:
		h.appendNext(ev.Append)
	case Links:
		h.links(ev)
	case Stop:
		h.stop(ev.Reason)
	}
}

// afterEnd answers offers that come when nothing more is committed, so that their holders can forget them. Reports tell
// who is there, which matters where a blob is looked for, or another has to make the result.
func (h *Home) afterEnd(ev Event) {
	switch ev := ev.(type) {
	case Append:
		h.appendNext(ev.Append)
	case Offered:
		h.emit(Accept{To: ev.Partial.Holder, ID: ev.Partial.ID})
	case Reported:
		if n := h.nodes.byID[ev.From]; n != nil {
			h.nodes.speaks(n, h.now)
			n.report = ev.Report.plausible(h.record.Want.Len())
		}
	}
}

// applied follows the log: what was proposed, by this home or by one before it, has come to the record or was passed
// over.
func (h *Home) applied(ev Applied) {
	e := ev.Entry
	switch {
	case e.Commit != nil:
		h.committed(*e.Commit, ev.Verdict, ev.Changed)
	case e.Fold != nil:
		h.foldApplied(*e.Fold, ev.Changed)
	case e.Uncommit != nil && ev.Changed:
		if k := h.kept.find(*e.Uncommit); k != nil {
			h.undone(k.Cover)
		}
		h.kept.remove([]merge.ID{*e.Uncommit})
		h.checkFold()
		h.rest.stale, h.ending.ordered, h.ending.proposed = true, false, tasks.Moment{}
	case e.Append != nil:
		h.grown(*e.Append, ev.Changed)
	case e.Lost != nil:
		h.asideNow(*e.Lost)
	case e.Stop != nil && ev.Changed:
		h.windUp()
	case e.End != nil && ev.Changed:
		h.ending.proposed = tasks.Moment{}
	case (e.Attempt != nil || e.Retry != nil) && ev.Changed:
		h.ending.ordered = false
	case e.Result != nil && ev.Changed:
		h.emit(Concluded{Spares: h.spares()})
	}
}

func (h *Home) emit(e Effect) { h.out = append(h.out, e) }

// open is what is to be run: it is wanted, neither committed nor set aside, and waits for no other units.
func (h *Home) open() tasks.Cover {
	if h.dependent.blocked.Empty() {
		return h.unaccounted()
	}
	return h.unaccounted().Minus(h.dependent.blocked)
}

// unaccounted is what is wanted and neither committed nor set aside.
func (h *Home) unaccounted() tasks.Cover {
	if h.rest.stale {
		h.rest.cover, h.rest.stale = h.record.Open(), false
	}
	return h.rest.cover
}

// Record returns the job's state.
func (h *Home) Record() *Record { return h.record }

// Ended reports whether nothing more is committed: the job is complete, wound up or failed.
func (h *Home) Ended() bool { return h.record.Ended || h.ending.givenUp }

// Wake is the latest time by which Step must be called again.
func (h *Home) Wake() time.Duration {
	if h.record.Result != nil {
		return -1
	}
	if h.Ended() {
		return h.now + h.cfg.Audit
	}
	wake := h.audits.last + h.nodes.auditEvery()
	if h.now >= wake {
		wake = h.audits.last + h.nodes.auditWait()
	}
	if len(h.dealing.waiting) > 0 {
		wake = min(wake, h.dealing.since+h.nodes.dealWait())
	}
	if h.offers.changed {
		wake = min(wake, h.offers.planned+planEvery)
	}
	return wake
}
