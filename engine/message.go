package engine

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Message is what peers send each other: exactly one field besides Job and Term is set. It may be lost,
// repeated or late; the protocol does not care.
type Message struct {
	Job      tasks.JobID    `msgpack:"j"`
	Term     uint64         `msgpack:"e,omitempty"` // of the home that speaks
	Steal    *steal.Message `msgpack:"t,omitempty"`
	Open     *Open          `msgpack:"o,omitempty"` // home to all: a job begins
	Report   *ledger.Report `msgpack:"r,omitempty"` // to the home
	Ack      *ReportAck     `msgpack:"a,omitempty"` // home's answer
	Offer    *merge.Partial `msgpack:"p,omitempty"` // to the home
	Answer   *Answer        `msgpack:"w,omitempty"` // home's answer
	Gather   *merge.Partial `msgpack:"g,omitempty"` // to the node above: merge this with others' and offer it on
	Gathered *Gathered      `msgpack:"b,omitempty"` // its answers
	Reduce   *Reduce        `msgpack:"m,omitempty"` // home to a holder: merge these
	Drop     tasks.Cover    `msgpack:"d,omitempty"` // home: these are committed
	Undone   tasks.Cover    `msgpack:"n,omitempty"` // home: these are committed no more, and run again
	Yield    tasks.Cover    `msgpack:"l,omitempty"` // home: others hold these too; forget what waits of them
	Refuse   []merge.ID     `msgpack:"u,omitempty"` // to the home: these cannot be reduced as ordered
	Try      *tasks.Range   `msgpack:"y,omitempty"` // home: run this suspect by itself
	Order    Order          `msgpack:"x,omitempty"` // home to all, or to one

	Moved    *Moved    `msgpack:"h,omitempty"`  // answer to what was meant for a home: it is another
	Enlist   *Enlist   `msgpack:"l1,omitempty"` // home: be a replica of the ledger
	Enlisted *Enlisted `msgpack:"l2,omitempty"` // answer
	Resign   *Resign   `msgpack:"l4,omitempty"` // to replicas: may this one forget its copy?
	Resigned *Resign   `msgpack:"l5,omitempty"` // answer: it may
	Frame    []byte    `msgpack:"l3,omitempty"` // between replicas: the replicated log's own (package quorum)
	Keep     *Keep     `msgpack:"k1,omitempty"` // home to a replica: keep this blob
	Kept     *Kept     `msgpack:"k2,omitempty"` // answer
	Ended    *Ended    `msgpack:"z,omitempty"`  // the job is over, proven

	Append      *tasks.Append `msgpack:"p1,omitempty"` // from the job's submitter to the home: let the job grow
	NotAppended *NotAppended  `msgpack:"p2,omitempty"` // home's answer, if it can never be
	Grow        *Grow         `msgpack:"p3,omitempty"` // home: the job has grown

	Recovery *quorum.Link `msgpack:"v,omitempty"` // the job's ledger was recovered: signed by who may (recover.go)
}

// Moved tells whom its sender takes for a job's home, and asks for what is newer.
type Moved struct {
	Home  tasks.PeerID    `msgpack:"h"` // empty for nobody
	Term  uint64          `msgpack:"t"`
	Proof *quorum.Mandate `msgpack:"p,omitempty"` // of that, if the sender has it
	Gone  bool            `msgpack:"g,omitempty"` // answer: the sender knows of no such job, nor of its end
}

// Enlist asks a node to become a replica of a job's ledger: a voter of a log that began with Voters. The node
// chooses which voter it is: a name that a home gave, heard late or twice, could be that of one whose log is lost.
type Enlist struct {
	Nonce  uint64          `msgpack:"n"` // of the home, for the answer
	Voters []quorum.Voter  `msgpack:"v"`
	Not    uint64          `msgpack:"g,omitempty"` // the voter that the node was, which has been removed
	Proof  *quorum.Mandate `msgpack:"p"`           // that the sender leads the job in the message's term
}

// Enlisted answers Enlist.
type Enlisted struct {
	Nonce uint64       `msgpack:"n"`
	Voter quorum.Voter `msgpack:"m"`
	OK    bool         `msgpack:"o"`
}

// Resign names a voter that was removed from the log, as its own copy says. The others may not have that entry yet,
// and need its vote for it.
type Resign struct {
	Voter uint64 `msgpack:"m"`
}

