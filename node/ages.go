package node

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
)

// stuckSince is when this node first saw, as the home of a job, that it cannot be finished, last being the last
// attempt. The attempt's own time is that of whoever tried.
func (d *Daemon) stuckSince(j *job, last ledger.Attempt) time.Time {
	attempt := fmt.Sprintf("%d %d %s", last.Round, last.At, last.Node)
	j.mu.Lock()
	seen := j.stuck
	j.mu.Unlock()
	if seen.attempt == attempt {
		return seen.since
	}
	seen = sighting{attempt, time.Now()}
	if c := d.ledgers.Of(j.known()); c != nil {
		var err error
		if seen.since, err = c.StuckSince(attempt, d.ages); err != nil {
			d.log.Warn("could not note since when a job cannot be finished: it counts anew when this node is started again",
				"job", api.Short(j.name), "reason", err)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stuck = seen
	return seen.since
}

// sighting is when this node first saw an attempt as the last one to finish a job.
type sighting struct {
	attempt string
	since   time.Time
}
