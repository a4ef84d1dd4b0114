package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
// Where the job could not be finished, or its output not be written, the folder is moved to the user's state folder
// instead, and later commands start a daemon on it again. A folder whose owner was killed is removed by the next that
// looks: the owner holds a lock on a file in it, and so does its daemon.

const (
	tempPrefix = "dtpnode-run-"
	tempKept   = "dtpnode-kept-" // in the temporary folder, where the state folder has no room for it
	ownerLock  = "owner.lock"    // held by the command that made the folder
	startArgs  = "up.json"       // settings that the daemon was started with, for its next start
	keptFolder = "kept"          // below the user's state folder: one folder for each job
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

// Keep ends a temporary daemon as Close does, and moves its state folder to the user's, under a job's name. It returns
// where that is. Where there is no room it stays in the temporary folder, under a name that nobody sweeps.
func (d *Daemon) Keep(paths Paths, job string) (dir string, err error) {
	temp := d.temp
	d.temp = ""
	err = d.Close()
	defer func() { err = errors.Join(err, d.owner.Unlock()) }()
	dir = filepath.Join(paths.State, keptFolder, job)
	moved := os.MkdirAll(filepath.Dir(dir), 0o700)
	if moved == nil && os.Rename(temp, dir) == nil {
		return dir, err
	}
	if moved == nil {
		moved = copyFolder(temp, dir) // on another file system
	}
	if moved == nil {
		return dir, errors.Join(err, os.RemoveAll(temp))
	}
	dir = filepath.Join(filepath.Dir(temp), tempKept+job)
	if stays := os.Rename(temp, dir); stays != nil {
		return temp, errors.Join(err, moved, stays)
	}
	return dir, err
}

// copyFolder makes dir a copy of another folder, whole or not at all.
func copyFolder(from, dir string) error {
	part := dir + ".part"
	err := errors.Join(os.RemoveAll(part), removeSockets(from), os.CopyFS(part, os.DirFS(from)))
	if err == nil {
		err = errors.Join(os.Chmod(part, 0o700), os.Rename(part, dir))
	}
	if err != nil {
		_ = os.RemoveAll(part)
	}
	return err
}

// removeSockets removes what a daemon that was killed leaves, and no copy can be made of.
func removeSockets(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type()&os.ModeSocket != 0 {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
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
