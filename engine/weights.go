package engine

import (
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/tasks"
)

// MaxDescribed bounds the memory that the descriptions of one submitter's jobs take here together, as the node
// reckons it: one that announces many jobs, or large ones, leaves memory to the others. It has room for one job with as
// long a description as there may be, or for a dozen jobs of 100,000 files with long names.
const MaxDescribed = 512 << 20

// ErrHeavy is the error of a description for which there is no room beside those of its submitter's other jobs.
var ErrHeavy = errors.New("no room")

// weighed is a description that is in memory here, or on its way: bytes of memory, and of whose bound.
type weighed struct {
	by    tasks.PeerID
	bytes int64
}

// Room has the description of a job, that a member has handed out or is about to, take so much of its submitter's room,
// until the job is forgotten. The error is under ErrHeavy if there is none; it is there once others of its jobs have
// ended.
func (p *Peer) Room(id tasks.JobID, submitter tasks.PeerID, bytes int64) error {
	j := p.job(id)
	if j == nil {
		return errors.New("nobody announces it any more")
	}
	others, n := int64(0), 0
	for _, o := range p.jobs {
		if o != j && o.prep.weighed.by == submitter {
			others, n = others+o.prep.weighed.bytes, n+1
		}
	}
	if others+bytes > MaxDescribed {
		return fmt.Errorf(
			"%w: it takes some %d MB of memory here, and the descriptions of %d other jobs of %s %d MB; "+
				"all together may take %d MB",
			ErrHeavy,
			bytes>>20,
			n,
			submitter,
			others>>20,
			MaxDescribed>>20,
		)
	}
	if j.prep.weighed.by == submitter {
		bytes = max(bytes, j.prep.weighed.bytes) // another hands it out, too
	}
	j.prep.weighed = weighed{submitter, bytes}
	return nil
}

// weigh has the description of a job that was here before it could be asked about take its submitter's room.
func (j *jobState) weigh(desc *tasks.Job) {
	n := weightOf(desc.Data.Files) + filePart*int64(len(desc.Bad))
	j.prep.weighed = weighed{desc.Submitter, max(n, j.prep.weighed.bytes)}
}

const filePart = 160 // bytes of a file beside its texts and clusters

// weightOf is what files take in memory, in bytes.
func weightOf(files []tasks.File) int64 {
	const number = 8
	n := filePart * int64(len(files))
	for _, f := range files {
		n += int64(len(f.URL)+len(f.Part)+len(f.UUID)+len(f.Items)+len(f.Data)) + number*int64(len(f.Clusters))
	}
	return n
}

// mayGrow reports whether what a job is to grow by finds room beside its submitter's other jobs. What does not is told
// again, and learned when others of its jobs have ended.
func (p *Peer) mayGrow(j *jobState, by []tasks.Append) bool {
	all := int64(0)
	for _, o := range p.jobs {
		if o == j || o.prep.weighed.by == j.desc.Submitter {
			all += o.prep.weighed.bytes
		}
	}
	for _, a := range by {
		all += weightOf(a.Files)
	}
	return all <= MaxDescribed
}
