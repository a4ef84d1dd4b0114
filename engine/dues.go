package engine

import (
	"errors"
	"maps"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// One goroutine does all that a node does for all jobs. So a member may have this peer check no more signatures than an
// honest one ever needs, whatever chains of voters it makes up for a job of its own: beyond that its proofs are
// dropped, which costs an honest one a moment, for all of them are repeated. A member that goes on and on is told. The
// same share pays for what members show in answers to requests (CheckFor). Requests that have this peer read a ledger's
// log are paid for, too (Pay).
//
// So it is with reports. An honest node sends them when they are due, and sooner when there is news, but not so many
// that it would come near to its share (Peer.hurries).

const (
	rangeCost  = 4 * time.Microsecond   // of a member's time for each range in its reports,
	reportCost = 256 * rangeCost        // and for a report or a failure in it: 1000 a second
	checkCost  = 2 * time.Millisecond   // of a member's time for each signature: 500 a second
	askCost    = 100 * time.Millisecond // of a member's time for a request that has a ledger's log read: 10 a second
	// it may be ahead of its time: 8000 signatures at once, as when many jobs are announced
	maxAhead   = 16 * time.Second
	patience   = 20 * time.Second // how long a member may ask for too much before that is told
	tellAgain  = time.Second      // and how often it is then
	maxForgone = 1 << 10          // members whose dues are kept without a look at which are paid
)

// allowance is how far ahead of its time a member is with what it has this peer do.
type allowance struct {
	paid    time.Duration // when what was done for it is paid, by time alone
	dropped time.Duration // since when messages are dropped; 0 for not
	told    time.Duration // when that was last told
}

// charges is what members have had this peer do, and what it has had others do.
type charges struct {
	of      map[tasks.PeerID]*dues
	checks  *counted       // all signatures that were checked, whoever they were shown by
	checked quorum.Checked // links of chains that hold, and are not checked again
	own     allowance      // by which the receivers of this peer's reports measure it
}

// dues are a member's allowances.
type dues struct {
	checks, reports, asks allowance
	unanswered            int // times in a row that it was asked for a description and did not answer
}

// charge takes cost from the allowance.
func (a *allowance) charge(now, cost time.Duration) { a.paid = max(a.paid, now) + cost }

// spent reports whether nothing is left of it.
func (a *allowance) spent(now time.Duration) bool {
	ahead := a.paid - now
	if ahead < maxAhead/2 {
		a.dropped = 0
	}
	return ahead > maxAhead
}

// drop takes note of a message that is dropped, and reports whether that is to be told.
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

// counted counts the signatures that are checked.
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

// owes reports whether a member has had so many signatures checked that no more are now.
func (p *Peer) owes(id tasks.PeerID) bool {
	d := p.charges.of[id]
	return d != nil && d.checks.spent(p.now)
}

// chargeChecks has a member pay for the signatures that were checked since there were before.
func (p *Peer) chargeChecks(from tasks.PeerID, before int) {
	if n := p.charges.checks.n - before; n > 0 && from != p.self {
		p.duesOf(from).checks.charge(p.now, time.Duration(n)*checkCost)
	}
}

// ErrTooMuch is the error of a proof that is not looked at, for whoever shows it has had too many checked of late.
var ErrTooMuch = errors.New("it has had too many signatures checked of late")

// CheckFor checks what a member shows of a job in its answer to a request, with the trust that proofs in messages are
// checked with, and at that member's cost like those.
func (p *Peer) CheckFor(
	from tasks.PeerID, id tasks.JobID, submitter tasks.PeerID, check func(quorum.Trust) error,
) error {
	if p.owes(from) {
		return ErrTooMuch
	}
	defer p.chargeChecks(from, p.charges.checks.n)
	return check(p.trust(id, submitter))
}

// ErrAsked is the error of a request that is not answered, for its sender has asked for too much of late.
var ErrAsked = errors.New("it has asked for too many ledgers of late: try again in some seconds")

// Pay has a member pay for a request that has this peer read a ledger's log. The error is ErrAsked if it has asked for
// too many of late; tell says that it goes on and on, which is to be told of it.
func (p *Peer) Pay(from tasks.PeerID) (tell bool, err error) {
	a := &p.duesOf(from).asks
	if a.spent(p.now) {
		return a.drop(p.now), ErrAsked
	}
	a.charge(p.now, askCost)
	return false, nil
}

// tooMuch reports whether a message is dropped since its sender asks for more than its share.
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

// costOf is what a report costs its sender.
func costOf(r *ledger.Report) time.Duration {
	ranges := len(r.Held) + len(r.Also) + len(r.Presumed) + giftPieces(r.Gave)
	return time.Duration(ranges)*rangeCost + time.Duration(1+len(r.Failures))*reportCost
}

// hurries reports whether this peer may send another node a report before one is due.
func (p *Peer) hurries() bool { return p.charges.own.paid-p.now < maxAhead/8 }

// payForReport charges this peer for a report as its receiver will.
func (p *Peer) payForReport(r *ledger.Report) { p.charges.own.charge(p.now, costOf(r)) }

// forgetDues forgets members that owe nothing, when there are many.
func (p *Peer) forgetDues() {
	if len(p.charges.of) > maxForgone {
		maps.DeleteFunc(p.charges.of, func(_ tasks.PeerID, d *dues) bool {
			return d.unanswered == 0 && max(d.checks.paid, d.reports.paid, d.asks.paid) <= p.now
		})
	}
}
