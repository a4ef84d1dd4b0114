package rootexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"
)

// TestPlanNamesTheRightFile plans a good and a bad file together, as daemons do: the failure of one
// cancels the other, whose error must not be taken for its own failure.
func TestPlanNamesTheRightFile(t *testing.T) {
	e := executor(t)
	good, bad := makeData(t, "good.root", 1000, 0), filepath.Join(t.TempDir(), "bad.root")
	if err := os.WriteFile(bad, []byte("no ROOT file"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		e.mu.Lock()
		idle := e.idle // with a new planner for each file they run side by side
		e.idle = nil
		e.mu.Unlock()
		for _, p := range idle {
			p.Close()
		}
		g, ctx := errgroup.WithContext(t.Context())
		errs := make([]error, 2)
		for i, file := range []string{good, bad} {
			g.Go(func() error {
				_, errs[i] = e.Plan(ctx, file, "T", 0)
				return errs[i]
			})
		}
		_ = g.Wait()
		if f := asFailure(errs[0]); f != nil {
			t.Fatalf("a good file failed: %v", f)
		}
		if f := asFailure(errs[1]); f == nil || f.File != bad {
			t.Fatalf("want a failure of %s: %v", bad, errs[1])
		}
	}
}

// TestCancelledLoadIsForgotten cancels the one job that loads a selector; the next job loads it again.
func TestCancelledLoadIsForgotten(t *testing.T) {
	e := executor(t)
	for i := range 10 {
		lib := suite.lib
		lib.Key = fmt.Sprint("cancelled-", i) // not loaded yet
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.Load(ctx, lib, "Hists"); !errors.Is(err, context.Canceled) {
			t.Fatalf("loaded for a job that was cancelled: %v", err)
		}
		s, err := e.Load(t.Context(), lib, "Hists")
		if err != nil {
			t.Fatal(explain(err))
		}
		s.Release()
	}
}

// TestIdlePlannerLeaves ends a planner that has had no work for a while; the next call has another.
func TestIdlePlannerLeaves(t *testing.T) {
	e := executor(t)
	file := makeData(t, "good.root", 1000, 0)
	for range 2 {
		if _, err := e.Plan(t.Context(), file, "T", 0); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		p := e.idle[len(e.idle)-1]
		e.mu.Unlock()
		e.dropPlanner(p)
		select {
		case <-p.Exited():
		default:
			t.Error("the planner lives")
		}
		e.dropPlanner(p) // its time is over, and it is not there
	}
}
