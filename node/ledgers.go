package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// ledgerCopy is this node's copy of a job's ledger, in the folder ledgers/JOBID of the state folder:
//
//	journal    the replicated log (package journal); its head's Job is the description's Signature
//	body       the job's description, as it was signed
//	source     the packed sources
//	reserve    room on the disk for the log (reserve.go)
//	HEX-SEQ.SHA256  partials that are kept for the job, as named by store.PartialName
//
// All of it is enough to lead the job, and is on disk before the home is told that it is.
type ledgerCopy struct {
	id        tasks.JobID
	dir       string
	signature store.Signature
	desc      *tasks.Job
	journal   *journal.Journal
	writes    chan engine.WriteLedger // closed by the loop
	done      chan struct{}           // closed when the last write is done
	ending    sync.WaitGroup          // what is written of the job's end before the copy may go
}

// Names in a ledger's folder.
const (
	journalFile = "journal"
	bodyFile    = "body"
	sourceFile  = "source"
)

func (d *Daemon) ledgersDir() string { return api.LedgersDir(d.cfg.StateDir) }

func (d *Daemon) ledgerDir(id tasks.JobID) string { return filepath.Join(d.ledgersDir(), string(id)) }

// keptPath is where a partial is kept for the job's home. Its hash is in the name: after a restart others may ask for
// it before this node has read the ledger.
func (d *Daemon) keptPath(id tasks.JobID, p merge.Partial) string {
	hash := p.SHA256
	if !store.IsHash(hash) {
		hash = store.HashOf([]byte(hash)) // no file is that, and no path made of it
	}
	return filepath.Join(d.ledgerDir(id), store.PartialName(p.ID)+"."+hash)
}

// restoreKept lets others have the partials that a copy of a ledger kept in an earlier life, and removes what was being
// written or deleted when that ended.
func (d *Daemon) restoreKept(dir string) {
	for _, pattern := range []string{durable.TempPrefix + "*", "*" + freed} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, file := range files {
			_ = os.Remove(file)
		}
	}
	for hash, file := range keptFiles(dir) {
		d.blobs.AddUnread(hash, file)
	}
}

// keptFiles are the partials that are kept in a ledger's folder, with their hashes.
func keptFiles(dir string) iter.Seq2[string, string] {
	files, _ := filepath.Glob(filepath.Join(dir, "*-*.*"))
	return func(yield func(hash, path string) bool) {
		for _, file := range files {
			if hash := strings.TrimPrefix(filepath.Ext(file), "."); store.IsHash(hash) && !yield(hash, file) {
				return
			}
		}
	}
}

// ledgerOf is this node's copy of a job's ledger, nil if it has none.
func (d *Daemon) ledgerOf(id tasks.JobID) *ledgerCopy {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copies[id]
}

// foundLedger makes a copy of a ledger here and tells the engine.
func (d *Daemon) foundLedger(e engine.FoundLedger) {
	out := engine.Founded{ID: e.ID, Member: e.Log.Self.ID}
	make := d.makeCopy
	if e.Log.Snapshot != nil {
		make = d.recoverCopy
	}
	if e.Aside {
		make = d.asideCopy
	}
	c, err := make(e)
	if err != nil {
		d.log.Warn("could not keep a copy of a job's ledger", "job", e.ID.Short(), "reason", err)
		out.Reason = err.Error()
	} else {
		out.Job = c.desc
	}
	d.post(out)
}

