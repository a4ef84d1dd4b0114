package submit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/node/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeJobs is a daemon with one job. Its stream gives events until the job is final.
type fakeJobs struct {
	events  chan api.Event
	calls   chan string
	err     error // error of Follow after the last event
	refuses bool
	pending string // why a cancel has no effect yet
	hangs   bool   // requests are not answered
}

func newFakeJobs() *fakeJobs {
	return &fakeJobs{events: make(chan api.Event, 10), calls: make(chan string, 10)}
}

func (f *fakeJobs) status(s api.JobState) {
	f.events <- api.Event{Type: "status", Status: &api.JobStatus{ID: "j", State: s, Units: 10, Committed: 7}}
}

func (f *fakeJobs) Follow(ctx context.Context, _ string, on func(api.Event) error) (api.JobStatus, error) {
	var last api.JobStatus
	for {
		select {
		case ev, ok := <-f.events:
			if !ok {
				return last, f.err
			}
			if err := on(ev); err != nil {
				return last, err
			}
			if ev.Status != nil {
				last = *ev.Status
			}
			if last.State.Final() {
				return last, nil
			}
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

func (f *fakeJobs) Stop(ctx context.Context, _ string) error {
	f.calls <- "stop"
	if f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	f.status(api.Partial)
	return nil
}

func (f *fakeJobs) Cancel(ctx context.Context, _ string) (api.Cancellation, error) {
	f.calls <- "cancel"
	if f.hangs {
		<-ctx.Done()
		return api.Cancellation{}, ctx.Err()
	}
	if f.refuses {
		return api.Cancellation{}, io.ErrUnexpectedEOF
	}
	if f.pending == "" {
		f.status(api.Cancelled)
	}
	return api.Cancellation{ID: "j", Pending: f.pending}, nil
}

// fakePrinter records what it is given, and signals when it shows a question.
type fakePrinter struct {
	asked chan string
	seen  []api.JobState
}

func (p *fakePrinter) Status(st api.JobStatus)     { p.seen = append(p.seen, st.State) }
func (p *fakePrinter) Ask(q ...string)             { p.asked <- strings.Join(q[:min(len(q), 1)], "") }
func (p *fakePrinter) Write(b []byte) (int, error) { return len(b), nil }

// fakeKeys are keys that the test presses.
type fakeKeys struct {
	pressed chan byte
	open    bool
}

func (k *fakeKeys) Listen() (<-chan byte, func(), error) {
	k.open = true
	return k.pressed, func() { k.open = false }, nil
}

type outcome struct {
	st  api.JobStatus
	err error
}

// scene is a Follow under way.
type scene struct {
	jobs       *fakeJobs
	printer    *fakePrinter
	keys       *fakeKeys
	interrupts chan os.Signal
	ended      chan outcome
	lines      []string
}

func start(t *testing.T, terminal, detachable bool) *scene {
	t.Helper()
	s := &scene{
		jobs: newFakeJobs(), printer: &fakePrinter{asked: make(chan string, 10)},
		keys: &fakeKeys{pressed: make(chan byte)}, interrupts: make(chan os.Signal), ended: make(chan outcome, 1),
	}
	f := Follower{
		Jobs: s.jobs, Printer: s.printer, Print: func(l string) { s.lines = append(s.lines, l) },
		Interrupts: s.interrupts, Detachable: detachable,
	}
	if terminal {
		f.Keys = s.keys
	}
	go func() { // ends with the job; the test waits for ended
		st, err := f.Follow(t.Context(), "j")
		s.ended <- outcome{st, err}
	}()
	s.jobs.status(api.Running)
	return s
}

// press interrupts, waits for the question and presses a key.
func (s *scene) press(key byte) (question string) {
	s.interrupts <- os.Interrupt
	question = <-s.printer.asked
	s.keys.pressed <- key
	return question
}

func TestFollowToTheEnd(t *testing.T) {
	s := start(t, true, true)
	s.jobs.events <- api.Event{Type: "log", Line: "<Begin>"}
	s.jobs.status(api.Done)
	got := <-s.ended
	if got.err != nil || got.st.State != api.Done {
		t.Errorf("got %v, %v", got.st.State, got.err)
	}
	if diff := cmp.Diff([]string{"<Begin>"}, s.lines); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]api.JobState{api.Running, api.Done}, slices.Compact(s.printer.seen)); diff != "" {
		t.Error(diff)
	}
}

// TestFollowTellsOfNodesSetAside: each reason is told once, while the job runs.
func TestFollowTellsOfNodesSetAside(t *testing.T) {
	jobs := newFakeJobs()
	var notes []string
	f := Follower{
		Jobs: jobs, Printer: &fakePrinter{}, Print: func(string) {}, Note: func(text string) { notes = append(notes, text) },
	}
	for range 2 {
		jobs.events <- api.Event{Type: "status", Status: &api.JobStatus{ID: "j", State: api.Running, Nodes: []api.NodeWork{
			{ID: "1", Name: "bad", Problem: "no space left on device"}, {ID: "2", Name: "good"},
		}}}
	}
	jobs.status(api.Done)
	if _, err := f.Follow(t.Context(), "j"); err != nil {
		t.Fatal(err)
	}
	want := []string{"bad was set aside, since everything failed there; the others go on: no space left on device"}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Error(diff)
	}
}

