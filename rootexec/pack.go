package rootexec

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Limits of a packed library.
const (
	maxPack      = 64 << 20  // packed
	maxUnpacked  = 256 << 20 // all files together
	maxPackFiles = 1000
)

// Pack returns the library with its sources for a peer of the same Platform: a zstd-compressed tar of
// its folder, but for what is not compiled, which the peer has with the sources.
func (l Library) Pack() ([]byte, error) {
	var buf bytes.Buffer
	z, err := zstd.NewWriter(&buf, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	t := tar.NewWriter(z)
	err = filepath.WalkDir(l.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(l.Dir, path)
		if err != nil {
			return err
		}
		if !isCode(filepath.ToSlash(name)) {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err = t.Write(b)
		return err
	})
	if err := errors.Join(err, t.Close(), z.Close()); err != nil {
		return nil, fmt.Errorf("could not pack library %q: %w", l.Key, err)
	}
	if buf.Len() > maxPack {
		return nil, fmt.Errorf("could not pack library %q: %d MB is too big", l.Key, buf.Len()>>20)
	}
	return buf.Bytes(), nil
}

// Unpack puts a library that another member packed into the cache, for that member's jobs alone. The key is the one
// this host computed (LibraryKey), so that a library of another platform or source is refused. The bytes are
// executable code: unpack only what a member with the right to submit has signed.
//
// Of sources, what is not compiled is put beside it.
func Unpack(
	ctx context.Context, cache, key string, from Origin, packed []byte, sources map[string][]byte,
) (Library, error) {
	if len(packed) > maxPack {
		return Library{}, fmt.Errorf("%w: %d MB is too big", ErrPack, len(packed)>>20)
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != from.SHA256 {
		return Library{}, fmt.Errorf("%w: its SHA-256 is not %s", ErrPack, from.SHA256)
	}
	files, err := readPack(packed, maxUnpacked)
	if err != nil {
		return Library{}, err
	}
	var m meta
	if json.Unmarshal(files[libMeta], &m) != nil || m.Key != key || len(files[m.So]) == 0 {
		return Library{}, fmt.Errorf("%w: it is not the library %s", ErrPack, key)
	}
	delete(files, libMeta)
	for name, b := range sources {
		if !isCode(name) {
			files[name] = b
		}
	}
	m.Key = from.key(key)
	key = m.Key
	dir := libDir(cache, key)
	err = withLock(ctx, dir+".lock", func() error {
		if _, ok := cachedLibrary(cache, key); ok {
			return nil
		}
		if err := writeSources(Source{Files: files}, dir); err != nil {
			return err
		}
		return seal(dir, m)
	})
	if err != nil {
		return Library{}, fmt.Errorf("could not unpack library %q: %w", key, err)
	}
	lib, ok := cachedLibrary(cache, key)
	if !ok {
		return Library{}, fmt.Errorf("could not unpack library %q: it vanished from the cache", key)
	}
	return lib, nil
}

// readPack reads all files of a pack, of at most so many bytes, within the limits and with names that stay in their
// folder.
func readPack(packed []byte, most uint64) (map[string][]byte, error) {
	z, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(most), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPack, err)
	}
	defer z.Close()
	files := map[string][]byte{}
	t := tar.NewReader(io.LimitReader(z, int64(most)))
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPack, err)
		}
		name := h.Name
		if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) || strings.ContainsAny(name, "\x00\\") ||
			len(files) == maxPackFiles {
			return nil, fmt.Errorf("%w: it holds %q", ErrPack, name)
		}
		// What the header says of the size is believed up to a bound, so that large files are read without copies.
		var file bytes.Buffer
		file.Grow(int(min(h.Size, int64(most)) + bytes.MinRead))
		if _, err = file.ReadFrom(t); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPack, err)
		}
		files[name] = file.Bytes()
	}
}
