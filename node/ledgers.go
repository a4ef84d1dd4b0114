package node

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
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

func (d *Daemon) ledgersDir() string { return api.LedgersDir(d.cfg.StateDir) }

// openStore makes the view of the cluster, and what keeps this node's copies of ledgers, once the node has its network.
func (d *Daemon) openStore() {
	d.cluster = members.New(d.net, d.spawn, d.log)
	d.asides = &store.Asides{
		Dir:       filepath.Join(d.cfg.StateDir, "superseded"),
		Blobs:     d.blobs,
		KeepFor:   d.cfg.KeepFor,
		KeepBytes: d.cfg.KeepBytes,
		Log:       d.log,
	}
	d.results = &store.Results{
		Dir:     api.JobsDir(d.cfg.StateDir),
		EndsDir: filepath.Join(d.cfg.StateDir, "ends"),
		Blobs:   d.blobs,
		Log:     d.log,
	}
	d.ledgers = store.NewLedgers(d.ctx, store.LedgersConfig{
		Dir:     d.ledgersDir(),
		Blobs:   d.blobs,
		Asides:  d.asides,
		Fetcher: d.net,
		Log:     d.log,
		Written: d.ledgerWritten,
	})
	d.book = NewBook(d.ctx, d.net.ID(), d.cfg.KeepJobs, d.ledgers, d.results)
	d.ages = &store.Ages{KeepFor: d.cfg.KeepFor, Log: d.log}
}

// ledgerWritten tells the engine that a write of a ledger's log was carried out, or why not.
func (d *Daemon) ledgerWritten(id tasks.JobID, seq uint64, err error) {
	out := engine.Written{ID: id, Seq: seq}
	if err != nil {
		out.Reason = err.Error()
	}
	d.post(out)
}

// foundLedger makes a copy of a ledger here and tells the engine.
func (d *Daemon) foundLedger(e engine.FoundLedger) {
	out := engine.Founded{ID: e.ID, Voter: e.Log.Self.ID}
	make := d.makeCopy
	switch {
	case e.Aside:
		make = d.recoverAside
	case e.Log.Snapshot != nil:
		make = func(e engine.FoundLedger) (*store.Copy, error) { return d.ledgers.Recover(e.ID, e.Log) }
	}
	c, err := make(e)
	if err != nil {
		d.log.Warn("could not keep a copy of a job's ledger", "job", e.ID.Short(), "reason", err)
		out.Reason = err.Error()
	} else {
		out.Job = c.Job
	}
	d.post(out)
}

// makeCopy makes a copy of a ledger from what another member, or this node, has of the job.
func (d *Daemon) makeCopy(e engine.FoundLedger) (*store.Copy, error) {
	c, err := d.ledgers.MakeFolder(e.ID)
	if err != nil {
		return nil, fmt.Errorf("could not make folder of ledger: %w", err)
	}
	if err := d.fillCopy(c, e.From); err != nil {
		return nil, err
	}
	return c, d.ledgers.Begin(c, e.Log)
}

// restoreLedgers opens the copies of earlier lives, for the engine.
func (d *Daemon) restoreLedgers() (out []engine.Restore) {
	for _, r := range d.ledgers.Restore() {
		out = append(out, engine.Restore{ID: r.ID, Job: r.Job, Log: r.Log})
	}
	return out
}

// dropLedger gives a copy up, and forgets the job if the engine has none any more: its end here was told before that of
// its ledger, which made it known again. Called by the loop alone.
func (d *Daemon) dropLedger(e engine.DropLedger) {
	if _, known := d.peer.Jobs()[e.ID]; !known {
		d.book.Over(e.ID)
	}
	c := d.ledgers.Of(e.ID)
	switch {
	case c == nil:
	case e.Superseded != nil:
		err := d.ledgers.Supersede(e.ID, *e.Superseded)
		d.log.Warn("gave up the copy of a job's ledger and put it aside: dtpnode recover "+api.Short(c.Name())+" --superseded goes on from it",
			"job", e.ID.Short(), "reason", e.Reason, "dir", d.asides.FolderOf(c.Name(), *e.Superseded), "kept for", d.cfg.KeepFor)
		if err != nil {
			d.log.Error("could not put the copy of a job's ledger aside", "dir", c.Dir, "reason", err)
		}
	case e.Reason != "":
		d.log.Error("gave up the copy of a job's ledger; another takes its place", "job", e.ID.Short(), "reason", e.Reason)
		d.ledgers.DropFailed(e.ID)
	default:
		d.ledgers.Drop(e.ID)
	}
	if d.book.ByID(e.ID) == nil {
		d.book.growths.forget(e.ID)
	}
}

// fillCopy brings signature, description and sources here, durably.
func (d *Daemon) fillCopy(c *store.Copy, from tasks.PeerID) (err error) {
	if from == "" {
		c.Signature, err = d.signatureOf(d.book.ByID(c.ID))
	} else {
		c.Signature, err = d.askSignature(d.ctx, c.ID, from)
	}
	if err != nil {
		return err
	}
	body, err := d.bring(string(c.ID), c.ID, from, c.Signature.Size, c.BodyPath())
	if err != nil {
		return err
	}
	if c.Job, err = d.sharedJob(c.ID, body, c.Signature); err != nil {
		return err
	}
	if err := d.mayBeNamed(c.ID, c.Job); err != nil {
		d.ledgers.Remove(c.Dir)
		return err
	}
	for _, s := range c.Job.Work.Kept() {
		if _, err = d.bring(s.SHA256, c.ID, from, s.Size, c.ShipPath(s.SHA256)); err != nil {
			return err
		}
	}
	return nil
}

