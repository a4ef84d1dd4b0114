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
)

// The bugs that members that lie make use of.
const (
	UnprovenLeader   Bug = "unproven-leader"   // replicas obey whoever speaks as a leader
	ResponseTerm     Bug = "response-term"     // an answer of a later term makes a leader give way
	UnsignedTransfer Bug = "unsigned-transfer" // a candidate is voted for while a leader is heard because it says that the leader wants it
	Hearsay          Bug = "hearsay"           // replicas hear members that no voters have named
	UncheckedChain   Bug = "unchecked-chain"   // any set of voters counts as following those known
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
	case NoAudit:
		return "units that nobody holds are not put back to work"
	case DropUnfinished:
		return "a job whose end fails is over, and its ledger goes with all that is committed"
	case TryForEver:
		return "a node whose attempt to end a job failed tries again by itself, for ever"
	}
	return "nothing that is known"
}

// Bugs lists them all.
func Bugs() []Bug {
	return []Bug{CommitOverlap, CommitDuplicate, MergeOverlap, DropInputs, SubtractCover, SkipCanary, AckBeforeSync,
		StaleTerm, SameBoot, LostAckRefusal, SkipLastRecord, KeepNothing, ForgetEarly, NoAudit, DropUnfinished, TryForEver}
}
