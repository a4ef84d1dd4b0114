package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// A daemon for the time of one job has its state in a folder below the temporary one, which goes with the daemon.
// Where the job could not be finished, its output not be written, its result is partial, or the daemon was killed, the
// folder is moved to the user's state folder instead, and later commands start a daemon on it again. With a folder
// whose owner was killed the next that looks does the same or, if nothing in it is committed, removes it: the owner
// holds a lock on a file in it, and so does its daemon.

const (
	tempPrefix  = "dtpnode-run-"
	tempKept    = "dtpnode-kept-" // in the temporary folder, where the state folder has no room for it
	ownerLock   = "owner.lock"    // held by the command that made the folder
	startArgs   = "up.json"       // settings that the daemon was started with, for its next start
	tempScratch = "scratch"       // of the daemon, below its state folder
	keptStatus  = "kept.json"     // how the job stood when it was kept
	keptFolder  = "kept"          // below the user's state folder: one folder for each job
)

// unownedFor is how old a folder without the owner's lock file must be before it is taken for left behind: its owner
// may be about to make the file.
const unownedFor = time.Hour

// makeTemporary makes a state folder that is this process's until it ends.
func makeTemporary(args []string) (dir string, lock *flock.Flock, err error) {
	dir, err = os.MkdirTemp("", tempPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("could not make a folder for a temporary daemon: %w", err)
	}
	if lock, err = own(dir, args); err != nil {
		return "", nil, errors.Join(fmt.Errorf("could not make a folder for a temporary daemon: %w", err), os.RemoveAll(dir))
	}
	return dir, lock, nil
}

// own notes the daemon's settings in a new folder, and locks it. The lock is held when the file gets its name: nobody
// ever sees it free.
func own(dir string, args []string) (*flock.Flock, error) {
	text, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, startArgs), text, 0o600); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, ownerLock)
	lock := flock.New(path + ".new")
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, errors.Join(errors.New("could not lock it"), err)
	}
	return lock, os.Rename(lock.Path(), path)
}

// SweepTemporary looks at folders of temporary daemons whose owners are dead: one that holds what was committed of a
// job is kept, as Keep does it; others are removed, and returned. One whose owner or daemon lives is not touched.
func SweepTemporary(paths Paths) (removed []string) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	for _, dir := range dirs {
		if !ours(dir) || !abandoned(dir) {
			continue
		}
		if st, ok := leftBehind(dir); ok {
			_ = adopt(paths, dir, st) // what cannot be moved stays where it is, and is tried again
		} else if os.RemoveAll(dir) == nil {
			removed = append(removed, dir)
		}
	}
	return removed
}

// leftBehind is the job of which a folder holds what its user is owed; false if there is none.
func leftBehind(dir string) (st api.JobStatus, ok bool) {
	work := api.Worked(dir)
	if work == "" {
		return st, false
	}
	text, err := os.ReadFile(filepath.Join(dir, keptStatus))
	if err != nil || json.Unmarshal(text, &st) != nil || st.ID == "" || filepath.Base(st.ID) != st.ID {
		// nobody has said what it is called: it is not thrown away
		return BreakOff(api.JobStatus{ID: filepath.Base(work)}), true
	}
	if st.State == api.Cancelled || st.State == api.Failed || st.State.Final() && st.Output != "" {
		return st, false
	}
	if st.State == api.CannotFinish {
		return st, true
	}
	return BreakOff(st), true
}

// adopt keeps the folder of an owner that was killed, unless another command is about to.
func adopt(paths Paths, dir string, st api.JobStatus) error {
	lock := flock.New(filepath.Join(dir, ownerLock))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return err
	}
	_, err := moveKept(paths, dir, st)
	return errors.Join(err, lock.Unlock())
}

