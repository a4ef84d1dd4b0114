package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// Job is a job that this node leads or takes part in. Users know it by its name, the hex of the description's nonce,
// which exists before the description does. Its methods may be called from any goroutine.
type Job struct {
	Name string
	Done chan struct{} // closed when the job is final, and its final status is on disk

	self   tasks.PeerID // this node
	began  int64        // when this was made, by which readers of its log know that it is the same one
	ctx    context.Context
	cancel context.CancelFunc
	Tell   func(text string) // called with each phase that the job comes to, besides its status; may be nil

	loading    sync.Mutex // held while its program is prepared again
	shipping   sync.Mutex // held while a large blob of it is brought here
	Delivering sync.Mutex // held while its output is written

	taken takenValues
	links links

	mu sync.Mutex // guards s, and is held for moments
	s  State
}

// State is all of a job that changes. Each embedded part has a file of its own. It is read and written under the job's
// lock only.
type State struct {
	ID     tasks.JobID    // empty until the description is complete
	Desc   *tasks.Job     // the description with all appends that are known here; nil until it is known
	Weight int64          // bytes that the description takes in memory, for a job that was submitted here
	Req    api.JobRequest // the user's request, as far as it is known here

	Lead
	Held
	Told
	Printed
	Output
	Ending
}

// With calls f with the job's state, under the job's lock. f must not wait, and must not call methods of the job.
func (j *Job) With(f func(s *State)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.s)
}

// Cancel ends what this node is doing for the job. It does not end the job itself, for which see Room.CancelJob.
func (j *Job) Cancel() { j.cancel() }

// newJob is a job of which only the name is known.
func newJob(ctx context.Context, self tasks.PeerID, name string) *Job {
	j := &Job{Name: name, self: self, began: time.Now().UnixNano(), Done: make(chan struct{})}
	j.ctx, j.cancel = context.WithCancel(ctx)
	return j
}

// ID is the job's id, empty until the description is complete.
func (j *Job) ID() tasks.JobID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.ID
}