func TestFollowTooLateForLines(t *testing.T) {
	s := start(t, false, true)
	s.jobs.events <- api.Event{Type: "status", Status: &api.JobStatus{State: api.Done, Stdout: "all of it"}}
	<-s.ended
	if diff := cmp.Diff([]string{"all of it"}, s.lines); diff != "" {
		t.Error(diff)
	}
}

func TestInterruptKeys(t *testing.T) {
	for _, tc := range []struct {
		key  byte
		call string
		err  error
		st   api.JobState
	}{
		{'s', "stop", nil, api.Partial},
		{'c', "cancel", ErrCancelled, api.Cancelled},
		{'d', "", ErrDetached, api.Running},
	} {
		t.Run(string(tc.key), func(t *testing.T) {
			s := start(t, true, true)
			if q := s.press(tc.key); !strings.Contains(q, "[d]etach") {
				t.Errorf("the question %q offers no detaching", q)
			}
			got := <-s.ended
			if !errors.Is(got.err, tc.err) || got.st.State != tc.st && tc.err == nil {
				t.Errorf("got %v, %v", got.st.State, got.err)
			}
			call := ""
			select {
			case call = <-s.jobs.calls:
			default:
			}
			if call != tc.call {
				t.Errorf("called %q, want %q", call, tc.call)
			}
			if s.keys.open {
				t.Error("the terminal was left in the mode of the question")
			}
		})
	}
}

func TestInterruptAndContinue(t *testing.T) {
	s := start(t, true, false)
	if q := s.press('x'); strings.Contains(q, "etach") {
		t.Errorf("the question %q offers detaching from a daemon that ends", q)
	}
	if q := <-s.printer.asked; q != "" {
		t.Errorf("still asked %q", q)
	}
	s.press('d') // not among the choices, so the job goes on
	s.jobs.status(api.Done)
	if got := <-s.ended; got.err != nil || got.st.State != api.Done {
		t.Errorf("got %v, %v", got.st.State, got.err)
	}
}

func TestInterruptTwice(t *testing.T) {
	s := start(t, true, true)
	s.interrupts <- os.Interrupt
	<-s.printer.asked
	s.interrupts <- os.Interrupt
	if got := <-s.ended; !errors.Is(got.err, ErrCancelled) || <-s.jobs.calls != "cancel" {
		t.Errorf("got %v", got.err)
	}
}

func TestInterruptWithoutTerminal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		s := start(t, sig == syscall.SIGTERM, true)
		s.interrupts <- sig
		if got := <-s.ended; !errors.Is(got.err, ErrCancelled) {
			t.Errorf("%v: got %v", sig, got.err)
		}
	}
}

