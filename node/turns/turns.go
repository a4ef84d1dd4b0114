// Package turns bounds how many things are done at the same time for each other member. It knows members only by their
// ids, and owns only the number of places that each of them has taken.
package turns

import (
	"context"
	"sync"

	"github.com/dtpnode/dtpnode/tasks"
)

// Turns gives each member a number of places, so that no member takes those of the others.
type Turns struct {
	each int // at once, for one member

	mu sync.Mutex
	of map[tasks.PeerID]chan struct{}
}

// New gives each member so many places.
func New(each int) *Turns { return &Turns{each: each, of: map[tasks.PeerID]chan struct{}{}} }

// Take waits for a turn of a member; the caller calls done.
func (t *Turns) Take(ctx context.Context, who tasks.PeerID) (done func(), err error) {
	t.mu.Lock()
	room := t.of[who]
	if room == nil {
		room = make(chan struct{}, t.each)
		t.of[who] = room
	}
	t.mu.Unlock()
	select {
	case room <- struct{}{}:
		return func() { <-room }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
