package ledger

import (
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

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
	// Reported carries a node's report. From may be this node.
	Reported struct {
		From   tasks.PeerID
		Report Report
	}
	// Offered carries a partial that a node wants committed.
	Offered struct{ Partial merge.Partial }
	// Stored answers Fetch: a partial's blob is here and durable, with what was counted in it.
	Stored struct {
		Partial merge.Partial // as its holder offered it
		Units   int64         // counted
		Canary  uint64        // counted
		Seq     uint64        // of the Fetch
	}
	// NotStored answers Fetch: a partial's blob could not be had. Here is the reason if it is this node that cannot keep
	// the blob, and empty for any other. Flaw is the reason if the blob is here, as its holder has made it, and no partial
	// of the job can be such.
	NotStored struct {
		Partial merge.Partial
		Here    string
		Flaw    string
		Slow    bool   // it came too slowly from its holder
		Seq     uint64 // of the Fetch
	}
	// NotReduced tells that a node cannot carry out an order to reduce.
	NotReduced struct {
		From   tasks.PeerID
		Inputs []merge.ID
	}
	// Folded answers Fold: the merge is here, durable, with what was counted in it. Its cover is not set.
	Folded struct{ Partial merge.Partial }
	// NotFolded tells that committed partials could not be merged. Here is the reason if it is this node's disk, and
	// Failure is it if the user's code could not add results.
	NotFolded struct {
		Job     tasks.JobID
		Inputs  []merge.ID
		Here    string
		Failure *Failure
	}
	// Replicas names the other replicas of the record. Until Ready there are fewer than there should be,
	// and commits wait.
	Replicas struct {
		IDs    []tasks.PeerID
		Voters []uint64 // IDs of the log's voters that the replicas are, in the same order: a copy goes with its voter
		Ready  bool
	}
	// Kept is a replica's word that it keeps a partial's blob, or the result's, durably; or, not OK, that it cannot.
	Kept struct {
		From   tasks.PeerID `msgpack:"-"` // the replica, as the link of its message says
		ID     merge.ID     `msgpack:"i"` // zero for the result
		SHA256 string       `msgpack:"h"` // of the result
		OK     bool         `msgpack:"o"`
		Full   bool         `msgpack:"f,omitempty"` // it could not be written there
		Term   uint64       `msgpack:"t,omitempty"` // of the home that asked
		Seq    uint64       `msgpack:"q,omitempty"` // of the home's request that this answers
		Voter  uint64       `msgpack:"m,omitempty"` // of the log, that keeps it: a copy goes with its voter
	}
	// Applied tells that an entry of the log has come to the record, with what Record.Apply said of it.
	Applied struct {
		Entry   Entry
		Verdict merge.Verdict
		Changed bool
	}
	// Finished answers Finish or Fail: the result is kept here, durably.
	Finished struct{ Result Result }
	// Damaged tells that the blob of a committed partial is damaged here, or gone.
	Damaged struct{ ID merge.ID }
	// Unusable tells that the blob of a committed partial is what was committed, and that it cannot be merged.
	Unusable struct {
		ID     merge.ID
		Reason string // one line
	}
	// Stop has the job wound up, with a result of what is done.
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
func (Unusable) isLedgerEvent()   {}
func (Finished) isLedgerEvent()   {}
func (Stop) isLedgerEvent()       {}

// Package engine takes these from its owner, and hands them on as they are.

func (Stored) IsEvent()    {}
func (NotStored) IsEvent() {}
func (Folded) IsEvent()    {}
func (NotFolded) IsEvent() {}
