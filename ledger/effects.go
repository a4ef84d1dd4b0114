package ledger

import (
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Effect is what the caller must do; the types below.
type Effect interface{ isLedgerEffect() }

// Effects.
type (
	// Reissue puts units back to work on this node's scheduler, from where they are stolen.
	Reissue struct{ Ranges tasks.Cover }
	// Deal gives nodes that have become ready their share of the waiting work. All of it goes to the node To, which passes
	// on the shares of Others.
	Deal struct {
		To     tasks.PeerID
		Blind  tasks.Cover  // units that To cannot read
		Units  int64        // in all shares together
		Others []Worker     // the other nodes, whose shares go by their slots
		Above  tasks.PeerID // the node that merges To's partials; empty for the home
	}
	// Try runs a suspect range by itself on a node.
	Try struct {
		To    tasks.PeerID
		Range tasks.Range
	}
	// Shun tells a node to hand its work of this job back, since all that it runs fails, and does not fail elsewhere.
	Shun struct {
		ID     tasks.PeerID
		Reason string // of the node's last failure
		Again  bool   // the node was told so before
	}
	// Fetch a partial's blob, from its holder or one of Sources, and store it durably; answer with Stored or
	// NotStored.
	Fetch struct {
		Partial merge.Partial
		Sources []tasks.PeerID
		Seq     uint64 // counts the home's requests; the answer names it
	}
	// Fold merges committed partials, whose blobs are all here, and stores the result durably; answer with Folded or
	// NotFolded.
	Fold struct{ Inputs []merge.Partial }
	// Keep asks a replica to keep a partial's blob durably; Kept answers it.
	Keep struct {
		To      tasks.PeerID
		Partial merge.Partial
		Sources []tasks.PeerID
		Seq     uint64 // counts the home's requests
	}
	// Release tells a replica, or this node, that a blob which it keeps is not going to be committed after all. It does
	// not hold for a blob that was asked for again by a request after Seq. A replica that does not hear it frees the blob
	// when the record shows that it is superfluous.
	Release struct {
		To      tasks.PeerID
		Partial merge.Partial
		Seq     uint64
	}
	// KeepResult asks a node to keep the result's file durably; Kept answers it.
	KeepResult struct {
		To     tasks.PeerID
		Result Result
	}
	// Propose has an entry put into the log. Applied follows once it is in the record; if nothing follows, the home
	// proposes it again.
	Propose struct{ Entry Entry }
	// Accept tells a holder that its partial, or all of its units, are committed.
	Accept struct {
		To tasks.PeerID
		ID merge.ID
	}
	// Note tells a holder that its offer is known and has yet to be decided on; or, not Known, that the home has dropped
	// it, and that it is to be offered again.
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
	// Undone tells all nodes that units are committed no more, though they may have been told that they are.
	Undone struct{ Cover tasks.Cover }
	// Yield tells a node to forget waiting work that another node holds too.
	Yield struct {
		To    tasks.PeerID
		Cover tasks.Cover
	}
	// StopAll tells all nodes to wind the job up.
	StopAll struct{}
	// Finish merges the committed partials, which are all here, into the result; answer with Finished.
	// Lost is empty for a complete result.
	Finish struct{ Lost []Lost }
	// Fail ends the job without a result; answer with Finished.
	Fail struct{ Failure Failed }
	// False tells that a node has lied about a partial: its blob counts something else than was offered or, if Impossible
	// is set, the node was never given its units and cannot have run them.
	False struct {
		By         tasks.PeerID
		Impossible bool
	}
	// Concluded tells that the result is in the log, so the job is over. Spares are nodes that keep the result and are no
	// replicas; nobody else tells them of the end.
	Concluded struct{ Spares []tasks.PeerID }
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
func (Concluded) isLedgerEffect()  {}
func (False) isLedgerEffect()      {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Fetch) IsEffect() {}
