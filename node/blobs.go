package node

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

// blobs knows where this node keeps bytes that others may fetch by their SHA-256: job descriptions,
// sources, libraries, partials, results. The same bytes may lie in several places, for each goes with what it
// belongs to. Partials lie in scratch/<job>/<node>-<seq>, what jobs ship in scratch/ship/<hash>.
type blobs struct {
	dir string // of partials
	log *slog.Logger

	mu     sync.Mutex
	at     map[string][]string // hash -> paths
	hashes map[string]string   // path -> hash
	unread map[string]bool     // paths of an earlier life, not compared with their hash in this one

	shipping sync.Mutex     // held while the folder of what is shipped is changed
	held     map[string]int // hash -> for how many jobs it is there
}

func newBlobs(dir string, log *slog.Logger) *blobs {
	return &blobs{dir: dir, log: log, at: map[string][]string{}, hashes: map[string]string{}, unread: map[string]bool{}, held: map[string]int{}}
}

// maxChecked is the size up to which a blob is compared with its hash before others get it: sources, libraries,
// descriptions. Of larger ones, partials and results, the other side finds the damage.
const maxChecked = 256 << 20

// Open serves other nodes (p2p.BlobStore).
func (b *blobs) Open(hash string) (io.ReadSeekCloser, int64, error) {
	var errs error
	for _, path := range b.paths(hash) {
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

// openChecked opens a file that is what its hash says, as far as it is not too large for that.
func openChecked(path, hash string) (*os.File, int64, error) {
	size := sizeOf(path)
	if size <= maxChecked {
		if err := verify(path, hash); err != nil {
			return nil, 0, err
		}
	}
	f, err := os.Open(path)
	return f, size, err
}

// read returns the bytes of a blob, from a file that has them as they were.
func (b *blobs) read(hash string) ([]byte, bool) {
	for _, path := range b.paths(hash) {
		data, err := os.ReadFile(path)
		if err == nil {
			err = compare(path, hashOf(data), hash)
		}
		if err == nil {
			return data, true
		}
		b.doubt(hash, path, err)
	}
	return nil, false
}

// doubt forgets a file that is gone, or not what it was, and reports whether it did.
func (b *blobs) doubt(hash, path string, why error) bool {
	damaged := errors.Is(why, errDamaged)
	if damaged {
		b.log.Error("a file that other nodes may fetch is damaged; its bytes are taken from elsewhere", "reason", why)
	}
	if damaged || errors.Is(why, fs.ErrNotExist) {
		b.forget(hash, path)
		return true
	}
	return false
}

func (b *blobs) paths(hash string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.at[hash])
}

// size is how many bytes the blob has, negative if it is not here.
func (b *blobs) size(hash string) int64 {
	for _, path := range b.paths(hash) {
		if n := sizeOf(path); n >= 0 {
			return n
		}
	}
	return -1
}

// has reports whether the file at path is known under its hash, and was so when this daemon wrote or read it.
func (b *blobs) has(hash, path string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Contains(b.at[hash], path) && !b.unread[path]
}

// addUnread is add for a file that an earlier life has left.
func (b *blobs) addUnread(hash, path string) {
	b.add(hash, path)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unread[path] = true
}

// add makes the file at path known under its hash.
func (b *blobs) add(hash, path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.unread, path)
	b.hashes[path] = hash
	if !slices.Contains(b.at[hash], path) {
		b.at[hash] = append(b.at[hash], path)
	}
}

// forget makes a file unknown, as it is not what it was.
func (b *blobs) forget(hash, path string) {
	b.drop(hash, func(p string) bool { return p == path })
}

// forgetPath makes a file unknown that goes.
func (b *blobs) forgetPath(path string) {
	b.mu.Lock()
	hash, known := b.hashes[path]
	b.mu.Unlock()
	if known {
		b.forget(hash, path)
	}
}

// removeUnder forgets all files in a folder.
func (b *blobs) removeUnder(dir string) {
	b.mu.Lock()
	hashes := slices.Collect(maps.Keys(b.at))
	b.mu.Unlock()
	for _, h := range hashes {
		b.drop(h, func(p string) bool { return filepath.Dir(p) == dir })
	}
}

func (b *blobs) drop(hash string, which func(path string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := func(path string) bool {
		if which(path) {
			delete(b.unread, path)
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

// shipDir is where blobs lie that other nodes fetch to take part in jobs.
func (b *blobs) shipDir() string { return filepath.Join(b.dir, "ship") }

// ship has bytes there for one job more, until letGo, and returns their hash.
func (b *blobs) ship(data []byte) (hash string, err error) {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	if hash = hashOf(data); !b.has(hash, filepath.Join(b.shipDir(), hash)) {
		_, err = b.put(b.shipDir(), data)
	}
	if err == nil {
		b.held[hash]++
	}
	return hash, err
}

// shipAgain is ship for bytes that are there already; false if they are not.
func (b *blobs) shipAgain(hash string) bool {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	there := b.held[hash] > 0 && b.has(hash, filepath.Join(b.shipDir(), hash))
	if there {
		b.held[hash]++
	}
	return there
}

// letGo undoes one ship: what the last job has let go is removed.
func (b *blobs) letGo(hash string) {
	b.shipping.Lock()
	defer b.shipping.Unlock()
	if b.held[hash]--; b.held[hash] > 0 {
		return
	}
	delete(b.held, hash)
	path := filepath.Join(b.shipDir(), hash)
	b.forget(hash, path)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.log.Warn("could not remove what a job shipped", "reason", err)
	}
}

// jobDir is where partials of a job lie.
func (b *blobs) jobDir(id tasks.JobID) string { return filepath.Join(b.dir, string(id)) }

// partial is the path of a partial's blob in scratch.
func (b *blobs) partial(id tasks.JobID, p merge.ID) string {
	return filepath.Join(b.jobDir(id), partialName(p))
}

// partialName is a partial's file name: a hash of its node, and the node's count.
func partialName(p merge.ID) string {
	sum := sha256.Sum256([]byte(p.Node))
	return fmt.Sprintf("%s-%d", hex.EncodeToString(sum[:6]), p.Seq)
}

// put writes bytes under their hash into dir.
func (b *blobs) put(dir string, data []byte) (hash string, err error) {
	hash = hashOf(data)
	path := filepath.Join(dir, hash)
	if err := durable.Write(path, data); err != nil {
		return "", err
	}
	b.add(hash, path)
	return hash, nil
}
