package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// ErrNoDaemon says that no daemon listens on the control socket.
var ErrNoDaemon = errors.New("no dtpnode daemon is running")

// ErrLost says that the daemon went away before the answer was complete.
var ErrLost = errors.New("the dtpnode daemon went away")

// Error is a daemon's refusal, or any other error with advice. As JSON it is the body of an answer of
// status 400 or more.
type Error struct {
	Status  int    `json:"-"` // of HTTP, 0 if the error is not an answer
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
	Err     error  `json:"-"` // the cause, if there is one to look for
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// AsError is an error as it is told over the control interface: the *Error in it, or else a fault of the daemon.
func AsError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
		if errors.Is(err, syscall.ENOSPC) {
			e.Status, e.Hint = http.StatusInsufficientStorage, "free space on that disk, and try again"
		}
	}
	return e
}

// Client talks to one daemon.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient returns a client for the daemon that listens on socket. It does not connect yet.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := checkSocketDir(socket); err != nil {
			return nil, err
		}
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{
		socket: socket,
		http:   &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}},
	}
}

// Socket is the path of the daemon's control socket.
func (c *Client) Socket() string { return c.socket }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status describes the daemon.
func (c *Client) Status(ctx context.Context) (NodeStatus, error) {
	return call[NodeStatus](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Members lists the members of the daemon's cluster.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	return call[[]Member](ctx, c, http.MethodGet, "/v1/members", nil)
}

// Links tells which members have no link to each other; all that are up are asked. A daemon of before has no answer.
func (c *Client) Links(ctx context.Context) (*Links, error) {
	l, err := call[Links](ctx, c, http.MethodGet, "/v1/links", nil)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return nil, nil
	}
	return &l, err
}

// Invite makes a one-use token.
func (c *Client) Invite(ctx context.Context, req InviteRequest) (Invite, error) {
	return call[Invite](ctx, c, http.MethodPost, "/v1/invites", req)
}

// Join makes the daemon a member of the cluster that issued the token.
func (c *Client) Join(ctx context.Context, req JoinRequest) (NodeStatus, error) {
	return call[NodeStatus](ctx, c, http.MethodPost, "/v1/join", req)
}

// Revoke puts a member out of the cluster, and tells what that stopped.
func (c *Client) Revoke(ctx context.Context, req RevokeRequest) (Revoked, error) {
	return call[Revoked](ctx, c, http.MethodPost, "/v1/revoke", req)
}

// Forget ends the membership of a member that is gone, and tells what that stopped.
func (c *Client) Forget(ctx context.Context, req RevokeRequest) (Revoked, error) {
	return call[Revoked](ctx, c, http.MethodPost, "/v1/forget", req)
}

// Rename changes what the daemon's node is called, for as long as it runs.
func (c *Client) Rename(ctx context.Context, req RenameRequest) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/rename", req)
	return err
}

// Handover gives the founder's role to another member.
func (c *Client) Handover(ctx context.Context, req HandoverRequest) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/handover", req)
	return err
}

// RecoveryKey makes the key that can take the founder's role.
func (c *Client) RecoveryKey(ctx context.Context) (RecoveryKey, error) {
	return call[RecoveryKey](ctx, c, http.MethodPost, "/v1/recovery-key", nil)
}

// TakeBack gives the daemon's node the founder's role, by the recovery key.
func (c *Client) TakeBack(ctx context.Context, req TakeBackRequest) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/take-back", req)
	return err
}

// Leave makes the daemon leave its cluster for good and stop.
func (c *Client) Leave(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/leave", nil)
	return err
}

// Submit hands a job to the daemon.
func (c *Client) Submit(ctx context.Context, req JobRequest) (JobStatus, error) {
	return call[JobStatus](ctx, c, http.MethodPost, "/v1/jobs", req)
}

// Check tries the first entries of a job, and keeps nothing. It calls on with what is being done, each time that
// changes.
func (c *Client) Check(ctx context.Context, req JobRequest, on func(phase string)) (Check, error) {
	body, err := c.do(ctx, http.MethodPost, "/v1/check", req)
	if err != nil {
		return Check{}, err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var ev CheckEvent
		switch err := dec.Decode(&ev); {
		case ctx.Err() != nil:
			return Check{}, ctx.Err()
		case err != nil:
			return Check{}, fmt.Errorf("could not check the job: %w: %w", ErrLost, err)
		case ev.Failed != nil:
			return Check{}, ev.Failed
		case ev.Check != nil:
			return *ev.Check, nil
		}
		on(ev.Phase)
	}
}

