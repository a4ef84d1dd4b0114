package jobs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
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
