package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// FetchPartial brings a partial's blob here, if it is not, and returns its path. It compares the blob with its hash,
// since units and canary would not show a flipped bit in a histogram, and a merge of it would get a new hash.
func (r *copies) FetchPartial(ctx context.Context, p merge.Partial) (string, error) {
	path := r.blobs.Partial(p.Job, p.ID)
	err := store.Verify(path, p.SHA256)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, store.ErrDamaged):
		r.log.Error("a partial is damaged; it is fetched once more, or its range runs again", "job", p.Job.Short(),
			"reason", err)
		r.blobs.Forget(p.SHA256, path)
		_ = os.Remove(path)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("could not read partial %v: %w", p.ID, err)
	}
	if p.Holder == r.net.ID() {
		return "", fmt.Errorf("partial %v is not here any more: %w", p.ID, err)
	}
	err = durable.Place(path, func(f *os.File) error {
		_, err := r.net.Fetch(ctx, p.Holder, p.SHA256, min(p.Size, merge.MaxSize), f)
		return err
	})
	if store.DiskError(err) != nil {
		return "", fmt.Errorf("could not write partial %v: %w", p.ID, err)
	}
	if err != nil {
		return "", &unfetched{from: p.Holder, err: fmt.Errorf("could not fetch partial %v from %s: %w", p.ID, p.Holder, err)}
	}
	r.blobs.Add(p.SHA256, path)
	return path, nil
}

// unfetched is the error of a fetch that failed because of the member that was to send the blob.
type unfetched struct {
	from tasks.PeerID
	err  error
}

func (e *unfetched) Error() string { return e.err.Error() }

func (e *unfetched) Unwrap() error { return e.err }

// A merge on this node only helps the home, which could merge the inputs itself. So the other inputs do not wait long
// for one that comes slowly: fetching it may take mergeWait, and besides as long as it takes at mergePace.
const (
	mergeWait = 5 * time.Second
	mergePace = 256 << 10 // bytes a second
)

// fetchInput is FetchPartial for an input of a merge on this node, within bounded time.
func (r *copies) fetchInput(p merge.Partial) (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx,
		mergeWait+time.Duration(float64(max(p.Size, 0))/mergePace*float64(time.Second)))
	defer cancel()
	return r.FetchPartial(ctx, p)
}

// FetchBlob brings the blob of an offered partial to the disk of this node, which is the job's home, and counts units
// and canary in it. The engine is told of the outcome.
func (r *copies) FetchBlob(e engine.FetchBlob) {
	p := e.Partial
	path, err := r.ledgers.Keep(p, e.Sources)
	if err == nil {
		var units int64
		var canary uint64
		if units, canary, err = r.counted(p.Job, path); err == nil {
			r.loop.Post(engine.Stored{Partial: p, Units: units, Canary: canary, Seq: e.Seq})
			return
		}
	}
	r.log.Warn("could not store a partial", "job", p.Job.Short(), "reason", err)
	out := engine.NotStored{Partial: p, Slow: errors.Is(err, p2p.ErrSlow), Seq: e.Seq}
	if here := store.DiskError(err); here != nil {
		out.Here = here.Error()
	} else if errors.Is(err, exec.ErrFlawed) {
		out.Flaw = why(strings.ReplaceAll(err.Error(), path, "it"))
	}
	r.loop.Post(out)
}

// MergeBlobs merges partials on this node, as the engine has ordered, and tells the engine of the outcome.
func (r *copies) MergeBlobs(e engine.MergeBlobs) {
	failpoint.Hit(failpoint.MergeBefore)
	s, err := r.tryMerge(e)
	if err != nil {
		r.log.Warn("could not merge partials", "job", e.Job.Short(), "inputs", len(e.Inputs), "reason", err)
		out := engine.NotMerged{Job: e.Job, Kids: merge.IDs(e.Inputs), Failure: worker.AddingFailure(err)}
		var late *unfetched
		if errors.As(err, &late) {
			out.Holder = late.from
		}
		r.loop.Post(out)
		return
	}
	m := worker.Partial(e.Job, e.ID, e.Inputs, s)
	r.blobs.Add(m.SHA256, s.Path)
	failpoint.Hit(failpoint.MergeAfter)
	r.loop.Post(engine.Merged{Partial: m})
}

func (r *copies) tryMerge(e engine.MergeBlobs) (exec.Partial, error) {
	j := r.book.ByID(e.Job)
	if j == nil {
		return exec.Partial{}, errors.New("the job is over")
	}
	var err error
	paths := make([]string, len(e.Inputs))
	for i, p := range e.Inputs {
		if paths[i], err = r.fetchInput(p); err != nil {
			return exec.Partial{}, err
		}
	}
	var s exec.Partial
	out := r.blobs.Partial(e.Job, e.ID)
	err = r.use(r.ctx, j, func(p exec.Program, desc *tasks.Job) (err error) {
		s, err = mergeWith(r.ctx, p, desc, paths, out, false)
		return err
	})
	if err == nil && len(s.Odd) > 0 { // the home is to find out which of them is
		err = errors.Join(fmt.Errorf("not all inputs have what was announced of %s", s.Odd[0]), os.Remove(out))
	}
	if err == nil {
		j.addApart(s.Apart)
	}
	return s, err
}

// mergeWith merges partials of a job, with what its generations were told.
func mergeWith(ctx context.Context, p exec.Program, desc *tasks.Job, inputs []string, out string, strict bool) (
	exec.Partial, error,
) {
	ahead, ok := p.(exec.Foreseer)
	if hints, known := hintsOf(desc); known && ok {
		return ahead.MergeForeseen(ctx, inputs, out, hints, strict)
	}
	return p.Merge(ctx, inputs, out)
}

// hintsOf is what the generations of a job were told; false if among its partials are those of an earlier job, whose
// generations may have been told something else.
func hintsOf(desc *tasks.Job) ([]byte, bool) {
	if desc == nil || desc.Ask.Again != nil {
		return nil, false
	}
	return desc.Hints, true
}

// hints is hintsOf the job.
func (j *Job) hints() ([]byte, bool) {
	_, desc := j.Prepared()
	if desc == nil {
		j.mu.Lock()
		desc = j.s.Desc
		j.mu.Unlock()
	}
	return hintsOf(desc)
}

// counted reads units and canary from the blob of a partial, for which the kind of the job must be known here.
func (r *copies) counted(id tasks.JobID, path string) (units int64, canary uint64, err error) {
	var desc *tasks.Job
	if c := r.ledgers.Of(id); c != nil {
		desc = c.Job
	} else if j := r.book.ByID(id); j != nil {
		_, desc = j.Prepared()
	}
	if desc == nil {
		return 0, 0, ErrOver
	}
	return r.runtimes.Counted(desc.Work.Kind, path)
}
