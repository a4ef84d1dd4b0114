package p2p

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Messages wait here until whoever takes the events is done with them. One peer's hold a bounded number of bytes, and
// of places in the queue of events: beyond that its link is not read, so that it waits, alone, and the others do not.
// That is no silence of the peer, and it goes on hearing from this node.
const (
	maxWaiting = 8 << 20              // bytes of one peer's messages, and of all announcements on a topic
	minWaiting = maxWaiting / 1024    // that a message counts at least, for small ones take places too
	noMore     = "the link has ended" // why a message is not waited for
)

// backlog counts what waits of one sender's messages.
type backlog struct{ room *semaphore.Weighted }

func newBacklog() *backlog { return &backlog{semaphore.NewWeighted(maxWaiting)} }

// take waits for room for a payload. The receipt gives it back.
func (b *backlog) take(ctx context.Context, payload []byte) (*receipt, error) {
	n := int64(max(len(payload), minWaiting))
	if err := b.room.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return &receipt{from: b, size: n}, nil
}

// receipt is of one payload.
type receipt struct {
	once sync.Once
	from *backlog
	size int64
}

// done may be called more than once, and on none.
func (r *receipt) done() {
	if r != nil {
		r.once.Do(func() { r.from.room.Release(r.size) })
	}
}

// backlogOf is that of a peer, which outlives its links. Under n.mu.
func (n *Node) backlogOf(l *link) *backlog {
	b := n.backlogs[l.id]
	if b == nil {
		b = newBacklog()
		n.backlogs[l.id] = b
	}
	return b
}