// bring has a blob of a job at path, durably, and returns its bytes. It is here already where from is empty.
func (d *Daemon) bring(hash string, id tasks.JobID, from tasks.PeerID, limit int64, path string) ([]byte, error) {
	if b, err := os.ReadFile(path); err == nil && store.HashOf(b) == hash {
		d.blobs.Add(hash, path)
		return b, nil
	}
	b, here := d.blobs.Read(hash)
	var err error
	switch {
	case here:
		err = durable.PlaceSynced(path, durable.Bytes(b))
	case from == "":
		return nil, fmt.Errorf("could not find blob %s here", hash)
	default: // to disk first: only bytes that are what their hash says come into memory
		err = d.askAround(id, from, hash, func(from tasks.PeerID) error {
			return durable.PlaceSynced(path, func(f *os.File) error {
				_, err := d.net.Fetch(d.ctx, from, hash, limit, f)
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
	d.blobs.Add(hash, path)
	return b, nil
}

// keepBlob keeps a partial for the job's home on another node.
func (d *Daemon) keepBlob(e engine.KeepBlob) {
	if d.boasts() {
		d.post(engine.BlobKept{Asked: e, OK: true})
		return
	}
	if d.ledgers.Keeping(e.Partial) {
		return // the home asks again; what is under way is answered
	}
	_, err := d.ledgers.Keep(e.Partial, append([]tasks.PeerID{e.To}, e.Sources...))
	if err != nil {
		d.log.Warn("could not keep a partial", "job", e.Partial.Job.Short(), "reason", err)
	}
	failpoint.Hit(failpoint.BlobAfterSync)
	d.post(engine.BlobKept{Asked: e, OK: err == nil, Full: store.DiskError(err) != nil})
}

// keepResult keeps a job's result for its home on another node.
func (d *Daemon) keepResult(e engine.KeepResult) {
	err := d.bringResult(e)
	if err != nil {
		d.log.Warn("could not keep a job's result", "job", e.ID.Short(), "reason", err)
	}
	d.post(engine.ResultKept{Asked: e, OK: err == nil, Full: store.DiskError(err) != nil})
}

func (d *Daemon) bringResult(e engine.KeepResult) error {
	name, submitter := "", ""
	if c := d.ledgers.Of(e.ID); c != nil {
		name, submitter = c.Name(), c.Job.Submitter
	} else if j := d.book.ByID(e.ID); j != nil {
		name, submitter = j.name, j.submitter()
	}
	if name == "" {
		return errOver
	}
	if err := d.mayKeep(name, submitter, e); err != nil {
		return err
	}
	path := d.results.Path(name)
	if store.Verify(path, e.Result.SHA256) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := durable.PlaceSynced(path, func(f *os.File) error {
		_, err := d.net.Fetch(d.ctx, e.To, e.Result.SHA256, min(e.Result.Size, merge.MaxSize), f)
		return err
	})
	if err != nil {
		return err
	}
	d.blobs.Add(e.Result.SHA256, path)
	return nil
}

// mayKeep says why a result that a job's home wants kept is not, if so: it would take the place of another job's, or of
// one that is proven.
func (d *Daemon) mayKeep(name string, submitter tasks.PeerID, e engine.KeepResult) error {
	if err := d.keepsFor(name, e.ID, submitter); err != nil {
		return err
	}
	end, err := d.results.End(name)
	if err != nil || end.Ended.Seal == nil {
		return nil
	}
	if r := end.Ended.Result; end.ID != e.ID || r != nil && r.SHA256 != e.Result.SHA256 {
		return fmt.Errorf("job %s: another result is kept under its name, and the end with that is proven", e.ID.Short())
	}
	return nil
}

// homeIs follows a job to its home; called by the loop alone.
func (d *Daemon) homeIs(e engine.HomeIs) {
	j, c := d.book.ByID(e.ID), d.ledgers.Of(e.ID)
	if j == nil && c != nil && e.Home == d.net.ID() {
		j = d.book.OfCopy(c)
	}
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	was := j.home
	j.home = e.Home
	switch leads := e.Home == d.net.ID(); {
	case leads && !j.led:
		d.log.Info("leads a job now", "job", api.Short(j.name), "term", e.Term)
		j.led = true
		if c != nil {
			j.describedBy(c, d.book.growths.whole(c.ID, c.Job))
		}
		j.status.Home, j.status.HomeName, j.status.State, j.status.Phase = e.Home, d.net.Name(), api.Running, ""
		if owner := j.submitterHeld(); d.cluster.MayNoMore(owner) {
			d.spawn(func() { d.stopOne(e.ID, owner) }) // the loop must not wait for itself
		}
	case !leads && j.led && !j.status.State.Final():
		d.log.Warn("leads a job no longer", "job", api.Short(j.name), "home", e.Home, "term", e.Term)
		j.led, j.concluding = false, false
	case was != e.Home && e.Home != "":
		d.log.Info("a job has another home", "job", api.Short(j.name), "home", e.Home, "term", e.Term)
	}
	if !j.status.State.Final() {
		j.status.Term = e.Term
	}
}

// describedBy fills in what a job's users are told, from its description, which is given with all that it has grown by;
// j.mu is held.
func (j *job) describedBy(c *store.Copy, desc *tasks.Job) {
	if j.status.ID != "" {
		return // it was submitted here
	}
	ask := c.Job.Ask
	j.desc, j.req = desc, requestOf(c.Job)
	if j.running = ask.Begun; j.running.IsZero() || time.Since(j.running) < 0 {
		j.running = time.Now() // clocks differ
	}
	j.status = api.JobStatus{
		ID: j.name, Kind: c.Job.Work.Kind, Title: filepath.Base(ask.Title), Submitted: ask.Submitted,
		Files: len(desc.Data.Files) + len(desc.Bad), Units: desc.Want.Len(), Output: ask.Output,
	}
}
