package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/backlog"
	"github.com/dtpnode/dtpnode/node/control"
)

// fake answers all books, and notes what it was asked.
type fake struct {
	control.Recoveries
	hold   chan struct{} // units are told when it is closed; nil: at once
	held   *os.File      // in which it has values that are told early; nil for none
	mu     sync.Mutex
	asked  []string
	result string // path of the only job's output
	lines  int    // that its job prints
	cut    error  // why its partials break off
}

var errNone = &api.Error{Status: http.StatusNotFound, Message: "no such job", Hint: "dtpnode ps lists them"}

func (f *fake) ask(what string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.TrimSpace(what+" "+fmt.Sprintln(args...)))
	if len(args) > 0 && args[0] == "none" {
		return errNone
	}
	return nil
}

func (f *fake) Status() api.NodeStatus          { return api.NodeStatus{ID: "me", Slots: 3} }
func (f *fake) Shutdown()                       { _ = f.ask("shutdown") }
func (f *fake) Leave() error                    { return errors.New("no disk") }
func (f *fake) Members() []api.Member           { return []api.Member{{ID: "a"}, {ID: "b"}} }
func (f *fake) Rename(name string) error        { return f.ask("rename", name) }
func (f *fake) Handover(id string) error        { return f.ask("handover", id) }
func (f *fake) NewRecoveryKey() (string, error) { return "key", nil }
func (f *fake) TakeBack(key string) error       { return f.ask("take back", key) }

func (f *fake) Links(context.Context) api.Links { return api.Links{More: 5} }
func (f *fake) Invite(req api.InviteRequest) (api.Invite, error) {
	return api.Invite{Token: "t", Rights: req.Rights}, f.ask("invite")
}

func (f *fake) Join(_ context.Context, req api.JoinRequest) (api.NodeStatus, error) {
	return f.Status(), f.ask("join", req.Token)
}

func (f *fake) Attend(name string, _ backlog.Process) (kept uint64, leave func()) {
	_ = f.ask("attend", name)
	return 7, func() {
		_ = f.ask("leave", name)
	}
}

func (f *fake) Keep(name string, k *api.ExchangeKeep) (uint64, error) {
	return k.First + uint64(len(k.Ends)/4), f.ask("keep", name, k.First)
}

func (f *fake) CancelKept(name string, req api.CancelKept) (api.KeptCalls, error) {
	return api.KeptCalls{}, f.ask("cancel kept", name, req.Calls)
}

func (f *fake) MoveKept(name string, req api.MoveKept) (api.KeptCalls, error) {
	return api.KeptCalls{}, f.ask("move kept", name, req.From)
}

func (f *fake) Release(_ context.Context, name string, req api.ReleaseRequest) error {
	return f.ask("release", name, req.Units)
}

func (f *fake) Kept(_ context.Context, name string) (api.KeptCalls, error) {
	return api.KeptCalls{Waiting: 3}, f.ask("kept", name)
}

func (f *fake) Append(_ context.Context, name string, req api.AppendRequest) (api.Appended, error) {
	return api.Appended{Seq: req.Seq, Closed: req.Close}, f.ask("append", name, req.Items)
}

func (f *fake) Revoke(_ context.Context, req api.RevokeRequest) (api.Revoked, error) {
	return api.Revoked{}, f.ask("revoke", req.ID)
}

func (f *fake) Forget(_ context.Context, req api.RevokeRequest) (api.Revoked, error) {
	return api.Revoked{}, f.ask("forget", req.ID)
}

type jobs struct{ *fake }

func (j jobs) Submit(req api.JobRequest) (api.JobStatus, error) {
	return api.JobStatus{ID: "new"}, j.ask("submit", req.Output)
}

func (j jobs) List(ctx context.Context) []api.JobStatus {
	_, hurry := ctx.Deadline()
	_ = j.ask("list", hurry)
	return []api.JobStatus{{ID: "one"}}
}

func (j jobs) Status(_ context.Context, name string) (api.JobStatus, error) {
	return api.JobStatus{ID: name}, j.ask("status", name)
}
func (j jobs) Stop(_ context.Context, name string) error   { return j.ask("stop", name) }
func (j jobs) Finish(_ context.Context, name string) error { return j.ask("finish", name) }
func (j jobs) Cancel(_ context.Context, name string) (api.Cancellation, error) {
	return api.Cancellation{ID: name}, j.ask("cancel", name)
}

func (j jobs) Retry(_ context.Context, name string, req api.RetryRequest) (api.JobStatus, error) {
	return api.JobStatus{ID: "again"}, j.ask("retry", name, req.Output)
}

