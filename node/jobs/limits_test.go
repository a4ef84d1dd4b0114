package jobs

import (
	"math"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestNoStallLimit: a job may be without a limit for its entries, and one that runs what is missing in it is so too
// unless its user sets one. What is no time that can be meant is refused.
func TestNoStallLimit(t *testing.T) {
	for seconds, want := range map[float64]time.Duration{
		0: 0, 3: 3 * time.Second, api.NoLimit: tasks.NoLimit, 1e300: tasks.NoLimit, -0.5: -time.Second / 2,
	} {
		if got := limitsOf(api.JobRequest{Stall: seconds}).Stall; got != want {
			t.Errorf("stall_seconds %v is a limit of %v, want %v", seconds, got, want)
		}
	}
	for _, refused := range []float64{-0.5, -2, 0.5, -math.MaxFloat64} {
		if limitsOf(api.JobRequest{Stall: refused}).Check() == nil {
			t.Errorf("stall_seconds %v is accepted", refused)
		}
	}
	for _, c := range []struct {
		was  time.Duration
		asks float64
		want time.Duration
	}{
		{tasks.NoLimit, 0, tasks.NoLimit},
		{tasks.NoLimit, 60, time.Minute},
		{time.Minute, api.NoLimit, tasks.NoLimit},
		{time.Minute, 0, time.Minute},
		{0, 0, 0},
	} {
		req := requestAgain(&tasks.Job{Limits: tasks.Limits{Stall: c.was}}, api.RetryRequest{Stall: c.asks})
		if got := limitsOf(req).Stall; got != c.want {
			t.Errorf("a retry of a job with a limit of %v that asks for %v has %v, want %v", c.was, c.asks, got, c.want)
		}
	}
}
