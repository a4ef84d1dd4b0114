package exectest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// testCancelled makes each call with a context that has ended: it returns, with the error of the context unless it
// was done already, leaves nothing behind, and what it was made on is as good as before.
func testCancelled(t *testing.T, e *env) {
	j := e.job(t, Code{})
	var id uint64
	file := e.Input(t, "a", 100, 0)
	packets := e.cut(file, 100, 100, 0, &id)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec := exec.GenSpec{Job: seed, Input: j.input, Dir: t.TempDir()}
	dir := t.TempDir()
	sealed := filepath.Join(t.TempDir(), "partial")
	j.begin(t, exec.Limits{}).seal(t, e, sealed, nil)
	request, order := e.request(t, Code{}), j.order(t)
	for name, call := range map[string]func() error{
		"Plan": func() error { _, err := e.rt.Plan(ctx, file, e.Part, 0); return err },
		"Describe": func() error {
			d, err := e.rt.Describe(ctx, request)
			if err == nil {
				d.Program.Release()
			}
			return err
		},
		"Prepare": func() error {
			p, err := e.rt.Prepare(ctx, order)
			if err == nil {
				p.Release()
			}
			return err
		},
		"Start": func() error {
			g, err := j.prog.Start(ctx, spec, newSink())
			if err == nil {
				g.Kill()
			}
			return err
		},
		"Try":   func() error { return j.prog.Try(ctx, spec, file, e.Part) },
		"Merge": func() error { _, err := j.prog.Merge(ctx, []string{sealed}, filepath.Join(dir, "merged")); return err },
		"Save":  func() error { _, err := j.prog.Save(ctx, []string{sealed}, filepath.Join(dir, "saved")); return err },
		"Session": func() error {
			s, err := j.prog.Session(ctx, exec.SessionSpec{Dir: t.TempDir(), Out: func(string) {}})
			if err == nil {
				s.Close()
			}
			return err
		},
		"Begin": func() error {
			s := j.session(t, nil)
			defer s.Close()
			_, err := begin(ctx, s)
			return err
		},
	} {
		if err := call(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := j.begin(t, exec.Limits{})
	g.work(t, packets)
	g.seal(t, e, filepath.Join(t.TempDir(), "partial"), packets)
}

// testCancelledMidway ends the context of calls that are at work, and would not come to an end.
func testCancelledMidway(t *testing.T, e *env) {
	before := processes()
	t.Run("Seal", func(t *testing.T) {
		_, g, _, _ := e.held(t)
		ctx, cancel := context.WithCancel(t.Context())
		dir := t.TempDir()
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := g.Seal(ctx, filepath.Join(dir, "partial")); !errors.Is(err, context.Canceled) {
			t.Errorf("sealed: %v", err)
		}
		waitFor(t, g.Done(), "a generation that is not sealed any more goes on")
		checkEmpty(t, dir)
	})
	t.Run("Try", func(t *testing.T) {
		j := e.job(t, Code{How: Hold, At: 0, Go: filepath.Join(t.TempDir(), "never")})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		spec := exec.GenSpec{Job: seed, Input: j.input, Dir: t.TempDir()}
		err := j.prog.Try(ctx, spec, e.Input(t, "a", 10, 0), e.Part)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("tried: %v", err)
		}
	})
	for _, step := range []Step{AtBegin, AtFinish} {
		t.Run(string(step), func(t *testing.T) {
			j := e.describe(t, e.rt, Code{How: Hold, Step: step, Go: filepath.Join(t.TempDir(), "never")})
			out := newLines()
			s := j.session(t, out)
			defer s.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				select {
				case <-out.marked:
				case <-time.After(patience):
				}
				cancel()
			}()
			_, err := begin(ctx, s)
			dir := t.TempDir()
			if step == AtFinish && err == nil {
				_, err = s.Finish(ctx, nil, filepath.Join(dir, "out"))
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the step %s: %v", step, err)
			}
			checkEmpty(t, dir)
		})
	}
	e.checkNoGenerations(t, before)
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// testOnAnotherHost makes a program ready from its description alone, in a runtime of its own, as on another host; what
// it makes of inputs merges with what the first one does. It is closed while it is busy.
func testOnAnotherHost(t *testing.T, e *env) {
	rt, scratch := e.another(t)
	here := e.job(t, Code{How: Hold, At: 1060, Go: filepath.Join(t.TempDir(), "never")})
	order := here.order(t)
	if err := order.Work.Check(); err != nil || order.Work.Kind != e.info.Kind || len(order.Work.Needs) == 0 {
		t.Errorf("the work is %+v: %v", order.Work, err)
	}
	if !e.info.Offer().Meets(order.Work.Needs) {
		t.Errorf("%v does not meet %v", e.info.Offer(), order.Work.Needs)
	}
	prog, err := rt.Prepare(t.Context(), order)
	if err != nil {
		t.Fatalf("could not prepare: %s", explain(err))
	}
	there := &job{e: e, rt: rt, desc: here.desc, prog: prog, input: here.input}
	if prog.Key() != here.prog.Key() {
		t.Errorf("the keys are %q here and %q there", here.prog.Key(), prog.Key())
	}
	var id uint64
	a := e.cut(e.Input(t, "a", 100, 0), 100, 50, 0, &id)
	b := e.cut(e.Input(t, "b", 60, 100), 60, 50, 100, &id)
	dir := t.TempDir()
	g := here.begin(t, exec.Limits{})
	g.work(t, a)
	g.seal(t, e, filepath.Join(dir, "a"), a)
	g = there.begin(t, exec.Limits{})
	g.work(t, b)
	g.seal(t, e, filepath.Join(dir, "b"), b)
	both := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	p, err := there.prog.Merge(t.Context(), both, filepath.Join(dir, "merged"))
	if err != nil {
		t.Fatalf("could not merge: %s", explain(err))
	}
	e.checkPartial(t, p, p.Path, append(a, b...))
	e.closedBusy(t, there, scratch)
}

// closedBusy closes a runtime while a generation and a session of it are at work.
func (e *env) closedBusy(t *testing.T, j *job, scratch string) {
	t.Helper()
	g := j.begin(t, exec.Limits{})
	var id uint64
	g.lease(t, e.cut(e.Input(t, "held", 200, 1000), 200, 100, 1000, &id)...)
	g.waitMark(t)
	s := j.session(t, nil)
	if err := j.rt.Close(); err != nil {
		t.Errorf("closed: %v", err)
	}
	waitFor(t, g.Done(), "a generation of a runtime that was closed goes on")
	if f := g.waitFailure(t); f.Kind != exec.KindKilled {
		t.Errorf("a generation of a runtime that was closed: %+v", f)
	}
	if _, err := begin(t.Context(), s); err == nil {
		t.Error("a session begins after its runtime was closed")
	}
	s.Close()
	j.prog.Release()
	if _, err := j.rt.Describe(t.Context(), e.request(t, Code{})); !errors.Is(err, exec.ErrClosed) {
		t.Errorf("described after the end: %v", err)
	}
	if _, err := j.rt.Prepare(t.Context(), j.order(t)); !errors.Is(err, exec.ErrClosed) {
		t.Errorf("prepared after the end: %v", err)
	}
	if _, err := j.rt.Plan(t.Context(), e.Input(t, "a", 1, 0), e.Part, 0); !errors.Is(err, exec.ErrClosed) {
		t.Errorf("planned after the end: %v", err)
	}
	if err := j.rt.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	e.checkScratch(t, scratch)
}
