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
		Own     int // with which it works for the jobs that it submits, whether it may work for others or not
		Submits bool
		Offers  []tasks.Offer // of its runtimes: its slots are for the jobs whose needs they meet
	}
	// PeerDown tells that a member is not reachable.
	PeerDown struct{ ID tasks.PeerID }
	// Recv is a message from a member.
	Recv struct {
		From tasks.PeerID
		Msg  Message
	}
	// Submit makes this peer the home of a job that it has prepared. Rate is units/s a slot from
	// earlier runs of the same code, or 0.
	Submit struct {
		ID   tasks.JobID
		Job  *tasks.Job
		Rate float64
		// Base are outputs of units that the job has from an earlier one with the same data: their units are not run. Their
		// blobs are here, as if generations of this peer had made them, under IDs of this peer that it has not given itself.
		Base []merge.Partial
	}
	// Described answers Describe: the description is here and checked. Its hash is the job's name, and its submitter has
	// signed it and may submit.
	Described struct {
		ID   tasks.JobID
		From tasks.PeerID
		Job  *tasks.Job
	}
	// NotDescribed answers Describe, too: From has not handed the description out, or this node wants none. Silent says
	// that it did not answer in time.
	NotDescribed struct {
		ID     tasks.JobID
		From   tasks.PeerID
		Silent bool
	}
	// Prepared answers Prepare: Job is checked and its selector ready to run here.
	Prepared struct {
		ID   tasks.JobID
		Job  *tasks.Job
		Rate float64
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
	// PacketRefused ends a lease whose file could not be opened. The generation goes on, with all that it has done.
	PacketRefused struct {
		Gen     steal.GenID
		Packet  tasks.Range
		Failure ledger.Failure
	}
	// GenFailed ends a generation. Killed says that nobody is to blame.
	GenFailed struct {
		Gen     steal.GenID
		Failure ledger.Failure
		Killed  bool
	}
	// Merged answers MergeBlobs. What was counted in the output is in Partial, with the names of the inputs; its cover is
	// not, since it is theirs.
	Merged struct{ Partial merge.Partial }
	// NotMerged tells that MergeBlobs failed; with Holder, since that node's blob could not be had in time.
	NotMerged struct {
		Job    tasks.JobID
		Kids   []merge.ID
		Holder tasks.PeerID
	}
	// Append has an open job of this peer's own grow: the entries of Files become units. Appends are numbered from 1, and
	// one that is repeated is not made twice; Close says that it is the last. Appended answers.
	Append struct {
		ID    tasks.JobID
		Seq   uint64
		Files []tasks.File
		Close bool
	}
	// StopJob ends a job that this peer leads with what is done.
	StopJob struct {
		ID     tasks.JobID
		Reason string
	}
	// CancelJob stops all work for a job that this peer leads; Finished follows.
	CancelJob struct{ ID tasks.JobID }
	// Finished answers FinishJob and FailJob: the result as it lies here, durably, or the word that there
	// is none. After CancelJob it ends the job.
	Finished struct {
		ID     tasks.JobID
		Result ledger.Result
	}
	// Unfinished answers FinishJob in place of Finished: the result could not be made here. Another replica tries, or
	// the job waits for RetryJob.
	Unfinished struct {
		ID      tasks.JobID
		Attempt ledger.Attempt
	}
	// RetryJob has the result of a job that this peer leads, and that could not be finished, tried again.
	RetryJob struct{ ID tasks.JobID }
	// Looked answers Look: for each of its files whether this host sees it now.
	Looked struct {
		ID    tasks.JobID
		Files []Glance
	}
	// Founded answers FoundLedger. Job is the job's description.
	Founded struct {
		ID     tasks.JobID
		Voter  uint64 // which the copy is
		Job    *tasks.Job
		Reason string // why not, empty if it is founded
	}
	// Written answers WriteLedger.
	Written struct {
		ID     tasks.JobID
		Seq    uint64
		Reason string // why not, empty if it is on disk
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
	// BlobDamaged tells that a committed partial's blob is here no longer as it was.
	BlobDamaged struct {
		Job tasks.JobID
		ID  merge.ID
	}
	// Restore brings back a ledger that this peer has on disk from an earlier life.
	Restore struct {
		ID  tasks.JobID
		Job *tasks.Job
		Log quorum.Log
	}
	// Remember tells of a job that ended in an earlier life of this peer: others may still ask for it.
	Remember struct {
		ID    tasks.JobID `msgpack:"i"`
		Term  uint64      `msgpack:"t"`
		Ended Ended       `msgpack:"z"` // with its result and its seal
		// Submitter is the job's, where it is known.
		Submitter tasks.PeerID `msgpack:"s,omitempty"`
		Recovery  *quorum.Link `msgpack:"v,omitempty"` // of its ledger, nil for none
	}
	// Admins are the members with the right admin: what they sign counts for all jobs.
	Admins struct{ IDs []tasks.PeerID }
	// Recover has this peer go on with a job from its copy of the ledger alone, since the others are lost for good. The
	// link names the new voter that this peer is then, the only one; who may has signed it. If it comes to nothing
	// NotRecovered follows.
	Recover struct {
		ID     tasks.JobID
		Link   quorum.Link
		Result bool // the result that the copy names, if it does, is kept here
		// Aside is a copy that was superseded, and is to be gone on from in place of the one that is here, if any; that is
		// put aside then.
		Aside *Restore
	}
	// Revoked tells that a job's submitter may submit no more: nothing of the job runs here from now on. A copy of its
	// ledger stays until its end is in it; if this peer leads the job Finished follows.
	Revoked struct{ ID tasks.JobID }
	// Expelled tells that this peer is no member of its cluster any more: jobs that others have a part in go on
	// without it.
	Expelled struct{}
	// Leave hands work back and winds this peer up; Left follows.
	Leave struct{}
)

func (Tick) IsEvent()          {}
func (PeerUp) IsEvent()        {}
func (PeerDown) IsEvent()      {}
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
func (Restore) IsEvent()       {}
func (Remember) IsEvent()      {}
func (Admins) IsEvent()        {}
func (Recover) IsEvent()       {}
func (Revoked) IsEvent()       {}
func (Expelled) IsEvent()      {}
func (Leave) IsEvent()         {}
