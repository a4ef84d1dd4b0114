package node

import (
	"context"
	"time"

	"github.com/dtpnode/dtpnode/engine"
)

// engineLoop owns the engine's peer. It hands events to the peer one after the other, and lets others read the peer
// only between two events (jobs.Loop). It has the peer's effects carried out by obey, which must not block, so that
// whatever reads or writes files runs in another goroutine.
type engineLoop struct {
	ctx    context.Context // ends when the daemon closes
	start  time.Time       // the origin of the peer's time
	peer   *engine.Peer    // used only by run, and before run is called
	obey   func(engine.Effect)
	events chan queued
	calls  chan func()
}

// newLoop makes a loop without a peer, which must be set before the first event.
func newLoop(ctx context.Context, start time.Time, obey func(engine.Effect)) *engineLoop {
	return &engineLoop{
		ctx:    ctx,
		start:  start,
		obey:   obey,
		events: make(chan queued, 1024),
		calls:  make(chan func()),
	}
}

// queued is an event on its way to the loop.
type queued struct {
	ev   engine.Event
	done func() // called when it has been handled; nil for nothing to call
}

// run hands events to the peer until the daemon closes.
func (l *engineLoop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(l.untilWake())
		select {
		case <-l.ctx.Done():
			return
		case q := <-l.events:
			l.Step(q.ev)
			if q.done != nil {
				q.done()
			}
		case f := <-l.calls:
			f()
		case <-timer.C:
			l.Step(engine.Tick{})
		}
	}
}

func (l *engineLoop) now() time.Duration { return time.Since(l.start) }

func (l *engineLoop) untilWake() time.Duration {
	at := l.peer.Wake()
	if at < 0 {
		return time.Hour
	}
	return max(at-l.now(), 200*time.Microsecond) // a peer that is always due must leave time for other events
}

// Post hands an event to the loop. It may block for a moment, never after the daemon's end.
func (l *engineLoop) Post(ev engine.Event) { l.postThen(ev, nil) }

// postThen has done called when the event has been handled.
func (l *engineLoop) postThen(ev engine.Event, done func()) {
	select {
	case l.events <- queued{ev, done}:
	case <-l.ctx.Done():
	}
}

// Ask runs f in the loop, where the peer may be read, and waits for it. After the daemon's end f does not run.
func (l *engineLoop) Ask(f func(p *engine.Peer)) {
	done := make(chan struct{})
	select {
	case l.calls <- func() { f(l.peer); close(done) }:
		<-done
	case <-l.ctx.Done():
	}
}

// Step has the peer handle an event, and its effects carried out. It is called in the loop, as by functions that Ask
// runs, or before the loop runs.
func (l *engineLoop) Step(ev engine.Event) {
	for _, e := range l.peer.Step(l.now(), ev) {
		l.obey(e)
	}
}
