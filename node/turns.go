package node

import (
	"context"
	"sync"

	"github.com/dtpnode/dtpnode/tasks"
)

// turns bounds what is done at once for each other member, so that none takes the room of all.
type turns struct {
	each int // at once, for one member

	mu sync.Mutex
	of map[tasks.PeerID]chan struct{}
}

func newTurns(each int) *turns { return &turns{each: each, of: map[tasks.PeerID]chan struct{}{}} }

// take waits for a turn of a member; the caller calls done.
func (t *turns) take(ctx context.Context, who tasks.PeerID) (done func(), err error) {
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
