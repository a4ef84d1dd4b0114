// Package journal stores on disk what a node must not forget of the logs that it replicates, in one bbolt file for each
// job.
//
// The file has pages of 4096 bytes and three buckets, or four with a snapshot. Numbers in records are big-endian.
//
//	bucket    key        value
//	head      "head"     Head as msgpack, sum
//	state     "state"    term, vote, commit, last, transaction (8 bytes each), sum of entry last, sum of the
//	                     snapshot's last record (missing in files of the first format), sum
//	entries   index (8)  term (8), kind (1), data, sum
//	snapshot  "about"    index, term, base, term of base, size of the data (8 each), sum of entry base, sum
//	          piece (8)  up to 3840 bytes of the data, sum; pieces are numbered from 0
//
// A sum is a CRC-32C (4 bytes) over another sum, the key, and the value up to the sum. So records form chains. For an
// entry the other sum is that of the entry one index below, even if that was dropped with the snapshot whose base it
// is. For a piece it is that of the record before it. It is 0 for the first entry, for the first entry after a snapshot
// from another voter, and for all other records. The state record has the sum of the last entry and of the snapshot's
// last record, which cover all of them, and the number of the bbolt transaction that wrote it, which must be the file's
// newest. So neither a missing entry nor a stale page passes for the log.
//
// A snapshot replaces the one before it and the entries up to its base, in the transaction that writes it. bbolt never
// makes a file smaller but reuses free pages. Entries are bounded in size and each piece fits into a page, so the file
// stays within twice what its job needed at its largest, and is never rewritten.
//
// Of bbolt's own pages only the two meta pages have checksums, and where the newer one is damaged bbolt uses the older
// one. Open therefore checks the structure of the whole file before bbolt sees it (pages.go), and treats a damaged meta
// page as damage. A record is written by one transaction, completely or not at all, so a write that a crash interrupts
// leaves nothing.
package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/quorum"
)

// Head is the content with which a journal is created, and which never changes.
type Head struct {
	Job    []byte         `msgpack:"j"` // the owner's description of the job
	Self   quorum.Voter   `msgpack:"s"`
	Voters []quorum.Voter `msgpack:"v"` // the group's founding voters
}

// Damaged is the error of a file that is not as it was written. The caller moves it out of the way and rejoins the
// group as another voter.
type Damaged struct {
	Path   string
	Record string // the page or record that is wrong
	Reason string
}

// Error names the file, the place and what is wrong.
func (d *Damaged) Error() string {
	return fmt.Sprintf("journal %q is damaged: %s %s; this node drops its copy of the job's ledger and gets another "+
		"from the other replicas",
		d.Path, d.Record, d.Reason)
}

// ErrUnsynced is the error, under errors.Is, of a Write whose effect on the disk is unknown. The file must be treated
// as damaged, though it may not look so.
var ErrUnsynced = errors.New("the disk did not say that it keeps what was written")

// Journal is one open file. It is not safe for concurrent use.
type Journal struct {
	path   string
	file   *os.File // the file under bbolt
	db     *bbolt.DB
	base   uint64   // index of the last entry that was dropped with a snapshot
	before uint32   // sum of that entry
	sums   []uint32 // sums of the entries after base
	snap   uint32   // sum of the snapshot's last record
	err    error    // error of a failed Write, after which none is tried
	torn   bool     // bbolt panicked, and may hold its locks
}

// Create makes a new journal. Where there is a file already, the error is under fs.ErrExist.
func Create(path string, head Head) (*Journal, error) {
	_, err := os.Lstat(path)
	if err == nil {
		err = fs.ErrExist
	}
	var j *Journal
	if errors.Is(err, fs.ErrNotExist) {
		j, err = create(path, head, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("could not create journal %q: %w", path, err)
	}
	return j, nil
}

// Before is the ending of the name under which Replace keeps the replaced journal.
const Before = ".before"

// Replace replaces the journal at path, which must be closed, by one that begins with a snapshot. After a crash there
// is either the old one or the new one, complete. The old one is kept beside it until the next Replace.
func Replace(path string, head Head, begin quorum.Write) (*Journal, error) {
	_ = os.Remove(path + Before)
	err := os.Link(path, path+Before)
	var j *Journal
	if err == nil {
		j, err = create(path, head, &begin)
	}
	if err != nil {
		return nil, fmt.Errorf("could not replace journal %q: %w", path, err)
	}
	return j, nil
}

// create makes a journal at path. begin is its first write, nil for none.
func create(path string, head Head, begin *quorum.Write) (j *Journal, err error) {
	value, err := encodeHead(head)
	if err != nil {
		return nil, err
	}
	// It is written under another name first, so that a crash leaves no journal or a complete one.
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	j = &Journal{path: path}
	defer func() {
		if err != nil {
			_ = j.Close()
			_ = os.Remove(part)
		}
	}()
	if err := j.open(part, false); err != nil {
		return j, err
	}
	err = j.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{headBucket, stateBucket, entryBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		if err := tx.Bucket(headBucket).Put(headKey, value); err != nil {
			return err
		}
		return tx.Bucket(stateBucket).Put(stateKey, encodeState(state{txid: uint64(tx.ID())}))
	})
	if err != nil {
		return j, err
	}
	if begin != nil {
		if err := j.write(*begin); err != nil {
			return j, err
		}
	}
	if err := os.Rename(part, path); err != nil {
		return j, err
	}
	return j, durable.Sync(filepath.Dir(path))
}

