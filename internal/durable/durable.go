// Package durable writes files that appear under their name whole or not at all, and, where that is asked for, survive
// a loss of power once they have appeared. Whoever reads a file that was written so never finds half of it.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// TempPrefix begins the names of files that are being written. They lie beside the file that they are to become, so
// that renaming stays within one file system. A process that was killed leaves them, and whoever owns the folder may
// remove those of an earlier life.
const TempPrefix = ".dtpnode-"

// Place makes a file appear at path with what fill writes, or leaves what was there before. The file is for its user
// alone (mode 0600) unless fill changes that. The folder must exist.
func Place(path string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), TempPrefix+"*")
	if err != nil {
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	if err = errors.Join(fill(f), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("could not write %q: %w", path, err)
	}
	return nil
}

// PlaceSynced is Place for a file that is to survive a loss of power once this returns.
func PlaceSynced(path string, fill func(*os.File) error) error {
	err := Place(path, func(f *os.File) error {
		if err := fill(f); err != nil {
			return err
		}
		return f.Sync()
	})
	if err != nil {
		return err
	}
	return Sync(filepath.Dir(path))
}

// Bytes returns a fill function that writes b.
func Bytes(b []byte) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.Write(b)
		return err
	}
}

// Write makes a file appear at path with data, and makes its folder first where that is missing.
func Write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("could not make folder of %q: %w", path, err)
	}
	return Place(path, Bytes(data))
}

// Sync puts a file, or the names that a folder holds, on disk. What was renamed into a folder survives a loss of power
// only once the folder was synced too.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// RemoveIfThere removes a file; that it is not there is no error.
func RemoveIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
