package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// A file that could not be filled leaves the one that was there, and nothing beside it.
func TestPlaceIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := durable.PlaceSynced(path, durable.Bytes([]byte("first"))); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := durable.PlaceSynced(path, func(f *os.File) error {
		_, _ = f.WriteString("half of")
		return full
	})
	if !errors.Is(err, full) {
		t.Fatalf("error is %v, want %v", err, full)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "first" {
		t.Fatalf("the file has %q, %v", b, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Fatalf("beside the file there is something left: %v, %v", left, err)
	}
	if err := durable.Place(filepath.Join(dir, "missing", "f"), durable.Bytes(nil)); err == nil {
		t.Error("a file appeared in a folder that is not there")
	}
	deep := filepath.Join(dir, "a", "b", "f")
	if err := durable.Write(deep, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(deep); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode of the file: %v, %v", info, err)
	}
	if err := errors.Join(durable.RemoveIfThere(deep), durable.RemoveIfThere(deep)); err != nil {
		t.Error(err)
	}
}
