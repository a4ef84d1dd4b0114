// Package failpoint kills the process, as a power cut would, at a named step of the protocol. A binary built with the
// tag "failpoints" does so when $DTPNODE_FAILPOINT names the step; in every other build Hit does nothing.
//
// The variable has the form NAME or NAME:N, where N is the N-th time that the step is reached (1 is the first).
package failpoint

// Step names a place in the protocol.
type Step string

// These are the steps. There are a "before" and an "after" where a crash in between leaves different traces.
const (
	JournalBeforeWrite Step = "journal-before-write" // entries are to be written, nothing is on disk
	JournalAfterSync   Step = "journal-after-sync"   // entries are on disk, nobody has been told
	BlobBeforeSync     Step = "blob-before-sync"     // a partial's blob has arrived, not yet durable
	BlobAfterSync      Step = "blob-after-sync"      // it is durable, the home has not been told
	OfferBefore        Step = "offer-before"         // a partial is sealed, not offered
	OfferAfter         Step = "offer-after"          // it is offered, not answered
	ProposeBefore      Step = "propose-before"       // a quorum keeps the blob, the commit is not proposed
	CommitBeforeAnswer Step = "commit-before-answer" // the commit is on a quorum, the holder has not been told
	GrantBefore        Step = "grant-before"         // a task is cut off for a thief, not sent
	GrantAfter         Step = "grant-after"          // it is sent, not acknowledged
	GrantBeforeAck     Step = "grant-before-ack"     // a stolen task is taken, not acknowledged
	MergeBefore        Step = "merge-before"         // partials are to be merged
	MergeAfter         Step = "merge-after"          // they are merged, the result is not offered
	FoldBefore         Step = "fold-before"          // committed partials are to be merged
	FoldMade           Step = "fold-made"            // the merge is kept here, its entry is not proposed
	FoldBeforeWrite    Step = "fold-before-write"    // the entry is proposed, not on disk here
	FoldAfterWrite     Step = "fold-after-write"     // it is on disk, not applied
	FreeBefore         Step = "free-before"          // a kept blob has been replaced, it is not deleted
	SnapshotBefore     Step = "snapshot-before"      // a snapshot of the record is to be written
	SnapshotAfter      Step = "snapshot-after"       // it is on disk, nobody has been told
	EndBefore          Step = "end-before"           // all is committed, the result is not written
	ResultBefore       Step = "result-before"        // the result is written, not replicated
	ResultAfter        Step = "result-after"         // it is replicated, the job's end is not
	EndAfter           Step = "end-after"            // the end is on a quorum, nobody has been told
)

// Steps lists all steps.
func Steps() []Step {
	return []Step{JournalBeforeWrite, JournalAfterSync, BlobBeforeSync, BlobAfterSync, OfferBefore, OfferAfter,
		ProposeBefore,
		CommitBeforeAnswer, GrantBefore, GrantAfter, GrantBeforeAck, MergeBefore, MergeAfter,
		FoldBefore, FoldMade, FoldBeforeWrite, FoldAfterWrite, FreeBefore, SnapshotBefore, SnapshotAfter, EndBefore,
		ResultBefore, ResultAfter, EndAfter}
}
