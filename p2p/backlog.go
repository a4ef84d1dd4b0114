package p2p

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// A backlog bounds the messages that were emitted as events and that the consumer has not yet called Done for. The
// messages of one peer may hold a bounded number of bytes, and of places in the event queue. Beyond that the peer's
// link is not read, so that only this peer waits. It does not count as silent meanwhile, and still gets what this node
// sends.
const (
	maxWaiting = 8 << 20              // bytes of one peer's messages, or of all announcements on a topic
	minWaiting = maxWaiting / 1024    // that a message counts for at least, since small ones take places too
	linkEnded  = "the link has ended" // error text when the link ends while a message waits for room
)

// backlog counts the bytes of one sender's messages that are not done with.
type backlog struct{ room *semaphore.Weighted }

func newBacklog() *backlog { return &backlog{semaphore.NewWeighted(maxWaiting)} }

// take waits for room for a payload. The receipt's done gives the room back.
func (b *backlog) take(ctx context.Context, payload []byte) (*receipt, error) {
	n := int64(max(len(payload), minWaiting))
	if err := b.room.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return &receipt{from: b, size: n}, nil
}

// receipt stands for the room that one payload takes in a backlog.
type receipt struct {
	once sync.Once
	from *backlog
	size int64
}

// done gives the room back. It may be called more than once, and on a nil receipt.
func (r *receipt) done() {
	if r != nil {
		r.once.Do(func() { r.from.room.Release(r.size) })
	}
}

// backlogOf returns the backlog of the link's peer, which outlives its links: else a peer could drop its backlog by
// reconnecting. n.mu is held.
func (n *Node) backlogOf(l *link) *backlog {
	b := n.backlogs[l.id]
	if b == nil {
		b = newBacklog()
		n.backlogs[l.id] = b
	}
	return b
}
