package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// maxRequestBody bounds a control request: a job's list of files is the largest.
const maxRequestBody = 64 << 20

// eventEvery is how often a follower of a job is told where it stands.
const eventEvery = 200 * time.Millisecond

// atOnce is how long other members may take to tell of jobs where a shell waits for it.
const atOnce = 300 * time.Millisecond

// control is the HTTP server on the daemon's Unix socket.
type control struct {
	server *http.Server
	socket string
	done   chan struct{}
}

func (d *Daemon) serveControl() (*control, error) {
	socket := api.SocketPath(d.cfg.StateDir)
	if err := api.MakeSocketDir(socket); err != nil {
		return nil, err
	}
	_ = os.Remove(socket) // of a daemon that was killed: the state folder's lock is ours
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("could not listen on control socket %q: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("could not protect control socket: %w", err), l.Close())
	}
	c := &control{socket: socket, done: make(chan struct{}), server: &http.Server{Handler: d.routes(),
		ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return d.ctx }}}
	go func() { // ends with close
		defer close(c.done)
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("control interface failed", "reason", err)
		}
	}()
	return c, nil
}

// close lets running requests end for a moment, then cuts them.
func (c *control) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := c.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = c.server.Close()
	}
	<-c.done
	api.RemoveSocket(c.socket)
	return err
}

func (d *Daemon) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxRequestBody)
			out, err := f(r)
			if err != nil {
				writeError(w, err)
				return
			}
			writeJSON(w, out)
		})
	}
	handle("GET /v1/status", func(*http.Request) (any, error) { return d.nodeStatus(), nil })
	d.memberRoutes(handle)
	handle("POST /v1/jobs", d.handleSubmit)
	handle("GET /v1/jobs", func(r *http.Request) (any, error) {
		ctx := r.Context()
		if r.URL.Query().Has("at-once") {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, atOnce)
			defer cancel()
		}
		return d.allJobs(ctx), nil
	})
	d.jobRoutes(handle)
	handle("POST /v1/shutdown", func(*http.Request) (any, error) { d.askQuit(); return struct{}{}, nil })
	mux.HandleFunc("POST /v1/check", d.handleCheck)
	mux.HandleFunc("GET /v1/jobs/{id}/events", d.handleEvents)
	mux.HandleFunc("GET /v1/jobs/{id}/logs", d.handleLogs)
	mux.HandleFunc("GET /v1/jobs/{id}/result", d.handleResult)
	mux.HandleFunc("GET /v1/jobs/{id}/partials", d.handlePartials)
	return mux
}

// jobRoutes are those that are about one job, or make one.
func (d *Daemon) jobRoutes(handle func(pattern string, f func(r *http.Request) (any, error))) {
	handle("GET /v1/jobs/{id}", func(r *http.Request) (any, error) { return d.jobStatus(r.Context(), r.PathValue("id")) })
	handle("POST /v1/jobs/{id}/stop", func(r *http.Request) (any, error) { return d.order(r.Context(), r.PathValue("id"), "stop") })
	handle("POST /v1/jobs/{id}/cancel", func(r *http.Request) (any, error) { return d.cancelFor(r.Context(), r.PathValue("id")) })
	handle("POST /v1/jobs/{id}/finish", func(r *http.Request) (any, error) { return d.order(r.Context(), r.PathValue("id"), "finish") })
	handle("POST /v1/jobs/{id}/retry", func(r *http.Request) (any, error) {
		var req api.RetryRequest
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		j, err := d.retry(r.Context(), r.PathValue("id"), req)
		if err != nil {
			return nil, err
		}
		return d.statusOf(j), nil
	})
	handle("GET /v1/jobs/{id}/recovery", func(r *http.Request) (any, error) {
		plan := d.planRecovery
		if r.URL.Query().Has("superseded") {
			plan = d.planSuperseded
		}
		p, err := plan(r.Context(), r.PathValue("id"), r.URL.Query().Get("from"))
		return p.Recovery, err
	})
	handle("POST /v1/jobs/{id}/recover", func(r *http.Request) (any, error) {
		var req api.RecoverRequest
		if err := readJSON(r, &req); err != nil {
			return nil, err
		}
		return d.recoverJob(r.Context(), r.PathValue("id"), req)
	})
}

func readJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return &api.Error{Status: 400, Message: "could not read the request: " + err.Error(), Hint: "are the command and the daemon of the same version?"}
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// asError is an error as it is told over the control interface.
func asError(err error) *api.Error {
	var e *api.Error
	if !errors.As(err, &e) {
		e = &api.Error{Status: 500, Message: err.Error()}
	}
	return e
}

func writeError(w http.ResponseWriter, err error) {
	e := asError(err)
	if e.Status == 0 {
		e.Status = 500
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e)
}

func (d *Daemon) handleInvite(r *http.Request) (any, error) {
	var req api.InviteRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	if out := d.expelled(); out != nil {
		return nil, &api.Error{Status: 403, Message: "could not invite: " + out.String(), Hint: api.ExpelledHint}
	}
	var rights []p2p.Right
	for _, s := range req.Rights {
		rights = append(rights, p2p.Right(s))
	}
	invite := d.net.Invite
	if req.Ephemeral {
		invite = d.net.InviteEphemeral
	}
	token, expires, err := invite(rights, time.Duration(req.TTL*float64(time.Second)))
	if errors.Is(err, p2p.ErrNoRight) {
		return nil, &api.Error{Status: http.StatusForbidden, Message: err.Error(),
			Hint: "ask for it on a member with the right inviter, and with those that are to be given: `dtpnode members` shows who has them", Err: err}
	}
	if err != nil {
		return nil, err
	}
	inv := api.Invite{Token: token, Expires: expires, Rights: req.Rights, Note: api.LostHost(len(d.net.Members()) + 1)}
	if onlyLoopback(d.net.Addrs()) {
		inv.Warning = "this node listens on loopback only, so the token works on this host alone: start it with --listen HOST:PORT to be reachable"
	}
	return inv, nil
}

func onlyLoopback(addrs []string) bool {
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err == nil && ip != nil && !ip.IsLoopback() {
			return false
		}
	}
	return true
}

func (d *Daemon) handleJoin(r *http.Request) (any, error) {
	var req api.JoinRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	join := d.net.Join
	if req.Ephemeral {
		join = d.net.JoinEphemeral
	}
	if err := join(r.Context(), req.Token); err != nil {
		return nil, err
	}
	why := d.greeted(r.Context())
	st := d.nodeStatus()
	if why != "" && !d.cannotRun() {
		st.Problem = why
	}
	return st, nil
}

// greetWait is how long a join waits for the first peer to tell what it is.
const greetWait = 3 * time.Second

// greeted waits for the first peer after a join and says what is wrong between it and this node.
func (d *Daemon) greeted(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, greetWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, m := range d.net.Members() {
			if m.Up && !m.Self {
				if why := d.mismatch(m.Info); why != "" {
					return m.Name + " " + why
				}
				return ""
			}
		}
		select {
		case <-ctx.Done():
			return "joined, but no member has answered yet: dtpnode members shows who does"
		case <-tick.C:
		}
	}
}

func (d *Daemon) handleSubmit(r *http.Request) (any, error) {
	var req api.JobRequest
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	j, err := d.submit(req)
	if err != nil {
		return nil, err
	}
	return d.statusOf(j), nil
}

// homeWait is how long a follower waits for a job to have a home again.
const homeWait = time.Minute

