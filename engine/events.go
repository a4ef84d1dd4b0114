package engine

import (
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Event is what happened to a peer; the types below, which IsEvent marks. Those that concern one core alone are that
// core's types by another name.
type Event interface{ IsEvent() }

// Events that a peer hands on to its cores as they are.
type (
	// PacketDone answers LeasePacket: the packet is done, or was cut before its end.
	PacketDone = steal.PacketDone
	// Stored answers FetchBlob: the blob is here, durably.
	Stored = ledger.Stored
	// NotStored answers FetchBlob: the blob could not be had.
	NotStored = ledger.NotStored
	// Folded answers FoldBlobs: the merge is kept here, durably.
	Folded = ledger.Folded
	// NotFolded answers FoldBlobs: the merge could not be made, or not be kept.
	NotFolded = ledger.NotFolded
)

// Events.
type (
	// Tick lets time-outs pass; due when Wake says so.
	Tick struct{}
	// PeerUp tells of a connected member; Slots is 0 for one without the right to work. Members that may submit jobs
	// are preferred as replicas, for a home can spoil its job: they could do that to jobs of their own anyway.
	PeerUp struct {
		ID      tasks.PeerID
		Slots   int
		Own     int           // slots for the jobs that it submits itself, whether it may work for others or not
		Submits bool          // it may submit jobs
		Offers  []tasks.Offer // of its runtimes: its slots are for the jobs whose needs they meet
	}
	// Able tells that the runtimes which can be used on this node are others now; Config.Offers are those at the start.
	Able struct{ Offers []tasks.Offer }
	// PeerDown tells that a member is not reachable.
	PeerDown struct{ ID tasks.PeerID }
	// Recv is a message from a member.
	Recv struct {
		From tasks.PeerID
		Msg  Message
	}
	// Submit makes this peer the home of a job that it has prepared.
	Submit struct {
		ID   tasks.JobID
		Job  *tasks.Job
		Rate float64 // units a second for each slot, from earlier runs of the same code; 0 if unknown
		// Base are outputs of an earlier job with the same data, whose units are not run again. Their blobs are here as if
		// generations of this peer had made them. They are named by this peer, with numbers that it gives to nothing else.
		Base []merge.Partial
		// LeadOnly says that the program only merges: this node lacks what the code runs in, and takes no part but to lead.
		LeadOnly bool
	}
	// Described answers Describe: the description is here and was checked. The job's name is its hash, and its submitter
	// has signed it and may submit jobs.
	Described struct {
		ID   tasks.JobID
		From tasks.PeerID
		Job  *tasks.Job
	}
	// NotDescribed answers Describe: From has not handed out the description, or this node does not want it.
	NotDescribed struct {
		ID     tasks.JobID
		From   tasks.PeerID
		Silent bool // From did not answer in time
	}
	// Prepared answers Prepare: the job's program is ready to run here.
	Prepared struct {
		ID   tasks.JobID
		Job  *tasks.Job
		Rate float64 // as in Submit
	}
	// NotPrepared answers Prepare: this node cannot take part. A Failure with a Reason is told to the home as one that
	// blames no unit. Without, what is needed could not be had, and the job is prepared again later.
	NotPrepared struct {
		ID      tasks.JobID
		Failure ledger.Failure
	}
	// GenSealed tells that a generation's output is stored here under the id that Seal named. What was counted in it is in
	// Partial; its cover and its holder are not: they are known here.
	GenSealed struct {
		Gen     steal.GenID
		Partial merge.Partial
	}
	// PacketRefused answers LeasePacket: the file could not be opened, and none of the packet was run. The generation goes
	// on, and keeps what it has done.
	PacketRefused struct {
		Gen     steal.GenID
		Packet  tasks.Range
		Failure ledger.Failure
	}
	// GenFailed ends a generation, with all that it has done.
	GenFailed struct {
		Gen     steal.GenID
		Failure ledger.Failure
		Killed  bool // by somebody else, or by what it ran, which is what the failure blames then
	}
	// Merged answers MergeBlobs. What was counted in the output is in Partial, with the names of the inputs; its cover is
	// not, since it is theirs.
	Merged struct{ Partial merge.Partial }
	// NotMerged tells that MergeBlobs failed; with Holder, since that node's blob could not be had in time, and with
	// Failure, since the user's code could not add results.
	NotMerged struct {
		Job     tasks.JobID
		Kids    []merge.ID
		Holder  tasks.PeerID
		Failure *ledger.Failure
	}
	// Append has an open job of this peer's own grow: the entries of Files become units. Appended answers it. An append
	// whose number was taken by the same append before is not made twice.
	Append struct {
		ID    tasks.JobID
		Seq   uint64 // counts the appends from 1 on
		Files []tasks.File
		Close bool // it is the last append
		// Near says which nodes are near which of the append's units, which count from 0 here. It is a hint, and is lost
		// where another node leads the job.
		Near []steal.Near
	}
	// Links answers ReadLinks: what the units of an append of a job depend on.
	Links struct {
		ID tasks.JobID
		ledger.Links
	}
	// StopJob ends a job that this peer leads, with a result of what is done.
	StopJob struct {
		ID     tasks.JobID
		Reason string
	}
	// CancelJob stops all work for a job that this peer leads; Finished follows.
	CancelJob struct{ ID tasks.JobID }
	// Finished answers FinishJob and FailJob, and follows CancelJob. Result is kept here, durably; it names no file if the
	// job has none.
	Finished struct {
		ID     tasks.JobID
		Result ledger.Result
	}
	// Unfinished answers FinishJob if the result could not be made here. Another replica tries then, or the job waits for
	// RetryJob.
	Unfinished struct {
		ID      tasks.JobID
		Attempt ledger.Attempt
	}
	// RetryJob has all nodes try anew to make the result of a job that this peer leads and that could not be finished.
	RetryJob struct{ ID tasks.JobID }
	// Looked answers Look: it says of each of the files whether this host sees it now.
	Looked struct {
		ID    tasks.JobID
		Files []Glance
	}
	// Founded answers FoundLedger. Job is the job's description.
	Founded struct {
		ID     tasks.JobID
		Voter  uint64     // the ID of the voter that the copy is, as FoundLedger has named it
		Job    *tasks.Job // the job's description
		Reason string     // why the copy was not made; empty if it was
	}
	// Written answers WriteLedger.
	Written struct {
		ID     tasks.JobID
		Seq    uint64
		Reason string // why it could not be written; empty if it is on disk
	}
	// BlobKept answers KeepBlob: the blob is here, durably, or, not OK, is not.
	BlobKept struct {
		Asked KeepBlob
		OK    bool
		Full  bool // it could be had, but not be written
	}
	// ResultKept answers KeepResult: the result's file is here, durably, or, not OK, is not.
	ResultKept struct {
		Asked KeepResult
		OK    bool
		Full  bool // it could be had, but not be written
	}
	// BlobDamaged tells that the blob of a committed partial is damaged here, or gone.
	BlobDamaged struct {
		Job tasks.JobID
		ID  merge.ID
	}
	// BlobUnusable tells that a committed partial is whole, and cannot be merged, for a reason in one line.
	BlobUnusable struct {
		Job    tasks.JobID
		ID     merge.ID
		Reason string
	}
	// Restore brings back a ledger that this peer has on disk from an earlier life.
	Restore struct {
		ID  tasks.JobID
		Job *tasks.Job
		Log quorum.Log
	}
	// Remember tells of a job that ended in an earlier life of this peer, since others may still ask how.
	Remember struct {
		ID    tasks.JobID `msgpack:"i"`
		Term  uint64      `msgpack:"t"`
		Ended Ended       `msgpack:"z"` // with its result and its seal
		// Submitter is the member that submitted the job; empty if it is not known.
		Submitter tasks.PeerID `msgpack:"s,omitempty"`
		Recovery  *quorum.Link `msgpack:"v,omitempty"` // the last one of its ledger, nil for none
	}
	// Admins are the members with the right admin: what they sign counts for all jobs.
	Admins struct{ IDs []tasks.PeerID }
	// Recover has this peer go on with a job from its copy of the ledger alone, since the others are lost for good. Link,
	// which somebody who may has signed, makes this peer the only voter, under a new ID. If it comes to nothing
	// NotRecovered follows.
	Recover struct {
		ID     tasks.JobID
		Link   quorum.Link
		Result bool // if the copy names a result, its file is kept here
		// Aside is a superseded copy from which the job is to go on, in place of the one that is here, which is put aside
		// then if there is one; nil for the copy that is here.
		Aside *Restore
	}
	// Revoked tells that a job's submitter has lost the right to submit, so that none of the job runs here from now on. A
	// copy of its ledger stays until the end is in it. If this peer leads the job, Finished follows.
	Revoked struct{ ID tasks.JobID }
	// Expelled tells that this peer is no member of its cluster any more: jobs that others have a part in go on
	// without it.
	Expelled struct{}
	// Leave has this peer hand back its work and hand over its ledgers. Left follows.
	Leave struct{}
)

func (Tick) IsEvent()          {}
func (Links) IsEvent()         {}
func (PeerUp) IsEvent()        {}
func (PeerDown) IsEvent()      {}
func (Able) IsEvent()          {}
func (Recv) IsEvent()          {}
func (Submit) IsEvent()        {}
func (Described) IsEvent()     {}
func (NotDescribed) IsEvent()  {}
func (Prepared) IsEvent()      {}
func (NotPrepared) IsEvent()   {}
func (PacketRefused) IsEvent() {}
func (GenSealed) IsEvent()     {}
func (GenFailed) IsEvent()     {}
func (Merged) IsEvent()        {}
func (NotMerged) IsEvent()     {}
func (Append) IsEvent()        {}
func (StopJob) IsEvent()       {}
func (CancelJob) IsEvent()     {}
func (Finished) IsEvent()      {}
func (Unfinished) IsEvent()    {}
func (RetryJob) IsEvent()      {}
func (Founded) IsEvent()       {}
func (Looked) IsEvent()        {}
func (Written) IsEvent()       {}
func (BlobKept) IsEvent()      {}
func (ResultKept) IsEvent()    {}
func (BlobDamaged) IsEvent()   {}
func (BlobUnusable) IsEvent()  {}
func (Restore) IsEvent()       {}
func (Remember) IsEvent()      {}
func (Admins) IsEvent()        {}
func (Recover) IsEvent()       {}
func (Revoked) IsEvent()       {}
func (Expelled) IsEvent()      {}
func (Leave) IsEvent()         {}
