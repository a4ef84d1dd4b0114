// Package durable writes files that appear under their names complete or not at all and, on request, survive a loss of
// power. So nobody who reads such a file ever finds half of it.
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// TempPrefix begins the names of files that are being written. They are in the folder of the final file, so that
// renaming stays within one file system. A killed process leaves them behind; the owner of the folder may remove those
// of an earlier process.
const TempPrefix = ".dtpnode-"

// Place writes a file at path with the content that fill writes, or leaves the old one on an error. Only its user may
// access the file (mode 0600) unless fill changes that. The folder must exist.
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

// PlaceSynced is Place for a file that survives a loss of power once PlaceSynced has returned.
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

// Write is Place with data as the content; it makes the folder first if that is missing.
func Write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("could not make folder of %q: %w", path, err)
	}
	return Place(path, Bytes(data))
}

// Sync syncs a file, or the names in a folder, to disk. A renamed file survives a loss of power only after its folder
// was synced too.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// RemoveIfThere removes a file; it is no error if there is none.
func RemoveIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
