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

	"github.com/dtpnode/dtpnode/node/api"
)

// A daemon for the time of one job has its state in a folder below the temporary one, which goes with the daemon.
// Where the job could not be finished, its output not be written, its result is partial, or the daemon was killed, the
// folder is moved to the user's state folder instead, and later commands start a daemon on it again. A folder whose owner
// was killed is removed by the next that looks: the owner holds a lock on a file in it, and so does its daemon.

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

// SweepTemporary removes folders of temporary daemons whose owners are dead, and returns them. One whose owner or
// daemon lives is not touched.
func SweepTemporary() (removed []string) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	for _, dir := range dirs {
		if ours(dir) && abandoned(dir) && os.RemoveAll(dir) == nil {
			removed = append(removed, dir)
		}
	}
	return removed
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
	defer func() { err = errors.Join(err, d.owner.Unlock()) }()
	_ = os.RemoveAll(filepath.Join(temp, tempScratch)) // a daemon that was killed leaves it, and the next one empties it
	dir = filepath.Join(paths.State, keptFolder, st.ID)
	moved := os.MkdirAll(filepath.Dir(dir), 0o700)
	if moved == nil && os.Rename(temp, dir) == nil {
		return dir, errors.Join(err, NoteKept(dir, st))
	}
	if moved == nil {
		moved = copyFolder(temp, dir) // on another file system
	}
	if moved == nil {
		return dir, errors.Join(err, NoteKept(dir, st), os.RemoveAll(temp))
	}
	dir = filepath.Join(filepath.Dir(temp), tempKept+st.ID)
	if stays := os.Rename(temp, dir); stays != nil {
		return temp, errors.Join(err, moved, stays)
	}
	_ = NoteKept(dir, st) // where there may be no room for it
	return dir, err
}

// NoteKept notes how a job stands in the folder in which it is kept, for those who only look.
func NoteKept(dir string, st api.JobStatus) error {
	st.Missing, st.Failing, st.Stdout = nil, nil, ""
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keptStatus), text, 0o600)
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
	return syncFile(filepath.Dir(dir))
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
		return syncFile(path)
	})
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// forRetry marks a folder that is kept only so that its job can be retried, until retryFor after the time of the file.
const (
	forRetry = "for-retry"
	retryFor = 24 * time.Hour // as a daemon keeps a result that was fetched
)

// ForRetry says of a folder that Keep has made whether it is kept only so that its job can be retried: it goes after a day.
func ForRetry(dir string, only bool) error {
	path := filepath.Join(dir, forRetry)
	err := os.Remove(path)
	if only {
		return os.WriteFile(path, nil, 0o600)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// SweepKept removes folders that were kept for a retry which nobody has asked for.
func SweepKept(paths Paths) (removed []string) {
	for _, dir := range AllKept(paths) {
		info, err := os.Stat(filepath.Join(dir, forRetry))
		if err == nil && time.Since(info.ModTime()) > retryFor && abandoned(dir) && os.RemoveAll(dir) == nil {
			removed = append(removed, dir)
		}
	}
	return removed
}

// AllOwing is AllKept without the folders whose users have the output: these go by themselves.
func AllOwing(paths Paths) map[string]string {
	all := AllKept(paths)
	for name, dir := range all {
		if _, err := os.Stat(filepath.Join(dir, forRetry)); err == nil {
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
