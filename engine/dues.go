package engine

import (
	"errors"
	"maps"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// One goroutine serves all jobs of a node, so no member may take more of its time than an honest one needs. Each member
// has an allowance for the signatures that it has this peer check, whether it shows them in messages or in answers to
// requests (CheckFor), one for its reports, and one for requests that have a ledger's log read (Pay). What is beyond an
// allowance is dropped; an honest member loses a moment by that, for it repeats what matters. A member that goes on
// asking for more is reported as violating the rules. This peer measures its own reports in the same way, so that it
// stays within what their receivers allow (hurries).

const (
	rangeCost  = 4 * time.Microsecond   // what a range in a report costs its sender
	reportCost = 256 * rangeCost        // what a report, or a failure in one, costs its sender: about 1000 a second
	checkCost  = 2 * time.Millisecond   // what a signature to be checked costs who shows it: 500 a second
	askCost    = 100 * time.Millisecond // what a request that has a log read costs its sender: 10 a second
	// maxAhead is how far ahead of time a member may run up costs: by 8000 signatures at once, as when many jobs are
	// announced.
	maxAhead   = 16 * time.Second
	patience   = 20 * time.Second // how long a member's messages are dropped before it is reported
	tellAgain  = time.Second      // how often a member that goes on is reported then
	maxForgone = 1 << 10          // how many members' dues are kept before those who owe nothing are forgotten
)

// allowance measures one kind of work that a member has this peer do. Each piece of work moves paid forward by its
// cost, and time catches up with it; the member has spent its allowance when paid is more than maxAhead in the future.
type allowance struct {
	paid    time.Duration // when time will have paid for all that was done
	dropped time.Duration // since when messages are dropped for this; 0 while none are
	told    time.Duration // when the member was last reported for it
}

// charges measures what members have this peer do, and what it has them do.
type charges struct {
	of      map[tasks.PeerID]*dues // of members that have had anything done
	checks  *counted               // counts all signatures that are checked, whoever showed them
	checked quorum.Checked         // links of chains that were found valid, and need not be checked again
	own     allowance              // of this peer's reports, as their receivers measure them
}

// dues are one member's allowances, for signatures, reports and requests that read a log.
type dues struct {
	checks, reports, asks allowance
	unanswered            int // how often in a row the member did not answer when asked for a job's description
}

// charge books the cost of work that is done at time now.
func (a *allowance) charge(now, cost time.Duration) { a.paid = max(a.paid, now) + cost }

// spent reports whether the allowance is used up at time now, so that what costs more is to be dropped. Messages no
// longer count as being dropped once time has paid for half of it.
func (a *allowance) spent(now time.Duration) bool {
	ahead := a.paid - now
	if ahead < maxAhead/2 {
		a.dropped = 0
	}
	return ahead > maxAhead
}

// drop notes that a message is dropped, and reports whether its sender is to be reported for that.
func (a *allowance) drop(now time.Duration) bool {
	if a.dropped == 0 {
		a.dropped = max(now, 1)
	}
	if now-a.dropped < patience || now-a.told < tellAgain {
		return false
	}
	a.told = now
	return true
}

// counted passes signatures on to be checked, and counts them.
type counted struct {
	quorum.Keys
	n int
}

// Verify implements quorum.Keys.
func (c *counted) Verify(by tasks.PeerID, text, sig []byte) bool {
	c.n++
	return c.Keys.Verify(by, text, sig)
}

func (p *Peer) duesOf(id tasks.PeerID) *dues {
	d := p.charges.of[id]
	if d == nil {
		d = &dues{}
		p.charges.of[id] = d
	}
	return d
}

// owes reports whether a member has used up its allowance of signatures for now.
func (p *Peer) owes(id tasks.PeerID) bool {
	d := p.charges.of[id]
	return d != nil && d.checks.spent(p.now)
}

// chargeChecks books on a member the signatures that were checked since the count was before.
func (p *Peer) chargeChecks(from tasks.PeerID, before int) {
	if n := p.charges.checks.n - before; n > 0 && from != p.self {
		p.duesOf(from).checks.charge(p.now, time.Duration(n)*checkCost)
	}
}

// ErrTooMuch is the error of CheckFor if the member has used up its allowance of signatures.
var ErrTooMuch = errors.New("it has had too many signatures checked of late")

// CheckFor runs check on what a member shows of a job in its answer to a request. check is given the trust with which
// proofs in messages are checked too, and the signatures that it checks are booked on the member. The error is check's,
// or ErrTooMuch.
func (p *Peer) CheckFor(
	from tasks.PeerID, id tasks.JobID, submitter tasks.PeerID, check func(quorum.Trust) error,
) error {
	if p.owes(from) {
		return ErrTooMuch
	}
	defer p.chargeChecks(from, p.charges.checks.n)
	return check(p.trust(id, submitter))
}

// ErrAsked is the error of Pay if the member has used up its allowance of requests.
var ErrAsked = errors.New("it has asked for too many ledgers of late: try again in some seconds")

// Pay books on a member a request that has this node read a ledger's log. The error is ErrAsked if the request is to be
// refused; tell says that the member has been refused for so long that it is to be reported.
func (p *Peer) Pay(from tasks.PeerID) (tell bool, err error) {
	a := &p.duesOf(from).asks
	if a.spent(p.now) {
		return a.drop(p.now), ErrAsked
	}
	a.charge(p.now, askCost)
	return false, nil
}

// tooMuch reports whether a message is dropped because its sender's allowance for such messages is used up. Reports are
// booked here; proofs are booked when they have been checked (chargeChecks).
func (p *Peer) tooMuch(from tasks.PeerID, m *Message) bool {
	var a *allowance
	switch {
	case m.proves():
		a = &p.duesOf(from).checks
	case m.Report != nil:
		a = &p.duesOf(from).reports
	default:
		return false
	}
	if !a.spent(p.now) {
		if m.Report != nil {
			a.charge(p.now, costOf(m.Report))
		}
		return false
	}
	if a.drop(p.now) {
		p.violated(from, m.Job, TooMuch)
	}
	return true
}

// costOf is what a report costs its sender: so much for itself and each failure, and so much for each range.
func costOf(r *ledger.Report) time.Duration {
	ranges := len(r.Held) + len(r.Also) + len(r.Presumed) + giftPieces(r.Gave)
	return time.Duration(ranges)*rangeCost + time.Duration(1+len(r.Failures))*reportCost
}

// hurries reports whether this peer may send a report with news before one is due, and still stay well within what the
// receivers of its reports allow.
func (p *Peer) hurries() bool { return p.charges.own.paid-p.now < maxAhead/8 }

// payForReport books a report on this peer's own allowance, as its receiver will.
func (p *Peer) payForReport(r *ledger.Report) { p.charges.own.charge(p.now, costOf(r)) }

// forgetDues bounds charges.of: where it has grown large, members that owe nothing are forgotten.
func (p *Peer) forgetDues() {
	if len(p.charges.of) > maxForgone {
		maps.DeleteFunc(p.charges.of, func(_ tasks.PeerID, d *dues) bool {
			return d.unanswered == 0 && max(d.checks.paid, d.reports.paid, d.asks.paid) <= p.now
		})
	}
}
