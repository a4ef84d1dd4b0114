package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// HashOf is the SHA-256 of bytes, hex: the name that they go by between nodes.
func HashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// IsHash reports whether s is a SHA-256, hex, as HashOf writes it.
func IsHash(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == hex.EncodeToString(b)
}

// HashFile is the SHA-256 of a file, hex.
func HashFile(path string) (string, error) {
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

// CopyVerified copies the file at path to out; the error is under ErrDamaged if it is not what its hash says.
func CopyVerified(out io.Writer, path, hash string) error {
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

// LinkVerified gives the file at path whose hash is known the second name to, in place of what has that now.
func LinkVerified(path, to, hash string) error {
	if err := Verify(path, hash); err != nil {
		return err
	}
	return Link(path, to)
}

// Link gives the file at path the second name to, in place of what has that now.
func Link(path, to string) error {
	if err := durable.RemoveIfThere(to); err != nil {
		return err
	}
	return os.Link(path, to)
}

// ErrDamaged says that a file is not what its hash says.
var ErrDamaged = errors.New("damaged")

func compare(path, got, want string) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("%q is %w: its SHA-256 is %s, not %s", path, ErrDamaged, got, want)
}

// Verify compares a file with its hash; the error is under ErrDamaged if it is another one.
func Verify(path, hash string) error { return CopyVerified(io.Discard, path, hash) }

// SizeOf is how many bytes the file at path has, negative if there is none that can be looked at.
func SizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}
