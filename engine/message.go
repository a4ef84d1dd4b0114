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

	Moved    *Moved    `msgpack:"h,omitempty"`  // answer to who takes another for the home; or a question who leads
	Enlist   *Enlist   `msgpack:"l1,omitempty"` // home: be a replica of the ledger
	Enlisted *Enlisted `msgpack:"l2,omitempty"` // answer
	Resign   *Resign   `msgpack:"l4,omitempty"` // to replicas: may this one forget its copy?
	Resigned *Resign   `msgpack:"l5,omitempty"` // answer: it may
	Frame    []byte    `msgpack:"l3,omitempty"` // between replicas: the replicated log's own (package quorum)
	Keep     *Keep     `msgpack:"k1,omitempty"` // home to a replica: keep this blob
	Kept     *Kept     `msgpack:"k2,omitempty"` // answer
	Ended    *Ended    `msgpack:"z,omitempty"`  // the job is over, proven

	Append      *tasks.Append `msgpack:"p1,omitempty"` // from the job's submitter to the home: let the job grow
	NotAppended *NotAppended  `msgpack:"p2,omitempty"` // home's answer, if the append can never be in the log
	Grow        *Grow         `msgpack:"p3,omitempty"` // home: the job has grown

	Recovery *quorum.Link `msgpack:"v,omitempty"` // the job's ledger was recovered: signed by who may (recover.go)
}

// Moved tells whom its sender takes for a job's home. Who knows of a later one answers with that.
type Moved struct {
	Home  tasks.PeerID    `msgpack:"h"`           // empty if the sender knows of none
	Term  uint64          `msgpack:"t"`           // in which Home leads
	Proof *quorum.Mandate `msgpack:"p,omitempty"` // that it does, if the sender has a proof
	Gone  bool            `msgpack:"g,omitempty"` // answer: the sender knows neither of such a job nor of its end
	// Asks has the receiver show who may vote in the job's ledger: the sender heard from it as from a voter, and has a
	// copy that does not know whether it is one. Voters answers that.
	Asks   bool          `msgpack:"a,omitempty"`
	Voters *quorum.Chain `msgpack:"v,omitempty"`
}

