package jobs

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestLackingItemsAreBroughtByOne: however many appends name items that a copy of a ledger lacks, one goroutine at a
// time is to bring them, none of them is forgotten, and nothing is left of a copy that was given up.
func TestLackingItemsAreBroughtByOne(t *testing.T) {
	var l lackingItems
	c, begun, want := &store.Copy{}, 0, 0
	for i := range 1000 {
		if l.add(c, []itemBlob{{fmt.Sprint(i), 1}}) {
			begun++
		}
		if want++; i%100 == 0 {
			if got := len(l.take(c)); got != want {
				t.Fatalf("%d are brought, want %d", got, want)
			}
			want = 0
		}
	}
	if begun != 1 || l.done(c, false) {
		t.Errorf("%d goroutines have begun, and the one that brings them ends though some are lacking", begun)
	}
	if got := len(l.take(c)); got != want || !l.done(c, false) {
		t.Errorf("%d are brought, want %d; then it ends", got, want)
	}
	if !l.add(c, []itemBlob{{"x", 1}}) || !l.done(c, true) || len(l.of) > 0 {
		t.Errorf("of a copy that was given up %v is left", l.of)
	}
}

// TestItemsOutliveOtherJobs: this node has the items of a job in the folder of the ledger of another one, which ends
// and is removed after a packet was leased, and before the process that runs it has opened the file. That must find it,
// or the items would be given up as ones that no node can read.
func TestItemsOutliveOtherJobs(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "ledger")
	r := &programs{&base{blobs: store.NewBlobs(filepath.Join(dir, "scratch"), slog.New(slog.DiscardHandler))}}
	blob, err := exec.PackItems([][]byte{[]byte("a"), []byte("b")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	hash, err := r.blobs.Put(other, blob)
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t.Context(), "self", "a")
	file := tasks.File{Entries: 2, Items: hash, Bytes: int64(len(blob))}
	path, err := r.itemsPath(t.Context(), j, file)
	if err != nil {
		t.Fatal(err)
	}
	r.blobs.ForgetFolder(other)
	if err := os.RemoveAll(other); err != nil {
		t.Fatal(err)
	}
	items, err := exec.OpenItems(path)
	if err != nil {
		t.Fatalf("the items of a packet that was leased are gone with another job: %v", err)
	}
	if err := items.Close(); err != nil {
		t.Error(err)
	}
	if again, err := r.itemsPath(t.Context(), j, file); err != nil || again != path {
		t.Errorf("the next packet has its items at %q, error %v", again, err)
	}
	j.Release()
	if store.SizeOf(path) >= 0 {
		t.Error("the items stay when no job needs them")
	}
}