// Jobs lists the jobs the daemon knows.
func (c *Client) Jobs(ctx context.Context) ([]JobStatus, error) {
	return call[[]JobStatus](ctx, c, http.MethodGet, "/v1/jobs", nil)
}

// JobsAtOnce lists the jobs that the daemon knows and those that other members tell of without delay.
func (c *Client) JobsAtOnce(ctx context.Context) ([]JobStatus, error) {
	return call[[]JobStatus](ctx, c, http.MethodGet, "/v1/jobs?at-once=1", nil)
}

// Job describes one job. The id may be a unique prefix.
func (c *Client) Job(ctx context.Context, id string) (JobStatus, error) {
	return call[JobStatus](ctx, c, http.MethodGet, jobPath(id, ""), nil)
}

// Append has an open job that was submitted here grow, or closes it.
func (c *Client) Append(ctx context.Context, id string, req AppendRequest) (Appended, error) {
	return call[Appended](ctx, c, http.MethodPost, jobPath(id, "/append"), req)
}

// Stop finishes a job with what is done.
func (c *Client) Stop(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, jobPath(id, "/stop"), nil)
	return err
}

// Cancel drops a job and its results, at once or, if the answer says that it is pending, as soon as that can be.
func (c *Client) Cancel(ctx context.Context, id string) (Cancellation, error) {
	return call[Cancellation](ctx, c, http.MethodPost, jobPath(id, "/cancel"), nil)
}

// Finish has the end of a job that could not be finished tried again.
func (c *Client) Finish(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, jobPath(id, "/finish"), nil)
	return err
}

// Retry submits a job that runs what is missing in the result of another.
func (c *Client) Retry(ctx context.Context, id string, req RetryRequest) (JobStatus, error) {
	return call[JobStatus](ctx, c, http.MethodPost, jobPath(id, "/retry"), req)
}

// Recovery tells what it means to go on with a job from the copies of its ledger that are left: from that of the member
// from, or if that is empty from the newest. With superseded it tells of copies that were put aside.
func (c *Client) Recovery(ctx context.Context, id, from string, superseded bool) (Recovery, error) {
	path := jobPath(id, "/recovery")
	q := url.Values{}
	if from != "" {
		q.Set("from", from)
	}
	if superseded {
		q.Set("superseded", "1")
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return call[Recovery](ctx, c, http.MethodGet, path, nil)
}

// Recover goes on with a job from a copy of its ledger, which the user has chosen or is the newest.
func (c *Client) Recover(ctx context.Context, id string, from LedgerCopy, chosen bool) error {
	_, err := call[Recovery](ctx, c, http.MethodPost, jobPath(id, "/recover"),
		RecoverRequest{
			Node:       from.Node,
			Index:      from.Index,
			Term:       from.Term,
			Chosen:     chosen,
			Superseded: from.SupersededBy != "",
		})
	return err
}

// Shutdown makes the daemon leave its cluster politely and stop.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, "/v1/shutdown", nil)
	return err
}

// Logs calls on for what a job's children printed, part by part; the last one is Over. With follow it goes on until the
// job ends. An error of on ends it.
func (c *Client) Logs(ctx context.Context, id string, follow bool, on func(LogPart) error) error {
	path := jobPath(id, "/logs")
	if follow {
		path += "?follow=1"
	}
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	for dec := json.NewDecoder(body); ; {
		var part LogPart
		if err := dec.Decode(&part); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: the log broke off: %w", ErrLost, err)
		}
		if err := on(part); err != nil || part.Over {
			return err
		}
	}
}

// Result copies the job's output file to w and returns its size.
func (c *Client) Result(ctx context.Context, id string, w io.Writer) (int64, error) {
	return c.copy(ctx, jobPath(id, "/result"), w)
}

// WholeResult copies the job's output to w with all files that the program has written beside it, as exec.ReadResult
// takes them apart, and returns how many bytes these are.
func (c *Client) WholeResult(ctx context.Context, id string, w io.Writer) (int64, error) {
	return c.copy(ctx, jobPath(id, "/result?whole=1"), w)
}

