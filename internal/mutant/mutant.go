// Package mutant plants bugs in the protocol, so that the tests can show that they would find them. A bug
// is there only in a binary built with the tag "mutants" and only when it is chosen; in every other build
// On is constantly false and costs nothing.
package mutant

// Bug names a planted bug.
type Bug string

// The bugs, each with the rule or step that it breaks.
const (
	CommitOverlap   Bug = "commit-overlap"   // the home commits without comparing covers (R3)
	CommitDuplicate Bug = "commit-duplicate" // the home adds a cover that it has already (R3)
	MergeOverlap    Bug = "merge-overlap"    // partials are merged without comparing covers (R2)
	DropInputs      Bug = "drop-inputs"      // a merge's inputs are dropped when it is offered (R2)
	SubtractCover   Bug = "subtract-cover"   // an overlapping partial is committed with less cover (R3)
	SkipCanary      Bug = "skip-canary"      // a merge leaves an input's canary out (R1)
	AckBeforeSync   Bug = "ack-before-sync"  // a replica acknowledges entries that are not on disk
	StaleTerm       Bug = "stale-term"       // nodes obey, and replicas believe, a home of an older term
	SameBoot        Bug = "same-boot"        // a node that comes back counts on from the epoch of its earlier life
	LostAckRefusal  Bug = "lost-ack-refusal" // a hand-over whose acknowledgement is lost counts as refused
	SkipLastRecord  Bug = "skip-last-record" // the replay of a ledger passes over its last record
	KeepNothing     Bug = "keep-nothing"     // a commit is proposed before a quorum keeps the blob
	ForgetEarly     Bug = "forget-early"     // a holder forgets a partial when the home fetches it, not when it commits
	NoAudit         Bug = "no-audit"         // units that nobody holds are not put back to work
	DropUnfinished  Bug = "drop-unfinished"  // a job whose end fails is over, and its ledger with it
	TryForEver      Bug = "try-for-ever"     // a node whose attempt to end a job failed tries again by itself
	BlindStrikes    Bug = "blind-strikes"    // a file that a host cannot see counts as failed
	BlindAgain      Bug = "blind-again"      // a host goes on trying what it cannot see
	BlindWord       Bug = "blind-word"       // what one host cannot see is given up, though others were not asked

	SnapshotTooEarly Bug = "snapshot-too-early" // a snapshot lacks the last entry that it stands for
	TailFirst        Bug = "tail-first"         // the log before a snapshot is dropped before the snapshot is on disk
	ForgetMembers    Bug = "forget-members"     // a snapshot is restored without its table of members

	FoldDropsInput Bug = "fold-drops-input" // a merge of committed partials leaves one out, and is not counted (R1)
	FreeBeforeFold Bug = "free-before-fold" // the inputs of a fold are freed before it is in the log (R2)
	FoldAbsent     Bug = "fold-absent"      // a fold is applied though a kid is not committed (R3)
	NeverFree      Bug = "never-free"       // what a fold has replaced is not freed
	NeverFold      Bug = "never-fold"       // committed partials are not merged further
)

// The bugs that a member that lies makes use of. The simulator's members do not lie: package quorum's tests find these.
const (
	AnyLeader   Bug = "any-leader"   // replicas obey whoever speaks as a leader, though they hear theirs
	AnswerTerm  Bug = "answer-term"  // an answer of a later term makes a leader give way
	AnyTransfer Bug = "any-transfer" // a candidate is voted for though a leader is heard, because it says that that one wants it
)

// Breaks says what a bug breaks.
func (b Bug) Breaks() string {
	switch b {
	case CommitOverlap:
		return "the home commits without comparing covers (R3)"
	case CommitDuplicate:
		return "the home adds a cover that it has already (R3)"
	case MergeOverlap:
		return "partials are merged without comparing covers (R2)"
	case DropInputs:
		return "a merge's inputs are dropped when its result is offered (R2)"
	case SubtractCover:
		return "an overlapping partial is committed with what is left of its cover (R3)"
	case SkipCanary:
		return "a merge leaves an input's canary out (R1)"
	case AckBeforeSync:
		return "a replica acknowledges entries before they are on disk"
	case StaleTerm:
		return "nodes obey, and replicas believe, a home of an older term"
	case SameBoot:
		return "a node that comes back counts on from the epoch of its earlier life"
	case LostAckRefusal:
		return "a hand-over whose acknowledgement is lost counts as refused"
	case SkipLastRecord:
		return "the replay of a ledger passes over its last record"
	case KeepNothing:
		return "a commit is proposed before a quorum keeps the blob"
	case ForgetEarly:
		return "a holder forgets a partial when the home has it, before it is committed"
	case SnapshotTooEarly:
		return "a snapshot lacks the last entry that it stands for"
	case TailFirst:
		return "the log before a snapshot is dropped before the snapshot is on disk"
	case ForgetMembers:
		return "a snapshot is restored without its table of members"
	case NoAudit:
		return "units that nobody holds are not put back to work"
	case DropUnfinished:
		return "a job whose end fails is over, and its ledger goes with all that is committed"
	case TryForEver:
		return "a node whose attempt to end a job failed tries again by itself, for ever"
	case BlindStrikes:
		return "a file that a host cannot see counts as failed, and is struck out after three tries"
	case BlindAgain:
		return "a host is given again and again, and tries, what it cannot see"
	case BlindWord:
		return "what one host cannot see is given up though others have not tried it"
	case FoldDropsInput:
		return "a merge of committed partials leaves one out, and is not counted (R1)"
	case FreeBeforeFold:
		return "the inputs of a fold are freed before it is in the log (R2)"
	case FoldAbsent:
		return "a fold is applied though not all that it replaces is committed (R3)"
	case NeverFree:
		return "what a fold has replaced is not freed"
	case NeverFold:
		return "committed partials are not merged further, and commits do not wait for that"
	}
	return "nothing that is known"
}

// Bugs lists them all.
func Bugs() []Bug {
	return []Bug{CommitOverlap, CommitDuplicate, MergeOverlap, DropInputs, SubtractCover, SkipCanary, AckBeforeSync,
		StaleTerm, SameBoot, LostAckRefusal, SkipLastRecord, KeepNothing, ForgetEarly, NoAudit, DropUnfinished, TryForEver, BlindStrikes, BlindAgain, BlindWord,
		SnapshotTooEarly, TailFirst, ForgetMembers,
		FoldDropsInput, FreeBeforeFold, FoldAbsent, NeverFree, NeverFold}
}
