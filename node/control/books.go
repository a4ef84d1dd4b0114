package control

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/backlog"
)

// Books are the parts of a daemon that its users ask. Every error that is an *api.Error is told as it is; any other is
// told as a fault of the daemon.
type Books struct {
	Node       Node
	Members    Members
	Founder    Founder
	Jobs       Jobs
	Growth     Growth
	Recoveries Recoveries
	Outputs    Outputs
	Datasets   Datasets
}

// Datasets are lists of files by name, which all members keep.
type Datasets interface {
	// Add registers files under a name, if all of them can be read.
	Add(ctx context.Context, req api.DatasetRequest) (api.Dataset, error)
	// List are those that there are, without their files.
	List(ctx context.Context) []api.Dataset
	Get(ctx context.Context, name string) (api.Dataset, error)
	// Verify opens all files of one again.
	Verify(ctx context.Context, name string) (api.DatasetCheck, error)
	// Remove takes a name of this node back.
	Remove(ctx context.Context, name string) (api.Dataset, error)
}

// Node is the daemon itself.
type Node interface {
	// Status describes the daemon.
	Status() api.NodeStatus
	// Shutdown ends the daemon, soon after the call.
	Shutdown()
	// Leave ends the daemon and its membership.
	Leave() error
}

// Members is the book of who belongs to the cluster.
type Members interface {
	Members() []api.Member
	// Links are the pairs of members that are up and have no link.
	Links(ctx context.Context) api.Links
	Invite(req api.InviteRequest) (api.Invite, error)
	Join(ctx context.Context, req api.JoinRequest) (api.NodeStatus, error)
	// Revoke puts a member out, and tells which of its jobs that stopped.
	Revoke(ctx context.Context, req api.RevokeRequest) (api.Revoked, error)
	// Forget is Revoke for a member that is gone.
	Forget(ctx context.Context, req api.RevokeRequest) (api.Revoked, error)
	// Rename changes what this node is called.
	Rename(name string) error
}

// Founder is what only the member may that founded the cluster, or holds its recovery key.
type Founder interface {
	Handover(id string) error
	NewRecoveryKey() (string, error)
	TakeBack(key string) error
}

// Jobs is the book of jobs. A job is named by its name, or by a beginning of that which no other job shares.
type Jobs interface {
	// Submit accepts a job to lead.
	Submit(req api.JobRequest) (api.JobStatus, error)
	// List describes the jobs of all members that answer before the end of ctx.
	List(ctx context.Context) []api.JobStatus
	Status(ctx context.Context, name string) (api.JobStatus, error)
	// Stop ends a job with what is done of it.
	Stop(ctx context.Context, name string) error
	// Finish has the end of a job tried again that could not be finished.
	Finish(ctx context.Context, name string) error
	// Cancel ends a job without a result.
	Cancel(ctx context.Context, name string) (api.Cancellation, error)
	// Retry submits a job that runs what is missing in another's result.
	Retry(ctx context.Context, name string, req api.RetryRequest) (api.JobStatus, error)
}

// Growth has open jobs grow.
type Growth interface {
	// Append returns when a majority of the replicas of the job's ledger has the append on disk.
	Append(ctx context.Context, name string, req api.AppendRequest) (api.Appended, error)
	// Attend says that a program is connected that appends to a job, and runs as a process, until leave is called. kept is
	// the number behind the last of its calls that is kept from before.
	Attend(name string, by backlog.Process) (kept uint64, leave func())
	// Keep keeps calls that are not appended yet, and tells the number behind the last one that is kept.
	Keep(name string, k *api.ExchangeKeep) (after uint64, err error)
	// CancelKept has calls never run that are not in the job.
	CancelKept(name string, req api.CancelKept) (api.KeptCalls, error)
	// MoveKept has the calls of another job kept for this one.
	MoveKept(name string, req api.MoveKept) (api.KeptCalls, error)
	// Kept tells how many calls of a job are kept.
	Kept(ctx context.Context, name string) (api.KeptCalls, error)
	// Release has nodes remove what units have made for others.
	Release(ctx context.Context, name string, req api.ReleaseRequest) error
}

// Recoveries has jobs go on whose ledger has lost most of its copies.
type Recoveries interface {
	// Plan says from which copy the job would go on, and what that would lose. from names the member whose copy it is
	// to be, empty for the newest that is proven; superseded looks at copies that were put aside.
	Plan(ctx context.Context, name, from string, superseded bool) (api.Recovery, error)
	// Recover does what was planned and agreed to.
	Recover(ctx context.Context, name string, agreed api.RecoverRequest) (api.Recovery, error)
}

// Result is a job's output, which is open, with what the program has written beside it.
type Result struct {
	File    *os.File
	Output  int64  // bytes of the output, with which the file begins; other files may follow
	Fetched func() // to be called once the user has the output
}

// Outputs is what comes out of jobs, in pieces. send and tell hand one piece to the user; the error of send is that of
// a user who has gone.
type Outputs interface {
	// Follow sends where a job stands, and what it prints at its beginning and end, until it is final.
	Follow(ctx context.Context, name string, send func(api.Event) error) error
	// Logs sends what the job printed on all nodes; with follow until the job ends.
	Logs(ctx context.Context, name string, follow bool, send func(api.LogPart) error) error
	// Result opens a job's output. The caller closes the file.
	Result(ctx context.Context, name string) (Result, error)
	// Partials collects what is committed of a job that has not ended. The caller closes it.
	Partials(ctx context.Context, name string) (Partials, error)
	// Units sends the results of single units, as far as they are committed, each once.
	Units(ctx context.Context, name string, ask api.UnitsRequest, send func(api.UnitsEvent) error) error
	// Took notes which values of single units the user has.
	Took(name string, req api.TakenRequest) error
	// Watch sends what is there of named objects of a job's output, while it runs.
	Watch(ctx context.Context, name string, req api.WatchRequest, send func(api.WatchEvent) error) error
	// Check tries a job that is not submitted yet, and tells meanwhile what it does.
	Check(ctx context.Context, req api.JobRequest, tell func(text string)) (api.Check, error)
}

// Partials are files that are handed out together, as a tar.
type Partials interface {
	Send(w io.Writer) error
	Close() error
}

// AtOnce is how long other members may take to tell of jobs where a shell waits for it.
const AtOnce = 300 * time.Millisecond
