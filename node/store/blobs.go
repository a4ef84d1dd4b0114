package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Blobs knows where this node keeps blobs that others may fetch by their SHA-256: job descriptions, sources, libraries,
// partials, results. One blob may lie in several places, since each file is removed with what it belongs to. Partials
// are in scratch/JOB/NODE-SEQ, and what jobs ship is in scratch/ship/SHA256. All methods may be called from any
// goroutine.
type Blobs struct {
	dir string // the scratch folder, of partials
	log *slog.Logger

	// mu guards at, hashes, unread and sound. hashes is the inverse of at, and the others have paths that are in both.
	mu     sync.Mutex
	at     map[string][]string  // hash -> paths
	hashes map[string]string    // path -> hash
	unread map[string]bool      // paths from before a restart that were not compared with their hash since
	sound  map[string]fileState // path -> how the file was when it was last compared with its hash

	shipping sync.Mutex     // held while the folder of what is shipped is changed
	held     map[string]int // hash -> how many jobs ship the blob
}

// NewBlobs knows no blobs. Partials and shipped blobs will be in the folder dir.
func NewBlobs(dir string, log *slog.Logger) *Blobs {
	return &Blobs{
		dir:    dir,
		log:    log,
		at:     map[string][]string{},
		hashes: map[string]string{},
		unread: map[string]bool{},
		sound:  map[string]fileState{},
		held:   map[string]int{},
	}
}

// maxChecked is the size, in bytes, up to which a blob is compared with its hash before it is sent. Sources, libraries
// and descriptions are smaller. Damage in larger blobs, which are partials and results, is found by the receiver.
const maxChecked = 256 << 20

// Open serves other nodes (p2p.BlobStore).
func (b *Blobs) Open(hash string) (io.ReadSeekCloser, int64, error) {
	var errs error
	for _, path := range b.Paths(hash) {
		f, size, err := openChecked(path, hash)
		if err == nil {
			return f, size, nil
		}
		if !b.doubt(hash, path, err) {
			errs = errors.Join(errs, err)
		}
	}
	if errs != nil {
		return nil, 0, errs
	}
	return nil, 0, fmt.Errorf("could not find blob %s: %w", hash, fs.ErrNotExist)
}

// openChecked opens a file with a hash. It compares the content with the hash unless the file is too large for that.
func openChecked(path, hash string) (*os.File, int64, error) {
	size := SizeOf(path)
	if size <= maxChecked {
		if err := Verify(path, hash); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.Open(path)
	return f, size, err
}

// Read returns the bytes of a blob, which it compares with the hash; ok is false if no file has them.
func (b *Blobs) Read(hash string) ([]byte, bool) {
	for _, path := range b.Paths(hash) {
		data, err := os.ReadFile(path)
		if err == nil {
			err = compare(path, HashOf(data), hash)
		}
		if err == nil {
			return data, true
		}
		b.doubt(hash, path, err)
	}
	return nil, false
}

// doubt forgets a file if err says that it is gone or damaged, and reports whether it did.
func (b *Blobs) doubt(hash, path string, why error) bool {
	damaged := errors.Is(why, ErrDamaged)
	if damaged {
		b.log.Error("a file that other nodes may fetch is damaged; its bytes are taken from elsewhere", "reason", why)
	}
	if damaged || errors.Is(why, fs.ErrNotExist) {
		b.Forget(hash, path)
		return true
	}
	return false
}

// Paths are the files that have the bytes with a hash, as far as is known; they may be gone meanwhile.
func (b *Blobs) Paths(hash string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.at[hash])
}

// Size is how many bytes the blob has, negative if it is not here.
func (b *Blobs) Size(hash string) int64 {
	for _, path := range b.Paths(hash) {
		if n := SizeOf(path); n >= 0 {
			return n
		}
	}
	return -1
}

// Has reports whether the file at path is known under its hash, and was so when this daemon wrote or read it.
func (b *Blobs) Has(hash, path string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.at[hash], path) && !b.unread[path]
}

// AddUnread is Add for a file from before a restart, which may have been damaged since it was written.
func (b *Blobs) AddUnread(hash, path string) {
	b.Add(hash, path)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unread[path] = true
}

// Add makes the file at path known under its hash.
func (b *Blobs) Add(hash, path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.unread, path)
	b.hashes[path] = hash
	if !slices.Contains(b.at[hash], path) {
		b.at[hash] = append(b.at[hash], path)
	}
}

// Forget makes a damaged file unknown.
func (b *Blobs) Forget(hash, path string) {
	b.drop(hash, func(p string) bool { return p == path })
}

// ForgetPath makes a file unknown that is being removed.
func (b *Blobs) ForgetPath(path string) {
	b.mu.Lock()
	hash, known := b.hashes[path]
	b.mu.Unlock()
	if known {
		b.Forget(hash, path)
	}
}

