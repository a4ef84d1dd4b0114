package control

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// outputRoutes are those whose answers grow while they are read.
func outputRoutes(mux router, o Outputs, log *slog.Logger) {
	accept(mux, "POST /v1/jobs/{id}/taken", func(r *http.Request, req api.TakenRequest) (nothing, error) {
		return nothing{}, o.Took(job(r), req)
	})
	mux.HandleFunc("POST /v1/check", func(w http.ResponseWriter, r *http.Request) { check(w, r, o) })
	mux.HandleFunc("GET /v1/jobs/{id}/events", func(w http.ResponseWriter, r *http.Request) {
		s := newLines(w)
		s.end(o.Follow(r.Context(), job(r), func(ev api.Event) error { return s.send(ev) }))
	})
	mux.HandleFunc("GET /v1/jobs/{id}/logs", func(w http.ResponseWriter, r *http.Request) {
		s := newLines(w)
		follow := r.URL.Query().Get("follow") != ""
		s.end(o.Logs(r.Context(), job(r), follow, func(p api.LogPart) error { return s.send(p) }))
	})
	mux.HandleFunc("GET /v1/jobs/{id}/units", func(w http.ResponseWriter, r *http.Request) {
		s := newLines(w)
		ask, err := unitsAsked(r.URL.Query())
		if err == nil {
			err = o.Units(r.Context(), job(r), ask, func(ev api.UnitsEvent) error { return s.send(ev) })
		}
		s.end(err)
	})
	mux.HandleFunc("GET /v1/jobs/{id}/watch", func(w http.ResponseWriter, r *http.Request) {
		s := newLines(w)
		req, err := watchAsked(r.URL.Query())
		if err == nil {
			err = o.Watch(r.Context(), job(r), req, func(ev api.WatchEvent) error { return s.send(ev) })
		}
		s.end(err)
	})
	mux.HandleFunc("GET /v1/jobs/{id}/result", func(w http.ResponseWriter, r *http.Request) { result(w, r, o, log) })
	mux.HandleFunc("GET /v1/jobs/{id}/partials", func(w http.ResponseWriter, r *http.Request) { partials(w, r, o, log) })
}

// lines is an answer of JSON values, one a line, that the reader gets as they are sent. Its methods may be called from
// any goroutine.
type lines struct {
	mu    sync.Mutex
	w     http.ResponseWriter
	enc   *json.Encoder
	flush *http.ResponseController
	begun bool
}

func newLines(w http.ResponseWriter) *lines {
	return &lines{w: w, enc: json.NewEncoder(w), flush: http.NewResponseController(w)}
}

// send hands a value to the reader. Its error is that the reader has gone.
func (l *lines) send(v any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun {
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.begun = true
	}
	if err := l.enc.Encode(v); err != nil {
		return err
	}
	return l.flush.Flush()
}

// end tells why there is no answer, if nothing was sent. Later the stream just breaks off, and the reader says so.
func (l *lines) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && !l.begun {
		writeError(l.w, err)
	}
}

// watchAsked reads what is to be watched.
func watchAsked(q url.Values) (req api.WatchRequest, err error) {
	req.Names, req.File = q["name"], q.Get("file") != ""
	if text := q.Get("every"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds > 0 && seconds <= api.MaxWatchGap.Seconds()) {
			return req, &api.Error{
				Status:  http.StatusBadRequest,
				Message: fmt.Sprintf("could not watch: every is %q, want seconds", text),
			}
		}
		req.Every = time.Duration(seconds * float64(time.Second))
	}
	return req, nil
}

// unitsAsked reads which units are asked for.
func unitsAsked(q url.Values) (ask api.UnitsRequest, err error) {
	ask.Follow, ask.Early = q.Get("follow") != "", q.Get("early") != ""
	for name, to := range map[string]*int64{"first": &ask.First, "last": &ask.Last} {
		text := q.Get(name)
		if text == "" {
			continue
		}
		if *to, err = strconv.ParseInt(text, 10, 64); err != nil {
			return ask, &api.Error{
				Status:  http.StatusBadRequest,
				Message: fmt.Sprintf("could not tell of units: %s is %q, want a number", name, text),
			}
		}
	}
	return ask, nil
}

// check streams what a check does, and at last what it has found, or why it could not. To a reader who has gone nothing
// is sent, and the check has ended with the request.
func check(w http.ResponseWriter, r *http.Request, o Outputs) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var req api.JobRequest
	if err := readJSON(r, &req); err != nil {
		writeError(w, err)
		return
	}
	s := newLines(w)
	out, err := o.Check(r.Context(), req, func(text string) { _ = s.send(api.CheckEvent{Phase: text}) })
	if err != nil {
		_ = s.send(api.CheckEvent{Failed: api.AsError(err)})
		return
	}
	_ = s.send(api.CheckEvent{Check: &out})
}

// result sends a finished job's output or, if it is asked for the whole, what the program has written beside it too.
// The length goes ahead, so that a reader sees when some of it is missing.
func result(w http.ResponseWriter, r *http.Request, o Outputs, log *slog.Logger) {
	out, err := o.Result(r.Context(), job(r))
	if err != nil {
		writeError(w, err)
		return
	}
	defer out.File.Close()
	size := out.Output
	if r.URL.Query().Has("whole") {
		info, err := out.File.Stat()
		if err != nil {
			writeError(w, fmt.Errorf("could not read the result: %w", err))
			return
		}
		size = info.Size()
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	if _, err := io.CopyN(w, out.File, size); err != nil {
		log.Warn("could not send a job's result", "job", job(r), "reason", err)
		return
	}
	out.Fetched()
}

// partials sends what is committed of a job as a tar. Where that fails the connection is cut, so that the reader sees
// that some of it is missing.
func partials(w http.ResponseWriter, r *http.Request, o Outputs, log *slog.Logger) {
	p, err := o.Partials(r.Context(), job(r))
	if err != nil {
		writeError(w, err)
		return
	}
	defer p.Close()
	w.Header().Set("Content-Type", "application/x-tar")
	if err := p.Send(w); err != nil {
		log.Warn("could not send a job's partials", "job", job(r), "reason", err)
		panic(http.ErrAbortHandler)
	}
}
