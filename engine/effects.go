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
	// Announce a message to all members. Some may miss it, and are told again.
	Announce struct{ Msg Message }
	// Describe asks a member that claims to lead a job for the job's description. Answer with Described or NotDescribed in
	// any case. Several members may be asked for the same description at once.
	Describe struct {
		ID        tasks.JobID
		From      tasks.PeerID
		Submitter tasks.PeerID // who has submitted the job, as From says
	}
	// Prepare has a job's program made ready to run here; answer with Prepared or NotPrepared. What is needed is fetched
	// from Home, unless Home is empty: then it is on this node's disk.
	Prepare struct {
		ID   tasks.JobID
		Home tasks.PeerID
		Job  *tasks.Job
	}
	// Grown tells that an open job has grown here by Appends. Units are theirs, and follow all earlier units. It comes
	// before any of these units is to be run.
	Grown struct {
		ID      tasks.JobID
		Appends []tasks.Append
		Units   tasks.Range
	}
	// ReadLinks asks what the units of an append depend on, which is in its blobs of items (exec.Items.Links); answer
	// with Links. It comes again for as long as this peer leads the job and was not told.
	ReadLinks struct {
		ID     tasks.JobID
		Append tasks.Append
	}
	// Regrown tells that an open job's ledger was recovered from a copy that lacks some appends, so that all that is here
	// of its units is void, with outputs and what Grown has told. Grown follows for each append from the first on, and
	// Prepare. An append that was told to be in the log may be there no more, so whoever made it has to repeat all of
	// them.
	Regrown struct{ ID tasks.JobID }
	// Appended answers Append.
	Appended struct {
		ID     tasks.JobID
		Seq    uint64
		Reason string // why the append is not in the log; empty if it is
		Again  bool   // with a Reason: it may be tried again
		Unsure bool   // with a Reason: it may be in the log all the same
	}
	// StartGen starts a generation.
	StartGen struct {
		Job  tasks.JobID
		Gen  steal.GenID
		Solo bool // it is to run a suspect range by itself
	}
	// SealGen ends a generation, whose output is to be stored under ID. Units and Canary are what the output must show.
	// Answer with GenSealed, or GenFailed.
	SealGen struct {
		Gen    steal.GenID
		ID     merge.ID
		Units  int64
		Canary uint64
	}
	// KeepBlob brings a partial's blob to this replica, durably, as the home To has asked. Answer with BlobKept.
	KeepBlob struct {
		Partial merge.Partial
		Sources []tasks.PeerID // nodes that have the blob beside the home and the holder
		To      tasks.PeerID
		Term    uint64 // of the home
		Seq     uint64 // of the home's request
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
	// SweepBlobs deletes all blobs that are kept here for a job's ledger but those of Keep.
	SweepBlobs struct {
		Job  tasks.JobID
		Keep []merge.Partial
	}
	// KeepResult brings a job's result here, durably, from the home To. Answer with ResultKept.
	KeepResult struct {
		ID     tasks.JobID
		Result ledger.Result
		To     tasks.PeerID
	}
	// Look asks whether this host sees some files of a job now, by their index in its dataset. There are at most
	// lookAtOnce, and it is enough to open each of them. Answer with Looked in any case.
	Look struct {
		ID    tasks.JobID
		Files []int
	}
	// FoundLedger makes a copy of a job's ledger on disk, with all that is needed to lead the job. Answer with Founded. If
	// Log has a snapshot the ledger is recovered, and the copy takes the place of the one that is there in one step.
	FoundLedger struct {
		ID    tasks.JobID
		Log   quorum.Log
		From  tasks.PeerID // the member that has what is needed; empty for this peer
		Aside bool         // the ledger is recovered from the superseded copy that Recover has named
	}
	// WriteLedger has what a ledger's log wants written on disk. Answer with Written. Writes of one ledger are carried out
	// in their order.
	WriteLedger struct {
		ID tasks.JobID
		quorum.Write
	}
	// DropLedger gives a copy of a ledger up. With Superseded what is on disk, with the blobs, is put aside and kept for a
	// while: whoever signed that recovery may have lied, and the recovered job may come to nothing.
	DropLedger struct {
		ID         tasks.JobID
		Reason     string       // why, if it is not for the job's end or a lost seat
		Superseded *quorum.Link // the recovery from another copy for which this one is given up; nil for none
	}
	// HomeIs tells who leads a job now.
	HomeIs struct {
		ID   tasks.JobID
		Home tasks.PeerID // empty while nobody is known to
		Term uint64
	}
	// Settled tells a replica that some units of a job are committed or set aside now, or that no more will be.
	Settled struct{ ID tasks.JobID }
	// JobEnded tells a replica that the result is in the ledger.
	JobEnded struct {
		ID       tasks.JobID
		Term     uint64
		Result   ledger.Result
		Recovery *quorum.Link // the last one of the ledger, nil for none
	}
	// NotRecovered answers Recover if it comes to nothing: all is as before.
	NotRecovered struct {
		ID     tasks.JobID
		Reason string
	}
	// RecoveryRefused tells that this peer ignores a recovery, since the ledger lives and an admin has signed it, not the
	// job's submitter.
	RecoveryRefused struct {
		ID tasks.JobID
		By tasks.PeerID // the admin
		On tasks.PeerID // the node from whose copy the job would go on
	}
	// Reopened tells that a job which was over goes on: its ledger was recovered from a copy that did not have the end.
	// What is kept of that end is put aside, since whoever signed the recovery may have lied.
	Reopened struct {
		ID tasks.JobID
		By quorum.Link // the recovery
	}
	// EndSealed gives the proof of an end that JobEnded has told.
	EndSealed struct {
		ID        tasks.JobID
		Term      uint64
		Ended     Ended
		Submitter tasks.PeerID
		Recovery  *quorum.Link // the last one of the ledger, nil for none
	}
	// FinishJob makes the result of a job that this peer leads from its committed partials, whose blobs are all here.
	// Answer with Finished or Unfinished.
	FinishJob struct {
		ID     tasks.JobID
		Parts  []merge.Partial
		Units  int64         // that the parts must show together
		Canary uint64        // that the parts must show together
		Lost   []ledger.Lost // units that are set aside; none for a complete result
	}
	// FailJob ends a job that this peer leads without a result. Answer with Finished.
	FailJob struct {
		ID      tasks.JobID
		Failure ledger.Failed
	}
	// SetAside tells, on the home and on the node itself, that a job is taken from a node since all of it fails there.
	SetAside struct {
		ID     tasks.JobID
		Node   tasks.PeerID
		Reason string // of the node's last failure; on the home only
	}
	// JobOver tells that this peer takes no part in a job any more, so that what was prepared for it can be freed.
	JobOver struct {
		ID   tasks.JobID
		Lost bool // the job has not ended: its home is gone, or may not be worked for
	}
	// Violation tells that a member has sent what no honest node sends. It had no effect.
	Violation struct {
		From tasks.PeerID
		Job  tasks.JobID
		What Wrong
	}
	// Left tells that nobody needs this peer any more after Leave.
	Left struct{}
)

func (Send) IsEffect() {}

func (Announce) IsEffect() {}

func (Describe) IsEffect() {}

func (Prepare) IsEffect() {}

func (StartGen) IsEffect() {}

func (Grown) IsEffect() {}

func (Regrown) IsEffect()   {}
func (ReadLinks) IsEffect() {}

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

func (HomeIs) IsEffect()  {}
func (Settled) IsEffect() {}

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
