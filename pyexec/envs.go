package pyexec

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// envs keeps environments that were made for jobs, in the folder python/envs of the cache, which daemons of one user
// share:
//
//	KEY/made   JSON of madeEnv, written last: without it the folder is what an attempt has left, and is removed
//	KEY/env    the environment
//	KEY.lock   held, shared, by each process that uses the environment, and alone by one that makes or removes it
//
// KEY is a hash of what the environment is made of and of the platform. All environments together have at most a number
// of bytes: those that were used longest ago are removed when another one is made, but none that is in use.
type envs struct {
	dir  string
	most int64 // bytes of all; 0 for a quarter of what is free
	log  *slog.Logger
}

// errNoRoom says that an environment has more bytes than are kept.
var errNoRoom = errors.New("the environment is too large")

// madeEnv is what is noted of an environment.
type madeEnv struct {
	Of     string `json:"of"`     // what it was made of, for people
	Python string `json:"python"` // path of its interpreter
	Prefix string `json:"prefix"` // folder whose bin has its programs
	Conda  bool   `json:"conda,omitempty"`
	Bytes  int64  `json:"bytes"`
}

// heldEnv is an environment that is in use until it is released.
type heldEnv struct {
	madeEnv
	release func()
}

// lockAgain is how often it is tried to get a lock that another process has.
const lockAgain = 100 * time.Millisecond

// get returns an environment, which make makes in a folder of its own if it is not there. Of those who want the same
// one at the same time, in this process and others, one makes it, and the others wait.
func (e *envs) get(
	ctx context.Context, key string, make func(ctx context.Context, dir string, most int64) (madeEnv, error),
) (heldEnv, error) {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return heldEnv{}, err
	}
	lock := flock.New(e.path(key) + ".lock")
	for {
		if _, err := lock.TryRLockContext(ctx, lockAgain); err != nil {
			return heldEnv{}, cmp.Or(ctx.Err(), err)
		}
		if made, ok := e.made(key); ok {
			now := time.Now()
			_ = os.Chtimes(e.madePath(key), now, now) // otherwise it is removed earlier than others
			return heldEnv{made, func() { _ = lock.Close() }}, nil
		}
		_ = lock.Unlock()
		if _, err := lock.TryLockContext(ctx, lockAgain); err != nil {
			return heldEnv{}, cmp.Or(ctx.Err(), err)
		}
		err := e.makeOne(ctx, key, make)
		_ = lock.Unlock()
		if err != nil {
			return heldEnv{}, errors.Join(err, lock.Close())
		}
		e.tidy(key)
	}
}

// makeOne makes an environment, unless somebody else has just done so. The lock of its key is held.
func (e *envs) makeOne(
	ctx context.Context, key string, make func(ctx context.Context, dir string, most int64) (madeEnv, error),
) (err error) {
	if _, ok := e.made(key); ok {
		return nil
	}
	dir := e.path(key)
	if err := removeTree(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeTree(dir))
		}
	}()
	most := e.bound()
	made, err := make(ctx, filepath.Join(dir, "env"), most)
	if err != nil {
		return err
	}
	if made.Bytes, err = protect(filepath.Join(dir, "env")); err != nil {
		return err
	}
	if made.Bytes > most {
		return fmt.Errorf("%w: it has %d MB, and this node keeps at most %d MB of environments", errNoRoom, made.Bytes>>20,
			most>>20)
	}
	b, err := json.Marshal(made)
	if err != nil {
		return err
	}
	return durable.Write(e.madePath(key), b)
}

func (e *envs) path(key string) string { return filepath.Join(e.dir, key) }

func (e *envs) madePath(key string) string { return filepath.Join(e.dir, key, "made") }

// made reads what is noted of an environment; ok is false if it is not there, or its interpreter, which may be a link
// to one of the host's, is not there any more.
func (e *envs) made(key string) (m madeEnv, ok bool) {
	b, err := os.ReadFile(e.madePath(key))
	if err != nil || json.Unmarshal(b, &m) != nil {
		return m, false
	}
	_, err = os.Stat(m.Python)
	return m, err == nil
}

// bound is how many bytes environments may have.
func (e *envs) bound() int64 {
	if e.most > 0 {
		return e.most
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(e.dir, &st); err != nil {
		return 1 << 40
	}
	return int64(st.Bavail)*int64(st.Bsize)/4 + e.all() //nolint:unconvert // of other types elsewhere
}

// all is how many bytes the environments have that are there.
func (e *envs) all() (sum int64) {
	for _, o := range e.list() {
		sum += o.bytes
	}
	return sum
}

type keptEnv struct {
	key   string
	bytes int64
	used  time.Time // zero for what an attempt has left
}

func (e *envs) list() (out []keptEnv) {
	found, _ := os.ReadDir(e.dir) // where there is none there is nothing
	for _, d := range found {
		if !d.IsDir() {
			continue
		}
		kept := keptEnv{key: d.Name()}
		if info, err := os.Stat(e.madePath(d.Name())); err == nil {
			kept.used = info.ModTime()
		}
		if m, ok := e.made(d.Name()); ok {
			kept.bytes = m.Bytes
		}
		out = append(out, kept)
	}
	slices.SortFunc(out, func(a, b keptEnv) int { return a.used.Compare(b.used) })
	return out
}

// tidy removes what attempts have left that nobody goes on with, and environments beyond the bound, but for one.
func (e *envs) tidy(but string) {
	most, sum := e.bound(), e.all()
	for _, o := range e.list() {
		if o.key == but || !o.used.IsZero() && sum <= most {
			continue
		}
		if e.remove(o.key) {
			sum -= o.bytes
		}
	}
}

// remove removes an environment, unless somebody uses or makes it, and reports whether it did.
func (e *envs) remove(key string) bool {
	lock := flock.New(e.path(key) + ".lock")
	defer func() { _ = lock.Close() }()
	if ok, err := lock.TryLock(); err != nil || !ok {
		return false
	}
	if err := os.Remove(e.madePath(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err := removeTree(e.path(key)); err != nil {
		e.log.Warn("could not remove an environment", "folder", e.path(key), "reason", err)
		return false
	}
	return true
}

// protect makes a tree one that nobody changes by accident, such as by installing something from a job's code, and
// returns how many bytes it has on the disk.
func protect(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			bytes += st.Blocks * 512
		}
		return os.Chmod(path, info.Mode().Perm()&^0o222|0o400)
	})
	return bytes, err
}

// removeTree removes a tree that may be protected.
func removeTree(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700) // what is wrong is told by the removal
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// keyOf is the key of an environment that is made of something with a hash, for a platform.
func keyOf(kind, hash, platform string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "1 %s %s %s", kind, hash, platform))
	return hex.EncodeToString(sum[:16])
}

// isOfDisk reports whether an error is of this node's disk, and not of what was to be written.
func isOfDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS) ||
		errors.Is(err, syscall.EIO)
}
