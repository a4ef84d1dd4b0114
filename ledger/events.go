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
	// Reported carries a node's report; From may be this node.
	Reported struct {
		From   tasks.PeerID
		Report Report
	}
	// Offered carries a partial that a node wants committed.
	Offered struct{ Partial merge.Partial }
	// Stored answers Fetch: a partial's blob is here and durable, with what was counted in it.
	Stored struct {
		ID     merge.ID
		Units  int64
		Canary uint64
		Seq    uint64 // of the Fetch
	}
	// NotStored answers Fetch: a partial's blob could not be had. Here is the reason if it is this node that
	// cannot keep it.
	NotStored struct {
		ID   merge.ID
		Here string
		Slow bool   // it came too slowly
		Seq  uint64 // of the Fetch
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
		IDs    []tasks.PeerID
		Voters []uint64 // IDs of the log's voters that the replicas are, in the same order: a copy goes with its voter
		Ready  bool
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
