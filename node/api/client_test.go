package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs handler on a Unix socket and returns a client for it.
func serve(t *testing.T, handler http.Handler) *Client {
	t.Helper()
	socket := SocketPath(t.TempDir())
	if err := MakeSocketDir(socket); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	c := NewClient(socket)
	t.Cleanup(func() {
		c.Close()
		server.Close()
		<-served
	})
	return c
}

func answer(t *testing.T, w http.ResponseWriter, v any) {
	t.Helper()
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

// TestClientCalls checks method, path, body and answer of each call.
func TestClientCalls(t *testing.T) {
	var got []string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		got = append(got, fmt.Sprintf("%s %s %s", r.Method, r.URL.RequestURI(), body.String()))
		switch r.URL.Path {
		case "/v1/members", "/v1/jobs":
			if r.Method == http.MethodGet {
				fmt.Fprint(w, `[{"id":"x"}]`)
				return
			}
		case "/v1/jobs/a/logs":
			fmt.Fprint(w, `{"text":"bytes"}{"over":true}`)
			return
		case "/v1/jobs/a/result":
			fmt.Fprint(w, "bytes")
			return
		case "/v1/jobs/a/stop":
			return // an empty answer
		}
		fmt.Fprint(w, `{"id":"x","token":"T"}`)
	}))
	ctx := t.Context()
	var out bytes.Buffer
	for _, call := range []func() error{
		func() error { st, err := c.Status(ctx); return want(st.ID, "x", err) },
		func() error { m, err := c.Members(ctx); return want(m[0].ID, "x", err) },
		func() error {
			i, err := c.Invite(ctx, InviteRequest{Rights: []string{"worker"}, TTL: 60})
			return want(i.Token, "T", err)
		},
		func() error { st, err := c.Join(ctx, JoinRequest{Token: "T"}); return want(st.ID, "x", err) },
		func() error { _, err := c.Revoke(ctx, RevokeRequest{ID: "x"}); return err },
		func() error { j, err := c.Submit(ctx, JobRequest{Title: "S"}); return want(j.ID, "x", err) },
		func() error { j, err := c.Jobs(ctx); return want(j[0].ID, "x", err) },
		func() error { j, err := c.Job(ctx, "a/b"); return want(j.ID, "x", err) },
		func() error { return c.Stop(ctx, "a") },
		func() error { _, err := c.Cancel(ctx, "a"); return err },
		func() error {
			return c.Logs(ctx, "a", true, func(p LogPart) error { out.WriteString(p.Text); return nil })
		},
		func() error { _, err := c.Result(ctx, "a", &out); return err },
		func() error { return c.Shutdown(ctx) },
	} {
		if err := call(); err != nil {
			t.Errorf("after %v: %v", got, err)
		}
	}
	wanted := []string{
		"GET /v1/status ",
		"GET /v1/members ",
		`POST /v1/invites {"rights":["worker"],"ttl_seconds":60}`,
		`POST /v1/join {"token":"T"}`,
		`POST /v1/revoke {"id":"x"}`,
		`POST /v1/jobs {"title":"S","spec":null,"part":"","files":null,"n":0,"dir":""}`,
		"GET /v1/jobs ",
		"GET /v1/jobs/a%2Fb ",
		"POST /v1/jobs/a/stop ",
		"POST /v1/jobs/a/cancel ",
		"GET /v1/jobs/a/logs?follow=1 ",
		"GET /v1/jobs/a/result ",
		"POST /v1/shutdown ",
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if out.String() != "bytesbytes" {
		t.Errorf("logs and result: %q", out.String())
	}
}

func want(got, want string, err error) error {
	if err == nil && got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

func TestRefusal(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		if r.URL.Path == "/v1/status" {
			fmt.Fprint(w, `{"error":"could not X","hint":"do Y"}`)
			return
		}
		fmt.Fprint(w, "not JSON")
	}))
	_, err := c.Status(t.Context())
	var e *Error
	if !errors.As(err, &e) || *e != (Error{Status: 400, Message: "could not X", Hint: "do Y"}) {
		t.Errorf("got %#v", err)
	}
	if _, err = c.Jobs(t.Context()); !errors.As(err, &e) || !strings.Contains(e.Message, "not JSON") {
		t.Errorf("got %v", err)
	}
}