// handleEvents streams a job's status until it is final, and the lines it prints where it is led here. The
// job's home may change meanwhile.
func (d *Daemon) handleEvents(w http.ResponseWriter, r *http.Request) {
	f := follower{d: d, name: r.PathValue("id"), enc: json.NewEncoder(w), flush: http.NewResponseController(w)}
	var e *api.Error
	if err := f.find(r.Context()); err != nil && !(errors.As(err, &e) && e.Status == http.StatusServiceUnavailable) {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lost := time.Time{}
	for {
		over, err := f.tell(r.Context())
		if err != nil && f.sayWaiting() {
			err, lost = nil, time.Time{}
			_ = f.find(r.Context()) // it may have a home again
		}
		switch {
		case over || r.Context().Err() != nil:
			return
		case err == nil:
			lost = time.Time{}
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > homeWait:
			return // the stream breaks off; the client says so
		}
		if !f.pause(r.Context()) {
			return
		}
		if err != nil || (f.job != nil && !f.job.leads()) {
			_ = f.find(r.Context()) // told from elsewhere now, or soon
		}
	}
}

// errNoHome says that nobody tells of a job just now.
var errNoHome = errors.New("no node leads the job just now")

// follower is one stream of a job's events.
type follower struct {
	d     *Daemon
	name  string
	job   *job         // if it is told of here
	at    tasks.PeerID // else by whom
	sent  int          // lines
	enc   *json.Encoder
	flush *http.ResponseController
}

func (f *follower) find(ctx context.Context) error {
	j, at, _, err := f.d.granted(ctx, f.name, forLook)
	if err == nil {
		f.job, f.at = j, at
	}
	return err
}

// tell sends what there is to tell; over says that it was the last, or that nobody listens.
func (f *follower) tell(ctx context.Context) (over bool, err error) {
	final := false
	if f.job != nil {
		final = f.job.final()
		lines := f.job.linesFrom(f.sent)
		f.sent += len(lines)
		for _, line := range lines {
			if f.enc.Encode(api.Event{Type: "log", Line: line}) != nil {
				return true, nil
			}
		}
	}
	if f.job == nil && f.at == "" {
		return false, errNoHome
	}
	st, err := f.d.statusFrom(ctx, f.job, f.at, f.name)
	if err == nil {
		err = f.d.permit(st, forLook)
	}
	if err != nil {
		return false, err
	}
	if f.job == nil {
		final = st.State.Final()
	}
	switch {
	case final != st.State.Final():
		return false, nil // it ended between the two looks: tell the lines first
	case final && f.job == nil && f.endHere(st):
		return false, nil
	case final && f.job != nil && !f.d.settled(f.job):
		final = false
		st.State, st.Phase = api.Merging, "writing the output"
	}
	return f.enc.Encode(api.Event{Type: "status", Status: &st}) != nil || f.flush.Flush() != nil || final || st.State == api.CannotFinish, nil
}

// sayWaiting tells that the job waits, and why, if this node knows of it; false if not.
func (f *follower) sayWaiting() bool {
	known := f.d.waiters(f.name)
	if len(known) != 1 {
		return false
	}
	st, ok := f.d.waitingStatus(known[0])
	if !ok || f.d.permit(st, forLook) != nil {
		return false
	}
	return f.enc.Encode(api.Event{Type: "status", Status: &st}) == nil && f.flush.Flush() == nil
}

// endHere ends a job of this node as another tells it, and goes on with what this node tells: its user waits for
// the output too. False if the job is not this node's.
func (f *follower) endHere(st api.JobStatus) bool {
	f.d.mu.Lock()
	j := f.d.byName[st.ID]
	f.d.mu.Unlock()
	if j == nil {
		return false
	}
	j.mu.Lock()
	ours := f.d.ours(j)
	j.mu.Unlock()
	if !ours {
		return false
	}
	if !j.final() {
		f.d.spawn(func() { f.d.strayOver(&stray{job: j, restored: true}) }) // the others are asked too
	}
	if j.leads() && j.final() {
		f.job, f.sent = j, maxClientLines // what other nodes printed is in the status
	}
	return true
}

// pause waits for the next event, or the job's end; false if the follower has gone.
func (f *follower) pause(ctx context.Context) bool {
	if f.job != nil && !f.job.final() {
		waitFinal(ctx, f.job, eventEvery)
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(eventEvery):
		return true
	}
}