func (f *fake) Follow(_ context.Context, name string, send func(api.Event) error) error {
	if err := f.ask("follow", name); err != nil {
		return err
	}
	for i := range f.lines {
		if err := send(api.Event{Type: "log", Line: fmt.Sprint("line ", i)}); err != nil {
			return err
		}
	}
	return send(api.Event{Type: "status", Status: &api.JobStatus{ID: name, State: api.Done}})
}

func (f *fake) Logs(_ context.Context, name string, follow bool, send func(api.LogPart) error) error {
	if err := f.ask("logs", name, follow); err != nil {
		return err
	}
	return errors.Join(send(api.LogPart{Node: "a", Text: "printed\n"}), send(api.LogPart{Over: true}))
}

func (f *fake) Watch(context.Context, string, api.WatchRequest, func(api.WatchEvent) error) error {
	return nil
}

// heldFor is values in the file of the fake's result, if somebody asks for them as that.
func (f *fake) heldFor(ask api.UnitsRequest) *api.HeldValues {
	if !ask.Files || f.held == nil {
		return nil
	}
	return &api.HeldValues{First: 6, At: 2, Ends: []uint64{1, 4}, File: f.held}
}

func (f *fake) Took(name string, req api.TakenRequest) error { return f.ask("took", name, req.Values) }

func (f *fake) Units(
	_ context.Context, name string, ask api.UnitsRequest, send func(api.UnitsEvent) error,
) error {
	if err := f.ask("units", name, ask.First, ask.Last, ask.Follow); err != nil {
		return err
	}
	if f.cut != nil {
		return send(api.UnitsEvent{Failed: api.AsError(f.cut)})
	}
	if ask.Listening != nil {
		ask.Listening()
	}
	if f.hold != nil {
		<-f.hold
		early := []api.UnitValue{{Unit: 4, Value: []byte("e")}, {Unit: 5}}
		if err := send(api.UnitsEvent{Early: early}); err != nil {
			return err
		}
		if held := f.heldFor(ask); held != nil {
			if err := send(api.UnitsEvent{Held: held}); err != nil {
				return err
			}
		}
	}
	return errors.Join(send(api.UnitsEvent{
		Units:  [][2]int64{{3, 4}},
		Values: []api.UnitValue{{Unit: 3, Value: []byte("v")}},
	}),
		send(api.UnitsEvent{Over: &api.UnitsEnd{Units: 9}}))
}

func (f *fake) Result(_ context.Context, name string) (control.Result, error) {
	if err := f.ask("result", name); err != nil {
		return control.Result{}, err
	}
	file, err := os.Open(f.result)
	fetched := func() { _ = f.ask("fetched", name) }
	return control.Result{File: file, Output: int64(len("histograms")), Fetched: fetched}, err
}

func (f *fake) Partials(_ context.Context, name string) (control.Partials, error) {
	return tar{f}, f.ask("partials", name)
}

func (f *fake) Check(_ context.Context, req api.JobRequest, tell func(string)) (api.Check, error) {
	tell("compiling")
	return api.Check{Entries: 7}, f.ask("check", req.Output)
}

type tar struct{ f *fake }

func (t tar) Send(w io.Writer) error {
	_, err := io.WriteString(w, "half of it")
	return errors.Join(err, t.f.cut)
}
func (t tar) Close() error { return t.f.ask("close partials") }

// serving is a server for a fake, and a client of it.
func serving(t *testing.T, f *fake) (*api.Client, *control.Server) {
	c, s, _ := servingAt(t, f)
	return c, s
}

