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

// writeFile makes path appear whole or not at all.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("could not make folder of %q: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	return nil
}

// hashFile is the SHA-256 of a file, hex.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copyFile makes a copy of a file appear at path, whole and on disk, or not at all.
func copyFile(path, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("could not read %q: %w", from, err)
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Chmod(0o644)
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), path)
	}
	if err != nil {
		_ = os.Remove(out.Name())
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	return nil
}
