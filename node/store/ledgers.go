package store

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Fetcher is the network as far as files come from it.
type Fetcher interface {
	// ID is this node.
	ID() tasks.PeerID
	// Fetch copies the blob with a hash from a member to dst, at most max bytes, and returns how many it had.
	Fetch(ctx context.Context, from tasks.PeerID, hash string, max int64, dst io.Writer) (int64, error)
}

// LedgersConfig is what Ledgers are made of.
type LedgersConfig struct {
	Dir     string // where the copies lie, each in a folder of its own; it exists
	Blobs   *Blobs
	Asides  *Asides
	Fetcher Fetcher
	Log     *slog.Logger
	// Written is told of each write of a log that was carried out, or failed, in their order.
	Written func(id tasks.JobID, seq uint64, err error)
}

// Ledgers are this node's copies of jobs' ledgers. Each copy has one writer, a goroutine that carries its log's writes
// out in order until the copy is given up or the context of NewLedgers ends. All methods may be called from any
// goroutine; those that begin or end one and the same copy must not run at once.
type Ledgers struct {
	LedgersConfig
	ctx       context.Context // of the writers and transfers
	tasks     sync.WaitGroup  // goroutines that are running
	transfers transfers       // of partials that are to be kept here

	mu      sync.Mutex
	copies  map[tasks.JobID]*Copy // those that count
	damaged map[string]string     // by names of jobs, why their copies could not be read when the daemon started
}

// NewLedgers has no copies yet: Restore finds those of earlier lives. After the end of ctx call Wait.
func NewLedgers(ctx context.Context, cfg LedgersConfig) *Ledgers {
	return &Ledgers{LedgersConfig: cfg, ctx: ctx, copies: map[tasks.JobID]*Copy{}, damaged: map[string]string{}}
}

// Wait returns when all writers and deletions have ended.
func (l *Ledgers) Wait() { l.tasks.Wait() }

func (l *Ledgers) spawn(f func()) {
	l.tasks.Add(1)
	go func() {
		defer l.tasks.Done()
		f()
	}()
}

// FolderOf is where the copy of a job's ledger lies, or would.
func (l *Ledgers) FolderOf(id tasks.JobID) string { return filepath.Join(l.Dir, string(id)) }

// Of is this node's copy of a job's ledger, nil if it has none.
func (l *Ledgers) Of(id tasks.JobID) *Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.copies[id]
}

// All are the copies that count, in no order.
func (l *Ledgers) All() []*Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Copy, 0, len(l.copies))
	for _, c := range l.copies {
		all = append(all, c)
	}
	return all
}

// Named are the copies of jobs whose name begins so.
func (l *Ledgers) Named(prefix string) (found []*Copy) {
	for _, c := range l.All() {
		if strings.HasPrefix(c.Name(), prefix) {
			found = append(found, c)
		}
	}
	return found
}

// Damaged says why the copy of a job's ledger could not be read, by the job's name; empty if it could, or if there is
// none.
func (l *Ledgers) Damaged(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.damaged[name]
}

// MakeFolder makes the folder of a new copy, durably. The caller puts the description and what it wants kept there,
// fills in Signature and Job, and then calls Begin, or else Remove.
func (l *Ledgers) MakeFolder(id tasks.JobID) (*Copy, error) {
	c := &Copy{ID: id, Dir: l.FolderOf(id)}
	return c, errors.Join(os.MkdirAll(c.Dir, 0o700), durable.Sync(l.Dir))
}

// Begin begins to keep a copy whose folder is filled. An earlier copy of the same ledger, of another membership of this
// node, is closed, and its log removed.
func (l *Ledgers) Begin(c *Copy, log quorum.Log) error {
	l.close(c.ID)
	if err := c.create(log); err != nil {
		return err
	}
	l.open(c)
	return nil
}

