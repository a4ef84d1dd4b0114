package jobs

import (
	"context"
	"sync"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// Job is a job that this node leads or takes part in. Users know it by its name, the hex of the description's nonce,
// which exists before the description does. Its methods may be called from any goroutine.
type Job struct {
	Name string
	Done chan struct{} // closed when it is final, and that is on disk

	self   tasks.PeerID // this node
	ctx    context.Context
	cancel context.CancelFunc
	Tell   func(text string) // who is told what is being done, beside those who ask; nil: nobody

	loading    sync.Mutex // held while its program is prepared again
	Delivering sync.Mutex // held while its output is written

	mu sync.Mutex // guards s, and is held for moments
	s  State
}

// State is what changes of a job, in parts. It is touched under the job's lock alone.
type State struct {
	ID     tasks.JobID    // empty until the description is complete
	Desc   *tasks.Job     // with all that the job is known to have grown by; nil until it is known
	Weight int64          // of the description, in memory, for a job that was submitted here
	Req    api.JobRequest // as far as it is known here

	Lead
	Held
	Told
	Printed
	Output
	Ending
}

// With has f look at a job or change it, under the job's lock: f neither waits nor calls back.
func (j *Job) With(f func(s *State)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.s)
}

// Cancel ends what is being done for the job here. How the job ends is another matter.
func (j *Job) Cancel() { j.cancel() }

// newJob is a job of which only the name is known.
func newJob(ctx context.Context, self tasks.PeerID, name string) *Job {
	j := &Job{Name: name, self: self, Done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(ctx)
	return j
}

// ID is the job's id, empty until the description is complete.
func (j *Job) ID() tasks.JobID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.ID
}
