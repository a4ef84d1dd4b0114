package pyexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/tasks"
)

// Large files (files= of the Python package) stand in the working folders of processes as links to one copy of a
// program, for a copy for each process would fill disks. What code does to that copy, which it can as root, or as its
// owner after a chmod, reaches nobody beyond: the original, which other nodes and later jobs get, is another file, and
// a copy that was touched is made anew before the next process begins.

// placed is a file that is to stand in working folders.
type placed struct {
	Name string `msgpack:"name"`
	Path string `msgpack:"path"` // of the program's copy on this host
}

// laying is the files of a program.
type laying struct {
	from   source
	folder string // of the copies

	mu    sync.Mutex  // held while copies are made
	files []laidFile  // as from.names
	said  func(error) // is told of a copy that was touched
}

// laidFile is the copy of a file.
type laidFile struct {
	placed
	laid copyState // zero while there is none
}

// copyState tells whether somebody has touched a file: each write changes the last of its fields.
type copyState struct {
	ino              uint64
	size             int64
	modified, change unix.Timespec
}

func stateOf(path string) (s copyState, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return s, err
	}
	return copyState{st.Ino, st.Size, st.Mtim, st.Ctim}, nil
}

// newLaying names the copies, and makes none.
func newLaying(from source, folder string, said func(error)) *laying {
	l := &laying{from: from, folder: filepath.Join(folder, "laid"), said: said}
	for i, name := range from.names {
		l.files = append(l.files, laidFile{placed: placed{name, filepath.Join(l.folder, tasks.FileShip(i))}})
	}
	return l
}

// placed are the files with the paths of their copies.
func (l *laying) placed() (out []placed) {
	for _, f := range l.files {
		out = append(out, f.placed)
	}
	return out
}

// lay makes the copies that are not there, or were touched since they were made.
func (l *laying) lay(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.files {
		f := &l.files[i]
		state, err := stateOf(f.Path)
		if err == nil && state == f.laid {
			continue
		}
		if f.laid != (copyState{}) {
			l.said(fmt.Errorf("the file %q in the working folders of a job was touched, and is laid anew", f.Name))
		}
		if err := l.copy(ctx, i); err != nil {
			return err
		}
		if f.laid, err = stateOf(f.Path); err != nil {
			return err
		}
	}
	return nil
}

func (l *laying) copy(ctx context.Context, i int) error {
	path, sum, err := l.from.original(ctx, i)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return err
	}
	temp := l.files[i].Path + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	got, err := copyFile(path, temp)
	if err == nil && got != sum {
		err = fmt.Errorf("%q is damaged: its SHA-256 is %s, not %s", path, got, sum)
	}
	if err == nil {
		err = os.Rename(temp, l.files[i].Path)
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// drop removes the copies, of which nobody makes use until lay has made them again.
func (l *laying) drop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.files {
		l.files[i].laid = copyState{}
	}
	return os.RemoveAll(l.folder)
}

// copyFile copies a file to a new one that is not to be written to, whose SHA-256 it returns. Where the file system
// can, both have the same blocks on the disk until one is written to.
func copyFile(from, to string) (sum string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(0o400))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	into := io.MultiWriter(out, h)
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		into = h
	}
	_, err = io.CopyBuffer(into, in, make([]byte, 1<<20))
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, out.Close())
}