// Recover begins a copy anew with the log of a recovery, in place of the copy that is here. If that fails the copy goes
// on as it was.
func (l *Ledgers) Recover(id tasks.JobID, log quorum.Log) (*Copy, error) {
	old := l.Of(id)
	if old == nil {
		return nil, errors.New("this node has no copy of the job's ledger any more")
	}
	c := &Copy{ID: id, Dir: old.Dir, Signature: old.Signature, Job: old.Job}
	l.close(id)
	err := c.replace(log)
	if err == nil {
		l.open(c)
		return c, nil
	}
	again, _, _, bad := journal.Open(filepath.Join(old.Dir, journalFile))
	if bad != nil {
		return nil, errors.Join(err, bad)
	}
	old.journal = again
	l.open(old)
	return nil, err
}

// RecoverAside begins a copy anew with the log of a recovery from one that was put aside, which stays as it is.
func (l *Ledgers) RecoverAside(a Aside, log quorum.Log) (*Copy, error) {
	sig, desc, _, err := a.Read()
	if err != nil {
		return nil, err
	}
	c := &Copy{ID: a.ID, Dir: l.FolderOf(a.ID), Signature: sig, Job: desc}
	l.close(c.ID)
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := linkFiles(a.dir, c.Dir); err != nil {
		return nil, err
	}
	l.share(c)
	if err := c.replace(log); err != nil {
		return nil, err
	}
	l.open(c)
	return c, nil
}

// share lets other members fetch what lies in a copy's folder, and removes what an earlier life left unfinished there.
// Whether the files are whole shows when they are read.
func (l *Ledgers) share(c *Copy) {
	for hash, path := range c.files() {
		l.Blobs.AddUnread(hash, path)
	}
	for _, s := range c.Job.Kept() {
		l.Blobs.Add(s.SHA256, c.ShipPath(s.SHA256))
	}
	l.Blobs.Add(string(c.ID), c.BodyPath())
	removeAll(c.Dir, durable.TempPrefix+"*", "*"+freedMark)
	for hash, path := range keptFiles(c.Dir) {
		l.Blobs.AddUnread(hash, path)
	}
}

func removeAll(dir string, patterns ...string) {
	for _, pattern := range patterns {
		left, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range left {
			_ = os.RemoveAll(path)
		}
	}
}

// HandoutPrefix begins the names of folders in a copy's folder in which committed partials are collected for a user.
const HandoutPrefix = "handout-"

// open makes a copy known and has it written, until it is given up or the context ends.
func (l *Ledgers) open(c *Copy) {
	c.writes, c.done = make(chan quorum.Write, 16), make(chan struct{})
	l.mu.Lock()
	l.copies[c.ID] = c
	l.mu.Unlock()
	l.spawn(func() {
		defer close(c.done)
		c.reserve()
		for l.writeNext(c) {
		}
		if err := c.journal.Close(); err != nil {
			l.Log.Warn("could not close a job's ledger", "job", c.ID.Short(), "reason", err)
		}
	})
}

// writeNext carries out one write and tells of it; false at the end of all writing.
func (l *Ledgers) writeNext(c *Copy) bool {
	select {
	case <-l.ctx.Done():
		return false
	case w, more := <-c.writes:
		if !more {
			return false
		}
		atFold(w, failpoint.FoldBeforeWrite)
		err := c.write(w)
		atFold(w, failpoint.FoldAfterWrite)
		if err != nil {
			l.Log.Error("could not write a job's ledger", "job", c.ID.Short(), "file", c.journal.Path(), "reason", err)
		}
		l.Written(c.ID, w.Seq, err)
		return true
	}
}

// Write hands a write to the copy's writer. A log waits for the answer to each before it wants many more, so there is
// room, and this does not block. Of a copy that was given up nothing is written.
func (l *Ledgers) Write(id tasks.JobID, w quorum.Write) {
	if c := l.Of(id); c != nil {
		c.writes <- w
	}
}

// take has a copy count no more; nil if there is none.
func (l *Ledgers) take(id tasks.JobID) *Copy {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.copies[id]
	delete(l.copies, id)
	return c
}