// BreakOff is how a job stands whose node has gone.
func BreakOff(st api.JobStatus) api.JobStatus {
	st.State, st.Phase, st.Rate = api.Waiting, "the node that run had started for it has gone", 0
	st.Hint = fmt.Sprintf("`dtpnode finish %s` goes on from what is committed", progress.Short(st.ID))
	for i := range st.Nodes {
		st.Nodes[i].Rate, st.Nodes[i].Up = 0, false
	}
	return st
}

// Note notes how the job of a temporary daemon stands, for those who find its folder after this process was killed.
func (d *Daemon) Note(st api.JobStatus) {
	if d.temp != "" {
		_ = NoteKept(d.temp, st) // without it less is known of what is kept
	}
}

// ours reports whether a path is a folder of this user: the temporary folder is everybody's.
func ours(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// abandoned reports whether nobody holds the locks of a folder.
func abandoned(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, ownerLock)); err != nil {
		info, err := os.Lstat(dir)
		if err != nil || time.Since(info.ModTime()) < unownedFor {
			return false
		}
	}
	return free(filepath.Join(dir, ownerLock)) && free(api.LockPath(dir))
}

// free reports whether nobody holds a lock. Its file is not made where there is none.
func free(path string) bool {
	if _, err := os.Lstat(path); err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil || !ok {
		return false
	}
	return lock.Unlock() == nil
}

// Keep ends a temporary daemon as Close does, and moves its state folder to the user's, under a job's name and with how
// the job stands. It returns where that is. Where there is no room it stays in the temporary folder, under a name that
// nobody sweeps.
func (d *Daemon) Keep(paths Paths, st api.JobStatus) (dir string, err error) {
	temp := d.temp
	d.temp = ""
	err = d.Close()
	dir, bad := moveKept(paths, temp, st)
	return dir, errors.Join(err, bad, d.owner.Unlock())
}

// moveKept moves the folder of a temporary daemon that has ended to where jobs are kept.
func moveKept(paths Paths, temp string, st api.JobStatus) (dir string, err error) {
	_ = os.RemoveAll(filepath.Join(temp, tempScratch)) // a daemon that was killed leaves it, and the next one empties it
	dir = filepath.Join(paths.State, keptFolder, st.ID)
	err = os.MkdirAll(filepath.Dir(dir), 0o700)
	if err == nil && os.Rename(temp, dir) == nil {
		return dir, NoteKept(dir, st)
	}
	if err == nil {
		err = copyFolder(temp, dir) // on another file system
	}
	if err == nil {
		return dir, errors.Join(NoteKept(dir, st), os.RemoveAll(temp))
	}
	dir = filepath.Join(filepath.Dir(temp), tempKept+st.ID)
	if stays := os.Rename(temp, dir); stays != nil {
		return temp, errors.Join(err, stays)
	}
	_ = NoteKept(dir, st) // where there may be no room for it
	return dir, nil
}

// NoteKept notes how a job stands in the folder in which it is kept, for those who only look.
func NoteKept(dir string, st api.JobStatus) error {
	st.Missing, st.Failing, st.Stdout = nil, nil, ""
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return durable.Place(filepath.Join(dir, keptStatus), durable.Bytes(text))
}

// ReadKept is how a job stood when it was last worked on in the folder in which it is kept.
func ReadKept(dir string) api.JobStatus {
	st := api.JobStatus{ID: strings.TrimPrefix(filepath.Base(dir), tempKept), State: api.Waiting}
	var noted api.JobStatus
	text, err := os.ReadFile(filepath.Join(dir, keptStatus))
	if err == nil && json.Unmarshal(text, &noted) == nil && noted.ID == st.ID {
		st = noted
	}
	st.KeptIn = dir
	return st
}

