package exec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dtpnode/dtpnode/tasks"
)

// Kind says how a generation, plan or compilation failed. The scheduler's blame depends on it.
type Kind string

// Kinds of failure, and the units to blame: the one entry, the cluster, the file, or the code.
const (
	KindSignal    Kind = "signal"    // killed by a signal in user code; entry
	KindExit      Kind = "exit"      // user code called exit() or returned early; entry
	KindException Kind = "exception" // an exception left user code; entry
	KindStall     Kind = "stall"     // no entry finished within the stall limit; entry
	KindMemory    Kind = "memory"    // memory limit reached; entry
	KindLimit     Kind = "limit"     // processes, file size, scratch or CPU time of one entry; entry
	KindData      Kind = "data"      // what is read of the file is damaged; cluster
	KindOpen      Kind = "open"      // file missing, truncated or of another format; file
	KindSchema    Kind = "schema"    // the part of the file, or a column of it, is missing; file
	KindAmbiguous Kind = "ambiguous" // the file has several parts, and none was named; the job, as it was asked for
	KindAbort     Kind = "abort"     // user code gave the whole job up; job
	KindCode      Kind = "code"      // cannot be built or loaded, or fails before any entry; job
	KindDisk      Kind = "disk"      // this node could not write; node
	KindLacks     Kind = "lacks"     // this node has not, and cannot make, what the code runs in; node
	KindKilled    Kind = "killed"    // killed, but not by us: from outside, or by the entry that ran; nobody is to blame
	KindInternal  Kind = "internal"  // a defect in dtpnode; node
)

// Cause says why this host does not see an input file that others may well see: the host is to blame, and not
// the file. It is empty for all other failures.
type Cause string

// Causes of KindOpen. What the system or the runtime said is in Failure.Msg, whole.
const (
	CauseMissing      Cause = "missing"      // no such file or folder here, or on the server
	CauseDenied       Cause = "denied"       // this user may not read it
	CauseUnreachable  Cause = "unreachable"  // no route, unknown host, connection refused, a mount that is gone
	CauseProtocol     Cause = "protocol"     // the runtime cannot open URLs of this kind
	CauseUnauthorised Cause = "unauthorised" // the server wants other credentials
	// a file of that name is here, with other entries, or another UUID, than was planned
	CauseDiffers Cause = "differs"
)

// Stage says how far a generation was that failed before its first entry, or that the job had come to its last step.
// What fails there fails for all entries alike, on this host at least.
type Stage string

// The stages before an entry, and the one after all; a failure at an entry, or else outside of generations, has none.
const (
	StageStart Stage = "start" // of the generation as a whole, such as SlaveBegin
	StageInput Stage = "input" // of an input, such as Init and Notify
	StageEnd   Stage = "end"   // of the user's last step, such as Terminate: all is merged
)

// Failure is a failure of a child, told for the user. It is an error.
type Failure struct {
	Kind   Kind
	Stage  Stage       // before a generation's first entry, or behind all; else empty
	Host   Cause       // of KindOpen: why this host does not see the file; empty if the file is to blame
	Op     string      // what was being done: "Process", "Init", "SlaveBegin", "open", "merge", ...
	File   string      // URL of the input file, if any
	Entry  int64       // local to the part of File that is read, -1 if unknown
	Blame  tasks.Range // local entries of File to blame; empty if the failure is not about entries
	Signal int         // signal number, 0 if none
	Exit   int         // exit status for KindExit
	Msg    string      // the reason, one line
	Stack  string      // stack trace, may be empty
	Tail   string      // last lines the child printed, at most 4 KiB
	// Adds says that results could not be added to one another, by code that has not added any in that process: no entry
	// is to blame, and without it the job has no result.
	Adds bool
	// Cause is the user's exception for clients in the runtime's language, in a form that these know; nil for none.
	Cause []byte
}

// ErrOdd says, under errors.Is of a Failure, that objects are not in all partials what the job's hints made of them:
// one of those who made these lies, or the code changes the objects in only some processes.
var ErrOdd = errors.New("partials do not agree in what was announced to all")

// ErrFlawed says, under errors.Is, that a file is whole and no partial: whoever has made it is wrong.
var ErrFlawed = errors.New("not a partial")

// opCompare is the Op of such a failure.
const opCompare = "compare"

// Is reports whether the failure is such a one.
func (f *Failure) Is(target error) bool { return target == ErrOdd && f.Op == opCompare }

func (f *Failure) Error() string {
	where := f.Op
	if f.File != "" {
		where += " " + f.File
	}
	if f.Entry >= 0 && f.File != "" {
		where += fmt.Sprintf(" entry %d", f.Entry)
	}
	if where == "" {
		return fmt.Sprintf("%s: %s", f.Kind, f.Msg)
	}
	return fmt.Sprintf("%s: %s: %s", strings.TrimSpace(where), f.Kind, f.Msg)
}
