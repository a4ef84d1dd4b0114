// Package runtimes knows what this host can run: the runtimes of all kinds that were found on it, and which of them are
// ready. It owns their start and end; it knows no jobs, members or files, and decides nothing about work.
//
// The runtimes of one set are found once, by Find, and stay in the order of preference. The first of all is opened at
// once; each of the others when it is first asked for, since one that nobody uses costs memory. One that cannot be
// opened is tried again, ever more rarely, and at once when a job is submitted for it; until it is open others are told
// that it is broken, so that they give this host no work for it.
//
//	runtimes.go  what was found, and which of it is chosen
//	hosted.go    opening one, and trying again
//	announce.go  what other members are told, and believed
package runtimes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Set is the runtimes of one daemon. Make it with Find, and call Close.
type Set struct {
	finders []exec.Finder
	cfg     exec.Config
	ctx     context.Context // of all that are being opened, beside its cancel
	cancel  context.CancelFunc
	none    error            // why there is none, if there is none
	lacks   map[string]error // why there is none of a kind, by the kinds of which there is none
	flaws   error            // what was named and is not among all, though there are some

	all     []*Hosted // the best first; not changed after Find
	changes chan struct{}
}

// Find looks for the runtimes of all kinds, and starts none.
func Find(ctx context.Context, finders []exec.Finder, cfg exec.Config) *Set {
	s := &Set{finders: finders, cfg: cfg, changes: make(chan struct{}, 1), lacks: map[string]error{}}
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
		if err != nil && (len(infos) > 0 || isNamed(f)) {
			s.flaws = errors.Join(s.flaws, err)
		}
		if len(infos) == 0 {
			s.lacks[f.Kind()] = err
		}
		for _, info := range infos {
			s.all = append(s.all, &Hosted{Info: info, finder: f, set: s})
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

// isNamed reports whether the user has named runtimes of a kind.
func isNamed(f exec.Finder) bool {
	named, ok := f.(exec.Named)
	return ok && named.IsNamed()
}

// Flaws says which runtimes were named and are not used, beside others that are; nil if there are none.
func (s *Set) Flaws() error { return s.flaws }

// Unfound are the kinds of which runtimes were named, and none was found.
func (s *Set) Unfound() (kinds []string) {
	for _, f := range s.finders {
		if _, lacks := s.lacks[f.Kind()]; lacks && isNamed(f) {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds
}

// Changes has an element whenever Told may have changed since it was last taken from.
func (s *Set) Changes() <-chan struct{} { return s.changes }

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

// Choose finds the runtime of a kind, and of a version if one is named, that offers further words; an empty kind is the
// first of all.
func (s *Set) Choose(kind, version string, further ...string) (*Hosted, error) {
	if kind == "" && s.none != nil {
		return nil, s.none
	}
	for _, h := range s.all {
		if (kind == "" || h.Info.Kind == kind) && (version == "" || h.Info.Version == version) &&
			h.Info.Offer().Meets(further) {
			return h, nil
		}
	}
	needs := []string{kind}
	if version != "" {
		needs = []string{exec.Needed(kind, version)}
	}
	return nil, s.lack(kind, append(needs, further...))
}

// lack says that none of the runtimes meets the needs of a job.
func (s *Set) lack(kind string, needs []string) error {
	err := &exec.NeedsError{Needs: needs, Has: s.Infos(), Of: kind}
	if why, none := s.lacks[kind]; none {
		err.Kind, err.Why = kind, why
	} else if s.none != nil {
		err.Why = s.none
	}
	return err
}

// For finds the runtime that works for a job of a kind with these needs.
func (s *Set) For(kind string, needs []string) (*Hosted, error) {
	for _, h := range s.all {
		if h.Info.Kind == kind && h.Info.Offer().Meets(needs) {
			return h, nil
		}
	}
	return nil, s.lack(kind, needs)
}

// Leading is a runtime that only leads jobs of a kind, for a version that this host need not have (exec.Leading); false
// of a kind that cannot be led so.
func (s *Set) Leading(kind, version string) (exec.Runtime, bool) {
	for _, f := range s.finders {
		if l, ok := f.(exec.Leading); ok && f.Kind() == kind && version != "" {
			return l.Leads(version), true
		}
	}
	return nil, false
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

// Claims reads what a partial of a kind holds of which a job may have so many; nothing of a kind that has no bounds.
func (s *Set) Claims(kind, path string) ([]exec.Claim, error) {
	for _, f := range s.finders {
		if c, ok := f.(exec.Claimer); ok && f.Kind() == kind {
			return c.Claims(path)
		}
	}
	return nil, nil
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

// Words are what users are told of jobs of a kind.
func (s *Set) Words(kind string) exec.Words {
	for _, f := range s.finders {
		if f.Kind() == kind || kind == "" {
			return exec.WordsOf(f)
		}
	}
	return exec.WordsOf(nil)
}

// TakesItems reports whether programs of a kind run over items (exec.Itemized).
func (s *Set) TakesItems(kind string) bool {
	for _, f := range s.finders {
		if _, ok := f.(exec.Itemized); ok && f.Kind() == kind {
			return true
		}
	}
	return false
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

// Locate tells where values of units lie in a partial of a kind: see exec.Located. Of a kind of which that cannot be
// told it does nothing.
func (s *Set) Locate(
	ctx context.Context, kind, path string, units tasks.Cover, each func(first, at int64, ends []uint64) error,
) error {
	v, _ := s.values(kind)
	l, ok := v.(exec.Located)
	if !ok {
		return nil
	}
	return l.Locate(ctx, path, units, each)
}

// Forget drops what came from a submitter. Runtimes of a kind share what they keep on disk, so that the first of each
// kind is asked, and of the others those that are open.
func (s *Set) Forget(ctx context.Context, submitter string) error {
	var errs []error
	asked := map[string]bool{}
	for _, h := range s.all {
		if asked[h.Info.Kind] && !h.IsSettled() {
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
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}
