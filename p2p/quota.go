package p2p

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// quota bounds how many requests are answered at once, for all peers and for each. A peer that never completes its
// requests, or asks for what takes long, delays only itself.
type quota struct {
	all, each int

	mu   sync.Mutex
	held map[peer.ID]int
	sum  int
}

func newQuota(all, each int) *quota { return &quota{all: all, each: each, held: map[peer.ID]int{}} }

// acquire takes a place for a peer. It returns why there is none, or "".
func (q *quota) acquire(id peer.ID) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.held[id] >= q.each:
		return "too many requests at once of this member, try again"
	case q.sum >= q.all:
		return "too many requests at once, try again"
	}
	q.held[id]++
	q.sum++
	return ""
}

// release gives a place back.
func (q *quota) release(id peer.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sum--
	if q.held[id]--; q.held[id] == 0 {
		delete(q.held, id)
	}
}
