package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Whoever has submitted calls takes their values as they come, and may take GBs. What was taken need not be brought to
// disks: a generation seals without it, merges of what is committed leave it out, and so does the result. The first
// values that are taken of a job are kept as all others are, so that a session which does not have much can be attached
// to whole. What is taken is known in memory alone: where the daemon ends before a seal or merge, values are kept.

const (
	// largeValue is the size from which on a value stays in its file until its user takes it; the user's side knows it too
	// (LAZY of the Python package).
	largeValue = 1 << 20 // bytes
	// keepTaken is how many bytes of values that were taken are kept of a job.
	keepTaken = 256 << 20
	// takenSoon is how long a generation that is to seal waits for its values to be taken, all in all: its slot is not
	// free meanwhile. Most of what it has was taken long before, and what is taken later is left out of merges.
	takenSoon = 100 * time.Millisecond
	// maxTaken bounds what is noted of one job, in ranges of units.
	maxTaken = 100_000
)

// takenValues is what is known of large values of one job that were told to its user and taken.
type takenValues struct {
	mu      sync.Mutex
	waiting tasks.Cover   // told, and not taken yet
	gone    tasks.Cover   // taken, and not to be kept
	kept    int64         // bytes of those that were taken, and are kept
	change  chan struct{} // closed when something is taken; nil if nobody waits for that
}

// told notes values that lie in a file and are told to the job's user now.
func (t *takenValues) told(first int64, held *exec.Held) {
	t.mu.Lock()
	defer t.mu.Unlock()
	begin := uint64(0)
	for i, end := range held.Ends {
		if end-begin >= largeValue && len(t.waiting) < maxTaken {
			t.waiting = t.waiting.Add(tasks.R(first+int64(i), first+int64(i)+1))
		}
		begin = end
	}
}

// took notes that the user has taken the value of a unit, of so many bytes.
func (t *takenValues) took(unit, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := tasks.R(unit, unit+1)
	t.waiting = t.waiting.Minus(tasks.CoverOf(r))
	if t.kept+bytes <= keepTaken || len(t.gone) >= maxTaken {
		t.kept += bytes
	} else {
		t.gone = t.gone.Add(r)
	}
	if t.change != nil {
		close(t.change)
		t.change = nil
	}
}

// without are the units whose values need not be kept.
func (t *takenValues) without() tasks.Cover {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gone
}

// of are those of some units whose values need not be kept. It waits a moment for values that are about to be taken.
func (t *takenValues) of(ctx context.Context, units tasks.Cover) tasks.Cover {
	late := time.NewTimer(takenSoon)
	defer late.Stop()
	for {
		t.mu.Lock()
		gone, waiting := t.gone.Intersect(units), t.waiting.Intersects(units)
		if t.change == nil {
			t.change = make(chan struct{})
		}
		change := t.change
		t.mu.Unlock()
		if !waiting {
			return gone
		}
		select {
		case <-change:
			continue
		case <-late.C:
		case <-ctx.Done():
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.waiting = t.waiting.Minus(units)
		return t.gone.Intersect(units)
	}
}

// Took notes that this node's user, who has submitted a job, has taken values of single units of it: each is a unit,
// and how many bytes its value has. Of jobs of others, and of such as take no appends, nothing is noted.
func (r *programs) Took(name string, values [][2]int64) error {
	j, err := r.book.ownOpen(name)
	if j == nil {
		return err
	}
	for _, v := range values {
		if v[0] >= 0 && v[0] < tasks.MaxUnits && v[1] >= 0 {
			j.taken.took(v[0], v[1])
		}
	}
	return nil
}

func (w worked) Taken(ctx context.Context, units tasks.Cover) tasks.Cover {
	return w.j.taken.of(ctx, units)
}
