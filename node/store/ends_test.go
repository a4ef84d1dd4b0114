package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestOldestProofsGoFirst: of the proofs of ends that outlive their jobs those go first that were written first.
func TestOldestProofsGoFirst(t *testing.T) {
	r := resultsIn(t, NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler)))
	r.SaveEnd("job", engine.Remember{
		ID:    tasks.NameOf([]byte("job")),
		Ended: engine.Ended{Seal: &quorum.Seal{}, Result: &ledger.Result{}},
	})
	r.RemoveJob("job")
	for i := range 5 {
		path := filepath.Join(r.EndsDir, fmt.Sprint(i))
		past := time.Now().Add(-time.Duration(i+1) * time.Hour)
		if err := errors.Join(durable.Write(path, []byte("x")), os.Chtimes(path, past, past)); err != nil {
			t.Fatal(err)
		}
	}
	if files := r.pastEnds(); len(files) != 6 || filepath.Base(files[0]) != "4" || filepath.Base(files[5]) != "job" {
		t.Errorf("the oldest is not the first of %q", files)
	}
	if ends := r.Ends(); len(ends) != 1 || ends[0].Ended.Result != nil || ends[0].Ended.Seal == nil {
		t.Errorf("what is known of ends is %+v", ends)
	}
}

// TestProofStays: what is told of an end later, without a proof, does not take the place of the proof.
func TestProofStays(t *testing.T) {
	r := resultsIn(t, NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler)))
	id := tasks.NameOf([]byte("job"))
	r.SaveEnd("job", engine.Remember{ID: id, Ended: engine.Ended{Seal: &quorum.Seal{}}})
	r.SaveEnd("job", engine.Remember{ID: id, Term: 9})
	if e, err := r.End("job"); err != nil || e.Ended.Seal == nil || e.Term == 9 {
		t.Errorf("the end is %+v, %v", e, err)
	}
}

// TestUnfinishedFilesGo: what a daemon was writing into a job's folder when it was killed is not there for good.
func TestUnfinishedFilesGo(t *testing.T) {
	r := resultsIn(t, NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler)))
	half := filepath.Join(r.FolderOf("job"), durable.TempPrefix+"1")
	if err := errors.Join(r.SaveStatus("job", Status{}), os.WriteFile(half, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r.Restore()
	if SizeOf(half) >= 0 || SizeOf(filepath.Join(r.FolderOf("job"), statusFile)) < 0 {
		t.Error("the unfinished file is still there, or the whole one is not")
	}
}
