package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DiskError is the part of an error that is due to this node's disk, nil if there is none. A missing file is not. If
// several sources of a file were tried the error has a part for each, and DiskError finds the one of the disk.
func DiskError(err error) error {
	switch e := err.(type) { //nolint:errorlint // what is wrapped is looked at one by one
	case nil:
		return nil
	case *fs.PathError, *os.LinkError:
		if errors.Is(e, fs.ErrNotExist) {
			return nil
		}
		return e
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if of := DiskError(err); of != nil {
				return of
			}
		}
		return nil
	}
	return DiskError(errors.Unwrap(err))
}

// FolderBytes is the size of all files in a folder.
func FolderBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil // a file that is removed meanwhile does not count
	})
	return n
}

// DefaultKeepBytes is the default bound of uncommitted partial results: a quarter of what is free where they go.
func DefaultKeepBytes(dir string) int64 {
	const least, most = 16 << 20, 64 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return least
	}
	return min(max(int64(fs.Bavail)*fs.Bsize/4, least), most)
}