// ForgetFolder forgets all files in a folder.
func (b *Blobs) ForgetFolder(dir string) {
	b.mu.Lock()
	hashes := slices.Collect(maps.Keys(b.at))
	b.mu.Unlock()
	for _, h := range hashes {
		b.drop(h, func(p string) bool { return filepath.Dir(p) == dir })
	}
}

func (b *Blobs) drop(hash string, which func(path string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := func(path string) bool {
		if which(path) {
			delete(b.unread, path)
			delete(b.sound, path)
			delete(b.hashes, path)
			return true
		}
		return false
	}
	if left := slices.DeleteFunc(b.at[hash], gone); len(left) > 0 {
		b.at[hash] = left
	} else {
		delete(b.at, hash)
	}
}

// ShipDir is the folder of the blobs that jobs ship.
func (b *Blobs) ShipDir() string { return filepath.Join(b.dir, "ship") }

// Ship keeps bytes in ShipDir for one more job, until Unship, and returns their hash.
func (b *Blobs) Ship(data []byte) (hash string, err error) {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	if hash = HashOf(data); !b.Has(hash, filepath.Join(b.ShipDir(), hash)) {
		_, err = b.Put(b.ShipDir(), data)
	}
	if err == nil {
		b.held[hash]++
	}
	return hash, err
}

// ShipFile is Ship for a file that may be too large for memory. Where it is the runtime's own, and stays as it is, it
// gets a second name. It is copied where it is on another file system, or foreign: its user may write to it.
func (b *Blobs) ShipFile(path string, foreign bool) (hash string, size int64, err error) {
	h := sha256.New()
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fmt.Errorf("could not ship a file: %w", err)
	}
	size, err = io.Copy(h, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", 0, fmt.Errorf("could not ship a file: %w", err)
	}
	hash = hex.EncodeToString(h.Sum(nil))
	return hash, size, b.ShipWith(hash, func(to string) error {
		if !foreign && os.Link(path, to) == nil {
			return nil
		}
		return durable.Place(to, func(out *os.File) error { return CopyVerified(out, path, hash) })
	})
}

// ShipWith is Ship for a blob that make puts whole at a path in ShipDir, unless it is there already.
func (b *Blobs) ShipWith(hash string, make func(path string) error) error {
	if err := os.MkdirAll(b.ShipDir(), 0o700); err != nil {
		return err
	}
	path := b.ShipPath(hash)
	for !b.holdShipped(hash, false) {
		// Others ship meanwhile, since this may take minutes.
		if err := make(path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if b.holdShipped(hash, true) {
			break
		} // else the last job that held it was released as make found it there
	}
	return nil
}

// holdShipped keeps what is in ShipDir for one more job, and reports whether it is there. made says that it is whole,
// though it is not known yet.
func (b *Blobs) holdShipped(hash string, made bool) bool {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	path := b.ShipPath(hash)
	if !made && !b.Has(hash, path) || SizeOf(path) < 0 {
		return false
	}
	b.Add(hash, path)
	b.held[hash]++
	return true
}

// ShipPath is where a blob is that was shipped.
func (b *Blobs) ShipPath(hash string) string { return filepath.Join(b.ShipDir(), hash) }

// ShipAgain is Ship for bytes that are there already; false if they are not.
func (b *Blobs) ShipAgain(hash string) bool {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	there := b.held[hash] > 0 && b.Has(hash, filepath.Join(b.ShipDir(), hash))
	if there {
		b.held[hash]++
	}
	return there
}

// Unship undoes one Ship. The last Unship of a blob removes it.
func (b *Blobs) Unship(hash string) {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	if b.held[hash]--; b.held[hash] > 0 {
		return
	}
	delete(b.held, hash)
	path := filepath.Join(b.ShipDir(), hash)
	b.Forget(hash, path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("could not remove what a job shipped", "reason", err)
	}
}

// Dir is the folder of partials.
func (b *Blobs) Dir() string { return b.dir }

// JobDir is where partials of a job lie.
func (b *Blobs) JobDir(id tasks.JobID) string { return filepath.Join(b.dir, string(id)) }

// Partial is the path of a partial's blob in scratch.
func (b *Blobs) Partial(id tasks.JobID, p merge.ID) string {
	return filepath.Join(b.JobDir(id), PartialName(p))
}

// PartialName is a partial's file name: a hash of its node, and the node's count.
func PartialName(p merge.ID) string {
	sum := sha256.Sum256([]byte(p.Node))
	return fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:6]), p.Seq)
}

// Put writes bytes under their hash into dir.
func (b *Blobs) Put(dir string, data []byte) (hash string, err error) {
	hash = HashOf(data)
	path := filepath.Join(dir, hash)
	if err := durable.Write(path, data); err != nil {
		return "", err
	}
	b.Add(hash, path)
	return hash, nil
}