// Keep asks a replica to keep a blob durably: a partial's, or the result's.
type Keep struct {
	Partial *merge.Partial `msgpack:"p,omitempty"`
	Sources []tasks.PeerID `msgpack:"s,omitempty"` // beside the holder
	Seq     uint64         `msgpack:"q,omitempty"` // counts the home's requests in its term
	Free    bool           `msgpack:"f,omitempty"` // the other way round: it will not be committed
	At      uint64         `msgpack:"a,omitempty"` // the last entry of the log that the home has applied
	Result  *ledger.Result `msgpack:"r,omitempty"`
}

// Kept answers Keep.
type Kept = ledger.Kept

// Ended tells how a job ended, and proves it. Those who take no result from it are told its sum alone.
type Ended struct {
	Sum     string         `msgpack:"h"`           // of the result: ledger.Result.Sum
	Units   int64          `msgpack:"u"`           // in the result
	Missing int64          `msgpack:"m"`           // set aside
	Result  *ledger.Result `msgpack:"r,omitempty"` // nil if only its sum is told
	Seal    *quorum.Seal   `msgpack:"s"`           // of a majority of the ledger's voters, under all but itself and Result
}

// Text is what a seal of the end is under.
func (e *Ended) Text() []byte {
	return fmt.Appendf(nil, "dtpnode end\x00%s\x00%d\x00%d", e.Sum, e.Units, e.Missing)
}

// Grow tells a node of appends that follow one another: the last of them is signed by the job's submitter, and its
// signature is under all before it.
type Grow struct {
	Appends []tasks.Append `msgpack:"a"`
	// Restart says that the node knows of appends which are not, or no more, in the ledger: what it has of the job is
	// void.
	Restart bool `msgpack:"r,omitempty"`
}

// NotAppended answers Append.
type NotAppended struct {
	Seq    uint64 `msgpack:"q"`
	Reason string `msgpack:"r"` // at most maxReason bytes
}

// Order is a word without arguments from a home.
type Order int

// Orders.
const (
	NoOrder   Order = iota
	OrderStop       // wind up, offer what you have
	OrderShun       // hand this job's work back
	OrderRest       // the result is being made, or the job given up: forget all work
)

// Open announces a job.
type Open struct {
	Home  tasks.PeerID  `msgpack:"h"`
	Every time.Duration `msgpack:"e"` // between reports
	// Proof is that the home leads the job in the message's term.
	Proof *quorum.Mandate `msgpack:"p"`
}

// Gathered answers Gather, at once and again when there is news.
type Gathered struct {
	ID   merge.ID   `msgpack:"i"`
	Word merge.Word `msgpack:"w"`
}

// ReportAck answers a Report.
type ReportAck struct {
	Seq      uint64          `msgpack:"q"`
	Failures uint64          `msgpack:"f"` // booked up to this one
	Busy     []tasks.PeerID  `msgpack:"b"` // some nodes with waiting work,
	Left     []time.Duration `msgpack:"l"` // and for how long
	Every    time.Duration   `msgpack:"e"` // between reports from now on
	// merges this node's partials from now on; empty to leave that as it is
	Above  tasks.PeerID  `msgpack:"u"`
	Lost   []Loss        `msgpack:"x,omitempty"` // units that nobody held and that run again,
	Losers []steal.Loser `msgpack:"y,omitempty"` // and all nodes that lose what they take
}

// Loss are units that were put back to work.
type Loss struct {
	Seq    uint64        `msgpack:"q"` // counts the losses that a home tells of
	Ranges tasks.Cover   `msgpack:"r"`
	Ago    time.Duration `msgpack:"a"`
}

// Answer is a home's word on an offer: with Accept the partial is committed, with neither Accept nor Note it cannot be.
// With Note there is no verdict yet, and Known says whether the home still knows of the offer: one that has forgotten
// it is to be offered it again.
type Answer struct {
	ID     merge.ID `msgpack:"i"`
	Accept bool     `msgpack:"a"`
	Note   bool     `msgpack:"n"`
	Known  bool     `msgpack:"k"`
}

// Reduce orders a merge.
type Reduce struct {
	Inputs []merge.Partial `msgpack:"i"`
}

// proves reports whether there may be signatures in a message.
func (m *Message) proves() bool {
	return m.Open != nil || m.Enlist != nil || m.Moved != nil && m.Moved.Proof != nil || m.Ended != nil ||
		m.Recovery != nil || m.Grow != nil ||
		len(m.Frame) > 0 ||
		m.Steal != nil && m.Steal.Grant != nil && m.Steal.Grant.Proof != nil
}
