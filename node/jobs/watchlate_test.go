package jobs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestLateSnapshotIsToldOf: who watches a job hears once what a snapshot waits for that is late, again when that has
// changed or another one is late, or if there can be none for now.
func TestLateSnapshotIsToldOf(t *testing.T) {
	var told []string
	f := &feed{news: make(chan struct{})}
	w := watcher{
		req: api.WatchRequest{Every: 2 * time.Second}, sent: time.Now(), state: api.Running, feed: f,
		send: func(ev api.WatchEvent) error { told = append(told, ev.Waits); return nil },
	}
	want := func(says ...string) {
		t.Helper()
		for range 2 { // looks come every second
			if err := w.late(nil); err != nil {
				t.Fatal(err)
			}
		}
		if len(told) != len(says) {
			t.Fatalf("told %q, want %q", told, says)
		}
		for i := range says {
			if !strings.Contains(told[i], says[i]) {
				t.Errorf("told %q, want %q", told[i], says[i])
			}
		}
		told = nil
	}
	want()
	w.sent = time.Now().Add(-time.Minute)
	want("it is being made")
	f.waiting(time.Now().Add(time.Minute), 1200*time.Millisecond)
	want("took 1.2s to merge")
	w.sent, w.said = time.Now(), ""
	want()
	w.sent = time.Now().Add(-time.Minute)
	want("took 1.2s to merge")
	f.tell(api.Snapshot{}, "", ErrOver) // the job has begun no work: nothing was merged
	f.waiting(time.Now().Add(time.Second), 0)
	w.said = ""
	want("nothing of the job is there yet")
	f.tell(api.Snapshot{}, "", errors.New("the disk is full"))
	want("could not be made, and is tried again: the disk is full")
	f.tell(api.Snapshot{}, "", nil)
	w.state = api.Waiting
	want("the job waits")
	w.state, w.feed = api.Running, nil
	want("the node that leads the job")
	if err := w.late(errors.New("8 other sets of objects are watched here already")); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "8 other sets") {
		t.Errorf("told %q of a set too many", told)
	}
}
