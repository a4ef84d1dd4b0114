package jobs

import (
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/tasks"
)

// FoldBlobs merges committed partials of a job whose blobs are here, and keeps the merge beside them until the ledger
// has it in their place. The engine is told of the merge, or that there is none.
func (r *copies) FoldBlobs(e engine.FoldBlobs) {
	failpoint.Hit(failpoint.FoldBefore)
	m, err := r.tryFold(e)
	if err != nil {
		r.log.Warn("could not merge committed partials; they stay as they are, and it is tried again", "job", e.Job.Short(),
			"inputs", len(e.Inputs), "reason", err)
		no := engine.NotFolded{Job: e.Job, Inputs: merge.IDs(e.Inputs), Failure: worker.AddingFailure(err)}
		if store.DiskError(err) != nil {
			no.Here = err.Error()
		}
		r.loop.Post(no)
		if j := r.book.ByID(e.Job); j != nil && no.Here == "" {
			r.searchAll(j)
		}
		return
	}
	failpoint.Hit(failpoint.FoldMade)
	r.loop.Post(engine.Folded{Partial: m})
}

func (r *copies) tryFold(e engine.FoldBlobs) (out merge.Partial, err error) {
	j := r.book.ByID(e.Job)
	if j == nil {
		return out, errors.New("the job is over")
	}
	paths := make([]string, len(e.Inputs))
	for i, p := range e.Inputs {
		if paths[i], err = r.ledgers.CheckKept(e.Job, p); err != nil {
			r.loop.Post(engine.BlobDamaged{Job: e.Job, ID: p.ID})
			return out, fmt.Errorf("could not read partial %v: %w", p.ID, err)
		}
	}
	var s exec.Partial
	err = r.use(r.ctx, j, func(p exec.Program, desc *tasks.Job) (err error) {
		out, taken := r.ledgers.UnfinishedPath(e.Job, e.ID), j.taken.without()
		if t, ok := p.(exec.MergeTaker); ok && !taken.Empty() {
			s, err = t.MergeWithout(r.ctx, paths, out, taken)
		} else {
			s, err = mergeWith(r.ctx, p, desc, paths, out, false)
		}
		return err
	})
	if err == nil && len(s.Odd) > 0 && r.searchAll(j) {
		err = fmt.Errorf("not all inputs have what was announced of %s", s.Odd[0])
	}
	out = worker.Partial(e.Job, e.ID, e.Inputs, s)
	if err == nil {
		err = r.ledgers.Finish(out)
	} else {
		err = errors.Join(err, durable.RemoveIfThere(r.ledgers.UnfinishedPath(e.Job, e.ID)))
	}
	if err != nil {
		return out, err
	}
	j.addApart(s.Apart)
	return out, nil
}

// FreeBlob deletes the blob of a partial that the job's ledger needs no more. The blob is out of the way when this
// returns, so that the same one may be kept anew at once. Only the engine's loop calls it.
func (r *copies) FreeBlob(p merge.Partial) {
	failpoint.Hit(failpoint.FreeBefore)
	r.ledgers.Free(p)
}