// TestLeft: a closed terminal does not cancel, and neither does SIGTERM if the daemon ends with this process.
func TestLeft(t *testing.T) {
	for _, tc := range []struct {
		sig        os.Signal
		detachable bool
		want       error
	}{
		{syscall.SIGHUP, true, ErrDetached}, {syscall.SIGHUP, false, ErrLeft}, {syscall.SIGTERM, false, ErrLeft},
	} {
		s := start(t, true, tc.detachable)
		s.interrupts <- tc.sig
		if got := <-s.ended; !errors.Is(got.err, tc.want) || len(s.jobs.calls) > 0 {
			t.Errorf("%v: got %v, want %v", tc.sig, got.err, tc.want)
		}
	}
}

// TestInterruptWhileTheDaemonHangs: a user who wants to leave is not held up, and learns that the daemon did not
// answer.
func TestInterruptWhileTheDaemonHangs(t *testing.T) {
	for _, key := range []byte("cs") {
		synctest.Test(t, func(t *testing.T) {
			s := start(t, true, true)
			s.jobs.hangs = true
			s.press(key)
			<-s.jobs.calls
			time.Sleep(time.Hour) // of the test's own clock
			select {
			case got := <-s.ended:
				t.Fatalf("ended without another interrupt: %v", got.err)
			default:
			}
			s.interrupts <- os.Interrupt
			s.interrupts <- os.Interrupt
			if got := <-s.ended; !errors.Is(got.err, ErrInterrupted) || errors.Is(got.err, ErrCancelled) ||
				!strings.Contains(got.err.Error(), "does not answer") {
				t.Errorf("%c: got %v", key, got.err)
			}
		})
	}
}

func TestCancelUnreached(t *testing.T) {
	s := start(t, false, true)
	s.jobs.refuses = true
	s.interrupts <- os.Interrupt
	if got := <-s.ended; errors.Is(got.err, ErrCancelled) || !errors.Is(got.err, ErrInterrupted) ||
		!errors.Is(got.err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", got.err)
	}
}

// TestCancelPending: a job is not called cancelled while it is not.
func TestCancelPending(t *testing.T) {
	s := start(t, false, true)
	s.jobs.pending = "b and c cannot be reached"
	s.interrupts <- os.Interrupt
	got := <-s.ended
	if errors.Is(got.err, ErrCancelled) || !errors.Is(got.err, ErrInterrupted) ||
		!strings.Contains(got.err.Error(), "may go on") ||
		!strings.Contains(got.err.Error(), s.jobs.pending) {
		t.Errorf("got %v", got.err)
	}
}

func TestFollowLost(t *testing.T) {
	s := start(t, false, true)
	s.jobs.err = api.ErrLost
	close(s.jobs.events)
	if got := <-s.ended; !errors.Is(got.err, api.ErrLost) {
		t.Errorf("got %v", got.err)
	}
}

func TestOutcome(t *testing.T) {
	if err := Outcome(api.JobStatus{State: api.Done}); err != nil {
		t.Error(err)
	}
	if err := Outcome(api.JobStatus{State: api.Partial}); !errors.Is(err, ErrPartial) {
		t.Error(err)
	}
	if err := Outcome(api.JobStatus{State: api.Cancelled}); !errors.Is(err, ErrCancelled) {
		t.Error(err)
	}
	var e *api.Error
	if err := Outcome(api.JobStatus{
		State: api.Failed,
		Error: "E",
		Hint:  "H",
	}); !errors.As(err, &e) || e.Message != "E" || e.Hint != "H" {
		t.Error(err)
	}
	if err := Outcome(api.JobStatus{State: api.Running}); err == nil {
		t.Error("a running job has no outcome")
	}
}

// results hands out text, then an error.
type results struct {
	text string
	err  error
}

func (r results) WholeResult(_ context.Context, _ string, w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.text)
	return int64(n), errors.Join(err, r.err)
}

func TestFetch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.root")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if _, err := Fetch(t.Context(), results{"ha", broken}, "j", path); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "old" {
		t.Errorf("a broken transfer left %q", text)
	}
	if _, err := Fetch(t.Context(), results{"new", nil}, "j", path); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "new" {
		t.Errorf("got %q", text)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
	for _, bad := range []string{dir, filepath.Join(dir, "none", "out.root"), os.DevNull} {
		if _, err := OutputPath(bad); err == nil {
			t.Errorf("%q can be no result file", bad)
		}
	}
}

