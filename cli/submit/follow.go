// Package submit follows a job that a command gave to a daemon, shows its progress, and turns an interrupt into what
// the user chooses.
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

// These are the ways in which a followed job can end, other than well. The command's exit status depends on them.
var (
	ErrPartial   = errors.New("the result is partial")
	ErrCancelled = errors.New("the job was cancelled")
	ErrDetached  = errors.New("detached: the job goes on")
	ErrAsked     = errors.New("asked to cancel the job, which is not cancelled yet")
	// ErrInterrupted is an interrupt after which it is not known whether the job is cancelled.
	ErrInterrupted = errors.New("interrupted")
	// ErrLeft is an end that the user did not ask for although the job could have been cancelled: the terminal was closed,
	// or the host is being shut down. What is done of the job should be kept.
	ErrLeft = fmt.Errorf("%w", ErrInterrupted)
)

// Jobs is what a Follower needs of a daemon; *api.Client does it.
type Jobs interface {
	Follow(ctx context.Context, id string, on func(api.Event) error) (api.JobStatus, error)
	Stop(ctx context.Context, id string) error
	Cancel(ctx context.Context, id string) (api.Cancellation, error)
}

// Printer shows a job; package progress has three implementations.
type Printer interface {
	Status(api.JobStatus)
	Ask(wordings ...string) // shows a question in one of these wordings, the longest first, until Ask is called with none
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
	Print      func(line string) // shows a line that Begin or Terminate printed
	Keys       Keys              // nil if nobody can be asked, so that an interrupt cancels
	Interrupts <-chan os.Signal  // several that arrive together count as one, since the kernel merges pending signals
	Detachable bool              // the daemon outlives this process

	Note func(text string) // called with what the user should know at once; may be nil
}

// Follow shows job id until it is final, and returns its last status. The error is ErrDetached or ErrCancelled if the
// user chose that, else the daemon's; how the job itself ended is for Outcome.
func (f *Follower) Follow(ctx context.Context, id string) (api.JobStatus, error) {
	ctx, cancel := context.WithCancel(ctx)
	l := &loop{Follower: f, id: id, events: make(chan api.Event), ended: make(chan error, 1)}
	go l.stream(ctx)
	defer func() {
		cancel()
		for range l.events { // the stream closes events when it has ended
		}
	}()
	defer l.endQuestion()
	return l.run(ctx)
}

// loop is the state of one Follow.
type loop struct {
	*Follower
	id       string
	events   chan api.Event
	ended    chan error
	last     api.JobStatus
	lines    int
	notes    int
	problems map[string]string // by node: why it was set aside, as it was shown

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
	if err == nil && last.State.Halted() { // the last status may come from elsewhere than the events
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

// note passes on the notes that are new.
func (l *loop) note() {
	for ; l.Note != nil && l.notes < len(l.last.Notes); l.notes++ {
		l.Note(l.last.Notes[l.notes])
	}
	if l.Note == nil || l.last.State.Final() { // the summary has those of a job that has ended
		return
	}
	for _, n := range l.last.Nodes {
		if n.Problem != "" && l.problems[n.ID] != n.Problem {
			if l.problems == nil {
				l.problems = map[string]string{}
			}
			l.problems[n.ID] = n.Problem
			l.Note(fmt.Sprintf("%s was set aside, since everything failed there; the others go on: %s", n.Name, n.Problem))
		}
	}
}

// end determines the result after the stream has ended.
func (l *loop) end(err error) (api.JobStatus, error) {
	if l.cancelled && (l.last.State == api.Cancelled || !l.last.State.Final()) {
		l.showCancelled()
		return l.last, cancelled(l.last) // the daemon has confirmed it, and its record may be gone already
	}
	if err == nil && l.lines == 0 && l.last.Stdout != "" {
		l.Print(l.last.Stdout) // it ended before it was followed, so there were no events
	}
	return l.last, err
}

// showCancelled shows that the job is cancelled, which may be known before the last status arrives, so that the last
// state on the terminal is right.
func (l *loop) showCancelled() {
	if st := l.last; st.State != api.Cancelled {
		st.State, st.Phase, st.Rate = api.Cancelled, "", 0
		l.Printer.Status(st)
	}
}

// interrupt asks the user what to do. It cancels if nobody can be asked or the user insists. A closed terminal does not
// cancel, nor does SIGTERM if the daemon ends with this process: then the job is left as it is. After the daemon has
// cancelled, another interrupt does not wait for the end of the events.
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

// choices are the wordings of the question at an interrupt, the longest first, which fits into 80 columns. The keys are
// in all of them.
func choices(detachable bool) []string {
	keys, short := "[s]top, [c]ancel, [d]etach", "[s] [c] [d]?"
	if !detachable {
		keys, short = "[s]top, [c]ancel", "[s] [c]?"
	}
	whole, kept := keys+", continue?", " s keeps what is done"
	return []string{whole + kept + ", other keys continue", whole + kept, whole, keys + "?", short}
}

// answer carries out the user's choice.
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
	case errors.As(err, &refused) && refused.Status == http.StatusConflict: // the job has just ended by itself
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

// errSilent is the error if the daemon did not answer while its user wanted to leave.
var errSilent = errors.New("the daemon does not answer")

// request sends a request to the daemon. A daemon that hangs does not hold its user for ever: after another interrupt
// the answer is awaited for hangWait at most.
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

// Submitted submits a job to a daemon. An interrupt of ctx meanwhile does not abort the request, since nobody would
// know then whether the daemon has accepted the job; the caller handles the interrupt when it follows the job. If the
// daemon hangs, Submitted returns after hangWait.
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

// Asked is ErrAsked with the reason why the cancellation is pending.
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

// cancelled is ErrCancelled with how much of the job was done.
func cancelled(st api.JobStatus) error {
	if st.Units == 0 && st.Hint != "" {
		return fmt.Errorf("%w: %s", ErrCancelled, st.Hint)
	}
	if st.Units == 0 {
		return ErrCancelled
	}
	return fmt.Errorf("%w: %d of %d %s had been processed, nothing of them is kept", ErrCancelled, st.Done, st.Units,
		st.Called())
}

// Partial is ErrPartial with how much is in the result.
func Partial(st api.JobStatus) error {
	if st.Unknown > 0 {
		return fmt.Errorf("%w: %d of %d %s are in it, and nothing of %s", ErrPartial, st.Committed, st.Units,
			st.Called(), progress.Unknown(st))
	}
	return fmt.Errorf("%w: %d of %d %s are in it", ErrPartial, st.Committed, st.Units, st.Called())
}

// Outcome is the error for a final status, nil if all is done.
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
			lacks = fmt.Sprintf("only %d of %d %s are done, and the others given up; besides, ", st.Committed, st.Units,
				st.Called())
		}
		return &api.Error{Message: "cannot finish: " + lacks + st.Error, Hint: st.Hint}
	}
	return fmt.Errorf("the job is not finished: %s", st.State)
}
