package store

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/store/storetest"
)

// A blob that two jobs have in their folders is there until the second one goes.
func TestABlobIsServedFromWhereItStillIs(t *testing.T) {
	b := NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler))
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	var hash string
	for _, dir := range []string{first, second, first} { // the last one put goes first, too
		var err error
		if hash, err = b.Put(dir, []byte("source")); err != nil {
			t.Fatal(err)
		}
	}
	b.ForgetFolder(first)
	if got, err := storetest.Served(b.Open(hash)); got != "source" || err != nil {
		t.Errorf("after the first job %q, error %v", got, err)
	}
	if data, ok := b.Read(hash); !ok || string(data) != "source" {
		t.Errorf("after the first job read %q", data)
	}
	b.Add(hash, filepath.Join(first, hash))
	if err := os.RemoveAll(second); err != nil {
		t.Fatal(err)
	}
	if got, err := storetest.Served(b.Open(hash)); got != "source" || err != nil {
		t.Errorf("from the first folder %q, error %v", got, err)
	}
	if err := os.RemoveAll(first); err != nil {
		t.Fatal(err)
	}
	if _, err := storetest.Served(b.Open(hash)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after both: %v", err)
	}
	if len(b.at) > 0 {
		t.Errorf("remembers %v", b.at)
	}
}

// Bytes that are not what they were are neither used nor given to others, and are told by name.
func TestADamagedBlobIsForgotten(t *testing.T) {
	for name, get := range map[string]func(b *Blobs, hash string) (string, error){
		"served": func(b *Blobs, hash string) (string, error) { return storetest.Served(b.Open(hash)) },
		"read": func(b *Blobs, hash string) (string, error) {
			data, ok := b.Read(hash)
			if !ok {
				return "", fs.ErrNotExist
			}
			return string(data), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			b := NewBlobs(t.TempDir(), slog.New(slog.NewTextHandler(&log, nil)))
			bad, good := t.TempDir(), t.TempDir()
			hash, err := b.Put(bad, []byte("source"))
			if err != nil {
				t.Fatal(err)
			}
			storetest.Flip(t, filepath.Join(bad, hash))
			if got, err := get(b, hash); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %q, error %v", got, err)
			}
			if !strings.Contains(log.String(), filepath.Join(bad, hash)) {
				t.Errorf("the log does not name the file: %s", &log)
			}
			b.Add(hash, filepath.Join(bad, hash))
			if _, err := b.Put(good, []byte("source")); err != nil {
				t.Fatal(err)
			}
			if got, err := get(b, hash); got != "source" || err != nil {
				t.Errorf("from the whole one got %q, error %v", got, err)
			}
			if b.Has(hash, filepath.Join(bad, hash)) {
				t.Error("the damaged file is still known")
			}
		})
	}
}

// TestWhatIsShippedIsThere: another job's copy of a blob is found in place, and goes as that job ends. It is put there
// once more, since nobody would have it else.
func TestWhatIsShippedIsThere(t *testing.T) {
	b := NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler))
	hash, calls := HashOf([]byte("x")), 0
	put := func(path string) error {
		if calls++; calls == 1 {
			return fs.ErrExist
		}
		return os.WriteFile(path, []byte("x"), 0o600)
	}
	if err := b.ShipWith(hash, put); err != nil || calls != 2 || SizeOf(b.ShipPath(hash)) != 1 {
		t.Errorf("%d calls, %d bytes: %v", calls, SizeOf(b.ShipPath(hash)), err)
	}
	if err := b.ShipWith(hash, put); err != nil || calls != 2 {
		t.Errorf("what is there is made again: %d calls, %v", calls, err)
	}
	b.Unship(hash)
	if SizeOf(b.ShipPath(hash)) < 0 {
		t.Error("it is gone with the first of two jobs")
	}
	b.Unship(hash)
	if SizeOf(b.ShipPath(hash)) >= 0 {
		t.Error("it stays after the last job")
	}
}

// TestDamageIsNoticed: a blob that was read once is read again if somebody has written to it, and is then not known any
// more, so that it is brought again.
func TestDamageIsNoticed(t *testing.T) {
	b := NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler))
	user := filepath.Join(t.TempDir(), "user's")
	if err := os.WriteFile(user, []byte("what it is"), 0o600); err != nil {
		t.Fatal(err)
	}
	hash, _, err := b.ShipFile(user, true)
	path := b.ShipPath(hash)
	if err != nil || !b.Sound(hash, path) || !b.Sound(hash, path) {
		t.Fatalf("it is not sound: %v", err)
	}
	storetest.Flip(t, user)
	if !b.Sound(hash, path) {
		t.Error("what is done to the user's own file is done to the copy")
	}
	storetest.Flip(t, path)
	if b.Sound(hash, path) || b.Has(hash, path) {
		t.Error("a damaged file is sound, or known")
	}
}
