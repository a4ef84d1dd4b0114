package worker

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// shownChild is a generation that answers each request for a snapshot at once, unless it is in a long entry.
type shownChild struct {
	exec.Generation
	long bool
}

func (c *shownChild) Snapshot(ask exec.SnapshotAsk, told func(exec.Snapshot, error)) error {
	if c.long {
		return exec.ErrQueueFull
	}
	if err := os.WriteFile(ask.Path, []byte(ask.Names[0]), 0o600); err != nil {
		return err
	}
	told(exec.Snapshot{Units: 10}, nil)
	return nil
}

// TestSnapshotsOfSeveral: three users watch other objects of one job. What each of them has been given stays while the
// others are given theirs, is what it has again in a long entry, and goes with the generation.
func TestSnapshotsOfSeveral(t *testing.T) {
	id := tasks.NameOf([]byte("job"))
	w := New(t.Context(), Config{Blobs: store.NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler))})
	if err := os.MkdirAll(w.Blobs.JobDir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	child := &shownChild{}
	g := &generation{w: w, id: 1, job: id, gen: child, cover: tasks.CoverOf(tasks.R(0, 10))}
	w.gens = map[steal.GenID]*generation{1: g}
	ask := func(name string) Shot {
		t.Helper()
		all := w.Snapshots(context.Background(), id, exec.SnapshotAsk{Names: []string{name}})
		if len(all) != 1 {
			t.Fatalf("%s: %d generations have it", name, len(all))
		}
		if b, err := os.ReadFile(all[0].Path); err != nil || string(b) != name {
			t.Fatalf("%s: %q, %v", name, b, err)
		}
		return all[0]
	}
	first := ask("a")
	ask("b")
	ask("c")
	ask("b")
	if _, err := os.Stat(first.Path); err != nil {
		t.Errorf("what one watches has gone because of the others: %v", err)
	}
	child.long = true
	if s := ask("a"); s.Path != first.Path || !s.Late {
		t.Errorf("in a long entry: %+v", s)
	}
	g.dropShots()
	if left, err := os.ReadDir(w.Blobs.JobDir(id)); err != nil || len(left) > 0 {
		t.Errorf("after the generation: %v, %v", left, err)
	}
}
