package ledger

import (
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// The end of a job, that is the last merge and what the user's code does with its result, can fail although all work
// is done: a disk is full, a process is killed, the code crashes. Such an attempt becomes an entry of the log, and
// takes nothing from the record. If the node may be to blame, another replica tries, each node at most once. After
// that the job cannot be finished; it keeps its ledger until its user has it retried, or cancels it.

// Attempt is an attempt to make a job's result that has failed, with the failure.
type Attempt struct {
	Failure
	Round uint64       `msgpack:"o"` // how often the user had asked for a retry before
	Node  tasks.PeerID `msgpack:"n"` // the node that has tried
	Code  bool         `msgpack:"c"` // the user's code has failed, and would fail on other nodes, too
	At    int64        `msgpack:"a"` // when, by the node's clock: milliseconds since 1970
}

// Retry asks for new attempts, by any node. Round is the round that it ends, so that a repetition changes nothing.
type Retry struct {
	Round uint64 `msgpack:"o"`
}

// maxAttempts bounds the attempts of one round. No more nodes than that become replicas of a ledger.
const maxAttempts = 64

// cut bounds the texts of an attempt.
func (a Attempt) cut() Attempt {
	a.Failure = a.Cut()
	return a
}

// attempted books a failed attempt of the current round, once for each node.
func (r *Record) attempted(a Attempt) bool {
	if !r.Ended || a.Round != r.Round || len(r.Attempts) >= maxAttempts || r.hasTried(a.Node) {
		return false
	}
	r.Attempts = append(r.Attempts, a)
	return true
}

// retry begins a new round.
func (r *Record) retry(y Retry) bool {
	if y.Round != r.Round || len(r.Attempts) == 0 {
		return false
	}
	r.Round, r.Attempts = r.Round+1, nil
	return true
}

func (r *Record) hasTried(id tasks.PeerID) bool {
	return slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Node == id })
}

// MayTry reports whether a node may try to make the result in this round. Each node may once. After the user's code has
// failed only the submitter may, which has the files that the code may look for.
func (r *Record) MayTry(id, submitter tasks.PeerID) bool {
	if mutant.On(mutant.TryForEver) {
		return true
	}
	code := slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Code })
	return !r.hasTried(id) && (!code || id == submitter)
}

// Unfinished tells that an attempt to make the result, after Finish, has failed.
type Unfinished struct{ Attempt Attempt }

func (Unfinished) isLedgerEvent() {}
func (Retry) isLedgerEvent()      {}

// unfinished has a failed attempt of this node written to the log.
func (h *Home) unfinished(a Attempt) {
	if !h.record.Ended || h.ending.givenUp || h.record.Result != nil {
		return
	}
	if mutant.On(mutant.DropUnfinished) {
		h.emit(Propose{Entry{Result: &Result{Status: []byte(a.Reason)}}})
		return
	}
	a = a.cut()
	a.Node, a.Round = h.cfg.Self, h.record.Round
	h.bookAttempt(a)
}

// bookAttempt proposes a failed attempt, which is repeated until it is in the log.
func (h *Home) bookAttempt(a Attempt) {
	h.ending.attempt, h.ending.attemptAt = &a, tasks.At(h.now)
	h.emit(Propose{Entry{Attempt: &a}})
}

// attemptAgain proposes an attempt again that the log may have lost.
func (h *Home) attemptAgain() {
	switch {
	case h.ending.attempt == nil:
	case h.ending.attempt.Round != h.record.Round || h.record.hasTried(h.cfg.Self):
		h.ending.attempt = nil
	case h.ending.attemptAt.Past(h.cfg.Propose, h.now):
		h.bookAttempt(*h.ending.attempt)
	}
}

// newRound proposes to begin a new round of attempts.
func (h *Home) newRound() {
	if len(h.record.Attempts) > 0 && !h.ending.givenUp {
		h.emit(Propose{Entry{Retry: &Retry{Round: h.record.Round}}})
	}
}

// MayTry reports whether a node may try to make the result now, as Record.MayTry says.
func (h *Home) MayTry(id tasks.PeerID) bool { return h.record.MayTry(id, h.cfg.Submitter) }

// Stuck reports whether this node may not try to make the result any more after attempts that have failed, so that
// another node has to, or the user has to ask for new ones.
func (h *Home) Stuck() bool {
	return h.record.Ended && !h.ending.givenUp && len(h.record.Attempts) > 0 && !h.MayTry(h.cfg.Self)
}

// Why tells the reasons of attempts in one text, the last one first. name gives nodes their names.
func Why(attempts []Attempt, name func(tasks.PeerID) string) string {
	var out []string
	for _, a := range slices.Backward(attempts) {
		out = append(out, name(a.Node)+": "+a.Reason)
	}
	return strings.Join(out, "; ")
}

// Time is when an attempt was made.
func (a Attempt) Time() time.Time { return time.UnixMilli(a.At) }
