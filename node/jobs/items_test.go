package jobs

import (
	"fmt"
	"testing"

	"github.com/dtpnode/dtpnode/node/store"
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