// servingAt is serving, with the path of the socket.
func servingAt(t *testing.T, f *fake) (*api.Client, *control.Server, string) {
	t.Helper()
	state := t.TempDir()
	s, err := control.Serve(t.Context(), state, control.Books{
		Node: f, Members: f, Founder: f, Jobs: jobs{f}, Growth: f, Recoveries: f, Outputs: f,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return api.NewClient(api.SocketPath(state)), s, api.SocketPath(state)
}

// Every request of the client comes to the book that it is about, with what it says, and an answer goes back.
func TestRequestsReachTheirBook(t *testing.T) {
	f := &fake{}
	c, _ := serving(t, f)
	ctx := t.Context()
	st, err := c.Status(ctx)
	if err != nil || st.ID != "me" || st.Slots != 3 {
		t.Errorf("%+v, %v", st, err)
	}
	if ms, err := c.Members(ctx); err != nil || len(ms) != 2 {
		t.Errorf("%+v, %v", ms, err)
	}
	if j, err := c.Submit(ctx, api.JobRequest{Output: "/out"}); err != nil || j.ID != "new" {
		t.Errorf("%+v, %v", j, err)
	}
	if j, err := c.Job(ctx, "one"); err != nil || j.ID != "one" {
		t.Errorf("%+v, %v", j, err)
	}
	if _, err := c.Cancel(ctx, "one"); err != nil {
		t.Error(err)
	}
	grown, err := c.Append(ctx, "one", api.AppendRequest{Seq: 3, Items: 5, Close: true})
	if err != nil || grown.Seq != 3 || !grown.Closed {
		t.Errorf("%+v, %v", grown, err)
	}
	if l, err := c.Links(ctx); err != nil || l.More != 5 {
		t.Errorf("%+v, %v", l, err)
	}
	if key, err := c.RecoveryKey(ctx); err != nil || key.Key != "key" {
		t.Errorf("%+v, %v", key, err)
	}
	_, revoke := c.Revoke(ctx, api.RevokeRequest{ID: "a"})
	_, forget := c.Forget(ctx, api.RevokeRequest{ID: "b"})
	_, join := c.Join(ctx, api.JoinRequest{Token: "t"})
	_, hurry := c.JobsAtOnce(ctx)
	if err := errors.Join(revoke, forget, join, hurry, c.Rename(ctx, api.RenameRequest{Name: "n"})); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.Stop(ctx, "one"), c.Finish(ctx, "one"), c.Shutdown(ctx)); err != nil {
		t.Error(err)
	}
	want := []string{"submit /out", "status one", "cancel one", "append one 5", "revoke a", "forget b", "join t",
		"list true", "rename n", "stop one", "finish one", "shutdown"}
	if got := strings.Join(f.asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("asked was\n%s", got)
	}
}

// An error of a book comes to the user with its hint, and one that says nothing of itself is a fault of the daemon.
func TestErrorsAreTold(t *testing.T) {
	c, _ := serving(t, &fake{})
	_, err := c.Job(t.Context(), "none")
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusNotFound || e.Hint != errNone.Hint {
		t.Errorf("%+v", err)
	}
	if _, err := c.Follow(t.Context(), "none", func(api.Event) error {
		return nil
	}); !errors.As(err, &e) || e.Status != http.StatusNotFound {
		t.Errorf("a stream that cannot begin: %+v", err)
	}
	if err := c.Leave(t.Context()); !errors.As(err, &e) || e.Status != http.StatusInternalServerError ||
		e.Message != "no disk" {
		t.Errorf("%+v", err)
	}
}

// Streams come in pieces, in their order.
func TestStreams(t *testing.T) {
	f := &fake{lines: 3, result: filepath.Join(t.TempDir(), "result")}
	if err := os.WriteFile(f.result, []byte("histograms"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _ := serving(t, f)
	var lines []string
	st, err := c.Follow(t.Context(), "one", func(ev api.Event) error {
		if ev.Line != "" {
			lines = append(lines, ev.Line)
		}
		return nil
	})
	if err != nil || st.State != api.Done || fmt.Sprint(lines) != "[line 0 line 1 line 2]" {
		t.Errorf("%v, %+v, %v", lines, st, err)
	}
	text := ""
	if err := c.Logs(t.Context(), "one", true, func(p api.LogPart) error {
		text += p.Text
		return nil
	}); err != nil || text != "printed\n" {
		t.Errorf("%q, %v", text, err)
	}
	var out bytes.Buffer
	if n, err := c.Result(t.Context(), "one", &out); err != nil || n != 10 || out.String() != "histograms" {
		t.Errorf("%q, %v", out.String(), err)
	}
	if _, err := c.Partials(t.Context(), "one", &out); err != nil {
		t.Error(err)
	}
	told := ""
	err = c.Units(t.Context(), "one", api.UnitsRequest{First: 3, Last: 5, Follow: true}, func(ev api.UnitsEvent) error {
		for _, v := range ev.Values {
			told += fmt.Sprintf("%d=%s", v.Unit, v.Value)
		}
		return nil
	})
	if err != nil || told != "3=v" {
		t.Errorf("told of units is %q, %v", told, err)
	}
	want := "follow one|logs one true|result one|fetched one|partials one|close partials|units one 3 5 true"
	if got := strings.Join(f.asked, "|"); got != want {
		t.Errorf("asked was %s", got)
	}
	f.cut = errors.New("no disk")
	if _, err := c.Partials(t.Context(), "one", io.Discard); err == nil {
		t.Error("a tar that breaks off is taken for whole")
	}
	nothing := func(api.UnitsEvent) error { return nil }
	if err := c.Units(t.Context(), "one", api.UnitsRequest{}, nothing); err == nil || err.Error() != "no disk" {
		t.Errorf("a stream of units that cannot go on: %v", err)
	}
}