func (d *Daemon) makeCopy(e engine.FoundLedger) (*ledgerCopy, error) {
	c := &ledgerCopy{id: e.ID, dir: d.ledgerDir(e.ID)}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("could not make folder of ledger: %w", err)
	}
	if err := durable.Sync(filepath.Dir(c.dir)); err != nil {
		return nil, fmt.Errorf("could not make folder of ledger: %w", err)
	}
	if err := d.fillCopy(c, e.From); err != nil {
		return nil, err
	}
	head, err := wire.Marshal(&c.signature)
	if err != nil {
		return nil, err
	}
	d.closeCopy(e.ID) // of an earlier membership
	path := filepath.Join(c.dir, journalFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if c.journal, err = journal.Create(path, journal.Head{Job: head, Self: e.Log.Self, Voters: e.Log.Voters}); err != nil {
		return nil, err
	}
	if e.Log.Hard != (quorum.Hard{}) {
		if err := c.journal.Write(quorum.Write{Hard: e.Log.Hard}); err != nil {
			return nil, errors.Join(err, c.journal.Close())
		}
	}
	d.openCopy(c)
	return c, nil
}

// fillCopy brings signature, description and sources here, durably.
func (d *Daemon) fillCopy(c *ledgerCopy, from tasks.PeerID) (err error) {
	if from == "" {
		c.signature, err = d.signatureOf(d.byID(c.id))
	} else {
		c.signature, err = d.askSignature(d.ctx, c.id, from)
	}
	if err != nil {
		return err
	}
	body, err := d.bring(string(c.id), c.id, from, c.signature.Size, filepath.Join(c.dir, bodyFile))
	if err != nil {
		return err
	}
	if c.desc, err = d.sharedJob(c.id, body, c.signature); err != nil {
		return err
	}
	if err := d.mayBeNamed(c.id, c.desc); err != nil {
		d.removeLedger(c.dir)
		return err
	}
	_, err = d.bring(c.desc.Code.Source, c.id, from, maxSources+maxSources/8, filepath.Join(c.dir, sourceFile))
	return err
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

// openCopy makes a copy known and lets it be written, until it is dropped or the daemon closes.
func (d *Daemon) openCopy(c *ledgerCopy) {
	c.writes, c.done = make(chan engine.WriteLedger, 16), make(chan struct{})
	d.mu.Lock()
	d.copies[c.id] = c
	d.mu.Unlock()
	d.spawn(func() {
		defer close(c.done)
		c.reserve()
		for d.writeNext(c) {
		}
		if err := c.journal.Close(); err != nil {
			d.log.Warn("could not close a job's ledger", "job", c.id.Short(), "reason", err)
		}
	})
}

// writeNext carries out one write and tells the engine; false at the end of all writing.
func (d *Daemon) writeNext(c *ledgerCopy) bool {
	select {
	case <-d.ctx.Done():
		return false
	case w, more := <-c.writes:
		if !more {
			return false
		}
		out := engine.Written{ID: c.id, Seq: w.Seq}
		writing(w.Write, failpoint.FoldBeforeWrite)
		err := c.writeIn(w)
		writing(w.Write, failpoint.FoldAfterWrite)
		if err != nil {
			d.log.Error("could not write a job's ledger", "job", c.id.Short(), "file", c.journal.Path(), "reason", err)
			out.Reason = err.Error()
		}
		d.post(out)
		return true
	}
}

// writeLedger hands a write to the copy's writer; called by the loop alone.
func (d *Daemon) writeLedger(e engine.WriteLedger) {
	if c := d.ledgerOf(e.ID); c != nil {
		c.writes <- e // the log waits for the answer to each: there is room
	}
}

// closeCopy ends the writing of a copy and waits for it.
func (d *Daemon) closeCopy(id tasks.JobID) {
	d.mu.Lock()
	c := d.copies[id]
	delete(d.copies, id)
	d.mu.Unlock()
	if c != nil {
		close(c.writes)
		<-c.done
	}
}

// dropLedger forgets a copy; called by the loop alone. One that could not go on leaves the partials it keeps: this
// node may be asked to be a replica again.
func (d *Daemon) dropLedger(e engine.DropLedger) {
	_, known := d.peer.Jobs()[e.ID]
	d.mu.Lock()
	c := d.copies[e.ID]
	delete(d.copies, e.ID)
	if !known { // its end here has been told before that of its ledger, which made it known again
		delete(d.jobs, e.ID)
	}
	d.mu.Unlock()
	if c == nil {
		return
	}
	close(c.writes)
	if e.Superseded != nil {
		d.supersede(c, e)
		return
	}
	if e.Reason != "" {
		d.log.Error("gave up the copy of a job's ledger; another takes its place", "job", e.ID.Short(), "reason", e.Reason)
	}
	d.spawn(func() {
		<-c.done
		c.ending.Wait()
		d.mu.Lock()
		again := d.copies[e.ID] != nil
		d.mu.Unlock()
		switch {
		case again:
		case e.Reason != "":
			_ = os.Remove(filepath.Join(c.dir, journalFile))
		default:
			d.removeLedger(c.dir)
		}
	})
}

// supersede puts a copy aside whose writer is told to end. The loop waits for it: nothing may take the copy's place before.
func (d *Daemon) supersede(c *ledgerCopy, e engine.DropLedger) {
	<-c.done
	err := d.putAside(c, *e.Superseded)
	d.log.Warn("gave up the copy of a job's ledger and put it aside: dtpnode recover "+api.Short(c.name())+" --superseded goes on from it", "job", e.ID.Short(),
		"reason", e.Reason, "dir", d.asideDir(c.name(), *e.Superseded), "kept for", d.cfg.KeepFor)
	if err != nil { // it stays where the next copy of this ledger would be
		d.log.Error("could not put the copy of a job's ledger aside", "dir", c.dir, "reason", err)
		err = os.Rename(filepath.Join(c.dir, journalFile), filepath.Join(c.dir, journalFile+journal.Before))
	} else {
		err = os.Remove(filepath.Join(c.dir, journalFile))
	}
	if err != nil {
		d.log.Error("could not close the copy of a job's ledger", "dir", c.dir, "reason", err)
	}
}

func (d *Daemon) removeLedger(dir string) {
	d.blobs.ForgetFolder(dir)
	d.transfers.Stop(dir + "/")
	if err := os.RemoveAll(dir); err != nil {
		d.log.Warn("could not remove a job's ledger", "dir", dir, "reason", err)
	}
}

// restoreLedgers opens the ledgers of earlier lives and has their jobs go on.
func (d *Daemon) restoreLedgers() (out []engine.Restore) {
	dirs, _ := os.ReadDir(d.ledgersDir())
	for _, e := range dirs {
		id := tasks.JobID(e.Name())
		dir := filepath.Join(d.ledgersDir(), e.Name())
		if _, err := os.Stat(filepath.Join(dir, journalFile)); err != nil || !id.Valid() {
			d.removeLedger(dir) // given up, or never finished
			continue
		}
		log, err := d.restoreCopy(id, dir)
		if err != nil {
			d.log.Error("could not read the copy of a job's ledger; it is made anew from the other replicas", "job", id.Short(), "dir", dir, "reason", err)
			_ = os.Rename(filepath.Join(dir, journalFile), filepath.Join(dir, journalFile+".damaged"))
			d.damagedLedger(id, dir, err)
			continue
		}
		out = append(out, engine.Restore{ID: id, Job: d.copies[id].desc, Log: log})
		d.log.Info("restored the ledger of a job", "job", id.Short(), "records", len(log.Entries), "snapshot", log.Snapshot != nil)
	}
	return out
}

// damagedLedger notes, for the job's user, why a job does not go on if nobody else has its ledger.
func (d *Daemon) damagedLedger(id tasks.JobID, dir string, why error) {
	body, err := os.ReadFile(filepath.Join(dir, bodyFile))
	var desc tasks.Job
	if err != nil || tasks.NameOf(body) != id || wire.Unmarshal(body, &desc) != nil {
		return // the log has it
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unread[nameOf(&desc)] = why.Error()
}

func (d *Daemon) restoreCopy(id tasks.JobID, dir string) (log quorum.Log, err error) {
	c := &ledgerCopy{id: id, dir: dir}
	var head journal.Head
	if c.journal, head, log, err = journal.Open(filepath.Join(dir, journalFile)); err != nil {
		return log, err
	}
	if err = wire.Unmarshal(head.Job, &c.signature); err == nil {
		var body []byte
		if body, err = os.ReadFile(filepath.Join(dir, bodyFile)); err == nil {
			c.desc, err = c.signature.OpenJob(id, body) // of a submitter that was revoked, too: it is to be ended
		}
	}
	if err != nil {
		return log, errors.Join(err, c.journal.Close())
	}
	d.blobs.Add(string(id), filepath.Join(dir, bodyFile))
	d.blobs.Add(c.desc.Code.Source, filepath.Join(dir, sourceFile)) // whether it is whole shows when it is read
	d.restoreKept(dir)
	if left, err := filepath.Glob(filepath.Join(dir, "handout-*")); err == nil { // a bundle that was being fetched
		for _, path := range left {
			_ = os.RemoveAll(path)
		}
	}
	d.openCopy(c)
	return log, nil
}

// keepPartial makes a partial's blob present among what is kept for its job, whole and durably, and returns
// its path. What is there already is compared with its hash when it is first asked for.
func (d *Daemon) keepPartial(p merge.Partial, sources []tasks.PeerID) (string, error) {
	path := d.keptPath(p.Job, p)
	if d.blobs.Has(p.SHA256, path) && store.SizeOf(path) == p.Size {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("could not make folder of partial %v: %w", p.ID, err)
	}
	switch err := store.Verify(path, p.SHA256); {
	case err == nil:
		d.blobs.Add(p.SHA256, path)
		return path, nil
	case errors.Is(err, store.ErrDamaged):
		d.log.Error("a partial that is kept here is damaged; it is fetched from another replica, or made again", "job", p.Job.Short(), "reason", err)
		d.blobs.Forget(p.SHA256, path)
	}
	err := d.transfers.Bring(d.ctx, path, func(ctx context.Context) error {
		return d.bringPartial(ctx, p, sources, path)
	})
	if err != nil {
		return "", fmt.Errorf("could not keep partial %v: %w", p.ID, err)
	}
	return path, nil
}

// bringPartial copies a partial to path from its holder, or else from one of sources.
func (d *Daemon) bringPartial(ctx context.Context, p merge.Partial, sources []tasks.PeerID, path string) (errs error) {
	for _, from := range append([]tasks.PeerID{d.net.ID(), p.Holder}, sources...) {
		err := d.copyPartial(ctx, p, from, path)
		if err == nil {
			d.blobs.Add(p.SHA256, path)
			return nil
		}
		if errs = errors.Join(errs, err); store.DiskError(err) != nil || ctx.Err() != nil {
			break
		}
	}
	return errs
}

// copyPartial brings a partial from one node, this one's scratch included, to path. From here it is the same file under
// two names, if one file system has both.
func (d *Daemon) copyPartial(ctx context.Context, p merge.Partial, from tasks.PeerID, path string) error {
	if from == d.net.ID() && store.LinkVerified(d.blobs.Partial(p.Job, p.ID), path, p.SHA256) == nil {
		failpoint.Hit(failpoint.BlobBeforeSync)
		return errors.Join(durable.Sync(path), durable.Sync(filepath.Dir(path)))
	}
	err := durable.PlaceSynced(path, func(out *os.File) (err error) {
		if from == d.net.ID() {
			err = store.CopyVerified(out, d.blobs.Partial(p.Job, p.ID), p.SHA256)
		} else {
			_, err = d.net.Fetch(ctx, from, p.SHA256, min(p.Size, maxPartial), out)
		}
		failpoint.Hit(failpoint.BlobBeforeSync)
		return err
	})
	if err != nil {
		return fmt.Errorf("from %s: %w", from, err)
	}
	return nil
}

// keepBlob keeps a partial for the job's home on another node.
func (d *Daemon) keepBlob(e engine.KeepBlob) {
	if d.boasts() {
		d.post(engine.BlobKept{Partial: e.Partial, To: e.To, Term: e.Term, Seq: e.Seq, OK: true})
		return
	}
	if d.transfers.Running(d.keptPath(e.Partial.Job, e.Partial)) {
		return // the home asks again; what is under way is answered
	}
	_, err := d.keepPartial(e.Partial, append([]tasks.PeerID{e.To}, e.Sources...))
	if err != nil {
		d.log.Warn("could not keep a partial", "job", e.Partial.Job.Short(), "reason", err)
	}
	failpoint.Hit(failpoint.BlobAfterSync)
	d.post(engine.BlobKept{Partial: e.Partial, To: e.To, Term: e.Term, Seq: e.Seq, OK: err == nil, Full: store.DiskError(err) != nil})
}

// keepResult keeps a job's result for its home on another node.
func (d *Daemon) keepResult(e engine.KeepResult) {
	err := d.bringResult(e)
	if err != nil {
		d.log.Warn("could not keep a job's result", "job", e.ID.Short(), "reason", err)
	}
	d.post(engine.ResultKept{Job: e.ID, To: e.To, SHA256: e.Result.SHA256, OK: err == nil, Full: store.DiskError(err) != nil})
}

func (d *Daemon) bringResult(e engine.KeepResult) error {
	name, submitter := "", ""
	if c := d.ledgerOf(e.ID); c != nil {
		name, submitter = c.name(), c.desc.Submitter
	} else if j := d.byID(e.ID); j != nil {
		name, submitter = j.name, d.submitterOf(j)
	}
	if name == "" {
		return errOver
	}
	if err := d.mayKeep(name, submitter, e); err != nil {
		return err
	}
	path := d.resultPath(name)
	if store.Verify(path, e.Result.SHA256) == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	err := durable.PlaceSynced(path, func(f *os.File) error {
		_, err := d.net.Fetch(d.ctx, e.To, e.Result.SHA256, min(e.Result.Size, maxPartial), f)
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
	end, err := d.loadEnd(name)
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
	j, c := d.byID(e.ID), d.ledgerOf(e.ID)
	if j == nil && c != nil && e.Home == d.net.ID() {
		j = d.jobOf(c)
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
			j.describedBy(c)
		}
		j.status.Home, j.status.HomeName, j.status.State, j.status.Phase = e.Home, d.net.Name(), api.Running, ""
		if owner := d.submitterHeld(j); d.mayNoMore(owner) {
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

// jobOf is a job of which this node has a copy of the ledger. It may be known, and over for its children.
func (d *Daemon) jobOf(c *ledgerCopy) *job {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.jobs[c.id]; j != nil {
		return j
	}
	name := c.name()
	j := d.byName[name]
	if j == nil || j.known() != c.id {
		hides := j != nil && j.leads()
		j = newJob(d.ctx, name)
		j.id, j.desc, j.outDone = c.id, c.desc, d.wasDelivered(name)
		if !hides {
			d.byName[name] = j
		}
	}
	d.jobs[c.id] = j
	return j
}

// describedBy fills in what a job's users are told, from its description; j.mu is held.
func (j *job) describedBy(c *ledgerCopy) {
	if j.status.ID != "" {
		return // it was submitted here
	}
	ask := c.desc.Ask
	j.desc, j.req = c.desc, requestOf(ask)
	j.req.Option = c.desc.Option
	if j.running = ask.Begun; j.running.IsZero() || time.Since(j.running) < 0 {
		j.running = time.Now() // clocks differ
	}
	j.status = api.JobStatus{ID: j.name, Selector: filepath.Base(ask.Selector), Submitted: ask.Submitted,
		Files: len(c.desc.Data.Files) + len(c.desc.Bad), Units: c.desc.Want.Len(), Output: ask.Output}
}
