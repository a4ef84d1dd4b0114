package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
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

// fewOpen is a viewer that has few blobs open at once. A blob has the names of those that it was made of, one a line.
type fewOpen struct{ exec.Viewer }

func (fewOpen) Pick(_ context.Context, inputs []string, ask exec.SnapshotAsk) (exec.Snapshot, error) {
	if len(inputs) > maxMerged {
		return exec.Snapshot{}, fmt.Errorf("%d are open", len(inputs))
	}
	var all []byte
	for _, path := range inputs {
		text, err := os.ReadFile(path)
		if err != nil {
			return exec.Snapshot{}, err
		}
		all = append(all, text...)
	}
	return exec.Snapshot{Left: []string{"large"}}, os.WriteFile(ask.Path, all, 0o600)
}

// TestManyPartsAreWatched: a job has committed more partials than a process can have open. Each counts once in what is
// shown of them, and nothing is left of what was made on the way.
func TestManyPartsAreWatched(t *testing.T) {
	for _, n := range []int{0, 1, maxMerged, maxMerged + 1, 40 * maxMerged} {
		dir := t.TempDir()
		var inputs, want []string
		for i := range n {
			path := filepath.Join(dir, fmt.Sprint("in-", i))
			if err := os.WriteFile(path, []byte(fmt.Sprintln(i)), 0o600); err != nil {
				t.Fatal(err)
			}
			inputs, want = append(inputs, path), append(want, fmt.Sprintln(i))
		}
		ask := exec.SnapshotAsk{Path: filepath.Join(dir, "out")}
		s, err := viewedByParts(t.Context(), fewOpen{}, inputs, ask, exec.Viewer.Pick)
		if err != nil || len(s.Left) == 0 {
			t.Fatalf("%d blobs: %+v, %v", n, s, err)
		}
		text, err := os.ReadFile(ask.Path)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Sorted(strings.Lines(string(text)))
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("%d blobs: %d are in what is shown", n, len(got))
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != n+1 {
			t.Errorf("%d blobs: %d files are left, %v", n, len(files), err)
		}
	}
}
