package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// maxBody bounds a control request, in bytes: a job's list of files is the largest.
const maxBody = 64 << 20

// Server is the HTTP server on a daemon's Unix socket.
type Server struct {
	http   *http.Server
	socket string
	done   chan struct{} // closed when nothing is served any more
}

// Serve begins to serve the daemon whose state folder is state; nobody else may be serving it. Requests end with ctx,
// and the server with Close.
func Serve(ctx context.Context, state string, books Books, log *slog.Logger) (*Server, error) {
	socket := api.SocketPath(state)
	if err := api.MakeSocketDir(socket); err != nil {
		return nil, err
	}
	_ = os.Remove(socket) // of a daemon that was killed
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("could not listen on control socket %q: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("could not protect control socket: %w", err), l.Close())
	}
	s := &Server{socket: socket, done: make(chan struct{}), http: &http.Server{
		Handler:           routes(books, log),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("control interface failed", "reason", err)
		}
	}()
	return s, nil
}

// Close lets running requests end for a moment, then cuts them.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	<-s.done
	api.RemoveSocket(s.socket)
	return err
}

// router adds routes whose requests and answers are JSON.
type router struct{ *http.ServeMux }

// handle serves requests without a body.
func handle[Answer any](mux router, pattern string, f func(r *http.Request) (Answer, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out, err := f(r)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, out)
	})
}

// accept serves requests with a body.
func accept[Body, Answer any](mux router, pattern string, f func(r *http.Request, body Body) (Answer, error)) {
	handle(mux, pattern, func(r *http.Request) (out Answer, err error) {
		var body Body
		if err := readJSON(r, &body); err != nil {
			return out, err
		}
		return f(r, body)
	})
}

// nothing is the answer of what is only done.
type nothing struct{}

// job is the name of the job that a request is about.
func job(r *http.Request) string { return r.PathValue("id") }

func routes(b Books, log *slog.Logger) http.Handler {
	mux := router{http.NewServeMux()}
	nodeRoutes(mux, b.Node)
	memberRoutes(mux, b.Members, b.Founder)
	jobRoutes(mux, b.Jobs)
	accept(mux, "POST /v1/jobs/{id}/append", func(r *http.Request, req api.AppendRequest) (api.Appended, error) {
		return b.Growth.Append(r.Context(), job(r), req)
	})
	accept(mux, "POST /v1/jobs/{id}/release", func(r *http.Request, req api.ReleaseRequest) (nothing, error) {
		return nothing{}, b.Growth.Release(r.Context(), job(r), req)
	})
	backlogRoutes(mux, b.Growth)
	recoveryRoutes(mux, b.Recoveries)
	outputRoutes(mux, b.Outputs, log)
	exchangeRoute(mux, b.Growth, b.Outputs)
	datasetRoutes(mux, b.Datasets)
	return mux
}

func backlogRoutes(mux router, g Growth) {
	handle(mux, "GET /v1/jobs/{id}/backlog", func(r *http.Request) (api.KeptCalls, error) {
		return g.Kept(r.Context(), job(r))
	})
	accept(mux, "POST /v1/jobs/{id}/backlog/cancel", func(r *http.Request, req api.CancelKept) (api.KeptCalls, error) {
		return g.CancelKept(job(r), req)
	})
	accept(mux, "POST /v1/jobs/{id}/backlog/move", func(r *http.Request, req api.MoveKept) (api.KeptCalls, error) {
		return g.MoveKept(job(r), req)
	})
}

func datasetRoutes(mux router, s Datasets) {
	name := func(r *http.Request) string { return r.URL.Query().Get("name") }
	accept(mux, "POST /v1/datasets", func(r *http.Request, req api.DatasetRequest) (api.Dataset, error) {
		return s.Add(r.Context(), req)
	})
	handle(mux, "GET /v1/datasets", func(r *http.Request) ([]api.Dataset, error) { return s.List(r.Context()), nil })
	handle(mux, "GET /v1/dataset", func(r *http.Request) (api.Dataset, error) { return s.Get(r.Context(), name(r)) })
	handle(mux, "POST /v1/dataset/verify", func(r *http.Request) (api.DatasetCheck, error) {
		return s.Verify(r.Context(), name(r))
	})
	handle(mux, "POST /v1/dataset/remove", func(r *http.Request) (api.Dataset, error) {
		return s.Remove(r.Context(), name(r))
	})
}

