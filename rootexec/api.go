// Package rootexec runs user code. It finds (or installs) a ROOT, builds the C++ child in child/
// against it once, and drives the processes of that child:
//
//	base zygote      ROOT loaded and warm, no user code; one for each daemon
//	└ selector zygote  fork of the base with one selector library loaded; one for each code hash
//	  ├ generation     fork; SlaveBegin, many packets, SlaveTerminate, one partial
//	  ├ merger         fork; reads partials, writes their merge
//	  └ client         fork; Begin, later Terminate and the output file
//	planner, compiler  forks of the base zygote
//
// dtpnode itself never links ROOT. Parent and child speak msgpack frames (4 bytes big-endian length,
// then one map) on Unix socket pairs; child/protocol.h lists the frames.
package rootexec

import (
	"fmt"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Kind says how a generation, plan or compilation failed. The scheduler's blame depends on it.
type Kind string

// Kinds of failure, and the units to blame: the one entry, the cluster, the file, or the code.
const (
	KindSignal    Kind = "signal"    // killed by a signal in user code; entry
	KindExit      Kind = "exit"      // user code called exit() or returned early; entry
	KindException Kind = "exception" // C++ exception left user code; entry
	KindStall     Kind = "stall"     // no entry finished within the stall limit; entry
	KindMemory    Kind = "memory"    // memory limit reached; entry
	KindLimit     Kind = "limit"     // processes, file size, scratch or CPU time of one entry; entry
	KindData      Kind = "data"      // baskets unreadable; cluster
	KindOpen      Kind = "open"      // file missing, truncated or no ROOT file; file
	KindSchema    Kind = "schema"    // tree or branch missing; file
	KindAbort     Kind = "abort"     // TSelector::Abort(kAbortProcess); job
	KindCode      Kind = "code"      // no TSelector, library not loadable, failed in SlaveBegin; job
	KindDisk      Kind = "disk"      // this node could not write; node
	KindKilled    Kind = "killed"    // killed from outside (SIGKILL not sent by us); nobody is to blame
	KindInternal  Kind = "internal"  // a defect in dtpnode; node
)

// Cause says why this host does not see an input file that others may well see: the host is to blame, and not
// the file. It is empty for all other failures.
type Cause string

// Causes of KindOpen. What the system or ROOT said is in Failure.Msg, whole.
const (
	CauseMissing      Cause = "missing"      // no such file or folder here, or on the server
	CauseDenied       Cause = "denied"       // this user may not read it
	CauseUnreachable  Cause = "unreachable"  // no route, unknown host, connection refused, a mount that is gone
	CauseProtocol     Cause = "protocol"     // this ROOT has no plugin for the URL
	CauseUnauthorised Cause = "unauthorised" // the server wants other credentials
	CauseDiffers      Cause = "differs"      // a file of that name is here, with other entries, or another UUID, than was planned
)

// Failure is a failure of a child, told for the user. It is an error.
type Failure struct {
	Kind   Kind
	Host   Cause       // of KindOpen: why this host does not see the file; empty if the file is to blame
	Op     string      // what was being done: "Process", "Init", "SlaveBegin", "open", "merge", ...
	File   string      // URL of the input file, if any
	Entry  int64       // entry local to File's tree, -1 if unknown
	Blame  tasks.Range // local entries of File to blame; empty if the failure is not about entries
	Signal int         // signal number, 0 if none
	Exit   int         // exit status for KindExit
	Msg    string      // the reason, one line
	Stack  string      // stack trace, may be empty
	Tail   string      // last lines the child printed, at most 4 KiB
}

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

// moreThanOneTree begins the message for a file of which the user must name a tree; input.cc writes it.
const moreThanOneTree = "more than one tree"

// Ambiguous reports whether a file has several trees and none was named: no file of a job can be read as its user means.
func (f *Failure) Ambiguous() bool {
	return f.Kind == KindSchema && strings.HasPrefix(f.Msg, moreThanOneTree)
}

// Plan is what the planner read of one file.
type Plan struct {
	File     string
	Tree     string  // path of the tree within the file
	Entries  int64   // in the tree
	Clusters []int64 // first entries of the clusters, ascending from 0; empty if Entries is 0
	Bytes    int64   // compressed size of the tree
	UUID     string  // of the file (TFile); empty for those of very old versions of ROOT, which have none
}

// Packet is a slice of one file's tree handed to a generation. First and Last are local entries.
type Packet struct {
	ID          uint64 // chosen by the parent, echoed in the report
	File        string
	Tree        string
	First, Last int64
	Base        int64 // global unit of local entry 0; the canary hashes global units
	// Entries is how many the tree has where it was planned. A file with another number is refused (CauseDiffers): it has
	// changed since, or is another file of the same name on this host. 0 leaves that unchecked.
	Entries int64
	// UUID is that of the file where it was planned. One with another is refused in the same way. Empty leaves that unchecked.
	UUID string
}

// Done reports a finished, or preempted, packet.
type Done struct {
	ID      uint64
	Last    int64         // first local entry NOT processed; equals Packet.Last unless preempted
	Elapsed time.Duration // in the child, file switch included
	Bytes   int64         // read from the file
	Opened  bool          // the packet opened a file
	Refused *Failure      // why nothing of the packet was done: its file could not be opened; the generation goes on
}

// Sealed is the outcome of a generation or of a merge: one immutable output blob.
type Sealed struct {
	Path   string // the blob's file, in the directory the caller named
	SHA256 [32]byte
	Size   int64
	Units  int64    // as read back from the objects in the blob
	Canary uint64   // likewise
	Apart  []string // names of objects that could not be merged and were kept apart as name;1, name;2...
	// Mixed are names under which objects of several classes are, with these: they stand side by side. Of a merge alone.
	Mixed []string
}
