// Package runtimes knows what this host can run: the runtimes of all kinds that were found on it, and which of them are
// ready. It owns their start and end; it knows no jobs, members or files, and decides nothing about work.
//
// The runtimes of one set are found once, by Find, and stay in the order of preference. The first of all is opened at
// once; each of the others when it is first asked for, since one that nobody uses costs memory.
package runtimes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Set is the runtimes of one daemon. Make it with Find, and call Close.
type Set struct {
	finders []exec.Finder
	cfg     exec.Config
	ctx     context.Context // of all that are being opened, beside its cancel
	cancel  context.CancelFunc
	none    error // why there is none, if there is none

	all []*Hosted // the best first; not changed after Find
}

// Hosted is one runtime of this host.
type Hosted struct {
	Info exec.Info

	finder exec.Finder
	set    *Set
	open   sync.Once
	ready  chan struct{} // closed when runtime or err are set
	rt     exec.Runtime
	err    error
	step   atomic.Pointer[string] // what takes its time until then, if it is worth a word
}

// Find looks for the runtimes of all kinds, and starts none.
func Find(ctx context.Context, finders []exec.Finder, cfg exec.Config) *Set {
	s := &Set{finders: finders, cfg: cfg}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var errs []error
	for _, f := range finders {
		infos, err := f.Find(ctx)
		if err != nil {
			errs = append(errs, err)
		}
		for _, info := range infos {
			s.all = append(s.all, &Hosted{Info: info, finder: f, set: s, ready: make(chan struct{})})
		}
	}
	switch {
	case len(s.all) > 0:
		for _, err := range errs {
			s.cfg.Log.Warn("this node does not run all kinds of jobs that it knows", "reason", err)
		}
	case len(errs) == 1:
		s.none = errs[0]
	case len(errs) > 1:
		s.none = errors.Join(errs...)
	default:
		s.none = exec.ErrNone
	}
	return s
}

// None says why there is no runtime at all; nil if there is one.
func (s *Set) None() error { return s.none }

// Infos are the runtimes that were found, the best first.
func (s *Set) Infos() []exec.Info {
	out := make([]exec.Info, len(s.all))
	for i, h := range s.all {
		out[i] = h.Info
	}
	return out
}

// First is the runtime that is preferred, nil if there is none.
func (s *Set) First() *Hosted {
	if len(s.all) == 0 {
		return nil
	}
	return s.all[0]
}

// Choose finds the runtime of a kind, and of a version if one is named; an empty kind is the first of all.
func (s *Set) Choose(kind, version string) (*Hosted, error) {
	if s.none != nil {
		return nil, s.none
	}
	for _, h := range s.all {
		if (kind == "" || h.Info.Kind == kind) && (version == "" || h.Info.Version == version) {
			return h, nil
		}
	}
	needs := []string{kind}
	if version != "" {
		needs = []string{exec.Needed(kind, version)}
	}
	return nil, &exec.NeedsError{Needs: needs, Has: s.Infos()}
}

// For finds the runtime that works for a job of a kind with these needs.
func (s *Set) For(kind string, needs []string) (*Hosted, error) {
	if s.none != nil {
		return nil, s.none
	}
	for _, h := range s.all {
		if h.Info.Kind == kind && h.Info.Offer().Meets(needs) {
			return h, nil
		}
	}
	return nil, &exec.NeedsError{Needs: needs, Has: s.Infos()}
}

// Counted reads the units and the canary of a partial of a kind, which need not be found here.
func (s *Set) Counted(kind, path string) (units int64, canary uint64, err error) {
	for _, f := range s.finders {
		if f.Kind() == kind {
			return f.Counted(path)
		}
	}
	return 0, 0, fmt.Errorf("could not count a partial: this dtpnode knows no jobs of the kind %q", kind)
}

// Suffix ends the names of files that the outputs of a kind are written to; it is empty of a kind that is not known.
func (s *Set) Suffix(kind string) string {
	for _, f := range s.finders {
		if f.Kind() == kind {
			return f.Suffix()
		}
	}
	return ""
}

// HasValues reports whether single units have values in partials of a kind (exec.Values).
func (s *Set) HasValues(kind string) bool {
	_, ok := s.values(kind)
	return ok
}

func (s *Set) values(kind string) (v exec.Values, ok bool) {
	for _, f := range s.finders {
		if f.Kind() == kind {
			v, ok = f.(exec.Values)
		}
	}
	return v, ok
}

// Values reads values of units out of a partial of a kind, which need not be found here: see exec.Values. A kind that
// has none is exec.ErrNoValues.
func (s *Set) Values(
	ctx context.Context, kind, path string, units tasks.Cover, each func(unit int64, value []byte) error,
) error {
	v, ok := s.values(kind)
	if !ok {
		return exec.ErrNoValues
	}
	return v.Values(ctx, path, units, each)
}