func TestNoDaemon(t *testing.T) {
	state := t.TempDir()
	c := NewClient(SocketPath(state))
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("no socket: got %v", err)
	}
	l, err := net.Listen("unix", SocketPath(state))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("socket of a dead daemon: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestFollow(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := func(id string, s JobState) Event { return Event{Type: "status", Status: &JobStatus{ID: id, State: s}} }
		switch r.URL.Path {
		case "/v1/jobs/whole/events":
			answer(t, w, status("whole", Running))
			answer(t, w, Event{Type: "log", Line: "hello"})
			answer(t, w, status("whole", Done))
		case "/v1/jobs/broken/events", "/v1/jobs/lost/events":
			answer(t, w, status("", Running))
		case "/v1/jobs/broken":
			answer(t, w, JobStatus{ID: "broken", State: Partial})
		case "/v1/jobs/lost":
			answer(t, w, JobStatus{ID: "lost", State: Running})
		}
	}))
	var seen []string
	note := func(ev Event) error {
		if ev.Status != nil {
			seen = append(seen, string(ev.Status.State))
		}
		seen = append(seen, ev.Line)
		return nil
	}
	st, err := c.Follow(t.Context(), "whole", note)
	if err != nil || st.State != Done || strings.Join(seen, " ") != "running  hello done " {
		t.Errorf("whole: %v %v %q", st, err, seen)
	}
	if st, err = c.Follow(t.Context(), "broken", note); err != nil || st.State != Partial {
		t.Errorf("broken stream of a finished job: %v %v", st, err)
	}
	if _, err = c.Follow(t.Context(), "lost", note); !errors.Is(err, ErrLost) {
		t.Errorf("broken stream of a running job: %v", err)
	}
	stop := errors.New("stop")
	if _, err = c.Follow(t.Context(), "whole", func(Event) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("stopped: %v", err)
	}
}

// TestFollowOfADaemonThatDies: what a job goes on from depends on whether it had begun.
func TestFollowOfADaemonThatDies(t *testing.T) {
	for state, hint := range map[JobState]string{
		Preparing: "unless other nodes have its ledger",
		Running:   "dtpnode attach job",
	} {
		var c *Client
		c = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			answer(t, w, Event{Type: "status", Status: &JobStatus{ID: "job", State: state}})
			_ = os.Remove(c.Socket())
		}))
		var e *Error
		if _, err := c.Follow(t.Context(), "job", func(Event) error {
			return nil
		}); !errors.Is(err, ErrLost) || !errors.As(err, &e) || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: got %v, with the advice %+v; want %q", state, err, e, hint)
		}
	}
}

func TestSocketPath(t *testing.T) {
	if got := SocketPath("/a/b/"); got != "/a/b/control.sock" {
		t.Errorf("short: %s", got)
	}
	fits := "/" + strings.Repeat("x", maxSocketPath-len("//control.sock"))
	if got := SocketPath(fits); got != fits+"/control.sock" || len(got) != maxSocketPath {
		t.Errorf("longest: %s", got)
	}
	run := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", run)
	long := fits + "x"
	got := SocketPath(long)
	if !strings.HasPrefix(got, run+"/dtpnode-") || len(got) > maxSocketPath {
		t.Errorf("too long: %s", got)
	}
	if SocketPath(long+"y") == got {
		t.Error("two state folders share a socket")
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := SocketPath(long); len(got) > maxSocketPath || !filepath.IsAbs(got) {
		t.Errorf("without a runtime folder: %s", got)
	}
	t.Setenv("TMPDIR", "/"+strings.Repeat("t", maxSocketPath))
	if got := SocketPath(long); len(got) > maxSocketPath {
		t.Errorf("with a long temporary folder: %s", got)
	}
}

func TestMakeSocketDir(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "new", "control.sock")
	if err := MakeSocketDir(socket); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if os.Getuid() != 0 {
		if err := MakeSocketDir("/usr/control.sock"); err == nil {
			t.Error("the folder of another user was accepted")
		}
	}
}
