package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/backlog"
)

// A program that appends to a job over an exchange may be killed, and then nobody ever closes the job: it would hold
// its processes, and its share of the slots, for ever. Such a program says when it submits the job how long nobody may
// be connected that appends (api.JobRequest.Abandon); after that the node on which it runs closes the job, which ends
// with what was appended. How long is in the description, so that the daemon heeds it after a restart, too.

// attended is which jobs have a program connected that appends to them.
type attended struct {
	mu   sync.Mutex
	by   map[string][]*backlog.Process // by the names of the jobs
	left map[string]time.Time          // since when there is none, of jobs that were looked at
}

// come notes that a program has come, which runs as a process. leave is to be called when it has gone.
func (a *attended) come(name string, by backlog.Process) (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by == nil {
		a.by = map[string][]*backlog.Process{}
	}
	a.by[name] = append(a.by[name], &by)
	delete(a.left, name)
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.by[name] = slices.DeleteFunc(a.by[name], func(p *backlog.Process) bool { return p == &by })
		if len(a.by[name]) == 0 {
			delete(a.by, name)
		}
	}
}

// of are the processes of the programs that are connected to a job.
func (a *attended) of(name string) (all []backlog.Process) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.by[name] {
		all = append(all, *p)
	}
	return all
}

// alone is for how long nobody has been connected to a job, as far as that was looked at.
func (a *attended) alone(name string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(a.by[name], func(p *backlog.Process) bool { return !p.Ended() }) { // a fork may hold others
		return 0
	}
	since, ok := a.left[name]
	if !ok {
		if a.left == nil {
			a.left = map[string]time.Time{}
		}
		a.left[name], since = now, now
	}
	return now.Sub(since)
}

// keep forgets all jobs but those of some names.
func (a *attended) keep(names map[string]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.left {
		if !names[name] {
			delete(a.left, name)
		}
	}
}

// attendEvery is the time between two looks at who is connected.
const attendEvery = time.Second

// closeAbandoned closes jobs that nobody appends to any more, until the daemon closes.
func (r *grower) closeAbandoned() {
	tick := time.NewTicker(attendEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case now := <-tick.C:
			names := map[string]bool{}
			for _, j := range r.book.Candidates("") {
				if within := r.abandonedAfter(j); within > 0 {
					names[j.Name] = true
					r.lookAlone(j, now, within)
				}
			}
			r.attended.keep(names)
			r.dropBacklogs()
		}
	}
}

// lookAlone appends what is kept of a job whose program is gone, and then closes it if that was long enough ago.
func (r *grower) lookAlone(j *Job, now time.Time, within time.Duration) {
	alone := r.attended.alone(j.Name, now)
	if b := r.kept.get(j.Name); b != nil && b.Waiting() > 0 {
		r.settle(j.ID(), b)
		if b.Gone(now, within) {
			r.drain(j, b, within)
		}
		return
	}
	if alone > within {
		r.abandon(j)
	}
}

// abandonedAfter is how long nobody may be connected to a job before it is closed, 0 for one that is not closed so.
func (r *grower) abandonedAfter(j *Job) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Desc == nil || !j.own() || j.s.Status.State.Final() {
		return 0
	}
	if _, closed := r.book.growths.told(j.s.ID); closed {
		return 0
	}
	return j.s.Desc.Ask.Abandon
}

// abandon closes a job. Where that fails it is tried again at the next look.
func (r *grower) abandon(j *Job) {
	const within = 5 * time.Second
	ctx, cancel := context.WithTimeout(r.ctx, within)
	defer cancel()
	if _, err := r.AppendTo(ctx, j.Name, api.AppendRequest{Close: true}); err != nil {
		r.log.Warn("could not close a job whose program is gone; it is tried again", "job", api.Short(j.Name), "reason", err)
		return
	}
	r.log.Info("closed a job whose program is gone", "job", api.Short(j.Name))
}
