package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// blobs knows where this node keeps bytes that others may fetch by their SHA-256: job descriptions,
// sources, libraries, partials, results. Partials lie in scratch/<job>/<node>-<seq>.
type blobs struct {
	dir string // of partials
	mu  sync.Mutex
	at  map[string]string // hash -> path
}

func newBlobs(dir string) *blobs { return &blobs{dir: dir, at: map[string]string{}} }

// Open serves other nodes (p2p.BlobStore).
func (b *blobs) Open(hash string) (io.ReadSeekCloser, int64, error) {
	path, ok := b.path(hash)
	if !ok {
		return nil, 0, fmt.Errorf("could not find blob %s: %w", hash, fs.ErrNotExist)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (b *blobs) path(hash string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.at[hash]
	return p, ok
}

// add makes the file at path known under its hash.
func (b *blobs) add(hash, path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[hash] = path
}

// forget makes a blob unknown, as it is not what it was.
func (b *blobs) forget(hash string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.at, hash)
}

// removeUnder forgets all blobs in a folder.
func (b *blobs) removeUnder(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for h, p := range b.at {
		if filepath.Dir(p) == dir {
			delete(b.at, h)
		}
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
	sum := sha256.Sum256(data)
	hash = hex.EncodeToString(sum[:])
	path := filepath.Join(dir, hash)
	if err := writeFile(path, data); err != nil {
		return "", err
	}
	b.add(hash, path)
	return hash, nil
}