// Open opens a journal and returns all that was written to it. A *Damaged error says that the content is not what was
// written; after any other error it may be intact.
func Open(path string) (j *Journal, head Head, log quorum.Log, err error) {
	j = &Journal{path: path}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // turns the fault of an unreadable page into a panic
	defer func() {
		if p := recover(); p != nil {
			j.torn, err = true, &Damaged{path, "the file", fmt.Sprintf("could not be read: %v", p)}
		}
		if err != nil {
			_ = j.Close()
			j, head, log = nil, Head{}, quorum.Log{}
			if d := (*Damaged)(nil); !errors.As(err, &d) {
				err = fmt.Errorf("could not open journal %q: %w", path, err)
			}
		}
	}()
	if err = j.open(path, true); err != nil {
		return
	}
	err = j.db.View(func(tx *bbolt.Tx) error {
		head, log, err = j.read(tx)
		return err
	})
	return
}

// open opens the file with bbolt, after inspecting it if it is old.
func (j *Journal) open(path string, old bool) error {
	var err error
	j.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      time.Second,
		PageSize:     pageSize,
		FreelistType: bbolt.FreelistMapType,
		OpenFile: func(path string, flag int, mode os.FileMode) (*os.File, error) {
			if old {
				flag &^= os.O_CREATE
			}
			f, err := os.OpenFile(path, flag, mode)
			if err != nil {
				return nil, err
			}
			j.file = f
			if old {
				err = j.inspect(f)
			}
			return f, err
		},
	})
	return err
}

// inspect checks an existing file, before bbolt relies on it.
func (j *Journal) inspect(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("it is open already, by another process or by this one: %w", err)
	}
	content, err := io.ReadAll(f)
	if errors.Is(err, syscall.EIO) {
		return &Damaged{j.path, "the file", fmt.Sprintf("could not be read: %v", err)}
	}
	if err != nil {
		return err
	}
	if record, reason := inspect(content); reason != "" {
		return &Damaged{j.path, record, reason}
	}
	return nil
}

// Write carries out a quorum.Write: it replaces the snapshot, truncates the log from the first of the entries on,
// appends them, replaces the hard state, and returns when all of that is on disk. After an error no other Write
// succeeds: close the journal, and open it again when the cause is gone. It then holds all of this Write or nothing of
// it; but see ErrUnsynced.
func (j *Journal) Write(w quorum.Write) error {
	if j.err != nil {
		return fmt.Errorf("could not write journal %q: an earlier write failed: %w", j.path, j.err)
	}
	failpoint.Hit(failpoint.JournalBeforeWrite)
	if w.Snapshot != nil {
		failpoint.Hit(failpoint.SnapshotBefore)
	}
	if j.err = j.write(w); j.err != nil {
		return fmt.Errorf("could not write journal %q: %w", j.path, j.err)
	}
	failpoint.Hit(failpoint.JournalAfterSync)
	if w.Snapshot != nil {
		failpoint.Hit(failpoint.SnapshotAfter)
	}
	return nil
}

func (j *Journal) write(w quorum.Write) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			j.torn, err = true, fmt.Errorf("%w: %v", ErrUnsynced, p)
		}
	}()
	err = j.db.Update(func(tx *bbolt.Tx) error {
		if w.Snapshot != nil {
			if err := j.compact(tx, w.Snapshot, w.Reset); err != nil {
				return err
			}
		}
		if err := j.append(tx.Bucket(entryBucket), w.Entries); err != nil {
			return err
		}
		s := state{hard: w.Hard, last: j.last(), sum: j.sumAt(j.last()), snap: j.snap, txid: uint64(tx.ID())}
		return tx.Bucket(stateBucket).Put(stateKey, encodeState(s))
	})
	return j.judge(err)
}