// copyFolder makes dir a copy of another folder, whole and on disk or not at all.
func copyFolder(from, dir string) error {
	part := dir + ".part"
	err := os.RemoveAll(part)
	if err == nil {
		err = filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
			rel, bad := filepath.Rel(from, path)
			if err := errors.Join(err, bad); err != nil {
				return err
			}
			return copyEntry(path, filepath.Join(part, rel), e)
		})
	}
	if err == nil {
		err = errors.Join(syncFolders(part), os.Rename(part, dir))
	}
	if err != nil {
		_ = os.RemoveAll(part)
		return fmt.Errorf("could not copy %q to %q: %w", from, dir, err)
	}
	return durable.Sync(filepath.Dir(dir))
}

// copyEntry copies a file or makes a folder, with the rights that it has: a key that others may read is used by nobody.
// Sockets and the like, which a daemon that was killed leaves, are left out.
func copyEntry(from, to string, e fs.DirEntry) error {
	info, err := e.Info()
	switch {
	case err != nil:
		return err
	case e.IsDir():
		return os.Mkdir(to, info.Mode().Perm()|0o700)
	case !e.Type().IsRegular():
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(info.Mode().Perm()), out.Sync(), out.Close())
}

// syncFolders has the names of all files below a folder on disk.
func syncFolders(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return durable.Sync(path)
	})
}

// userHas marks a folder whose job's output its user has, until keptFor after the time of the file.
const (
	userHas = "for-retry"    // the name that it has in folders of earlier versions, which marked those alone
	keptFor = 24 * time.Hour // as a daemon keeps a result that was fetched
)

// UserHas says of a folder that Keep has made whether the job's user has its output. It is kept then, to be fetched
// again or, if it is partial, retried, for a day after this was said last.
func UserHas(dir string, has bool) error {
	path := filepath.Join(dir, userHas)
	err := os.Remove(path)
	if has {
		return os.WriteFile(path, nil, 0o600)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// SweepKept removes folders of jobs whose users have had the output for a day.
func SweepKept(paths Paths) (removed []string) {
	for _, dir := range AllKept(paths) {
		info, err := os.Stat(filepath.Join(dir, userHas))
		if err == nil && time.Since(info.ModTime()) > keptFor && abandoned(dir) && os.RemoveAll(dir) == nil {
			removed = append(removed, dir)
		}
	}
	return removed
}

// AllOwing is AllKept without the folders whose users have the output: these go by themselves.
func AllOwing(paths Paths) map[string]string {
	all := AllKept(paths)
	for name, dir := range all {
		if _, err := os.Stat(filepath.Join(dir, userHas)); err == nil {
			delete(all, name)
		}
	}
	return all
}

// AllKept lists the folders in which jobs of temporary daemons are kept, by the jobs' names.
func AllKept(paths Paths) map[string]string {
	all := map[string]string{}
	inTemp, _ := filepath.Glob(filepath.Join(os.TempDir(), tempKept+"*"))
	inState, _ := filepath.Glob(filepath.Join(paths.State, keptFolder, "*"))
	for _, dir := range slices.Concat(inTemp, inState) {
		if name := strings.TrimPrefix(filepath.Base(dir), tempKept); filepath.Ext(name) == "" && ours(dir) {
			all[name] = dir
		}
	}
	return all
}

// Kept finds the folder in which a job of a temporary daemon is kept, by the job's name or a beginning of it that is
// no other's; empty if there is none.
func Kept(paths Paths, job string) (dir string) {
	const least = 4
	for name, at := range AllKept(paths) {
		if len(job) < least || !strings.HasPrefix(name, job) {
			continue
		}
		if dir != "" {
			return ""
		}
		dir = at
	}
	return dir
}

// StartKept starts a daemon on a folder that Kept has found, for the time of a command, with the settings that it had
// before.
func StartKept(ctx context.Context, dir, cache string) (*Daemon, error) {
	var args []string
	text, err := os.ReadFile(filepath.Join(dir, startArgs))
	if err == nil {
		err = json.Unmarshal(text, &args)
	}
	if err != nil {
		return nil, fmt.Errorf("could not read how the daemon of %q was started: %w", dir, err)
	}
	return start(ctx, Paths{State: dir, Cache: cache}, "", args)
}
