package node

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
)

// Times of an awaited job.
const (
	awaitEvery = 2 * time.Second // between questions to the others
	awaitLimit = time.Minute     // if all of them say for so long that they know of no such job, there is none
)

// awaited is a job that this node submitted in an earlier life, and that may go on elsewhere: the others are asked for
// its end. restored says that it has not been lost: this node has its ledger, and hears from there how it ends, or has
// known it all along.
type awaited struct {
	job      *job
	restored bool
	unknown  time.Time // since when nobody knows of it, zero if somebody may
}

// newAwaited makes a job known that was not over when this daemon ended.
func (d *Daemon) newAwaited(st store.Status, restored bool) *awaited {
	j := d.book.New(st.ID)
	j.submittedHere, j.status = true, st.JobStatus
	j.req.Output = st.Owed
	if !restored {
		d.book.Add(j)
	}
	return &awaited{job: j, restored: restored}
}

// awaitEnds asks the others about awaited jobs until each has ended.
func (d *Daemon) awaitEnds(waiting []*awaited) {
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		waiting = slices.DeleteFunc(waiting, d.awaitedOver)
		if len(waiting) == 0 {
			return
		}
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// awaitedOver looks for the end of an awaited job, and has its output written.
func (d *Daemon) awaitedOver(s *awaited) bool {
	j := s.job
	if now := d.book.Named(j.name); now != nil && now.final() { // its ledger here has told, and that wrote the output
		return true
	}
	told, asked := d.tellingOf(j)
	if st, ok := endTold(told); ok {
		d.endAwaited(j, st)
		return true
	}
	known := len(told) > 0
	alone := len(d.net.Members()) == 1
	switch {
	case known || s.restored || (asked == 0 && !alone):
		s.unknown = time.Time{}
	case s.unknown.IsZero() && !alone:
		s.unknown = time.Now()
	case alone || time.Since(s.unknown) > awaitLimit:
		d.loseAwaited(j)
		return true
	}
	return false
}

// tellingOf asks all members that are up about a job: what those say that know of it, and how many answered at all.
func (d *Daemon) tellingOf(j *job) (told []api.JobStatus, asked int) {
	peers := d.cluster.Up()
	answers, errs := make([]api.JobStatus, len(peers)), make([]error, len(peers))
	var g errgroup.Group
	g.SetLimit(16)
	for i, id := range peers {
		g.Go(func() error {
			answers[i], errs[i] = d.remoteStatus(d.ctx, id, j.name)
			return nil
		})
	}
	_ = g.Wait()
	for i, err := range errs {
		if err == nil || errors.Is(err, p2p.ErrRemote) {
			asked++
		}
		if err == nil && answers[i].ID == j.name {
			told = append(told, answers[i])
		}
	}
	return told, asked
}

// endTold is how a job ended, if any of those that tell of it say so: remoteStatus has seen the proof.
func endTold(told []api.JobStatus) (api.JobStatus, bool) {
	for _, st := range told {
		if st.State.Final() {
			return st, true
		}
	}
	return api.JobStatus{}, false
}

// loseAwaited ends an awaited job that nobody knows of.
func (d *Daemon) loseAwaited(j *job) {
	msg := "this node, which led the job, was stopped, and no other knows of the job"
	if why := d.ledgers.Damaged(j.name); why != "" {
		msg += ": " + why
	}
	d.book.Add(j)
	j.mu.Lock()
	j.led = true
	j.mu.Unlock()
	d.endLed(j, api.Failed, msg, "submit the job again")
}

// endAwaited makes an awaited job final as another node tells it.
func (d *Daemon) endAwaited(j *job, st api.JobStatus) {
	if !j.adopt(st, true) {
		return
	}
	d.book.Add(j)
	d.saveStatus(j)
	d.afterEnd(j)
}
