package jobs

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// MakeCopy makes a copy of a ledger from what another member, or this node, has of the job.
func (r *Room) MakeCopy(e engine.FoundLedger) (*store.Copy, error) {
	c, err := r.ledgers.MakeFolder(e.ID)
	if err != nil {
		return nil, fmt.Errorf("could not make folder of ledger: %w", err)
	}
	if err := r.FillCopy(c, e.From); err != nil {
		return nil, err
	}
	return c, r.ledgers.Begin(c, e.Log)
}

// FillCopy brings signature, description and sources here, durably.
func (r *Room) FillCopy(c *store.Copy, from tasks.PeerID) (err error) {
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
	for _, s := range c.Job.Work.Kept() {
		if _, err = r.bring(s.SHA256, c.ID, from, s.Size, c.ShipPath(s.SHA256)); err != nil {
			return err
		}
	}
	return r.bringItems(c, from)
}

// bring has a blob of a job at path, durably, and returns its bytes. It is here already where from is empty.
func (r *Room) bring(hash string, id tasks.JobID, from tasks.PeerID, limit int64, path string) ([]byte, error) {
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
	default: // to disk first: only bytes that are what their hash says come into memory
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

// KeepBlob keeps a partial for the job's home on another node.
func (r *Room) KeepBlob(e engine.KeepBlob) {
	if r.tricks.Boasts() {
		r.loop.Post(engine.BlobKept{Asked: e, OK: true})
		return
	}
	if r.ledgers.Keeping(e.Partial) {
		return // the home asks again; what is under way is answered
	}
	_, err := r.ledgers.Keep(e.Partial, append([]tasks.PeerID{e.To}, e.Sources...))
	if err != nil {
		r.log.Warn("could not keep a partial", "job", e.Partial.Job.Short(), "reason", err)
	}
	failpoint.Hit(failpoint.BlobAfterSync)
	r.loop.Post(engine.BlobKept{Asked: e, OK: err == nil, Full: store.DiskError(err) != nil})
}

// KeepResult keeps a job's result for its home on another node.
func (r *Room) KeepResult(e engine.KeepResult) {
	err := r.BringResult(e)
	if err != nil {
		r.log.Warn("could not keep a job's result", "job", e.ID.Short(), "reason", err)
	}
	r.loop.Post(engine.ResultKept{Asked: e, OK: err == nil, Full: store.DiskError(err) != nil})
}

// BringResult has a job's result here, durably, unless it must not take the place of what is kept by its name.
func (r *Room) BringResult(e engine.KeepResult) error {
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

// mayKeep says why a result that a job's home wants kept is not, if so: it would take the place of another job's, or of
// one that is proven.
func (r *Room) mayKeep(name string, submitter tasks.PeerID, e engine.KeepResult) error {
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

// HomeIs follows a job to its home; called by the loop alone.
func (r *Room) HomeIs(e engine.HomeIs) {
	j, c := r.book.ByID(e.ID), r.ledgers.Of(e.ID)
	if j == nil && c != nil && e.Home == r.net.ID() {
		j = r.book.OfCopy(c)
	}
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.s.Home
	j.s.Home = e.Home
	switch leads := e.Home == r.net.ID(); {
	case leads && !j.s.Led:
		r.log.Info("leads a job now", "job", api.Short(j.Name), "term", e.Term)
		j.s.Led = true
		if c != nil {
			j.describedBy(c, r.book.Whole(c.ID, c.Job))
		}
		j.s.Status.Home, j.s.Status.HomeName, j.s.Status.State, j.s.Status.Phase = e.Home, r.net.Name(), api.Running, ""
		if owner := j.submitterHeld(); r.cluster.MayNoMore(owner) {
			r.spawn(func() { r.stopOne(e.ID, owner) }) // the loop must not wait for itself
		}
	case !leads && j.s.Led && !j.s.Status.State.Final():
		r.log.Warn("leads a job no longer", "job", api.Short(j.Name), "home", e.Home, "term", e.Term)
		j.s.Led, j.s.Concluding = false, false
	case was != e.Home && e.Home != "":
		r.log.Info("a job has another home", "job", api.Short(j.Name), "home", e.Home, "term", e.Term)
	}
	if !j.s.Status.State.Final() {
		j.s.Status.Term = e.Term
	}
}

// describedBy fills in what a job's users are told, from its description, which is given with all that it has grown by;
// j.mu is held.
func (j *Job) describedBy(c *store.Copy, desc *tasks.Job) {
	if !j.s.Running.IsZero() && j.s.Status.ID != "" {
		return
	}
	ask := c.Job.Ask
	if j.s.Running = ask.Begun; j.s.Running.IsZero() || time.Since(j.s.Running) < 0 {
		j.s.Running = time.Now() // clocks differ
	}
	if j.s.Desc = desc; j.s.Status.ID != "" {
		return // it was submitted here, and of the rest more is known than its description says
	}
	j.s.Req = requestOf(c.Job)
	j.s.Status = api.JobStatus{
		ID: j.Name, Kind: c.Job.Work.Kind, Title: filepath.Base(ask.Title), Submitted: ask.Submitted,
		Files: len(desc.Data.Files) + len(desc.Bad), Units: desc.Want.Len(), Output: ask.Output,
	}
}
