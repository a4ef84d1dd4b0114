// Package storetest is what tests of files on a node's disk share. It knows nothing of the store, so that the store's
// own tests can use it.
package storetest

import (
	"fmt"
	"io"
	"os"
	"testing"
)

// Flip changes a bit in the middle of a file.
func Flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		b[len(b)/2] ^= 1
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Served is what other nodes get of a blob that was opened for them, with the size in bytes that they are told.
func Served(f io.ReadCloser, size int64, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err == nil && int64(len(data)) != size {
		err = fmt.Errorf("%d bytes, said %d", len(data), size)
	}
	return string(data), err
}
