// Package submit follows a job that a command handed to a daemon, shows how it goes, and turns an
// interrupt into what the user chose.
package submit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/node/api"
)

// How a job that was followed can end, other than well. The command's exit status depends on them.
var (
	ErrPartial   = errors.New("the result is partial")
	ErrCancelled = errors.New("the job was cancelled")
	ErrDetached  = errors.New("detached: the job goes on")
	ErrAsked     = errors.New("asked to cancel the job, which is not cancelled yet")
	// ErrInterrupted is an interrupt after which the job is not known to be cancelled.
	ErrInterrupted = errors.New("interrupted")
	// ErrLeft is an end that was not asked for where the job could have been cancelled: whoever waits for it has gone, or
	// the host is being shut down. What is done is to be kept.
	ErrLeft = fmt.Errorf("%w", ErrInterrupted)
)

// Jobs is what following needs of a daemon; *api.Client has it.
type Jobs interface {
	Follow(ctx context.Context, id string, on func(api.Event) error) (api.JobStatus, error)
	Stop(ctx context.Context, id string) error
	Cancel(ctx context.Context, id string) (api.Cancellation, error)
}

// Printer shows a job; package progress has three.
type Printer interface {
	Status(api.JobStatus)
	Ask(wordings ...string) // of a question, the longest first; shown until it is asked nothing
	Write([]byte) (int, error)
}

// Keys lets the user answer with one key. Listen starts reading keys until stop is called, which waits
// for the reader to end.
type Keys interface {
	Listen() (keys <-chan byte, stop func(), err error)
}

// Follower follows one job.
type Follower struct {
	Jobs       Jobs
	Printer    Printer
	Print      func(line string) // what Begin and Terminate print
	Keys       Keys              // nil: nobody to ask, an interrupt cancels
	Interrupts <-chan os.Signal  // those that come at once are one: the kernel does not count what it has not delivered
	Detachable bool              // the daemon outlives this process

	Note func(text string) // what the user should know, as soon as it is; nil if nobody wants to
}

// Follow shows job id until it is final and returns its last status. The error is ErrDetached or
// ErrCancelled if the user chose so, else that of the daemon; how the job itself ended is for Outcome.
func (f *Follower) Follow(ctx context.Context, id string) (api.JobStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &loop{Follower: f, id: id, events: make(chan api.Event), ended: make(chan error, 1)}
	go l.stream(ctx)
	defer func() {
		cancel()
		for range l.events { // the stream has ended when it closes events
		}
	}()
	defer l.endQuestion()
	return l.run(ctx)
}

// loop is the state of one Follow.
type loop struct {
	*Follower
	id     string
	events chan api.Event
	ended  chan error
	last   api.JobStatus
	lines  int
	notes  int

	asking    bool
	keys      <-chan byte
	stopKeys  func()
	cancelled bool
}

