package jobs

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
)

// stuckSince is when this node, as the home of a job, first saw that the job cannot be finished after its last attempt.
// The time in the attempt itself is of no use here, since it comes from the clock of the node that tried.
func (r *ender) stuckSince(j *Job, last ledger.Attempt) time.Time {
	attempt := fmt.Sprintf("%d %d %s", last.Round, last.At, last.Node)
	j.mu.Lock()
	seen := j.s.Stuck
	j.mu.Unlock()
	if seen.attempt == attempt {
		return seen.Since
	}
	seen = sighting{attempt, time.Now()}
	if c := r.ledgers.Of(j.ID()); c != nil {
		var err error
		if seen.Since, err = c.StuckSince(attempt, r.ages); err != nil {
			r.log.Warn("could not note since when a job cannot be finished: it counts anew when this node is started again",
				"job", api.Short(j.Name), "reason", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s.Stuck = seen
	return seen.Since
}

// sighting notes when this node first saw an attempt as the last one to finish a job. It is compared by the attempt, so
// that a new attempt begins a new wait.
type sighting struct {
	attempt string
	Since   time.Time
}