// TestTerminalKeys types on a pseudo-terminal: keys come at once, without echo, Ctrl-C stays a signal
// character, and the mode is restored.
func TestTerminalKeys(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	defer master.Close()
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	term := &Terminal{fd: int(slave.Fd())}
	before, err := unix.IoctlGetTermios(term.fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := master.WriteString("c"); err != nil {
		t.Fatal(err)
	}
	if n, err := master.Read(make([]byte, 1)); n != 1 { // an echo, which precedes the question
		t.Fatal(err)
	}
	keys, stop, err := term.Listen()
	if err != nil {
		t.Fatal(err)
	}
	mode, err := unix.IoctlGetTermios(term.fd, unix.TCGETS)
	if err != nil || mode.Lflag&(unix.ICANON|unix.ECHO) != 0 || mode.Lflag&unix.ISIG == 0 || mode.Oflag != before.Oflag {
		t.Errorf("mode of the question: %+v, %v", mode, err)
	}
	if _, err := master.WriteString("s"); err != nil {
		t.Fatal(err)
	}
	if k := <-keys; k != 's' {
		t.Errorf("got %q", k)
	}
	stop()
	after, err := unix.IoctlGetTermios(term.fd, unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("mode not restored: %+v, %v", after, err)
	}
	if NewTerminal(slave) != nil {
		t.Error("a terminal whose foreground is not ours was taken")
	}
}

// TestQuestionOnANarrowTerminal: all keys fit into 40 columns, where the rest is left out.
func TestQuestionOnANarrowTerminal(t *testing.T) {
	s := start(t, true, true)
	q := s.press('d')
	<-s.ended
	for _, key := range []string{"[s]top", "[c]ancel", "[d]etach", "continue"} {
		if at := strings.Index(q, key); at < 0 || at+len(key) > 39 {
			t.Errorf("%s cannot be seen in %q", key, q)
		}
	}
}

// TestStopBeforeTheBeginning: a job that is stopped before it has begun is cancelled, and the user is told why there is
// no partial result.
func TestStopBeforeTheBeginning(t *testing.T) {
	err := Outcome(api.JobStatus{State: api.Cancelled, Hint: "it had not begun"})
	if !errors.Is(err, ErrCancelled) || !strings.Contains(err.Error(), "it had not begun") {
		t.Errorf("got %v", err)
	}
}

// TestSubmittedUnderAnInterrupt: after an interrupt it is still known whether the daemon has accepted the job, unless
// the daemon hangs.
func TestSubmittedUnderAnInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		st, err := Submitted(ctx, func(within context.Context) (api.JobStatus, error) {
			interrupt()
			time.Sleep(hangWait / 2)
			return api.JobStatus{ID: "j"}, within.Err()
		})
		if st.ID != "j" || err != nil {
			t.Errorf("an answer that comes soon: got %+v, %v", st, err)
		}
		asked := false
		if _, err := Submitted(ctx, func(context.Context) (api.JobStatus, error) {
			asked = true
			return api.JobStatus{}, nil
		}); err == nil || asked {
			t.Errorf("interrupted before: asked %v, error %v", asked, err)
		}
		ctx, interrupt = context.WithCancel(t.Context())
		_, err = Submitted(ctx, func(within context.Context) (api.JobStatus, error) {
			interrupt()
			<-within.Done()
			return api.JobStatus{}, within.Err()
		})
		if !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), "dtpnode ps") {
			t.Errorf("a daemon that hangs: %v", err)
		}
	})
}

// TestChoicesFit: the whole question at an interrupt fits into 80 columns, and every shorter wording has the keys.
func TestChoicesFit(t *testing.T) {
	for _, detachable := range []bool{true, false} {
		all := choices(detachable)
		for i, text := range all {
			if len(text) > 79 || i > 0 && len(text) >= len(all[i-1]) {
				t.Errorf("%d places: %q", len(text), text)
			}
			for _, key := range []string{"[s]", "[c]", "[d]"} {
				if strings.Contains(text, key) != (detachable || key != "[d]") {
					t.Errorf("%s: %q", key, text)
				}
			}
		}
	}
}
