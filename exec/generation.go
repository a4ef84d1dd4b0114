package exec

import (
	"context"
	"errors"

	"github.com/dtpnode/dtpnode/tasks"
)

// GenSpec says how a generation runs.
type GenSpec struct {
	Job   uint64 // seed of the canaries
	Input string // path of a file on this host with what Session.Begin has made; empty if that was nothing
	Hints []byte // what Foreseer.Foresee has found out; may be empty
	Dir   string // working directory; must exist and be empty; the data files of the program go there
	Data  string // folder for files that the program means to stay on this host; made when needed; empty for none
	// Entries is how many all files of the job have, whether they are run or not; of a job that grows, those so far.
	Entries int64
	// Submitter is the peer id of who has submitted the job: what its code keeps on a node is apart from that of others.
	Submitter string
	Host      Host // where the generation runs
	// Values is the path of the socket at which programs reach values that units make for others (node/values). Empty: the
	// job's units make none.
	Values string
	// Alone says that the generation runs what may have killed its processes: where others were killed with them, it had
	// best share no process with others.
	Alone bool
	Limits
}

// Host is what user code may know of the node on which it runs.
type Host struct {
	ID   string // its peer id
	Name string // what its user calls it
	// Kept is a folder for what user code keeps here from one job to another; made when needed. Empty: nothing is kept.
	Kept string
}

// Sink receives what a generation reports. The calls for one generation come from one goroutine, in
// order, and must not block for long.
type Sink interface {
	// PacketDone reports a packet that is done, or was preempted.
	PacketDone(Done)
	// Failed reports the end of a generation that failed. It is the last call, and nothing of the
	// generation counts. Kill and a failed Seal end a generation without it.
	Failed(*Failure)
	// Output offers a line that the child printed. Where the sink cannot keep up lines are dropped, for which one comes
	// that DroppedIn reads.
	Output(line string)
}

// Taker is what a Generation is besides that can leave out of its output the values of units that whoever waits for
// them has already (Values): a taken value is none to be kept, and may be GBs.
type Taker interface {
	// SealWithout is Seal without the values of units in taken. They count as all others do, and who reads the value of
	// one finds that it was taken.
	SealWithout(ctx context.Context, path string, taken tasks.Cover) (Partial, error)
}

// Errors of Lease and Seal.
var (
	ErrQueueFull = errors.New("two packets are leased already")
	ErrEnded     = errors.New("the generation has ended")
)

// ErrClosed is returned by a runtime, or what belongs to one, that was closed.
var ErrClosed = errors.New("closed")
