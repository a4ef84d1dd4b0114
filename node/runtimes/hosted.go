package runtimes

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// Times after which a runtime that could not be opened is tried again: at first soon, for what is wrong may be mended,
// then ever more rarely, since building one takes the host's time.
const (
	firstRetry = 10 * time.Second
	lastRetry  = 5 * time.Minute
)

// Hosted is one runtime of this host.
type Hosted struct {
	Info exec.Info

	finder exec.Finder
	set    *Set
	step   atomic.Pointer[string] // what takes its time while it is opened, if it is worth a word

	mu      sync.Mutex
	try     *attempt // the last one, nil before the runtime is first asked for
	settled bool     // an attempt has ended
	broken  error    // why the last attempt that has ended went wrong, nil if it went well
	wait    time.Duration
	again   *time.Timer // has it tried again; nil if it is not to be
	closed  bool
}

// attempt is one try to open a runtime.
type attempt struct {
	ended chan struct{} // closed when runtime or err are set
	rt    exec.Runtime
	err   error
}

// Ready waits until the runtime can be used, and says why if it cannot. The first call begins to open it. One that
// could not be opened stays broken until it is tried again.
func (h *Hosted) Ready(ctx context.Context) (exec.Runtime, error) {
	h.mu.Lock()
	if h.try == nil {
		h.begin()
	}
	try := h.try
	h.mu.Unlock()
	select {
	case <-try.ended:
		return try.rt, try.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Begin has the runtime opened, if it is not yet: at once also if that went wrong before, for whoever asks may have
// mended what was wrong.
func (h *Hosted) Begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.try != nil && h.try.err == nil {
		return // it is open, or being opened
	}
	h.begin()
}

// begin starts an attempt; h.mu is held, and none is under way.
func (h *Hosted) begin() {
	h.try = &attempt{ended: make(chan struct{})}
	if h.closed {
		h.try.err = exec.ErrClosed
		close(h.try.ended)
		return
	}
	if h.again != nil {
		h.again.Stop()
		h.again = nil
	}
	go h.open(h.try)
}

// open carries an attempt out. Its error is set under h.mu, so that Begin knows whether it has gone wrong.
func (h *Hosted) open(try *attempt) {
	cfg := h.set.cfg
	cfg.Progress = func(step string) { h.step.Store(&step) }
	rt, err := h.finder.Open(h.set.ctx, h.Info, cfg)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer close(try.ended)
	try.rt, try.err = rt, err
	before := h.broken
	h.settled, h.broken = true, err
	switch {
	case err != nil && h.set.ctx.Err() != nil: // the daemon ends: nothing is wrong with the runtime
		return
	case err != nil:
		h.wait = min(max(2*h.wait, firstRetry), lastRetry)
		h.again = time.AfterFunc(h.wait, h.Begin)
		if before == nil || before.Error() != err.Error() {
			cfg.Log.Error("this node cannot run jobs; it tries again", "runtime", h.Info.String(), "in", h.wait, "reason", err)
		}
	default:
		h.wait = 0
		cfg.Log.Info("ready to run jobs", "runtime", h.Info.String(), "dir", h.Info.Dir)
	}
	if err != nil || before != nil {
		select {
		case h.set.changes <- struct{}{}:
		default:
		}
	}
}

// IsSettled reports whether it is known by now whether the runtime can be used.
func (h *Hosted) IsSettled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settled
}

// Broken is why the runtime could not be opened when that was last tried, nil if it was, or has yet to be tried.
func (h *Hosted) Broken() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.broken
}

// Opened is closed once the attempt to open the runtime that is under way has ended, or the last one if none is.
func (h *Hosted) Opened() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.try == nil {
		h.begin()
	}
	return h.try.ended
}

// Step is what is being done to open the runtime, if that is worth a word.
func (h *Hosted) Step() string {
	if s := h.step.Load(); s != nil {
		return *s
	}
	return "starting " + h.Info.Kind
}

// close ends the runtime. None is opened from here on.
func (h *Hosted) close() error {
	h.mu.Lock()
	h.closed = true
	if h.again != nil {
		h.again.Stop()
	}
	try := h.try
	h.mu.Unlock()
	if try == nil {
		return nil
	}
	<-try.ended
	if try.rt == nil {
		return nil
	}
	return try.rt.Close()
}
