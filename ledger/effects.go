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
		Seq     uint64 // counts the home's requests; the answer names it
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
	// False tells that a node offered a partial whose blob holds something else; or, Impossible, units that it was never
	// given and cannot have run.
	False struct {
		By         tasks.PeerID
		Impossible bool
	}
	// Concluded tells that the result is in the log: the job is done with. Spares keep the result beside the
	// replicas.
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