// close ends the writing of a copy and waits for it.
func (l *Ledgers) close(id tasks.JobID) {
	if c := l.take(id); c != nil {
		close(c.writes)
		<-c.done
	}
}

// Drop gives a copy up, and removes it when nobody holds it any more.
func (l *Ledgers) Drop(id tasks.JobID) {
	l.drop(id, func(c *Copy) { l.Remove(c.Dir) })
}

// DropFailed gives a copy up that could not go on. The partials stay that it keeps, since this node may be asked to be
// a replica again.
func (l *Ledgers) DropFailed(id tasks.JobID) {
	l.drop(id, func(c *Copy) { _ = c.giveUp(false) })
}

// drop gives a copy up, and calls clean when nobody holds it any more, unless there is another copy of that ledger by
// then.
func (l *Ledgers) drop(id tasks.JobID, clean func(*Copy)) {
	c := l.take(id)
	if c == nil {
		return
	}
	close(c.writes)
	l.spawn(func() {
		<-c.done
		c.held.Wait()
		if l.Of(id) == nil {
			clean(c)
		}
	})
}

// Supersede gives a copy up for a recovery from another one, and puts it aside. It waits for the end of what is being
// written: nothing may take the copy's place before. Where it could not be put aside it stays where the next copy of
// this ledger would be, and the error says so.
func (l *Ledgers) Supersede(id tasks.JobID, by quorum.Link) error {
	c := l.take(id)
	if c == nil {
		return nil
	}
	close(c.writes)
	<-c.done
	err := l.Asides.Put(c, by)
	return errors.Join(err, c.giveUp(err != nil))
}

// Remove removes the folder of a copy that does not count, and ends the transfers to it.
func (l *Ledgers) Remove(dir string) {
	l.Blobs.ForgetFolder(dir)
	l.transfers.stop(dir + "/")
	if err := os.RemoveAll(dir); err != nil {
		l.Log.Warn("could not remove a job's ledger", "dir", dir, "reason", err)
	}
}

// Restored is a copy of an earlier life.
type Restored struct {
	*Copy
	Log quorum.Log
}

// Restore opens the copies of earlier lives. Those that were given up, or never finished, are removed; one that cannot
// be read is left for people to look at.
func (l *Ledgers) Restore() (out []Restored) {
	dirs, _ := os.ReadDir(l.Dir)
	for _, e := range dirs {
		c := &Copy{ID: tasks.JobID(e.Name()), Dir: filepath.Join(l.Dir, e.Name())}
		if SizeOf(filepath.Join(c.Dir, journalFile)) < 0 || !c.ID.Valid() {
			l.Remove(c.Dir)
			continue
		}
		log, err := c.restore()
		if err != nil {
			l.Log.Error("could not read the copy of a job's ledger; it is made anew from the other replicas",
				"job", c.ID.Short(), "dir", c.Dir, "reason", err)
			path := filepath.Join(c.Dir, journalFile)
			_ = os.Rename(path, path+damagedMark)
			l.noteDamaged(c, err)
			continue
		}
		l.share(c)
		removeAll(c.Dir, HandoutPrefix+"*")
		l.open(c)
		out = append(out, Restored{c, log})
		l.Log.Info("restored the ledger of a job", "job", c.ID.Short(), "records", len(log.Entries),
			"snapshot", log.Snapshot != nil)
	}
	return out
}

// noteDamaged notes, for the job's user, why a job does not go on if nobody else has its ledger. Where the description
// cannot be read either, the job's name is not known, and only the log of the daemon tells of it.
func (l *Ledgers) noteDamaged(c *Copy, why error) {
	body, err := os.ReadFile(c.BodyPath())
	var desc tasks.Job
	if err != nil || tasks.NameOf(body) != c.ID || wire.Unmarshal(body, &desc) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.damaged[NameOf(&desc)] = why.Error()
}
