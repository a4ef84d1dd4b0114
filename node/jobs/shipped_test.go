package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/store/storetest"
	"github.com/dtpnode/dtpnode/tasks"
)

// What jobs ship lies here exactly as long as a job holds it.
func TestWhatIsShippedGoesWithTheLastJob(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		b := store.NewBlobs(dir, slog.New(slog.DiscardHandler))
		d := &programs{&base{blobs: b}}
		jobs := []*Job{newJob(t.Context(), "self", "a"), newJob(t.Context(), "self", "b"), newJob(t.Context(), "self", "c")}
		holds := map[string]map[*Job]bool{"x": {}, "y": {}}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			i := rapid.IntRange(0, len(jobs)-1).Draw(rt, "job")
			data := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "data")
			switch rapid.IntRange(0, 2).Draw(rt, "what") {
			case 0:
				if _, err := d.ship(jobs[i], []byte(data)); err != nil {
					rt.Fatal(err)
				}
				if !jobs[i].released() {
					holds[data][jobs[i]] = true
				}
			case 1: // over, and another begins
				jobs[i].Release()
				for _, h := range holds {
					delete(h, jobs[i])
				}
				if rapid.Bool().Draw(rt, "another") {
					jobs[i] = newJob(t.Context(), "self", "d")
				}
			case 2: // prepared twice
				o := newJob(t.Context(), "self", "e")
				if _, err := d.ship(o, []byte(data)); err != nil {
					rt.Fatal(err)
				}
				if !jobs[i].released() {
					holds[data][jobs[i]] = true
				}
				jobs[i].takeFrom(o)
			}
			for data, by := range holds {
				got, err := storetest.Served(b.Open(store.HashOf([]byte(data))))
				if len(by) > 0 && got != data || len(by) == 0 && !errors.Is(err, fs.ErrNotExist) {
					rt.Fatalf("%d jobs hold %q, got %q, error %v", len(by), data, got, err)
				}
				if here := store.SizeOf(filepath.Join(b.ShipDir(), store.HashOf([]byte(data)))) >= 0; here != (len(by) > 0) {
					rt.Fatalf("%d jobs hold %q, its file is there: %v", len(by), data, here)
				}
			}
		}
	})
}

// TestWhatOneFailsToBringOthersBring: a blob is being brought for one job while others, which keep it at paths of their
// own, wait for it. That job is cancelled: the others bring it, each to its path.
func TestWhatOneFailsToBringOthersBring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := &base{blobs: store.NewBlobs(dir, slog.New(slog.DiscardHandler))}
		data := []byte("what Begin has made")
		s := tasks.Ship{SHA256: store.HashOf(data), Size: int64(len(data))}
		if _, err := r.blobs.Put(dir, data); err != nil {
			t.Fatal(err)
		}
		cancelled := make(chan error)
		var all sync.WaitGroup
		all.Go(func() {
			_, _, _ = r.placing.Do(s.SHA256, func() (any, error) { return nil, <-cancelled })
		})
		synctest.Wait()
		const others = 50
		for i := range others {
			path := filepath.Join(dir, fmt.Sprint("copy-", i))
			all.Go(func() {
				if err := r.placeShip(t.Context(), "job", "", s, path); err != nil {
					t.Errorf("%s: %v", path, err)
				} else if got, err := os.ReadFile(path); err != nil || string(got) != string(data) {
					t.Errorf("%s is told to be there: %q, %v", path, got, err)
				}
			})
		}
		synctest.Wait()
		cancelled <- context.Canceled
		all.Wait()
	})
}
