package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
)

// freed marks a file that is being deleted.
const freed = ".freed"

// foldBlobs merges partials that are kept here for a job's ledger, and keeps the result with them.
func (d *Daemon) foldBlobs(e engine.FoldBlobs) {
	kids := make([]merge.ID, len(e.Inputs))
	for i, p := range e.Inputs {
		kids[i] = p.ID
	}
	failpoint.Hit(failpoint.FoldBefore)
	out, err := d.tryFold(e)
	if err != nil {
		d.log.Warn("could not merge committed partials; they stay as they are, and it is tried again", "job", e.Job.Short(), "inputs", len(e.Inputs), "reason", err)
		no := engine.NotFolded{Job: e.Job, Kids: kids}
		if store.DiskError(err) != nil {
			no.Here = err.Error()
		}
		d.post(no)
		return
	}
	out.Kids = kids
	failpoint.Hit(failpoint.FoldMade)
	d.post(out)
}

func (d *Daemon) tryFold(e engine.FoldBlobs) (out engine.Folded, err error) {
	j := d.byID(e.Job)
	if j == nil {
		return out, errors.New("the job is over")
	}
	sel, _, err := d.selector(d.ctx, j)
	if err != nil {
		return out, err
	}
	paths := make([]string, len(e.Inputs))
	for i, p := range e.Inputs {
		paths[i] = d.keptPath(e.Job, p)
		if err := store.Verify(paths[i], p.SHA256); err != nil {
			d.log.Error("a committed partial is damaged; it is fetched from another replica, or made again", "job", e.Job.Short(), "reason", err)
			d.blobs.Forget(p.SHA256, paths[i])
			_ = os.Remove(paths[i])
			d.post(engine.BlobDamaged{Job: e.Job, ID: p.ID})
			return out, fmt.Errorf("could not read partial %v: %w", p.ID, err)
		}
	}
	made := filepath.Join(d.ledgerDir(e.Job), durable.TempPrefix+store.PartialName(e.ID)) // under no name yet, for that has its hash
	s, err := sel.Merge(d.ctx, paths, made)
	if err == nil {
		err = durable.Sync(made)
	}
	sha := hex.EncodeToString(s.SHA256[:])
	path := d.keptPath(e.Job, merge.Partial{ID: e.ID, SHA256: sha})
	if err == nil {
		err = os.Rename(made, path)
	}
	if err == nil {
		err = durable.Sync(filepath.Dir(path))
	}
	if err != nil {
		return out, errors.Join(err, durable.RemoveIfThere(made))
	}
	j.addApart(s.Apart)
	d.blobs.Add(sha, path)
	return engine.Folded{Job: e.Job, ID: e.ID, Units: s.Units, Canary: s.Canary, SHA256: sha, Size: s.Size}, nil
}

// freeBlob deletes what is kept for a job's ledger no more; called by the loop alone. It is out of the way when this
// returns, so that it may be kept anew at once.
func (d *Daemon) freeBlob(p merge.Partial) {
	failpoint.Hit(failpoint.FreeBefore)
	d.freeKept(p.SHA256, d.keptPath(p.Job, p))
}

func (d *Daemon) freeKept(hash, path string) {
	d.transfers.Stop(path)
	d.blobs.Forget(hash, path)
	if os.Rename(path, path+freed) == nil { // to delete a large file takes its time
		d.spawn(func() { _ = os.Remove(path + freed) })
	}
}

// sweepBlobs deletes what an earlier life has kept for a job's ledger beside what is still to be there; called by the
// loop alone.
func (d *Daemon) sweepBlobs(e engine.SweepBlobs) {
	keep := map[string]bool{}
	for _, p := range e.Keep {
		keep[d.keptPath(e.Job, p)] = true
	}
	for hash, path := range keptFiles(d.ledgerDir(e.Job)) {
		if !keep[path] {
			d.freeKept(hash, path)
		}
	}
}
