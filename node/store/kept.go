package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// KeptPath is where a partial is kept for a job's home. The path has the partial's hash, so that after a restart others
// can fetch it before this node has read the ledger.
func (l *Ledgers) KeptPath(id tasks.JobID, p merge.Partial) string {
	return filepath.Join(l.FolderOf(id), keptName(p))
}

func keptName(p merge.Partial) string {
	hash := p.SHA256
	if !IsHash(hash) {
		hash = HashOf([]byte(hash)) // there is no such file, but no path is made from text that another member has sent
	}
	return PartialName(p.ID) + "." + hash
}

// UnfinishedPath is where a partial that is to be kept is made, before its hash is known.
func (l *Ledgers) UnfinishedPath(id tasks.JobID, p merge.ID) string {
	return filepath.Join(l.FolderOf(id), durable.TempPrefix+PartialName(p))
}

// Finish puts a partial that was made at UnfinishedPath among those that are kept, durably. On an error nothing is left
// of it.
func (l *Ledgers) Finish(p merge.Partial) error {
	made, path := l.UnfinishedPath(p.Job, p.ID), l.KeptPath(p.Job, p)
	err := durable.Sync(made)
	if err == nil {
		err = os.Rename(made, path)
	}
	if err == nil {
		err = durable.Sync(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(err, durable.RemoveIfThere(made))
	}
	l.Blobs.Add(p.SHA256, path)
	return nil
}

// keptFiles are the partials that are kept in the folder of a copy, with their hashes.
func keptFiles(dir string) iter.Seq2[string, string] {
	files, _ := filepath.Glob(filepath.Join(dir, "*-*.*"))
	return func(yield func(hash, path string) bool) {
		for _, file := range files {
			if hash := strings.TrimPrefix(filepath.Ext(file), "."); IsHash(hash) && !yield(hash, file) {
				return
			}
		}
	}
}

// Keeping reports whether a partial that is to be kept is on its way here.
func (l *Ledgers) Keeping(p merge.Partial) bool { return l.transfers.running(l.KeptPath(p.Job, p)) }

// Keep fetches a partial from its holder, or else from one of sources, keeps it durably for its job, and returns its
// path. If the file is there already, it is compared with its hash once after each start of the daemon.
func (l *Ledgers) Keep(p merge.Partial, sources []tasks.PeerID) (string, error) {
	path := l.KeptPath(p.Job, p)
	if l.Blobs.Has(p.SHA256, path) && SizeOf(path) == p.Size {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("could not make folder of partial %v: %w", p.ID, err)
	}
	switch err := Verify(path, p.SHA256); {
	case err == nil:
		l.Blobs.Add(p.SHA256, path)
		return path, nil
	case errors.Is(err, ErrDamaged):
		l.Log.Error("a partial that is kept here is damaged; it is fetched from another replica, or made again",
			"job", p.Job.Short(), "reason", err)
		l.Blobs.Forget(p.SHA256, path)
	}
	err := l.transfers.bring(l.ctx, path, func(ctx context.Context) error { return l.bring(ctx, p, sources, path) })
	if err != nil {
		return "", fmt.Errorf("could not keep partial %v: %w", p.ID, err)
	}
	return path, nil
}

// bring copies a partial to path from its holder, or else from one of sources. It gives up when this node's disk fails,
// since no other source would help then.
func (l *Ledgers) bring(ctx context.Context, p merge.Partial, sources []tasks.PeerID, path string) (errs error) {
	for _, from := range append([]tasks.PeerID{l.Fetcher.ID(), p.Holder}, sources...) {
		err := l.copyPartial(ctx, p, from, path)
		if err == nil {
			l.Blobs.Add(p.SHA256, path)
			return nil
		}
		if errs = errors.Join(errs, err); DiskError(err) != nil || ctx.Err() != nil {
			break
		}
	}
	return errs
}

// copyPartial copies a partial to path from one node, which may be this one: then it comes from the scratch folder, by
// a hard link if both folders are on one file system.
func (l *Ledgers) copyPartial(ctx context.Context, p merge.Partial, from tasks.PeerID, path string) error {
	here := from == l.Fetcher.ID()
	if here && l.linkOwn(p, path) == nil {
		failpoint.Hit(failpoint.BlobBeforeSync)
		return errors.Join(durable.Sync(path), durable.Sync(filepath.Dir(path)))
	}
	err := durable.PlaceSynced(path, func(out *os.File) (err error) {
		if here {
			err = CopyVerified(out, l.Blobs.Partial(p.Job, p.ID), p.SHA256)
		} else {
			_, err = l.Fetcher.Fetch(ctx, from, p.SHA256, min(p.Size, merge.MaxSize), out)
		}
		failpoint.Hit(failpoint.BlobBeforeSync)
		return err
	})
	if err != nil {
		return fmt.Errorf("from %s: %w", from, err)
	}
	return nil
}

// linkOwn gives a partial that was made here the second name path, if it is what its hash says.
func (l *Ledgers) linkOwn(p merge.Partial, path string) error {
	from := l.Blobs.Partial(p.Job, p.ID)
	if !l.Blobs.Sound(p.SHA256, from) {
		return ErrDamaged
	}
	return Link(from, path)
}

// CheckKept compares a partial that is kept with its hash. If the file is damaged or missing, CheckKept removes it, so
// that it can be fetched or made again, and returns an error.
func (l *Ledgers) CheckKept(id tasks.JobID, p merge.Partial) (path string, err error) {
	path = l.KeptPath(id, p)
	if err = Verify(path, p.SHA256); err != nil {
		l.Log.Error("a committed partial is damaged; it is fetched from another replica, or made again",
			"job", id.Short(), "reason", err)
		l.Blobs.Forget(p.SHA256, path)
		_ = os.Remove(path)
	}
	return path, err
}

// Free deletes a partial that the job's ledger needs no more. The file is out of the way when Free returns, so that the
// same partial may be kept anew at once.
func (l *Ledgers) Free(p merge.Partial) { l.free(p.SHA256, l.KeptPath(p.Job, p)) }

func (l *Ledgers) free(hash, path string) {
	l.transfers.stop(path)
	l.Blobs.Forget(hash, path)
	if os.Rename(path, path+freedMark) == nil { // deleting a large file takes long, so it is done in another goroutine
		l.spawn(func() { _ = os.Remove(path + freedMark) })
	}
}

// Sweep deletes the partials that are kept for a job's ledger from before a restart, except for those in still.
func (l *Ledgers) Sweep(id tasks.JobID, still []merge.Partial) {
	keep := map[string]bool{}
	for _, p := range still {
		keep[l.KeptPath(id, p)] = true
	}
	for hash, path := range keptFiles(l.FolderOf(id)) {
		if !keep[path] {
			l.free(hash, path)
		}
	}
}
