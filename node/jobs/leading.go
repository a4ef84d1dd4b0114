package jobs

import (
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// Lead is who leads a job, and whether this node describes the job to others. It does if it leads the job, or knows the
// job's end.
type Lead struct {
	Home          tasks.PeerID // the node that leads the job now, empty while none is known
	Led           bool         // this node leads the job, or the job is final; so this node describes it to others
	SubmittedHere bool         // the job was submitted on this node, and this daemon knows of that
}

// leads reports whether this node describes the job to others, because it leads the job or the job is final.
func (j *Job) leads() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Led
}

// ledSince is when the job was submitted, and whether this node describes it to others.
func (j *Job) ledSince() (time.Time, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Status.Submitted, j.s.Led
}

// homeNow is the node that leads the job now, empty while none is known.
func (j *Job) homeNow() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Home
}

// own reports whether the job was submitted on this node. The caller holds mu.
func (j *Job) own() bool {
	return j.s.SubmittedHere || (j.s.Desc != nil && j.s.Desc.Submitter == j.self)
}

// isOwn is own for callers that do not hold mu.
func (j *Job) isOwn() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.own()
}

// submitter is the member that submitted the job, empty if it is not known.
func (j *Job) submitter() tasks.PeerID {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.submitterHeld()
}

// submitterHeld is submitter for callers that hold mu.
func (j *Job) submitterHeld() tasks.PeerID {
	switch {
	case j.s.Desc != nil && j.s.Desc.Submitter != "":
		return j.s.Desc.Submitter
	case j.s.SubmittedHere:
		return j.self
	}
	return j.s.Status.Submitter
}
