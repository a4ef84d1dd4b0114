package pyexec

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxMembers bounds the files of an environment's tarball: a large one of conda has some 200,000.
const maxMembers = 2_000_000

// errTarball says that a tarball is refused, or is none, whoever unpacks it.
var errTarball = errors.New("the tarball is refused")

// unpacked is what is known of a tarball after it was unpacked.
type unpacked struct {
	bytes int64
	// python are links of bin that lead to an interpreter outside of the tree, by their paths in it, and were left out:
	// venv-pack has them, and a node has one of its own.
	python []string
}

// untar unpacks the tarball at file, whose SHA-256 is to be sum, into the new folder dir, and at most so many bytes. It
// writes nothing outside of dir, and refuses what could lead out of it or is no plain file, folder or link.
func untar(ctx context.Context, file, sum, dir string, most int64) (out unpacked, err error) {
	f, err := os.Open(file)
	if err != nil {
		return out, fmt.Errorf("could not read the tarball: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return out, err
	}
	defer func() { _ = root.Close() }() // the kernel closes it else
	h := sha256.New()
	hashed := io.TeeReader(f, h)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, ended, err := decompress(ctx, bufio.NewReaderSize(hashed, 1<<20))
	if err != nil {
		return out, err
	}
	u := untarring{root: root, most: most}
	err = u.all(tar.NewReader(r))
	if err != nil {
		cancel() // nobody reads on
	}
	if bad := ended(); err == nil || errors.Is(err, io.ErrUnexpectedEOF) && bad != nil {
		err = bad
	}
	if err != nil {
		return out, err
	}
	if _, err := io.Copy(io.Discard, hashed); err != nil {
		return out, fmt.Errorf("could not read the tarball: %w", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return out, fmt.Errorf("%w: it was changed while it was read", errTarball)
	}
	return u.unpacked, u.checkLinks()
}

// decompress reads what a file holds, by its first bytes, as gzip, xz, bzip2, zstd or as it is. ended is to be called
// once after it was read, and says whether all was well.
func decompress(ctx context.Context, r *bufio.Reader) (out io.Reader, ended func() error, err error) {
	head, _ := r.Peek(6) // a shorter file is no tarball, which its reader says
	out, ended = r, func() error { return nil }
	isXZ := bytes.HasPrefix(head, []byte("\xfd7zXZ\x00"))
	if isXZ {
		if out, ended, ok := byProgram(ctx, r, "xz", "-dc"); ok {
			return out, ended, nil
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		out, err = gzip.NewReader(r)
	case isXZ:
		out, err = xz.NewReader(r)
	case bytes.HasPrefix(head, []byte("BZh")):
		out = bzip2.NewReader(r)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<27)); err == nil {
			out = z.IOReadCloser()
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: it cannot be decompressed: %w", errTarball, err)
	}
	return out, ended, nil
}

// byProgram reads what a program of this host makes of r, where it has that; one in C is several times as fast as what
// decompresses xz here.
func byProgram(ctx context.Context, r io.Reader, name string, args ...string) (io.Reader, func() error, bool) {
	exe, err := osexec.LookPath(name)
	if err != nil {
		return nil, nil, false
	}
	cmd := osexec.CommandContext(ctx, exe, args...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stderr = r, &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, false
	}
	undo := alone(cmd)
	if err := cmd.Start(); err != nil {
		undo()
		return nil, nil, false
	}
	return out, func() error {
		defer undo()
		_, _ = io.Copy(io.Discard, out) // what stands behind the end of the tarball
		if err := cmd.Wait(); err != nil && !errors.Is(err, osexec.ErrWaitDelay) {
			return fmt.Errorf("%w: it cannot be decompressed: %s (%w)", errTarball, bytes.TrimSpace(said.Bytes()), err)
		}
		return nil
	}, true
}

// untarring is a tarball that is being unpacked.
type untarring struct {
	root  *os.Root
	most  int64
	links []string
	unpacked
}

func (u *untarring) all(r *tar.Reader) error {
	for n := 0; ; n++ {
		h, err := r.Next()
		switch {
		case errors.Is(err, io.EOF) && n == 0:
			return fmt.Errorf("%w: it is empty", errTarball)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: it cannot be read: %w", errTarball, err)
		case n >= maxMembers:
			return fmt.Errorf("%w: it has more than %d files", errTarball, maxMembers)
		}
		if err := u.member(h, r); err != nil {
			return err
		}
	}
}

func (u *untarring) member(h *tar.Header, r io.Reader) error {
	name := path.Clean(h.Name)
	if name == "." || h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%w: its member %q lies outside of the folder that it is unpacked to", errTarball, h.Name)
	}
	if h.Mode&0o6000 != 0 {
		return fmt.Errorf("%w: its member %q is to run with the rights of another user (setuid or setgid)", errTarball,
			h.Name)
	}
	if h.Typeflag == tar.TypeDir {
		return outside(u.root.MkdirAll(name, 0o700), h.Name)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return outside(err, h.Name)
	}
	if _, err := u.root.Lstat(name); err == nil { // a later member of that name takes its place, as in tar
		if err := u.root.Remove(name); err != nil {
			return fmt.Errorf("%w: it has two members %q: %w", errTarball, h.Name, err)
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return outside(u.file(name, h, r), h.Name)
	case tar.TypeLink:
		if !filepath.IsLocal(h.Linkname) {
			return fmt.Errorf("%w: its member %q is a link to %q, outside of it", errTarball, h.Name, h.Linkname)
		}
		return outside(u.root.Link(path.Clean(h.Linkname), name), h.Name)
	case tar.TypeSymlink:
		return u.symlink(name, h)
	}
	return fmt.Errorf("%w: its member %q is no file, folder or link", errTarball, h.Name)
}

// outside says of an error that it is of the tarball if the member leads out of the tree, by a link of it.
func outside(err error, member string) error {
	if err == nil || isOfDisk(err) || errors.Is(err, errTarball) || errors.Is(err, errNoRoom) {
		return err
	}
	return fmt.Errorf("%w: its member %q: %w", errTarball, member, err)
}

func (u *untarring) file(name string, h *tar.Header, r io.Reader) error {
	if u.bytes += h.Size; u.bytes > u.most {
		return fmt.Errorf("%w: unpacked it has more than the %d MB that this node keeps of environments", errNoRoom,
			u.most>>20)
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|fs.FileMode(h.Mode&0o100))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func (u *untarring) symlink(name string, h *tar.Header) error {
	to := h.Linkname
	if !path.IsAbs(to) && filepath.IsLocal(path.Join(path.Dir(name), to)) {
		u.links = append(u.links, name)
		return outside(u.root.Symlink(to, name), h.Name)
	}
	if path.Base(path.Dir(name)) == "bin" && strings.HasPrefix(path.Base(name), "python") {
		u.python = append(u.python, name)
		return nil
	}
	return fmt.Errorf("%w: its member %q is a link to %q, outside of it", errTarball, h.Name, to)
}

// checkLinks refuses links that lead out of the tree over other links. Those that lead nowhere may stay.
func (u *untarring) checkLinks() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: its member %q: %w", errTarball, name, err)
		}
	}
	return nil
}
