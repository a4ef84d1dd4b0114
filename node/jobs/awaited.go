package jobs

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
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
	job      *Job
	restored bool
	unknown  time.Time // since when nobody knows of it, zero if somebody may
}

// newAwaited makes a job known that was not over when this daemon ended.
func (r *ender) newAwaited(st store.Status, restored bool) *awaited {
	j := r.book.New(st.ID)
	j.s.SubmittedHere, j.s.Status = true, st.JobStatus
	j.s.Req.Output = st.Owed
	if !restored {
		r.book.Add(j)
	}
	return &awaited{job: j, restored: restored}
}

// awaitEnds asks the others about awaited jobs until each has ended.
func (r *ender) awaitEnds(waiting []*awaited) {
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for {
		waiting = slices.DeleteFunc(waiting, r.awaitedOver)
		if len(waiting) == 0 {
			return
		}
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// awaitedOver looks for the end of an awaited job, and has its output written.
func (r *ender) awaitedOver(s *awaited) bool {
	j := s.job
	if now := r.book.Named(j.Name); now != nil && now.isOwn() { // it may have become known anew since
		j = now
	}
	if j.Final() { // its ledger here has told, and that wrote the output
		return true
	}
	told, asked := r.tellingOf(j)
	if st, ok := endTold(told); ok {
		r.endAwaited(j, st)
		return true
	}
	known := len(told) > 0
	alone := len(r.net.Members()) == 1
	switch {
	case known || s.restored || (asked == 0 && !alone):
		s.unknown = time.Time{}
	case s.unknown.IsZero() && !alone:
		s.unknown = time.Now()
	case alone || time.Since(s.unknown) > awaitLimit:
		r.loseAwaited(j)
		return true
	}
	return false
}

// tellingOf asks all members that are up about a job: what those say that know of it, and how many answered at all.
func (r *ender) tellingOf(j *Job) (told []api.JobStatus, asked int) {
	peers := r.cluster.Up()
	answers, errs := make([]api.JobStatus, len(peers)), make([]error, len(peers))
	var g errgroup.Group
	g.SetLimit(16)
	for i, id := range peers {
		g.Go(func() error {
			answers[i], errs[i] = r.RemoteStatus(r.ctx, id, j.Name)
			return nil
		})
	}
	_ = g.Wait()
	for i, err := range errs {
		if err == nil || errors.Is(err, p2p.ErrRemote) {
			asked++
		}
		if err == nil && answers[i].ID == j.Name {
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
func (r *ender) loseAwaited(j *Job) {
	msg := "this node, which led the job, was stopped, and no other knows of the job"
	if why := r.ledgers.Damaged(j.Name); why != "" {
		msg += ": " + why
	}
	r.book.Add(j)
	j.mu.Lock()
	j.s.Led = true
	j.mu.Unlock()
	r.endLed(j, api.Failed, msg, "submit the job again")
}

// endAwaited makes an awaited job final as another node tells it.
func (r *ender) endAwaited(j *Job, st api.JobStatus) {
	if !j.Adopt(st, true) {
		return
	}
	r.book.Add(j)
	r.SaveStatus(j)
	r.AfterEnd(j)
}

// Reopened takes the end of a job back that its ledger does not have: another copy counts. What is here of it is put
// aside. Called by the loop alone.
func (r *ender) Reopened(id tasks.JobID, by quorum.Link) {
	for _, t := range r.results.TakeBack(id, by, r.asides) {
		r.book.Forget(t.Name)
		r.log.Warn("takes the end of a job back: it was recovered from a copy of its ledger that does not have it",
			"job", api.Short(t.Name), "signed by", by.Sigs[0].By, "kept in", t.Folder)
		if t.Status.Ours {
			r.owedAgain(t.Status)
		}
	}
}

// owedAgain follows a job of this node's user whose end was taken back.
func (r *ender) owedAgain(saved store.Status) {
	saved.Owed = cmp.Or(saved.Owed, saved.Output)
	saved.State, saved.Output, saved.SHA256, saved.Error, saved.Hint = api.Running, "", "", "", ""
	s := r.newAwaited(saved, false)
	r.spawn(func() {
		r.SaveStatus(s.job)
		r.awaitEnds([]*awaited{s})
	})
}

// loadFinished reads the jobs of earlier lives of the daemon: those that have ended, or ended with it. Those that
// may go on elsewhere are returned.
func (r *ender) loadFinished() (waiting []*awaited) {
	copies := map[string]*store.Copy{}
	for _, c := range r.ledgers.All() {
		copies[c.Name()] = c
	}
	for _, name := range r.results.Names() {
		saved, err := r.results.Status(name)
		var damage *store.Damage
		if errors.As(err, &damage) {
			r.log.Error("a job that is kept here cannot be told of", "reason", damage, "next", damage.Mend)
		}
		if err != nil || saved.ID == "" {
			continue
		}
		st := saved.JobStatus
		c := copies[st.ID]
		restored := c != nil && (st.Submitter == "" || c.Job.Submitter == st.Submitter)
		if !st.State.Final() && (restored || st.State != api.Preparing) {
			waiting = append(waiting, r.newAwaited(saved, restored))
			continue
		}
		if !st.State.Final() {
			st.State, st.Phase = api.Failed, ""
			st.Error, st.Hint = "the daemon of "+st.HomeName+", which led this job, was killed", "submit the job again"
		}
		j := r.book.New(st.ID)
		j.s.Home, j.s.Led, j.s.Complete, j.s.Status = st.Home, true, true, st
		j.s.SubmittedHere, j.s.Req.Output, j.s.OutDone = saved.Ours, saved.Owed, st.Output != ""
		if j.s.Ended = time.Now(); r.Owed(j) == "" { // else it is owed for as long as this life of the daemon tries
			j.s.Ended = r.results.SavedAt(name, r.ages)
		}
		close(j.Done)
		r.book.Add(j)
		r.results.ShareParts(st.ID)
	}
	return waiting
}