// Partials copies to w a tar of what is committed of a job that has not ended: see Manifest.
func (c *Client) Partials(ctx context.Context, id string, w io.Writer) (int64, error) {
	return c.copy(ctx, jobPath(id, "/partials"), w)
}

// Follow calls on for each event of a job, the last one being the status in which it is final, or cannot be
// finished, which it also returns.
// An error of on ends it.
func (c *Client) Follow(ctx context.Context, id string, on func(Event) error) (JobStatus, error) {
	body, err := c.do(ctx, http.MethodGet, jobPath(id, "/events"), nil)
	if err != nil {
		return JobStatus{}, err
	}
	defer body.Close()
	var last JobStatus
	for dec := json.NewDecoder(body); ; {
		var ev Event
		err := dec.Decode(&ev)
		if err != nil {
			return c.final(ctx, id, last.State, err)
		}
		if ev.Status != nil {
			last = *ev.Status
		}
		if err := on(ev); err != nil || last.State.Halted() {
			return last, err
		}
	}
}

// final looks for the end of a job whose event stream broke off in a state.
func (c *Client) final(ctx context.Context, id string, was JobState, cause error) (JobStatus, error) {
	if err := ctx.Err(); err != nil {
		return JobStatus{}, err
	}
	st, err := c.Job(ctx, id)
	if err == nil && st.State.Halted() {
		return st, nil
	}
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	hint := "the job may still be running: see `dtpnode ps`, and the daemon's log"
	switch gone := errors.Is(err, ErrNoDaemon) || errors.Is(err, ErrLost); {
	case gone && (was == "" || was == Preparing):
		hint = "the job had not begun when it was last heard of: it is lost with the daemon, unless other nodes have its " +
			"ledger already. See the daemon's log, and `dtpnode ps` on them, or here after `dtpnode up`, before you submit it " +
			"again"
	case gone:
		hint = "the job goes on without it where other nodes have its ledger: `dtpnode attach " + Short(id) +
			"` on any of them, or here after `dtpnode up`"
	}
	return st, &Error{
		Message: fmt.Sprintf("could not follow job %s: %v: %v", Short(id), ErrLost, cause),
		Hint:    hint,
		Err:     ErrLost,
	}
}

func (c *Client) copy(ctx context.Context, path string, w io.Writer) (int64, error) {
	body, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	n, err := io.Copy(w, body)
	if err != nil && ctx.Err() != nil {
		return n, ctx.Err()
	}
	return n, err
}

// call sends body, if not nil, and decodes the answer as a T.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return out, err
	}
	defer answer.Close()
	err = json.NewDecoder(answer).Decode(&out)
	if errors.Is(err, io.EOF) {
		err = nil // an empty answer is {}
	}
	if err != nil {
		return out, fmt.Errorf("could not read the daemon's answer to %s %s: %w", method, path, err)
	}
	return out, nil
}

// do sends a request and returns the body of its answer. A refusal comes back as an *Error.
func (c *Client) do(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	var reader io.Reader
	if body != nil {
		buf, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("could not encode the request %s %s: %w", method, path, err)
		}
		reader = bytes.NewReader(buf)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://dtpnode"+path, reader)
	if err != nil {
		return nil, fmt.Errorf("could not make the request %s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, refusal(resp)
	}
	return resp.Body, nil
}

// explain tells an absent daemon from one that broke.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ECONNREFUSED):
		return ErrNoDaemon
	case errors.Is(err, fs.ErrPermission):
		return &Error{
			Message: fmt.Sprintf("could not open the control socket %q: permission denied", c.socket),
			Hint:    "the daemon belongs to another user; start your own with `dtpnode up --state DIR`",
		}
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// refusal reads the error out of an answer.
func refusal(resp *http.Response) error {
	const most = 1 << 20
	text, _ := io.ReadAll(io.LimitReader(resp.Body, most))
	e := &Error{Status: resp.StatusCode}
	if json.Unmarshal(text, e) != nil || e.Message == "" {
		e.Message = fmt.Sprintf("the daemon answered %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return e
}

func jobPath(id, rest string) string { return "/v1/jobs/" + url.PathEscape(id) + rest }

// Short is the part of a job's name that is shown, and by which others of one list are told apart: its first 12
// characters.
func Short(name string) string { return name[:min(len(name), 12)] }
