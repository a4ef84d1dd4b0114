package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/journal"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// aboutFile says what a copy is that was put aside; it is an Aside.
const aboutFile = "about.json"

// Aside is a copy of a ledger that was put aside.
type Aside struct {
	ID        tasks.JobID  `json:"id"`
	Name      string       `json:"name"` // the job's
	Submitter tasks.PeerID `json:"submitter"`
	Link      quorum.Link  `json:"link"` // the recovery for which it was given up
	At        time.Time    `json:"at"`
	dir       string
}

// Asides are the copies of ledgers that were given up since the job was recovered from another copy. They are put
// aside, and not removed, because whoever signed the recovery may have lied, and the recovered job may come to nothing.
// Each lies in superseded/JOB.EPOCH of the state folder, with the files that it had as a Copy, under a second name
// where the file system has that, so that it costs little. It is kept as long as results are; of one job the first two
// and the last are kept, and of all jobs together no more bytes than of partial results. dtpnode recover --superseded
// goes on from one.
type Asides struct {
	Dir       string // made when it is needed
	Blobs     *Blobs
	KeepFor   time.Duration
	KeepBytes int64 // of all together, but for the last one
	Log       *slog.Logger
}

const (
	// FirstAsides is how many copies of one job's ledger are kept in any case, the first ones: later ones may be of a
	// ledger that a liar made.
	FirstAsides = 2

	asideEnd = ".ends" // what the folder of a result ends with that was taken back
)

// FolderOf is where what is given up for a recovery lies, of the job with that name.
func (s *Asides) FolderOf(name string, by quorum.Link) string {
	return filepath.Join(s.Dir, fmt.Sprintf("%s.%x", name, quorum.Epoch(by.Conf.Term)))
}

// Put keeps the files of a copy that is closed and is given up. What was given up first for one recovery has more than
// what comes later, and stays.
func (s *Asides) Put(c *Copy, by quorum.Link) error {
	a := Aside{
		ID:        c.ID,
		Name:      c.Name(),
		Submitter: c.Job.Submitter,
		Link:      by,
		At:        time.Now(),
		dir:       s.FolderOf(c.Name(), by),
	}
	if _, err := os.Stat(a.dir); err == nil {
		return nil
	}
	part := filepath.Join(s.Dir, durable.TempPrefix+filepath.Base(a.dir))
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o700)); err != nil {
		return err
	}
	about, err := json.Marshal(a)
	if err == nil {
		err = durable.Write(filepath.Join(part, aboutFile), about)
	}
	if err == nil {
		err = linkFiles(c.Dir, part)
	}
	if err == nil {
		err = errors.Join(durable.Sync(filepath.Join(part, aboutFile)), durable.Sync(part), os.Rename(part, a.dir),
			durable.Sync(s.Dir), durable.Sync(filepath.Dir(s.Dir)))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	s.share(a.dir)
	s.Prune()
	return nil
}

// share lets others fetch the partials of a copy that was put aside: the job may be recovered from it, or need them.
func (s *Asides) share(dir string) {
	for hash, path := range keptFiles(dir) {
		s.Blobs.AddUnread(hash, path)
	}
}

// List are the copies that were put aside here, the oldest first, of jobs whose name begins so.
func (s *Asides) List(prefix string) (out []Aside) {
	dirs, _ := os.ReadDir(s.Dir)
	for _, e := range dirs {
		a := Aside{dir: filepath.Join(s.Dir, e.Name())}
		b, err := os.ReadFile(filepath.Join(a.dir, aboutFile))
		if err != nil || json.Unmarshal(b, &a) != nil || !a.ID.Valid() {
			continue
		}
		if strings.HasPrefix(a.Name, prefix) && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Aside) int { return a.At.Compare(b.At) })
	return out
}

// Restore begins with what earlier lives have put aside.
func (s *Asides) Restore() {
	part, _ := filepath.Glob(filepath.Join(s.Dir, durable.TempPrefix+"*"))
	for _, dir := range part {
		_ = os.RemoveAll(dir)
	}
	for _, a := range s.List("") {
		s.share(a.dir)
	}
}

// Prune holds what was put aside to its bounds.
func (s *Asides) Prune() {
	all := s.List("")
	of := map[string]int{}
	var kept []Aside
	bytes := int64(0)
	for i, a := range all {
		of[a.Name]++
		last := !slices.ContainsFunc(all[i+1:], func(o Aside) bool { return o.Name == a.Name })
		if time.Since(a.At) > s.KeepFor || of[a.Name] > FirstAsides && !last {
			s.remove(a.dir)
			continue
		}
		kept, bytes = append(kept, a), bytes+FolderBytes(a.dir)
	}
	for len(kept) > 1 && bytes > s.KeepBytes {
		bytes -= FolderBytes(kept[0].dir)
		s.remove(kept[0].dir)
		kept = kept[1:]
	}
	ends, _ := filepath.Glob(filepath.Join(s.Dir, "*"+asideEnd))
	for _, dir := range ends {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > s.KeepFor {
			s.remove(dir)
		}
	}
}

func (s *Asides) remove(dir string) {
	s.Blobs.ForgetFolder(dir)
	if err := os.RemoveAll(dir); err != nil {
		s.Log.Warn("could not remove what was put aside", "dir", dir, "reason", err)
	}
}

// PutEnd keeps what is here, in the folder dir, of the end of a job that is taken back: its status, and its result, if
// this node has it. It returns where that lies now.
func (s *Asides) PutEnd(dir, name string, by quorum.Link) (to string, err error) {
	s.Blobs.ForgetFolder(dir)
	to = s.FolderOf(name, by) + asideEnd
	if _, err := os.Stat(to); err == nil { // for the same recovery
		return to, os.RemoveAll(dir)
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", err
	}
	now := time.Now()
	return to, errors.Join(os.Chtimes(dir, now, now), os.Rename(dir, to))
}

// Read is what the log of a copy holds that was put aside, with the description of its job and the signature of that.
func (a Aside) Read() (s Signature, desc *tasks.Job, log quorum.Log, err error) {
	j, head, log, err := journal.Open(filepath.Join(a.dir, journalFile))
	if err != nil {
		return s, nil, log, err
	}
	if err = j.Close(); err != nil {
		return s, nil, log, err
	}
	s, desc, err = describedIn(a.dir, a.ID, head)
	return s, desc, log, err
}

// Lacks reports whether the blob of a partial is not there that the copy names.
func (a Aside) Lacks(p merge.Partial) bool {
	return SizeOf(filepath.Join(a.dir, keptName(p))) != p.Size
}

// Folder is where the copy lies.
func (a Aside) Folder() string { return a.dir }
