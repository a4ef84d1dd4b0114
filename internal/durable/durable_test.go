package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file that could not be filled leaves the one that was there, and nothing beside it.
func TestPlaceIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := PlaceSynced(path, Bytes([]byte("first"))); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := PlaceSynced(path, func(f *os.File) error {
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
	if err := Place(filepath.Join(dir, "missing", "f"), Bytes(nil)); err == nil {
		t.Error("a file appeared in a folder that is not there")
	}
	deep := filepath.Join(dir, "a", "b", "f")
	if err := Write(deep, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(deep); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode of the file: %v, %v", info, err)
	}
	if err := errors.Join(RemoveIfThere(deep), RemoveIfThere(deep)); err != nil {
		t.Error(err)
	}
}
