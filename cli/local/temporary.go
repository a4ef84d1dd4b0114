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

// A daemon that runs for one job has its state in a folder below the temporary directory, which is removed when the
// daemon ends. If the job could not be finished, its output could not be written, its result is partial or the daemon
// was killed, the folder is moved to the user's state folder instead, and later commands start a daemon on it again. If
// the owner of a folder was killed, the next command that looks for such folders moves it or, if nothing in it is
// committed, removes it. It recognises that case by locks: the owner holds one on a file in the folder, and so does its
// daemon.

const (
	tempPrefix  = "dtpnode-run-"
	tempKept    = "dtpnode-kept-" // name in the temporary directory, if the state folder has no room for it
	ownerLock   = "owner.lock"    // held by the command that made the folder
	startArgs   = "up.json"       // settings with which the daemon was started, for its next start
	tempScratch = "scratch"       // the daemon's scratch, below its state folder
	keptStatus  = "kept.json"     // status of the job when it was kept
	keptFolder  = "kept"          // below the user's state folder: one folder for each job
)

// unownedFor is how old a folder without its owner's lock file must be to count as abandoned, since a living owner may
// be about to make the file.
const unownedFor = time.Hour

// makeTemporary makes a state folder that this process owns until it ends.
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

// own saves the daemon's settings in a new folder, and locks it. The lock is held before the file gets its name, so
// that nobody ever sees it unlocked.
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

// SweepTemporary looks at folders of temporary daemons whose owners are dead. It keeps a folder that holds committed
// work of a job, as Keep does, and removes and returns the others. It does not touch a folder whose owner or daemon is
// alive.
func SweepTemporary(paths Paths) (removed []string) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	for _, dir := range dirs {
		if !ours(dir) || !abandoned(dir) {
			continue
		}
		if st, ok := leftBehind(dir); ok {
			_ = adopt(paths, dir, st) // what cannot be moved now is tried again by the next sweep
		} else if os.RemoveAll(dir) == nil {
			removed = append(removed, dir)
		}
	}
	return removed
}

// leftBehind returns the status of the job in a folder of which the user has not received everything; false if there is
// none.
func leftBehind(dir string) (st api.JobStatus, ok bool) {
	work := api.Worked(dir)
	if work == "" {
		return st, false
	}
	text, err := os.ReadFile(filepath.Join(dir, keptStatus))
	if err != nil || json.Unmarshal(text, &st) != nil || st.ID == "" || filepath.Base(st.ID) != st.ID {
		// there is no status, but there is work, so it is kept
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

// adopt keeps the folder of an owner that was killed, unless another command is doing so.
func adopt(paths Paths, dir string, st api.JobStatus) error {
	lock := flock.New(filepath.Join(dir, ownerLock))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return err
	}
	_, err := moveKept(paths, dir, st)
	return errors.Join(err, lock.Unlock())
}

// BreakOff returns the status of a job whose node has ended before it.
func BreakOff(st api.JobStatus) api.JobStatus {
	st.State, st.Phase, st.Rate = api.Waiting, "the node that run had started for it has gone", 0
	st.Hint = fmt.Sprintf("`dtpnode finish %s` goes on from what is committed", progress.Short(st.ID))
	for i := range st.Nodes {
		st.Nodes[i].Rate, st.Nodes[i].Up = 0, false
	}
	return st
}

// Note saves the status of a temporary daemon's job, for those who find its folder if this process is killed.
func (d *Daemon) Note(st api.JobStatus) {
	if d.temp != "" {
		_ = NoteKept(d.temp, st) // without it only less is known about a kept job
	}
}

// ours reports whether a path is a folder of this user, since everybody can write to the temporary directory.
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

// free reports whether nobody holds a lock. It does not make the file if there is none.
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

// Keep ends a temporary daemon as Close does, and moves its state folder to the user's, under the job's name and with
// the job's status. It returns the new path. If there is no room, the folder stays in the temporary directory, under a
// name that no sweep removes.
func (d *Daemon) Keep(paths Paths, st api.JobStatus) (dir string, err error) {
	temp := d.temp
	d.temp = ""
	err = d.Close()
	dir, bad := moveKept(paths, temp, st)
	return dir, errors.Join(err, bad, d.owner.Unlock())
}

// moveKept moves the folder of a temporary daemon that has ended to the folder of kept jobs.
func moveKept(paths Paths, temp string, st api.JobStatus) (dir string, err error) {
	_ = os.RemoveAll(filepath.Join(temp, tempScratch)) // a killed daemon leaves it behind, and the next one would empty it
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
	_ = NoteKept(dir, st) // there may be no room for it
	return dir, nil
}

// NoteKept saves a job's status in its kept folder, so that it can be shown without starting a daemon.
func NoteKept(dir string, st api.JobStatus) error {
	st.Missing, st.Failing, st.Stdout = nil, nil, ""
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return durable.Place(filepath.Join(dir, keptStatus), durable.Bytes(text))
}

// ReadKept returns the status of a kept job when it was last worked on.
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

// copyFolder makes dir a copy of another folder, complete and on disk or not at all.
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

// copyEntry copies a file or makes a folder with the same permissions, since a key that others may read is refused. It
// omits sockets and the like, which a killed daemon leaves behind.
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

// syncFolders syncs all folders below a folder to disk, so that the names in them survive.
func syncFolders(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return durable.Sync(path)
	})
}

// userHas is a file that marks a kept folder whose job's output the user has. The folder is removed when the file is
// older than keptFor.
const (
	userHas = "for-retry"    // named so since earlier versions marked only folders kept for a retry
	keptFor = 24 * time.Hour // as long as a daemon keeps a fetched result
)

// UserHas notes whether the user has the output of the job in a kept folder. If so the folder is kept for another day,
// for fetching the output again or for a retry of a partial result.
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

// SweepKept removes the folders of jobs whose users have had the output for a day.
func SweepKept(paths Paths) (removed []string) {
	for _, dir := range AllKept(paths) {
		info, err := os.Stat(filepath.Join(dir, userHas))
		if err == nil && time.Since(info.ModTime()) > keptFor && abandoned(dir) && os.RemoveAll(dir) == nil {
			removed = append(removed, dir)
		}
	}
	return removed
}

// AllOwing is AllKept without the folders whose users have the output, which SweepKept removes.
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

// Kept finds the folder in which a temporary daemon's job is kept, by the job's name or an unambiguous beginning of it;
// empty if there is none.
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

// StartKept starts a daemon on a folder that Kept has found, for one command, with the settings that the folder's
// daemon had before.
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
