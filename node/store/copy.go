package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Copy is this node's copy of a job's ledger, in a folder of its own that is named like the job's id:
//
//	journal         the replicated log (package journal); its head's Job is the description's Signature
//	body            the job's description, as it was signed
//	ship-SHA256     what the description ships and wants kept, such as packed sources, and blobs of items
//	reserve         room on the disk for the log
//	stuck           which attempt to finish the job was seen as the last one, and since when
//	HEX-SEQ.SHA256  partials that are kept for the job's home, as named by PartialName
//
// All of it together is enough to lead the job, and is on disk before the home is told that it is.
type Copy struct {
	ID        tasks.JobID
	Dir       string
	Signature Signature
	Job       *tasks.Job // the description

	journal *journal.Journal
	writes  chan quorum.Write // closed when the copy is given up
	done    chan struct{}     // closed after the last write
	held    sync.WaitGroup    // by those who still need the folder: see Hold

	items itemsRoom
}

// Names in the folder of a copy.
const (
	journalFile = "journal"
	bodyFile    = "body"
	shipFile    = "ship-" // and the SHA-256
	reserveFile = "reserve"
	stuckFile   = "stuck"
)

// The parts that are put behind the name of a file that has become of no use.
const (
	damagedMark = ".damaged" // a journal that cannot be read, left for people to look at
	freedMark   = ".freed"   // a file that is being deleted
)

// NameOf is a job's name as users know it: the hex of its description's nonce.
func NameOf(desc *tasks.Job) string { return hex.EncodeToString(desc.Nonce) }

// Name is the job's name as users know it.
func (c *Copy) Name() string { return NameOf(c.Job) }

// BodyPath is where the job's description lies, as it was signed.
func (c *Copy) BodyPath() string { return filepath.Join(c.Dir, bodyFile) }

// ShipPath is where a blob lies that the description ships and wants kept, by its SHA-256.
func (c *Copy) ShipPath(hash string) string { return filepath.Join(c.Dir, shipFile+hash) }

