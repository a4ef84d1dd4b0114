package jobs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// copies fetches and keeps what this node's copies of ledgers need: descriptions, sources, items, partials and results.
type copies struct {
	*base
	*descriptions
	*programs

	searching    sync.Mutex         // held while partials are looked for that cannot be merged
	itemsComing  singleflight.Group // blobs of items that are being brought, by their paths
	itemsLacking lackingItems
}

// MakeCopy makes a copy of a job's ledger. Description and sources come from the member e.From or, if that is empty,
// from this node.
func (r *copies) MakeCopy(e engine.FoundLedger) (*store.Copy, error) {
	c, err := r.ledgers.MakeFolder(e.ID)
	if err != nil {
		return nil, fmt.Errorf("could not make folder of ledger: %w", err)
	}
	if err := r.FillCopy(c, e.From); err != nil {
		return nil, err
	}
	return c, r.ledgers.Begin(c, e.Log)
}

// FillCopy puts signature, description and sources into the folder of a copy, durably. They come from a member or, if
// from is empty, from this node.
func (r *copies) FillCopy(c *store.Copy, from tasks.PeerID) (err error) {
	if from == "" {
		c.Signature, err = r.signatureOf(r.book.ByID(c.ID))
	} else {
		c.Signature, err = r.askSignature(r.ctx, c.ID, from)
	}
	if err != nil {
		return err
	}
	body, err := r.bring(string(c.ID), c.ID, from, c.Signature.Size, c.BodyPath())
	if err != nil {
		return err
	}
	if c.Job, err = r.sharedJob(c.ID, body, c.Signature); err != nil {
		return err
	}
	if err := r.mayBeNamed(c.ID, c.Job); err != nil {
		r.ledgers.Remove(c.Dir)
		return err
	}
	for _, s := range c.Job.Kept() {
		if err = r.bringFile(c.ID, from, s, c.ShipPath(s.SHA256)); err != nil {
			return err
		}
	}
	return r.bringItems(c, from)
}

// bring puts a blob of a job at path, durably, and returns its bytes. If from is empty the blob must be on this node.
func (r *copies) bring(hash string, id tasks.JobID, from tasks.PeerID, limit int64, path string) ([]byte, error) {
	if b, err := os.ReadFile(path); err == nil && store.HashOf(b) == hash {
		r.blobs.Add(hash, path)
		return b, nil
	}
	b, here := r.blobs.Read(hash)
	var err error
	switch {
	case here:
		err = durable.PlaceSynced(path, durable.Bytes(b))
	case from == "":
		return nil, fmt.Errorf("could not find blob %s here", hash)
	default: // fetched to disk first, so that only bytes with the right hash are read into memory
		err = r.askAround(id, from, hash, func(from tasks.PeerID) error {
			return durable.PlaceSynced(path, func(f *os.File) error {
				_, err := r.net.Fetch(r.ctx, from, hash, limit, f)
				return err
			})
		})
		if err == nil {
			b, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, err
	}
	r.blobs.Add(hash, path)
	return b, nil
}

// bringFile puts a blob that a job ships at path, durably and without holding it in memory. If from is empty the blob
// must be on this node.
func (r *copies) bringFile(id tasks.JobID, from tasks.PeerID, s tasks.Ship, path string) error {
	if store.Verify(path, s.SHA256) == nil {
		r.blobs.Add(s.SHA256, path)
		return nil
	}
	err := r.placeShip(r.ctx, id, from, s, path)
	if err == nil {
		err = errors.Join(durable.Sync(path), durable.Sync(filepath.Dir(path)))
	}
	if err != nil {
		return err
	}
	r.blobs.Add(s.SHA256, path)
	return nil
}

// KeepBlob keeps a partial for the job's home, which is another node, and tells the engine of the outcome.
func (r *copies) KeepBlob(e engine.KeepBlob) {
	if r.tricks.Boasts() {
		r.loop.Post(engine.BlobKept{Asked: e, OK: true})
		return
	}
	if r.ledgers.Keeping(e.Partial) {
		return // the home has repeated its request, which is answered when the transfer that is under way ends
	}
	_, err := r.ledgers.Keep(e.Partial, append([]tasks.PeerID{e.To}, e.Sources...))
	if err != nil {
		r.log.Warn("could not keep a partial", "job", e.Partial.Job.Short(), "reason", err)
	}
	failpoint.Hit(failpoint.BlobAfterSync)
	r.loop.Post(engine.BlobKept{Asked: e, OK: err == nil, Full: store.DiskError(err) != nil})
}

// KeepResult keeps a job's result for its home, which is another node, and tells the engine of the outcome.
func (r *copies) KeepResult(e engine.KeepResult) {
	err := r.BringResult(e)
	if err != nil {
		r.log.Warn("could not keep a job's result", "job", e.ID.Short(), "reason", err)
	}
	r.loop.Post(engine.ResultKept{Asked: e, OK: err == nil, Full: store.DiskError(err) != nil})
}

// BringResult fetches a job's result, durably, unless it would replace what is kept under the job's name and must stay.
func (r *copies) BringResult(e engine.KeepResult) error {
	name, submitter := "", ""
	if c := r.ledgers.Of(e.ID); c != nil {
		name, submitter = c.Name(), c.Job.Submitter
	} else if j := r.book.ByID(e.ID); j != nil {
		name, submitter = j.Name, j.submitter()
	}
	if name == "" {
		return ErrOver
	}
	if err := r.mayKeep(name, submitter, e); err != nil {
		return err
	}
	path := r.results.Path(name)
	if store.Verify(path, e.Result.SHA256) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := durable.PlaceSynced(path, func(f *os.File) error {
		_, err := r.net.Fetch(r.ctx, e.To, e.Result.SHA256, min(e.Result.Size, merge.MaxSize), f)
		return err
	})
	if err != nil {
		return err
	}
	r.blobs.Add(e.Result.SHA256, path)
	return nil
}

// mayKeep returns an error if a result must not be kept as a job's home wants, because it would replace the result of
// another job, or one that is proven.
func (r *copies) mayKeep(name string, submitter tasks.PeerID, e engine.KeepResult) error {
	if err := r.keepsFor(name, e.ID, submitter); err != nil {
		return err
	}
	end, err := r.results.End(name)
	if err != nil || end.Ended.Seal == nil {
		return nil
	}
	if kept := end.Ended.Result; end.ID != e.ID || kept != nil && kept.SHA256 != e.Result.SHA256 {
		return fmt.Errorf("job %s: another result is kept under its name, and the end with that is proven", e.ID.Short())
	}
	return nil
}