func nodeRoutes(mux router, n Node) {
	handle(mux, "GET /v1/status", func(*http.Request) (api.NodeStatus, error) { return n.Status(), nil })
	handle(mux, "POST /v1/shutdown", func(*http.Request) (nothing, error) { n.Shutdown(); return nothing{}, nil })
	handle(mux, "POST /v1/leave", func(*http.Request) (nothing, error) { return nothing{}, n.Leave() })
}

// memberRoutes are those about who is a member.
func memberRoutes(mux router, m Members, f Founder) {
	handle(mux, "GET /v1/members", func(*http.Request) ([]api.Member, error) { return m.Members(), nil })
	handle(mux, "GET /v1/links", func(r *http.Request) (api.Links, error) { return m.Links(r.Context()), nil })
	accept(mux, "POST /v1/invites", func(_ *http.Request, req api.InviteRequest) (api.Invite, error) {
		return m.Invite(req)
	})
	accept(mux, "POST /v1/join", func(r *http.Request, req api.JoinRequest) (api.NodeStatus, error) {
		return m.Join(r.Context(), req)
	})
	accept(mux, "POST /v1/revoke", func(r *http.Request, req api.RevokeRequest) (api.Revoked, error) {
		return m.Revoke(r.Context(), req)
	})
	accept(mux, "POST /v1/forget", func(r *http.Request, req api.RevokeRequest) (api.Revoked, error) {
		return m.Forget(r.Context(), req)
	})
	accept(mux, "POST /v1/rename", func(_ *http.Request, req api.RenameRequest) (nothing, error) {
		return nothing{}, m.Rename(req.Name)
	})
	accept(mux, "POST /v1/handover", func(_ *http.Request, req api.HandoverRequest) (nothing, error) {
		return nothing{}, f.Handover(req.ID)
	})
	handle(mux, "POST /v1/recovery-key", func(*http.Request) (api.RecoveryKey, error) {
		key, err := f.NewRecoveryKey()
		return api.RecoveryKey{Key: key}, err
	})
	accept(mux, "POST /v1/take-back", func(_ *http.Request, req api.TakeBackRequest) (nothing, error) {
		return nothing{}, f.TakeBack(req.Key)
	})
}

// jobRoutes are those that are about one job, make one, or list all.
func jobRoutes(mux router, j Jobs) {
	accept(mux, "POST /v1/jobs", func(_ *http.Request, req api.JobRequest) (api.JobStatus, error) { return j.Submit(req) })
	handle(mux, "GET /v1/jobs", func(r *http.Request) ([]api.JobStatus, error) {
		ctx := r.Context()
		if r.URL.Query().Has("at-once") {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, AtOnce)
			defer cancel()
		}
		return append([]api.JobStatus{}, j.List(ctx)...), nil // a list in JSON, also if it is empty
	})
	handle(mux, "GET /v1/jobs/{id}", func(r *http.Request) (api.JobStatus, error) { return j.Status(r.Context(), job(r)) })
	handle(mux, "POST /v1/jobs/{id}/stop", func(r *http.Request) (nothing, error) {
		return nothing{}, j.Stop(r.Context(), job(r))
	})
	handle(mux, "POST /v1/jobs/{id}/cancel", func(r *http.Request) (api.Cancellation, error) {
		return j.Cancel(r.Context(), job(r))
	})
	handle(mux, "POST /v1/jobs/{id}/finish", func(r *http.Request) (nothing, error) {
		return nothing{}, j.Finish(r.Context(), job(r))
	})
	accept(mux, "POST /v1/jobs/{id}/retry", func(r *http.Request, req api.RetryRequest) (api.JobStatus, error) {
		return j.Retry(r.Context(), job(r), req)
	})
}

func recoveryRoutes(mux router, rec Recoveries) {
	handle(mux, "GET /v1/jobs/{id}/recovery", func(r *http.Request) (api.Recovery, error) {
		q := r.URL.Query()
		return rec.Plan(r.Context(), job(r), q.Get("from"), q.Has("superseded"))
	})
	accept(mux, "POST /v1/jobs/{id}/recover", func(r *http.Request, req api.RecoverRequest) (api.Recovery, error) {
		return rec.Recover(r.Context(), job(r), req)
	})
}

func readJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return &api.Error{
			Status:  http.StatusBadRequest,
			Message: "could not read the request: " + err.Error(),
			Hint:    "are the command and the daemon of the same version?",
		}
	}
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, err error) {
	e := api.AsError(err)
	if e.Status == 0 {
		e.Status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e)
}