// judge distinguishes an error of a transaction that has left the file as it was from one after which parts may be on
// disk, which becomes ErrUnsynced. A full disk is of the first kind: bbolt writes the data before it syncs them, and
// both before the meta page.
func (j *Journal) judge(err error) error {
	pe := (*fs.PathError)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &pe) && pe.Op == "write":
		return err
	case strings.HasPrefix(err.Error(), "file resize error"):
		// bbolt could not extend the file, before writing anything, and does not pass the cause on.
		if info, again := j.file.Stat(); again == nil {
			if again = j.file.Truncate(2 * info.Size()); again != nil {
				return again
			}
		}
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnsynced, err)
}

func (j *Journal) append(b *bbolt.Bucket, entries []quorum.Entry) error {
	for i, e := range entries {
		if e.Index != entries[0].Index+uint64(i) || e.Index <= j.base || entries[0].Index > j.last()+1 {
			return fmt.Errorf("entry %d does not follow entry %d", e.Index, j.last()+uint64(i))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	b.FillPercent = 0.9 // fills pages well, since entries are only appended
	for i := j.last(); i >= entries[0].Index; i-- {
		if err := b.Delete(entryKey(i)); err != nil {
			return err
		}
		j.sums = j.sums[:i-1-j.base]
	}
	for _, e := range entries {
		value, sum := encodeEntry(j.sumAt(j.last()), e)
		if err := b.Put(entryKey(e.Index), value); err != nil {
			return err
		}
		j.sums = append(j.sums, sum)
	}
	return nil
}

// last is the index of the last entry.
func (j *Journal) last() uint64 { return j.base + uint64(len(j.sums)) }

// sumAt is the sum of an entry, which may be the base.
func (j *Journal) sumAt(index uint64) uint32 {
	if index == j.base {
		return j.before
	}
	return j.sums[index-j.base-1]
}

// read reads the whole content and checks every record.
func (j *Journal) read(tx *bbolt.Tx) (head Head, log quorum.Log, err error) {
	damaged := func(record string, err error) error { return &Damaged{j.path, record, err.Error()} }
	head, err = decodeHead(tx.Bucket(headBucket).Get(headKey))
	if err != nil {
		return head, log, damaged("the head", err)
	}
	st, err := decodeState(tx.Bucket(stateBucket).Get(stateKey))
	if err != nil {
		return head, log, damaged("the state", err)
	}
	if st.txid != uint64(tx.ID()) {
		return head, log, damaged("the state", fmt.Errorf("is of write %d, the file of write %d", st.txid, tx.ID()))
	}
	if log.Snapshot, err = j.readSnapshot(tx); err != nil {
		return head, log, damaged("the snapshot", err)
	}
	if st.snap != j.snap {
		return head, log, damaged("the snapshot",
			fmt.Errorf("has the sum %08x, and the state is of one with %08x", j.snap, st.snap))
	}
	c := tx.Bucket(entryBucket).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		index := j.last() + 1
		record := fmt.Sprintf("entry %d", index)
		if !bytes.Equal(k, entryKey(index)) {
			return head, log, damaged(record, fmt.Errorf("is missing: its place is taken by the key %x", k))
		}
		e, sum, err := decodeEntry(j.sumAt(j.last()), index, v)
		if err != nil {
			return head, log, damaged(record, err)
		}
		j.sums = append(j.sums, sum)
		log.Entries = append(log.Entries, e)
	}
	if n := j.last(); st.last != n || st.sum != j.sumAt(n) {
		return head, log, damaged("the state",
			fmt.Errorf("is of a log of %d entries with the sum %08x, but there are %d with %08x", st.last, st.sum, n,
				j.sumAt(n)))
	}
	log.Self, log.Voters, log.Hard = head.Self, head.Voters, st.hard
	return head, log, nil
}

// Path is where the file is.
func (j *Journal) Path() string { return j.path }

// Close closes the file.
func (j *Journal) Close() error {
	db, file := j.db, j.file
	j.db, j.file = nil, nil
	if j.err == nil {
		j.err = fs.ErrClosed
	}
	var err error
	switch {
	case db != nil && !j.torn:
		err = db.Close()
	case file != nil: // bbolt panicked and holds its locks, so only the file is closed
		if err = file.Close(); errors.Is(err, fs.ErrClosed) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("could not close journal %q: %w", j.path, err)
	}
	return nil
}