// stream passes the daemon's events on until they end.
func (l *loop) stream(ctx context.Context) {
	defer close(l.events)
	last, err := l.Jobs.Follow(ctx, l.id, func(ev api.Event) error {
		select {
		case l.events <- ev:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err == nil && last.State.Halted() { // it may come from elsewhere than the events
		select {
		case l.events <- api.Event{Type: "status", Status: &last}:
		case <-ctx.Done():
		}
	}
	l.ended <- err
}

func (l *loop) run(ctx context.Context) (api.JobStatus, error) {
	for {
		select {
		case ev, ok := <-l.events:
			if !ok {
				return l.end(<-l.ended)
			}
			l.event(ev)
		case sig := <-l.Interrupts:
			if err := l.interrupt(ctx, sig); err != nil {
				return l.last, err
			}
		case key := <-l.keys:
			if err := l.answer(ctx, key); err != nil {
				return l.last, err
			}
		case <-ctx.Done():
			return l.last, ctx.Err()
		}
	}
}

func (l *loop) event(ev api.Event) {
	if ev.Type == "log" {
		l.lines++
		l.Print(ev.Line)
	}
	if ev.Status != nil {
		l.last = *ev.Status
		l.note()
		l.Printer.Status(l.last)
	}
}

// note tells the notes that are new.
func (l *loop) note() {
	for ; l.Note != nil && l.notes < len(l.last.Notes); l.notes++ {
		l.Note(l.last.Notes[l.notes])
	}
}

// end is reached when the stream has ended.
func (l *loop) end(err error) (api.JobStatus, error) {
	if l.cancelled && (l.last.State == api.Cancelled || !l.last.State.Final()) {
		l.showCancelled()
		return l.last, cancelled(l.last) // the daemon has said so, and its record may be gone already
	}
	if err == nil && l.lines == 0 && l.last.Stdout != "" {
		l.Print(l.last.Stdout) // followed too late for its events
	}
	return l.last, err
}

// showCancelled shows that the job is cancelled, which may be known before its last status: what stays on the terminal
// must be so.
func (l *loop) showCancelled() {
	if st := l.last; st.State != api.Cancelled {
		st.State, st.Phase, st.Rate = api.Cancelled, "", 0
		l.Printer.Status(st)
	}
}

// interrupt asks the user, or cancels where there is nobody to ask or the user insists. A terminal that was closed
// cancels nothing, nor does SIGTERM where the daemon ends with this process: the job is left as it is. One after the
// daemon has cancelled does not wait for the end of its events.
func (l *loop) interrupt(ctx context.Context, sig os.Signal) error {
	switch {
	case l.cancelled:
		l.showCancelled()
		return cancelled(l.last)
	case sig == syscall.SIGHUP && l.Detachable:
		return ErrDetached
	case sig == syscall.SIGHUP:
		return fmt.Errorf("%w: the terminal was closed", ErrLeft)
	case sig == syscall.SIGTERM && !l.Detachable:
		return fmt.Errorf("%w by SIGTERM", ErrLeft)
	case l.asking, l.Keys == nil, sig == syscall.SIGTERM:
		return l.cancel(ctx)
	}
	keys, stop, err := l.Keys.Listen()
	if err != nil {
		return l.cancel(ctx)
	}
	l.asking, l.keys, l.stopKeys = true, keys, stop
	l.Printer.Ask(choices(l.Detachable)...)
	return nil
}

// choices are the wordings of what is asked at an interrupt, the longest first, which has room in 80 columns: the keys
// are left longest.
func choices(detachable bool) []string {
	keys, short := "[s]top, [c]ancel, [d]etach", "[s] [c] [d]?"
	if !detachable {
		keys, short = "[s]top, [c]ancel", "[s] [c]?"
	}
	whole, kept := keys+", continue?", " s keeps what is done"
	return []string{whole + kept + ", other keys continue", whole + kept, whole, keys + "?", short}
}

// answer does what the user chose.
func (l *loop) answer(ctx context.Context, key byte) error {
	l.endQuestion()
	switch key {
	case 's', 'S':
		err := l.request(ctx, func(ctx context.Context) error { return l.Jobs.Stop(ctx, l.id) })
		switch {
		case errors.Is(err, errSilent):
			return fmt.Errorf("%w: could not stop job %s: %w", ErrInterrupted, l.id, err)
		case err != nil:
			return fmt.Errorf("could not stop job %s: %w", l.id, err)
		}
	case 'c', 'C':
		return l.cancel(ctx)
	case 'd', 'D':
		if l.Detachable {
			return ErrDetached
		}
	}
	return nil
}

func (l *loop) cancel(ctx context.Context) error {
	l.endQuestion()
	var c api.Cancellation
	err := l.request(ctx, func(ctx context.Context) (err error) {
		c, err = l.Jobs.Cancel(ctx, l.id)
		return err
	})
	var refused *api.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusConflict: // it has just ended by itself
		return nil
	case err != nil:
		return fmt.Errorf("%w, but the job could not be cancelled, and may go on: %w", ErrInterrupted, err)
	case c.Pending != "":
		return fmt.Errorf("%w: %w", ErrInterrupted, Asked(c))
	}
	l.cancelled = true
	return nil
}

// hangWait is how long a daemon may take to answer a request whose user insists on leaving.
const hangWait = 3 * time.Second

// errSilent says that the daemon did not answer while its user wanted to leave.
var errSilent = errors.New("the daemon does not answer")

// request asks the daemon for something. One that hangs does not hold its user for ever: after another interrupt the
// answer is waited for no longer than hangWait.
func (l *loop) request(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answer := make(chan error, 1)
	go func() { answer <- ask(ctx) }() // ends with ctx
	for insists := false; ; {
		select {
		case err := <-answer:
			if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
				return cause
			}
			return err
		case <-l.Interrupts:
			if !insists {
				insists = true
				defer time.AfterFunc(hangWait, func() { cancel(errSilent) }).Stop()
			}
		}
	}
}

// Submitted has a daemon take a job. An interrupt of ctx meanwhile does not break the request off, since nobody would
// know then whether the daemon has taken it: whoever follows the job, by the name that is the answer, takes the
// interrupt. A daemon that hangs holds its user no longer than hangWait.
func Submitted(ctx context.Context, send func(context.Context) (api.JobStatus, error)) (api.JobStatus, error) {
	if err := ctx.Err(); err != nil {
		return api.JobStatus{}, err
	}
	within, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	answered := make(chan struct{})
	defer close(answered)
	defer context.AfterFunc(ctx, func() {
		select {
		case <-answered:
		case <-time.After(hangWait):
			cancel(errSilent)
		}
	})()
	st, err := send(within)
	if err != nil && errors.Is(context.Cause(within), errSilent) {
		return st, fmt.Errorf("%w: %w; it may have taken the job, and go on with it: `dtpnode ps --mine` shows it",
			ErrInterrupted, errSilent)
	}
	return st, err
}

// Asked is ErrAsked with what is so of a cancel that is pending.
func Asked(c api.Cancellation) error {
	return fmt.Errorf("%w: %s; it is cancelled as soon as most of the nodes that keep its ledger agree, and until then "+
		"it may go on", ErrAsked, c.Pending)
}

func (l *loop) endQuestion() {
	if !l.asking {
		return
	}
	l.stopKeys()
	l.asking, l.keys = false, nil
	l.Printer.Ask()
}

// cancelled is ErrCancelled with what had been done of the job.
func cancelled(st api.JobStatus) error {
	if st.Units == 0 && st.Hint != "" {
		return fmt.Errorf("%w: %s", ErrCancelled, st.Hint)
	}
	if st.Units == 0 {
		return ErrCancelled
	}
	return fmt.Errorf("%w: %d of %d events had been processed, nothing of them is kept", ErrCancelled, st.Done, st.Units)
}

// Partial is ErrPartial with how much is in the result.
func Partial(st api.JobStatus) error {
	if st.Unknown > 0 {
		return fmt.Errorf("%w: %d of %d events are in it, and nothing of %s", ErrPartial, st.Committed, st.Units,
			progress.Unknown(st))
	}
	return fmt.Errorf("%w: %d of %d events are in it", ErrPartial, st.Committed, st.Units)
}

// Outcome is the error that a final status stands for, nil if all is done.
func Outcome(st api.JobStatus) error {
	switch st.State {
	case api.Done:
		return nil
	case api.Partial:
		return Partial(st)
	case api.Cancelled:
		return cancelled(st)
	case api.Failed:
		return &api.Error{Message: st.Error, Hint: st.Hint}
	case api.CannotFinish:
		lacks := ""
		if len(st.Missing) > 0 {
			lacks = fmt.Sprintf("only %d of %d events are done, and the others given up; besides, ", st.Committed, st.Units)
		}
		return &api.Error{Message: "cannot finish: " + lacks + st.Error, Hint: st.Hint}
	}
	return fmt.Errorf("the job is not finished: %s", st.State)
}
