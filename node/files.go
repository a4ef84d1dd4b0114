package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// place makes a file appear at path whole, with what fill writes, or not at all.
func place(path string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
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

// placeDurably is place for a file that is to survive a loss of power once this returns.
func placeDurably(path string, fill func(*os.File) error) error {
	err := place(path, func(f *os.File) error {
		if err := fill(f); err != nil {
			return err
		}
		return f.Sync()
	})
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// bytesOf is what fills a file with b.
func bytesOf(b []byte) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.Write(b)
		return err
	}
}

// writeFile makes path appear with data, and its folder where that is missing.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("could not make folder of %q: %w", path, err)
	}
	return place(path, bytesOf(data))
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// isHash reports whether s is a SHA-256, hex, as hashOf writes it.
func isHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == hex.EncodeToString(b)
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

// copyVerified copies a file whose hash is known.
func copyVerified(out io.Writer, path, hash string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, h), in); err != nil {
		return err
	}
	return compare(path, hex.EncodeToString(h.Sum(nil)), hash)
}

// linkVerified gives a file whose hash is known a second name, in place of what has it now.
func linkVerified(path, to, hash string) error {
	if err := verify(path, hash); err != nil {
		return err
	}
	if err := removeIf(to); err != nil {
		return err
	}
	return os.Link(path, to)
}

// errDamaged says that a file is not what its hash says.
var errDamaged = errors.New("damaged")

func compare(path, got, want string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%q is %w: its SHA-256 is %s, not %s", path, errDamaged, got, want)
}

// verify compares a file with its hash.
func verify(path, hash string) error { return copyVerified(io.Discard, path, hash) }

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// syncDir makes what was renamed into a folder survive a loss of power.
func syncDir(dir string) error { return syncFile(dir) }
