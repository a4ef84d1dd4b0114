// Package mutant plants bugs in the protocol, so that the tests can show that they would find them. A bug exists only
// in a binary built with the tag "mutants", and only when it is chosen; in every other build On is constantly false and
// costs nothing.
package mutant

// Bug names a planted bug.
type Bug string

// These are the bugs; the list below says what each breaks.
const (
	CommitOverlap    Bug = "commit-overlap"
	CommitDuplicate  Bug = "commit-duplicate"
	MergeOverlap     Bug = "merge-overlap"
	DropInputs       Bug = "drop-inputs"
	SubtractCover    Bug = "subtract-cover"
	SkipCanary       Bug = "skip-canary"
	StaleTerm        Bug = "stale-term"
	SameBoot         Bug = "same-boot"
	LostAckRefusal   Bug = "lost-ack-refusal"
	SkipLastRecord   Bug = "skip-last-record"
	KeepNothing      Bug = "keep-nothing"
	ForgetEarly      Bug = "forget-early"
	HeldForEver      Bug = "held-for-ever"
	NoAudit          Bug = "no-audit"
	DropUnfinished   Bug = "drop-unfinished"
	TryForEver       Bug = "try-for-ever"
	BlindAgain       Bug = "blind-again"
	BlindWord        Bug = "blind-word"
	HostStrikes      Bug = "host-strikes"
	SnapshotTooEarly Bug = "snapshot-too-early"
	ForgetVoters     Bug = "forget-voters"
	FoldDropsInput   Bug = "fold-drops-input"
	FreeBeforeFold   Bug = "free-before-fold"
	FreeAsked        Bug = "free-asked"
	FoldAbsent       Bug = "fold-absent"
	NeverFree        Bug = "never-free"
	NeverFold        Bug = "never-fold"
	NoMandate        Bug = "no-mandate"
	NoSeal           Bug = "no-seal"
	ForgetLead       Bug = "forget-lead"
	AnyClaim         Bug = "any-claim"
	DoubleAppend     Bug = "double-append"
	LostAppend       Bug = "lost-append"
	UnsignedAppend   Bug = "unsigned-append"
	AnyRuntime       Bug = "any-runtime"
)

// bugs lists the bugs above, with the rule or step that each breaks.
var bugs = []struct {
	Bug
	breaks string
}{
	{CommitOverlap, "the home commits without comparing covers (R3)"},
	{CommitDuplicate, "the home adds a cover that it has already (R3)"},
	{MergeOverlap, "partials are merged without comparing covers (R2)"},
	{DropInputs, "a merge's inputs are dropped when its result is offered (R2)"},
	{SubtractCover, "an overlapping partial is committed with what is left of its cover (R3)"},
	{SkipCanary, "a merge leaves an input's canary out (R1)"},
	{StaleTerm, "nodes obey, and replicas believe, a home of an older term"},
	{SameBoot, "a node that comes back counts on from the epoch of its earlier life"},
	{LostAckRefusal, "a hand-over whose acknowledgement is lost counts as refused"},
	{SkipLastRecord, "the replay of a ledger passes over its last record"},
	{KeepNothing, "a commit is proposed before a quorum keeps the blob"},
	{ForgetEarly, "a holder forgets a partial when the home has it, before it is committed"},
	{HeldForEver, "units that a node holds and does nothing about never run elsewhere"},
	{NoAudit, "units that nobody holds are not put back to work"},
	{DropUnfinished, "a job whose end fails is over, and its ledger goes with all that is committed"},
	{TryForEver, "a node whose attempt to end a job failed tries again by itself, for ever"},
	{BlindAgain, "a host is given again and again, and tries, what it cannot see"},
	{BlindWord, "what one host cannot see is given up though others have not tried it"},
	{HostStrikes, "what fails on two hosts on which nothing goes well is struck out, though others do it"},
	{SnapshotTooEarly, "a snapshot lacks the last entry that it stands for"},
	{ForgetVoters, "a snapshot is restored without its table of voters"},
	{FoldDropsInput, "a merge of committed partials leaves one out, and is not counted (R1)"},
	{FreeBeforeFold, "the inputs of a fold are freed before it is in the log (R2)"},
	{FreeAsked, "a copy of the ledger frees what the home of this term counts on it to keep"},
	{FoldAbsent, "a fold is applied though not all that it replaces is committed (R3)"},
	{NeverFree, "what a fold has replaced is not freed"},
	{NoMandate, "whoever says that it leads a job is believed"},
	{NoSeal, "the end of a job is believed though nobody has signed it"},
	{ForgetLead, "a replica that restarts obeys whoever speaks as the leader first"},
	{AnyClaim, "a node is believed to have run what others were given"},
	{DoubleAppend, "an append that comes again makes the job grow again"},
	{LostAppend, "an append is acknowledged before it is in the log"},
	{UnsignedAppend, "whoever says so makes a job grow"},
	{AnyRuntime, "a node works for a job that needs what none of its runtimes offers"},
	{NeverFold, "committed partials are not merged further, and commits do not wait for that"},
}

// These are bugs that a lying member can exploit. The tests of the packages quorum and engine find them.
const (
	AnyLeader  Bug = "any-leader"  // replicas follow any peer that claims to lead, though they hear their leader
	AnswerTerm Bug = "answer-term" // a response with a later term deposes a leader
	AnyTerm    Bug = "any-term"    // a replica advances to any term at once, while it hears no leader
	OwnTerm    Bug = "own-term"    // a home is followed that was elected by voters who had been replaced before
	AnyLink    Bug = "any-link"    // a change of the voters without signatures counts as proven
	// the end that was heard first counts, even if its ledger has been recovered since
	OldEnd     Bug = "old-end"
	AnyDealer  Bug = "any-dealer"  // any peer can deal work and order merges
	ObeyAdmins Bug = "obey-admins" // a recovery that an admin has signed displaces a live ledger, and its end
	// a candidate is voted for though a leader is heard, because it claims that the leader transfers to it
	AnyTransfer Bug = "any-transfer"

	// The simulator finds these after hundreds of seeds, if at all. The tests of the packages ledger, steal, engine and
	// quorum find them sooner.
	AnyFetch      Bug = "any-fetch"       // a fetch that was given up counts, though its blob was freed
	OneNodesWord  Bug = "one-nodes-word"  // failures that only one node reports set a range aside, while others work
	ForgetAway    Bug = "forget-away"     // a file is given up when the only host that can read it is away for a moment
	EndlessCredit Bug = "endless-credit"  // a thief is given work on credit, whatever became of what it took before
	AckBeforeSync Bug = "ack-before-sync" // a replica acknowledges entries before they are on disk
	TailFirst     Bug = "tail-first"      // the log before a snapshot is dropped before the snapshot is on disk
	EarlyUnit     Bug = "early-unit"      // units are run before those that they depend on are committed
	// a file that a host cannot see counts as failed, and is struck out after three tries
	BlindStrikes Bug = "blind-strikes"
)

// Breaks says what a bug breaks.
func (b Bug) Breaks() string {
	for _, known := range bugs {
		if known.Bug == b {
			return known.breaks
		}
	}
	return "nothing that is known"
}

// Bugs lists the bugs that the simulator finds.
func Bugs() (all []Bug) {
	for _, b := range bugs {
		all = append(all, b.Bug)
	}
	return all
}
