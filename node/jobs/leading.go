package jobs

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Lead is who leads a job, and whether this node tells others of it: that it does if it leads the job, or the job is
// final here.
type Lead struct {
	Home          tasks.PeerID // that leads it now, empty while none is known
	Led           bool         // by this node, or it is final and told of here
	SubmittedHere bool         // in this life of the daemon
}

// leads reports whether this node tells of the job: it is its home, or the job is final.
func (j *Job) leads() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Led
}

// ledSince is when a job was submitted that this node tells of.
func (j *Job) ledSince() (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Status.Submitted, j.s.Led
}

// homeNow is the node that leads the job, empty while none is known.
func (j *Job) homeNow() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Home
}

// own reports whether a job was submitted on this node; the caller holds mu.
func (j *Job) own() bool {
	return j.s.SubmittedHere || (j.s.Desc != nil && j.s.Desc.Submitter == j.self)
}

// isOwn is own where the caller does not hold mu.
func (j *Job) isOwn() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.own()
}

// submitter is the member that the job belongs to, empty if that is not known.
func (j *Job) submitter() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.submitterHeld()
}

// submitterHeld is submitter where the caller holds mu.
func (j *Job) submitterHeld() tasks.PeerID {
	switch {
	case j.s.Desc != nil && j.s.Desc.Submitter != "":
		return j.s.Desc.Submitter
	case j.s.SubmittedHere:
		return j.self
	}
	return j.s.Status.Submitter
}
