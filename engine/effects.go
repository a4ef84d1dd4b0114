package engine

import (
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Effect is what the owner of a peer must do; the types below. Those that a core wants done as they are, are that
// core's types by another name.
type Effect interface{ IsEffect() }

// Effects of the cores that a peer hands on.
type (
	// LeasePacket gives a generation a packet; at most two are out at once. Answer with PacketDone or PacketRefused,
	// unless the generation ends.
	LeasePacket = steal.Lease
	// PreemptGen ends the running packet at its next unit; it and queued ones end with PacketDone.
	PreemptGen = steal.Preempt
	// KillGen ends a generation whose work is not wanted; no event answers it.
	KillGen = steal.Kill
	// Stolen reports a steal's latency.
	Stolen = steal.Stolen
	// MergeBlobs merges inputs, of which some lie with other nodes, and stores the result under ID. Answer with Merged or
	// NotMerged.
	MergeBlobs = merge.Merge
	// ForgetBlob frees a blob. A home must keep what it has committed until the job is over.
	ForgetBlob = merge.Forget
	// FetchBlob brings a partial's blob here, durably, from its holder or one of Sources. Answer with Stored or NotStored.
	FetchBlob = ledger.Fetch
)

// Effects.
type (
	// Send a message to a member; it may be lost.
	Send struct {
		To  tasks.PeerID
		Msg Message
	}
	// Announce a job to all members; some may miss it, and are told again.
	Announce struct{ Msg Message }
	// Describe asks a member that claims to lead a job for the job's description, which may be one of Submitter; answer
	// with Described or NotDescribed, in any case. All who claim it are asked, each for itself.
	Describe struct {
		ID        tasks.JobID
		From      tasks.PeerID
		Submitter tasks.PeerID // as From says
	}
	// Prepare a job that Home leads, by its description; answer with Prepared or NotPrepared. Home is empty where this
	// node has what is needed.
	Prepare struct {
		ID   tasks.JobID
		Home tasks.PeerID
		Job  *tasks.Job
	}
	// Grown tells that an open job has grown, as this peer knows it: Units are those of Appends, which follow all that
	// there were. It comes before anything of them is to be run.
	Grown struct {
		ID      tasks.JobID
		Appends []tasks.Append
		Units   tasks.Range
	}
	// Regrown tells that all that is here of an open job's units is void, outputs and what Grown has told too, for its
	// ledger was recovered from a copy that lacks some appends. What it has grown by follows by Grown, from the first on,
	// and Prepare. An append that was told to be in the log may not be any more: who made it repeats all of them.
	Regrown struct{ ID tasks.JobID }
	// Appended answers Append: it is in the log, or Reason says why not. Again says that it may be tried again.
	Appended struct {
		ID     tasks.JobID
		Seq    uint64
		Reason string
		Again  bool
	}
	// StartGen starts a generation.
	StartGen struct {
		Job  tasks.JobID
		Gen  steal.GenID
		Solo bool
	}
	// SealGen ends a generation; its output is to be stored under ID. Units and Canary are what the
	// blob must show.
	SealGen struct {
		Gen    steal.GenID
		ID     merge.ID
		Units  int64
		Canary uint64
	}
	// KeepBlob is FetchBlob for a replica: home To wants to know of it. Answer with BlobKept.
	KeepBlob struct {
		Partial merge.Partial
		Sources []tasks.PeerID
		To      tasks.PeerID
		Term    uint64 // of that home
		Seq     uint64 // of its request
	}
	// FoldBlobs merges partials that are kept here for a job's ledger, and keeps the result, durably, with them under
	// ID. Answer with Folded or NotFolded.
	FoldBlobs struct {
		Job    tasks.JobID
		ID     merge.ID
		Inputs []merge.Partial
	}
	// FreeBlob deletes a partial's blob that was kept here for a job's ledger, if it is there.
	FreeBlob struct{ Partial merge.Partial }
	// SweepBlobs deletes what an earlier life has kept for a job's ledger beside Keep.
	SweepBlobs struct {
		Job  tasks.JobID
		Keep []merge.Partial
	}
	// KeepResult brings a job's result here, durably, from the home To; answer with ResultKept.
	KeepResult struct {
		ID     tasks.JobID
		Result ledger.Result
		To     tasks.PeerID
	}
	// Look asks whether this host sees some files of a job now, by their index in its dataset; at most lookAtOnce.
	// They need only be opened. Answer with Looked, whatever comes of it.
	Look struct {
		ID    tasks.JobID
		Files []int
	}
	// FoundLedger makes a place on disk for a copy of a job's ledger, with all that is needed to lead the
	// job, which From has; empty for this peer. Answer with Founded. A log with a snapshot takes the place of the copy
	// that is there already, in one step: the last one of a ledger, which is recovered. With Aside that copy is the
	// superseded one that Recover has named.
	FoundLedger struct {
		ID    tasks.JobID
		Log   quorum.Log
		From  tasks.PeerID
		Aside bool
	}
	// WriteLedger carries out what a ledger's log wants written; answer with Written. Writes of one ledger are carried
	// out in order.
	WriteLedger struct {
		ID tasks.JobID
		quorum.Write
	}
	// DropLedger forgets a copy of a ledger. Reason is why, if that is no matter of course. With Superseded, the recovery
	// of the ledger from another copy for which this one is given up, what is on disk is put aside and kept for a while,
	// with the blobs: whoever signed that may have lied, and the recovered job may come to nothing.
	DropLedger struct {
		ID         tasks.JobID
		Reason     string
		Superseded *quorum.Link
	}
	// HomeIs tells who leads a job now, empty while nobody is known to.
	HomeIs struct {
		ID   tasks.JobID
		Home tasks.PeerID
		Term uint64
	}
	// JobEnded tells a replica that the result is in the ledger.
	JobEnded struct {
		ID     tasks.JobID
		Term   uint64
		Result ledger.Result
		// Recovery is that of the ledger, nil for none.
		Recovery *quorum.Link
	}
	// NotRecovered answers Recover: nothing has changed.
	NotRecovered struct {
		ID     tasks.JobID
		Reason string
	}
	// RecoveryRefused tells that a recovery counts for nothing here which By has signed, so that the job would go on from
	// the copy of On: the ledger lives, and By is not the job's submitter.
	RecoveryRefused struct {
		ID     tasks.JobID
		By, On tasks.PeerID
	}
	// Reopened tells that a job which was over goes on: its ledger was recovered from a copy that did not have the end,
	// and counts in place of the one that had. What is kept of that end is put aside, for whoever signed the recovery may
	// have lied.
	Reopened struct {
		ID tasks.JobID
		By quorum.Link
	}
	// EndSealed tells how a job ended that was told by JobEnded, with the proof for others.
	EndSealed struct {
		ID        tasks.JobID
		Term      uint64
		Ended     Ended
		Submitter tasks.PeerID
		Recovery  *quorum.Link
	}
	// FinishJob makes the result of a job this peer leads from Parts, whose blobs are all here and show
	// Units and Canary in all. Answer with Finished or Unfinished.
	FinishJob struct {
		ID     tasks.JobID
		Parts  []merge.Partial
		Units  int64
		Canary uint64
		Lost   []ledger.Lost
	}
	// FailJob ends a job this peer leads without a result. Answer with Finished.
	FailJob struct {
		ID      tasks.JobID
		Failure ledger.Failed
	}
	// SetAside tells the home, and the node itself, that a job is taken from a node since all of it fails there.
	SetAside struct {
		ID     tasks.JobID
		Node   tasks.PeerID
		Reason string // known to the home
	}
	// JobOver tells that a job has ended for this peer: free what was prepared for it. Lost says that
	// the home has gone.
	JobOver struct {
		ID   tasks.JobID
		Lost bool
	}
	// Violation tells that a member sent what no honest node sends: whatever it was, it had no effect.
	Violation struct {
		From tasks.PeerID
		Job  tasks.JobID
		What Wrong
	}
	// Left tells that this peer has nothing any more that others need.
	Left struct{}
)

func (Send) IsEffect() {}

func (Announce) IsEffect() {}

func (Describe) IsEffect() {}

func (Prepare) IsEffect() {}

func (StartGen) IsEffect() {}

func (Grown) IsEffect() {}

func (Regrown) IsEffect() {}

func (Appended) IsEffect() {}

func (SealGen) IsEffect() {}

func (FinishJob) IsEffect() {}

func (KeepBlob) IsEffect() {}

func (Look) IsEffect() {}

func (FoldBlobs) IsEffect() {}

func (FreeBlob) IsEffect() {}

func (SweepBlobs) IsEffect() {}

func (KeepResult) IsEffect() {}

func (FoundLedger) IsEffect() {}

func (WriteLedger) IsEffect() {}

func (DropLedger) IsEffect() {}

func (HomeIs) IsEffect() {}

func (JobEnded) IsEffect() {}

func (EndSealed) IsEffect() {}

func (NotRecovered) IsEffect() {}

func (Reopened) IsEffect() {}

func (RecoveryRefused) IsEffect() {}

func (FailJob) IsEffect() {}

func (SetAside) IsEffect() {}

func (JobOver) IsEffect() {}

func (Violation) IsEffect() {}

func (Left) IsEffect() {}