// LastWrite is when the log was last written, zero if that is not known.
func (c *Copy) LastWrite() time.Time {
	info, err := os.Stat(filepath.Join(c.Dir, journalFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// Hold keeps the copy's folder from being removed until release is called. The job may have ended meanwhile, and what
// is kept of its end is made from files in the folder.
func (c *Copy) Hold() (release func()) {
	c.held.Add(1)
	return c.held.Done
}

// StuckSince is when this node first saw attempt as the last one to finish the job. The time is written to disk, so
// that a restart of the daemon does not begin it anew. If that fails an error is returned with the time.
func (c *Copy) StuckSince(attempt string, a *Ages) (since time.Time, err error) {
	path := filepath.Join(c.Dir, stuckFile)
	if was, bad := os.ReadFile(path); bad != nil || string(was) != attempt {
		_ = os.Remove(path + agedMark)
		err = durable.Write(path, []byte(attempt))
	}
	return a.Since(path), err
}

// head is what a copy's journal begins with.
func (c *Copy) head(log quorum.Log) (journal.Head, error) {
	sig, err := wire.Marshal(&c.Signature)
	return journal.Head{Job: sig, Self: log.Self, Voters: log.Voters}, err
}

// create makes an empty journal for a copy whose other files are there.
func (c *Copy) create(log quorum.Log) error {
	head, err := c.head(log)
	if err != nil {
		return err
	}
	path := filepath.Join(c.Dir, journalFile)
	if err := durable.RemoveIfThere(path); err != nil {
		return err
	}
	if c.journal, err = journal.Create(path, head); err != nil {
		return err
	}
	if log.Hard == (quorum.Hard{}) {
		return nil
	}
	if err := c.journal.Write(quorum.Write{Hard: log.Hard}); err != nil {
		return errors.Join(err, c.journal.Close())
	}
	return nil
}

// replace puts the log of a recovery in the place of the one in the copy's folder, which is closed.
func (c *Copy) replace(log quorum.Log) error {
	head, err := c.head(log)
	if err != nil {
		return err
	}
	c.journal, err = journal.Replace(filepath.Join(c.Dir, journalFile), head,
		quorum.Write{Hard: log.Hard, Snapshot: log.Snapshot, Reset: true})
	return err
}

// restore opens a copy from before a restart. It does not check whether the job's submitter may still submit: if not,
// the copy is needed to end the job.
func (c *Copy) restore() (log quorum.Log, err error) {
	var head journal.Head
	if c.journal, head, log, err = journal.Open(filepath.Join(c.Dir, journalFile)); err != nil {
		return log, err
	}
	if c.Signature, c.Job, err = describedIn(c.Dir, c.ID, head); err != nil {
		return log, errors.Join(err, c.journal.Close())
	}
	return log, nil
}

// describedIn reads the job of the copy in a folder.
func describedIn(dir string, id tasks.JobID, head journal.Head) (s Signature, desc *tasks.Job, err error) {
	if err := wire.Unmarshal(head.Job, &s); err != nil {
		return s, nil, err
	}
	body, err := os.ReadFile(filepath.Join(dir, bodyFile))
	if err != nil {
		return s, nil, err
	}
	desc, err = s.OpenJob(id, body)
	return s, desc, err
}

// linkFiles makes hard links to the files of a copy in another folder. If the file system has no hard links it copies
// the log, but no partials, which other replicas keep as well.
func linkFiles(from, to string) error {
	ships, err := filepath.Glob(filepath.Join(from, shipFile+"*"))
	if err != nil {
		return err
	}
	names := []string{journalFile, bodyFile}
	for _, path := range ships {
		names = append(names, filepath.Base(path))
	}
	for _, name := range names {
		if err := linkOrCopy(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	for _, path := range keptFiles(from) {
		_ = os.Link(path, filepath.Join(to, filepath.Base(path)))
	}
	return nil
}

func linkOrCopy(from, to string) error {
	if err := durable.RemoveIfThere(to); err != nil {
		return err
	}
	if os.Link(from, to) == nil {
		return nil
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return durable.PlaceSynced(to, durable.Bytes(b))
}

// Each copy reserves some room on its disk. On a full disk the log can then still get the entries which say that the
// job cannot be finished for this reason, or is to be tried again. Without them the job could not go on, and if the
// copy is the only one all of its work would be lost.

// reserveBytes is the room that is held if there is so much: a few entries of the log. leastReserve is the least.
const (
	reserveBytes = 64 << 10
	leastReserve = 8 << 10
)

// reserve reserves room for the log, as much as there is, up to reserveBytes. If there is hardly any it reserves none.
func (c *Copy) reserve() {
	path := filepath.Join(c.Dir, reserveFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for n := int64(reserveBytes); n >= leastReserve; n /= 2 {
		if unix.Fallocate(int(f.Fd()), 0, 0, n) == nil {
			return
		}
	}
	_ = os.Remove(path)
}

// write carries out a write of the log. On a full disk it gives the reserve up, and tries once more.
func (c *Copy) write(w quorum.Write) error {
	err := c.journal.Write(w)
	if !errors.Is(err, unix.ENOSPC) || os.Remove(filepath.Join(c.Dir, reserveFile)) != nil {
		return err
	}
	if e := c.journal.Close(); e != nil {
		return errors.Join(err, e)
	}
	again, _, _, e := journal.Open(filepath.Join(c.Dir, journalFile))
	if e != nil {
		return errors.Join(err, e)
	}
	c.journal = again
	if err = again.Write(w); err == nil {
		c.reserve()
	}
	return err
}

// giveUp moves or removes the log of a copy that is not used any more, so that it is not restored after a restart.
func (c *Copy) giveUp(keepLog bool) error {
	path := filepath.Join(c.Dir, journalFile)
	var err error
	if keepLog {
		err = os.Rename(path, path+journal.Before)
	} else {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("could not close the copy of a job's ledger in %q: %w", c.Dir, err)
	}
	return nil
}

// files are the files of a copy, apart from partials, that others may fetch, by their hashes.
func (c *Copy) files() map[string]string {
	files := map[string]string{string(c.ID): c.BodyPath()}
	for _, s := range c.Job.Kept() {
		files[s.SHA256] = c.ShipPath(s.SHA256)
	}
	ships, _ := filepath.Glob(filepath.Join(c.Dir, shipFile+"*"))
	for _, path := range ships { // blobs of items among them
		if hash := strings.TrimPrefix(filepath.Base(path), shipFile); IsHash(hash) {
			files[hash] = path
		}
	}
	return files
}

// itemsRoom is what the blobs of items take that were brought to a copy, or are on their way. of holds each by its
// hash, once those that an earlier life has left were counted.
type itemsRoom struct {
	mu    sync.Mutex
	of    map[string]int64 // bytes; nil before the first look
	bytes int64            // of all
}

// maxItemBlobs bounds the blobs of items that lie with a copy: more than fit into what may be appended to a job.
const maxItemBlobs = tasks.MaxAppended / 64

// RoomForItems reports whether a blob of items with that hash, of so many bytes, may lie with the copy, and counts it:
// all together may have tasks.MaxAllItems bytes. The job's submitter and its home name hash and size, and may lie: what
// is no hash or no size is refused, and there may be no more blobs than a job can have, however small they are.
func (c *Copy) RoomForItems(hash string, size int64) bool {
	r := &c.items
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]int64{}
		for hash, path := range c.files() {
			if n := SizeOf(path); n >= 0 && strings.HasPrefix(filepath.Base(path), shipFile) {
				r.of[hash] = n
			}
		}
		for _, s := range c.Job.Kept() {
			delete(r.of, s.SHA256)
		}
		for _, n := range r.of {
			r.bytes += n
		}
	}
	if _, counted := r.of[hash]; counted {
		return true
	}
	if !IsHash(hash) || size <= 0 || size > tasks.MaxAllItems-r.bytes || len(r.of) >= maxItemBlobs {
		return false
	}
	r.of[hash] = size
	r.bytes += size
	return true
}
