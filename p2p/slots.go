package p2p

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// slots shares the places for blobs that are sent at once among the peers that ask. While no peer waits, one peer may
// hold all places and read as slowly as it likes. When a peer waits, a peer that holds at least two more than it gives
// one up; if there is none, the one that reads most slowly, below minBlobRate.
type slots struct {
	room int

	mu      sync.Mutex
	sending []*sending
	waiting []*waiting
}

// minBlobRate is how fast a reader must be, in bytes a second, to keep its place while others wait.
const minBlobRate = 32 << 10

// sending is one blob that is being sent.
type sending struct {
	to   peer.ID
	sent atomic.Int64
	end  func() // aborts the transfer

	// slots.mu guards these.
	mark   int64 // bytes sent by the time at
	at     time.Time
	rate   float64 // bytes a second before at; -1 until measured
	ending bool
}

type waiting struct {
	s     *sending
	ready chan struct{}
}

// acquire waits for a place, and returns nil if ctx ends before there is one. pace is the interval at which the rates
// of the transfers are measured meanwhile. end must make the sender call release soon.
func (p *slots) acquire(ctx context.Context, to peer.ID, pace time.Duration, end func()) *sending {
	w := &waiting{s: &sending{to: to, end: end, rate: -1}, ready: make(chan struct{})}
	p.mu.Lock()
	p.waiting = append(p.waiting, w)
	p.grant()
	p.mu.Unlock()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-w.ready:
			return w.s
		case <-tick.C:
			p.mu.Lock()
			p.measure(time.Now(), pace)
			p.grant()
			p.mu.Unlock()
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			select {
			case <-w.ready:
				return w.s
			default:
			}
			p.waiting = slices.DeleteFunc(p.waiting, func(o *waiting) bool { return o == w })
			return nil
		}
	}
}

func (p *slots) release(s *sending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sending = slices.DeleteFunc(p.sending, func(o *sending) bool { return o == s })
	p.grant()
}

// grant gives free places to peers that wait, those that hold the fewest first, and aborts a transfer if one must make
// room. p.mu is held.
func (p *slots) grant() {
	for len(p.sending) < p.room && len(p.waiting) > 0 {
		held := p.held()
		w := slices.MinFunc(p.waiting, func(a, b *waiting) int { return held[a.s.to] - held[b.s.to] })
		p.waiting = slices.DeleteFunc(p.waiting, func(o *waiting) bool { return o == w })
		w.s.at = time.Now()
		p.sending = append(p.sending, w.s)
		close(w.ready)
	}
	if len(p.waiting) == 0 || slices.ContainsFunc(p.sending, func(s *sending) bool { return s.ending }) {
		return // one transfer is aborted at a time
	}
	if s := p.victim(); s != nil {
		s.ending = true
		s.end()
	}
}

// held counts the places of each peer. p.mu is held.
func (p *slots) held() map[peer.ID]int {
	held := map[peer.ID]int{}
	for _, s := range p.sending {
		held[s.to]++
	}
	return held
}

// victim is the transfer to abort for a peer that waits, nil if none has to be. p.mu is held.
func (p *slots) victim() (victim *sending) {
	held := p.held()
	fewest := held[p.waiting[0].s.to]
	for _, w := range p.waiting {
		fewest = min(fewest, held[w.s.to])
	}
	worse := func(a, b *sending) bool { // a is aborted rather than b
		if held[a.to] != held[b.to] {
			return held[a.to] > held[b.to]
		}
		return a.rate < b.rate
	}
	for _, s := range p.sending {
		slow := s.rate >= 0 && s.rate < minBlobRate
		if (slow || held[s.to] >= fewest+2) && (victim == nil || worse(s, victim)) {
			victim = s
		}
	}
	return victim
}

// measure computes the rates since the last measurement. p.mu is held.
func (p *slots) measure(now time.Time, pace time.Duration) {
	for _, s := range p.sending {
		if d := now.Sub(s.at); d >= pace {
			sent := s.sent.Load()
			s.rate = float64(sent-s.mark) / d.Seconds()
			s.mark, s.at = sent, now
		}
	}
}
