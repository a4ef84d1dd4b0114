package jobs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// TestWhatIsWatchedIsBounded: one member after another asks for further names; there is room for some, the more there
// are the rarer each comes, and what nobody asks for any more makes room.
func TestWhatIsWatchedIsBounded(t *testing.T) {
	r := &collector{base: &base{cfg: Config{Slots: 2}}, lookings: lookings{of: map[string]*looking{}}}
	if got := r.pause(time.Millisecond); got != api.WatchEvery {
		t.Errorf("a cheap round: the next after %v", got)
	}
	var alone time.Duration
	for i := range maxWatches {
		ask := shareAsk{Job: "job", Names: []string{fmt.Sprint("h", i)}}
		if _, fresh, err := r.lookings.get(ask.key(), ask); err != nil || !fresh {
			t.Fatalf("set %d: %v, %v", i, fresh, err)
		}
		if _, fresh, err := r.lookings.get(ask.key(), ask); err != nil || fresh {
			t.Fatalf("set %d again: %v, %v", i, fresh, err)
		}
		if i == 0 {
			alone = r.pause(time.Second)
		}
	}
	if got := r.pause(time.Second); alone != 50*time.Second || got != maxWatches*alone {
		t.Errorf("a round of a second: alone the next after %v, beside others after %v", alone, got)
	}
	ask := shareAsk{Job: "job", Names: []string{"more"}}
	_, _, err := r.lookings.get(ask.key(), ask)
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != 503 {
		t.Errorf("one more is not refused: %v", err)
	}
	old := shareAsk{Job: "job", Names: []string{"h0"}}.key()
	if r.lookings.forget(old, false) {
		t.Error("what was just asked for is dropped")
	}
	r.lookings.of[old].used = time.Now().Add(-2 * watchIdle)
	if !r.lookings.forget(old, false) {
		t.Error("what nobody asks for stays")
	}
	if _, fresh, err := r.lookings.get(ask.key(), ask); err != nil || !fresh {
		t.Errorf("no room after that: %v", err)
	}
	for _, req := range []api.WatchRequest{
		{}, {Names: make([]string, api.MaxWatched+1)}, {Names: []string{""}}, {Names: []string{"h"}, Every: time.Millisecond},
	} {
		if req.Check() == nil {
			t.Errorf("%+v is taken", req)
		}
	}
}

// TestSnapshotsGoAfterTheNext: a job is watched for weeks. Of the files that were shown two stay, and nothing else is
// known of the others; what was left out of one partial after another is named once.
func TestSnapshotsGoAfterTheNext(t *testing.T) {
	dir := t.TempDir()
	blobs := store.NewBlobs(t.TempDir(), slog.New(slog.DiscardHandler))
	r := &collector{base: &base{blobs: blobs}}
	f := &feed{looking: &looking{dir: dir}}
	for i := range 10 {
		path := filepath.Join(dir, fmt.Sprint("shown-", i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		blobs.Add(fmt.Sprint("hash-", i), path)
		r.keepShown(f, path)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 || left[1].Name() != "shown-9" {
		t.Errorf("files: %v, %v", left, err)
	}
	for i := range 8 {
		if paths := blobs.Paths(fmt.Sprint("hash-", i)); len(paths) > 0 {
			t.Errorf("still known: %v", paths)
		}
	}
	if got := distinct([]string{"b", "a", "b"}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("names: %v", got)
	}
}
