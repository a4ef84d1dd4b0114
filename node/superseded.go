package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// A copy of a ledger that is given up, since the job was recovered from another one, is put aside: whoever signed the
// recovery may have lied, and the recovered job may come to nothing. It lies in superseded/JOB.EPOCH of the state folder,
// with the files that it had as a ledgerCopy, under a second name where the file system has that, so that it costs little.
// It is kept as long as results are; of one job the first two and the last are kept, and of all jobs together no more bytes
// than of partial results. dtpnode recover --superseded goes on from one.

// aboutFile says what a copy is that was put aside; it is an aside.
const aboutFile = "about.json"

// aside is a copy of a ledger that was put aside.
type aside struct {
	ID        tasks.JobID  `json:"id"`
	Name      string       `json:"name"` // the job's
	Submitter tasks.PeerID `json:"submitter"`
	Link      quorum.Link  `json:"link"` // the recovery for which it was given up
	At        time.Time    `json:"at"`
	dir       string
}

const (
	firstAside = 2       // of one job, the first so many are kept: later ones may be of a ledger that a liar made
	asideEnd   = ".ends" // what the folder of a result ends with that was taken back
)

func (d *Daemon) supersededDir() string { return filepath.Join(d.cfg.StateDir, "superseded") }

// asideDir is where what is given up for a recovery lies.
func (d *Daemon) asideDir(name string, l quorum.Link) string {
	return filepath.Join(d.supersededDir(), fmt.Sprintf("%s.%x", name, quorum.Epoch(l.Conf.Term)))
}

// putAside keeps the files of a copy that is closed and is given up.
func (d *Daemon) putAside(c *ledgerCopy, l quorum.Link) error {
	a := aside{ID: c.id, Name: c.name(), Submitter: c.desc.Submitter, Link: l, At: time.Now(), dir: d.asideDir(c.name(), l)}
	if _, err := os.Stat(a.dir); err == nil {
		return nil // what was given up first has more
	}
	part := filepath.Join(d.supersededDir(), durable.TempPrefix+filepath.Base(a.dir))
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o700)); err != nil {
		return err
	}
	about, err := json.Marshal(a)
	if err == nil {
		err = durable.Write(filepath.Join(part, aboutFile), about)
	}
	if err == nil {
		err = linkCopy(c.dir, part)
	}
	if err == nil {
		err = errors.Join(durable.Sync(filepath.Join(part, aboutFile)), durable.Sync(part), os.Rename(part, a.dir), durable.Sync(d.supersededDir()), durable.Sync(d.cfg.StateDir))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	d.shareAside(a.dir)
	d.pruneAside()
	return nil
}

// linkCopy has the files of a ledger's copy in another folder too. Where there are no second names the log is copied, and
// partials, which others keep as well, are not.
func linkCopy(from, to string) error {
	for _, name := range []string{journalFile, bodyFile, sourceFile} {
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
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
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

// shareAside lets others fetch the partials of a copy that was put aside: the job may be recovered from it, or need them.
func (d *Daemon) shareAside(dir string) {
	for hash, path := range keptFiles(dir) {
		d.blobs.AddUnread(hash, path)
	}
}

// asides are the copies that were put aside here, the oldest first, of jobs whose name begins so.
func (d *Daemon) asides(prefix string) (out []aside) {
	dirs, _ := os.ReadDir(d.supersededDir())
	for _, e := range dirs {
		a := aside{dir: filepath.Join(d.supersededDir(), e.Name())}
		b, err := os.ReadFile(filepath.Join(a.dir, aboutFile))
		if err == nil && json.Unmarshal(b, &a) == nil && strings.HasPrefix(a.Name, prefix) && a.ID.Valid() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b aside) int { return a.At.Compare(b.At) })
	return out
}

// restoreAside begins with what earlier lives have put aside.
func (d *Daemon) restoreAside() {
	part, _ := filepath.Glob(filepath.Join(d.supersededDir(), durable.TempPrefix+"*"))
	for _, dir := range part {
		_ = os.RemoveAll(dir)
	}
	for _, a := range d.asides("") {
		d.shareAside(a.dir)
	}
}

// pruneAside holds what was put aside to its bounds.
func (d *Daemon) pruneAside() {
	all := d.asides("")
	of := map[string]int{}
	var kept []aside
	bytes := int64(0)
	for i, a := range all {
		of[a.Name]++
		last := !slices.ContainsFunc(all[i+1:], func(o aside) bool { return o.Name == a.Name })
		if time.Since(a.At) > d.cfg.KeepFor || of[a.Name] > firstAside && !last {
			d.removeAside(a.dir)
			continue
		}
		kept, bytes = append(kept, a), bytes+store.FolderBytes(a.dir)
	}
	for len(kept) > 1 && bytes > d.cfg.KeepBytes {
		bytes -= store.FolderBytes(kept[0].dir)
		d.removeAside(kept[0].dir)
		kept = kept[1:]
	}
	ends, _ := filepath.Glob(filepath.Join(d.supersededDir(), "*"+asideEnd))
	for _, dir := range ends {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > d.cfg.KeepFor {
			d.removeAside(dir)
		}
	}
}

func (d *Daemon) removeAside(dir string) {
	d.blobs.ForgetFolder(dir)
	if err := os.RemoveAll(dir); err != nil {
		d.log.Warn("could not remove what was put aside", "dir", dir, "reason", err)
	}
}

// putEndAside keeps what is here of the end of a job that is taken back: its status, and its result, if this node has it.
func (d *Daemon) putEndAside(dir, name string, l quorum.Link) (to string, err error) {
	d.blobs.ForgetFolder(dir)
	to = d.asideDir(name, l) + asideEnd
	if _, err := os.Stat(to); err == nil { // for the same recovery
		return to, os.RemoveAll(dir)
	}
	if err := os.MkdirAll(d.supersededDir(), 0o700); err != nil {
		return "", err
	}
	now := time.Now()
	return to, errors.Join(os.Chtimes(dir, now, now), os.Rename(dir, to))
}

// read is what the engine needs of a copy that was put aside.
func (a aside) read() (r engine.Restore, b store.Signature, err error) {
	j, head, log, err := journal.Open(filepath.Join(a.dir, journalFile))
	if err != nil {
		return r, b, err
	}
	if err = errors.Join(wire.Unmarshal(head.Job, &b), j.Close()); err != nil {
		return r, b, err
	}
	body, err := os.ReadFile(filepath.Join(a.dir, bodyFile))
	if err != nil {
		return r, b, err
	}
	desc, err := b.OpenJob(a.ID, body)
	return engine.Restore{ID: a.ID, Job: desc, Log: log}, b, err
}
