package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// hashOf is the SHA-256 of bytes, hex: the name that they go by between nodes.
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
	if err := durable.RemoveIfThere(to); err != nil {
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
