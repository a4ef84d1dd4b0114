package turns

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// No member has more places at once than there are for each, whatever the others have, and a place that is given back
// can be taken.
func TestEachHasItsPlaces(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	rapid.Check(t, func(t *rapid.T) {
		each := rapid.IntRange(1, 3).Draw(t, "each")
		all := New(each)
		held := map[tasks.PeerID][]func(){}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			who := rapid.SampledFrom([]tasks.PeerID{"a", "b", "c"}).Draw(t, "who")
			if n := len(held[who]); n > 0 && rapid.Bool().Draw(t, "gives back") {
				held[who][n-1]()
				held[who] = held[who][:n-1]
				continue
			}
			full := len(held[who]) == each
			ctx := context.Background()
			if full {
				ctx = gone // who waits no more gets none
			}
			done, err := all.Take(ctx, who)
			switch {
			case full && !errors.Is(err, context.Canceled):
				t.Fatalf("%s has %d places, and gets one more: %v", who, each, err)
			case !full && err != nil:
				t.Fatal(err)
			case !full:
				held[who] = append(held[who], done)
			}
		}
	})
}