// Ready waits until the runtime can be used, and says why if it cannot. The first call begins to open it.
func (h *Hosted) Ready(ctx context.Context) (exec.Runtime, error) {
	h.Begin()
	select {
	case <-h.ready:
		return h.rt, h.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Begin has the runtime opened, if it is not yet.
func (h *Hosted) Begin() {
	h.open.Do(func() {
		go func() {
			defer close(h.ready)
			cfg := h.set.cfg
			cfg.Progress = func(step string) { h.step.Store(&step) }
			h.rt, h.err = h.finder.Open(h.set.ctx, h.Info, cfg)
			switch {
			case h.err != nil && h.set.ctx.Err() != nil: // the daemon ends: nothing is wrong with the runtime
			case h.err != nil:
				cfg.Log.Error("this node cannot run jobs", "runtime", h.Info.String(), "reason", h.err)
			default:
				cfg.Log.Info("ready to run jobs", "runtime", h.Info.String(), "dir", h.Info.Dir)
			}
		}()
	})
}

// Broken are the errors of the runtimes that could not be opened, in the order of Infos; nil for all others.
func (s *Set) Broken() []error {
	out := make([]error, len(s.all))
	for i, h := range s.all {
		if h.IsOpen() {
			out[i] = h.err
		}
	}
	return out
}

// IsOpen reports whether it is known by now whether the runtime can be used.
func (h *Hosted) IsOpen() bool {
	select {
	case <-h.ready:
		return true
	default:
		return false
	}
}

// Opened is closed once it is known whether the runtime can be used.
func (h *Hosted) Opened() <-chan struct{} { return h.ready }

// Step is what is being done to open the runtime, if that is worth a word.
func (h *Hosted) Step() string {
	if s := h.step.Load(); s != nil {
		return *s
	}
	return "starting " + h.Info.Kind
}

// Forget drops what came from a submitter. Runtimes of a kind share what they keep on disk, so that the first of each
// kind is asked, and of the others those that are open.
func (s *Set) Forget(ctx context.Context, submitter string) error {
	var errs []error
	asked := map[string]bool{}
	for _, h := range s.all {
		if asked[h.Info.Kind] && !h.IsOpen() {
			continue
		}
		asked[h.Info.Kind] = true
		rt, err := h.Ready(ctx)
		if err == nil {
			err = rt.Forget(submitter)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Close ends all runtimes.
func (s *Set) Close() error {
	s.cancel()
	var errs []error
	for _, h := range s.all {
		began := true
		h.open.Do(func() { began = false }) // none is opened from here on
		if !began {
			h.err = exec.ErrClosed
			close(h.ready)
			continue
		}
		<-h.ready
		if h.rt != nil {
			errs = append(errs, h.rt.Close())
		}
	}
	return errors.Join(errs...)
}

// offered is one runtime as members are told of it.
type offered struct {
	Kind         string   `json:"k"`
	Version      string   `json:"v"`
	Capabilities []string `json:"c,omitempty"`
}

// maxOffered bounds the runtimes that another member is believed to have.
const maxOffered = 16

// Announce encodes infos for other members, in at most so many bytes: the first of them, as many as there is room for.
func Announce(infos []exec.Info, most int) string {
	var out []offered
	text := ""
	for _, info := range infos[:min(len(infos), maxOffered)] {
		out = append(out, offered{info.Kind, info.Version, info.Capabilities})
		b, err := json.Marshal(out)
		if err != nil || len(b) > most {
			break
		}
		text = string(b)
	}
	return text
}

// Announced decodes what a member tells of its runtimes. What cannot be is left out.
func Announced(text string) (infos []exec.Info) {
	var in []offered
	if text == "" || json.Unmarshal([]byte(text), &in) != nil {
		return nil
	}
	for _, o := range in[:min(len(in), maxOffered)] {
		if o.Kind == "" || len(o.Kind) > tasks.MaxKind || len(o.Version) > tasks.MaxNeed ||
			len(o.Capabilities) > tasks.MaxNeeds {
			continue
		}
		if !printable(append([]string{o.Kind, o.Version}, o.Capabilities...)) {
			continue // a terminal or a log is not to be confused
		}
		infos = append(infos, exec.Info{Kind: o.Kind, Version: o.Version, Capabilities: o.Capabilities})
	}
	return infos
}

func printable(words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool {
		return strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) })
	})
}

// Offers are what runtimes offer, as jobs' needs are compared with it.
func Offers(infos []exec.Info) []tasks.Offer {
	out := make([]tasks.Offer, len(infos))
	for i, info := range infos {
		out[i] = info.Offer()
	}
	return out
}

// Meet reports whether one of the runtimes can work for a job with these needs.
func Meet(infos []exec.Info, needs []string) bool {
	for _, info := range infos {
		if info.Offer().Meets(needs) {
			return true
		}
	}
	return false
}