// Enlist asks a node to become a replica of a job's ledger: a voter of a log that began with Voters. The node
// chooses which voter it is: a name that a home gave, heard late or twice, could be that of one whose log is lost.
type Enlist struct {
	Nonce  uint64          `msgpack:"n"` // which the answer repeats
	Voters []quorum.Voter  `msgpack:"v"`
	Not    uint64          `msgpack:"g,omitempty"` // the voter that the node was, which has been removed
	Proof  *quorum.Mandate `msgpack:"p"`           // proves that the sender leads the job in the message's term
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

// Keep asks a replica to keep a blob durably, a partial's or the result's, or tells it to free a partial's.
type Keep struct {
	Partial *merge.Partial `msgpack:"p,omitempty"` // nil if the result is meant
	Sources []tasks.PeerID `msgpack:"s,omitempty"` // nodes that have the blob, beside the partial's holder
	Seq     uint64         `msgpack:"q,omitempty"` // counts the home's requests in its term
	Free    bool           `msgpack:"f,omitempty"` // the partial will not be committed: its blob is to be freed
	At      uint64         `msgpack:"a,omitempty"` // index of the last entry that the home has applied
	Result  *ledger.Result `msgpack:"r,omitempty"` // nil if a partial is meant
}

// Kept answers Keep.
type Kept = ledger.Kept

// Ended tells how a job ended, and proves it. Members that may not see the result are told only its sum.
type Ended struct {
	Sum     string         `msgpack:"h"`           // of the result: ledger.Result.Sum
	Units   int64          `msgpack:"u"`           // how many units are in the result
	Missing int64          `msgpack:"m"`           // how many units are set aside
	Result  *ledger.Result `msgpack:"r,omitempty"` // nil if only its sum is told
	Seal    *quorum.Seal   `msgpack:"s"`           // signatures of a majority of the ledger's voters under Text
}

// Text is what the voters sign: sum, units and missing units.
func (e *Ended) Text() []byte {
	return fmt.Appendf(nil, "dtpnode end\x00%s\x00%d\x00%d", e.Sum, e.Units, e.Missing)
}

// Grow tells a node of appends that follow one another: the last of them is signed by the job's submitter, and its
// signature is under all before it.
type Grow struct {
	Appends []tasks.Append `msgpack:"a"`
	// Restart says that the node knows of appends that are not in the ledger, since it was recovered from a copy without
	// them. All that the node has of the job is void.
	Restart bool `msgpack:"r,omitempty"`
}

// NotAppended answers Append if the append can never be in the log. Sig tells which one it was, as another may have
// been given its number since.
type NotAppended struct {
	Seq    uint64 `msgpack:"q"`
	Sig    []byte `msgpack:"s"` // of the append
	Reason string `msgpack:"r"` // at most maxReason bytes
}

// Order is an order of a home that needs no argument.
type Order int

// Orders.
const (
	NoOrder   Order = iota
	OrderStop       // run no more of the job, and offer what is done
	OrderShun       // hand the work of the job back, and run no more of it
	OrderRest       // forget all work of the job, for its result is being made or it is given up
)

// Open announces a job.
type Open struct {
	Home  tasks.PeerID  `msgpack:"h"`
	Every time.Duration `msgpack:"e"` // between reports
	// Proof proves that the home leads the job in the message's term.
	Proof *quorum.Mandate `msgpack:"p"`
}

// Gathered answers Gather: at once, and again when something new is known of the partial.
type Gathered struct {
	ID   merge.ID   `msgpack:"i"`
	Word merge.Word `msgpack:"w"`
}

// ReportAck answers a Report.
type ReportAck struct {
	Seq      uint64          `msgpack:"q"`
	Failures uint64          `msgpack:"f"` // number of the last failure that the home has booked
	Busy     []tasks.PeerID  `msgpack:"b"` // some nodes with waiting work
	Left     []time.Duration `msgpack:"l"` // how long the work of each of Busy will take it
	Every    time.Duration   `msgpack:"e"` // the time between reports from now on
	// Above is the node that merges this node's partials from now on; empty to leave that as it is.
	Above  tasks.PeerID  `msgpack:"u"`
	Lost   []Loss        `msgpack:"x,omitempty"` // units that nobody held, and that run again
	Losers []steal.Loser `msgpack:"y,omitempty"` // all nodes that lose what they take
}

// Loss are units that were put back to work.
type Loss struct {
	Seq    uint64        `msgpack:"q"` // counts the losses that a home tells of
	Ranges tasks.Cover   `msgpack:"r"`
	Ago    time.Duration `msgpack:"a"` // how long ago that was
}

// Answer is a home's word on an offer. With Accept the partial is committed; with neither Accept nor Note it never can
// be.
type Answer struct {
	ID     merge.ID `msgpack:"i"`
	Accept bool     `msgpack:"a"`
	Note   bool     `msgpack:"n"` // the home has yet to decide
	Known  bool     `msgpack:"k"` // with Note: the home knows the offer; if not, it is to be offered again
}

// Reduce orders a node to merge partials, of which some lie with other nodes, and to offer the merge.
type Reduce struct {
	Inputs []merge.Partial `msgpack:"i"`
}

// proves reports whether a message may have signatures that this peer has to check.
func (m *Message) proves() bool {
	moved := m.Moved != nil && (m.Moved.Proof != nil || m.Moved.Voters != nil)
	return m.Open != nil || m.Enlist != nil || moved || m.Ended != nil ||
		m.Recovery != nil || m.Grow != nil ||
		len(m.Frame) > 0 ||
		m.Steal != nil && m.Steal.Grant != nil && m.Steal.Grant.Proof != nil
}
