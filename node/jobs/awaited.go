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

const (
	awaitEvery = 2 * time.Second // pause between two rounds of questions about awaited jobs
	awaitLimit = time.Minute     // a job that no member knows for so long is lost
)

// awaited is a job that was submitted on this node and goes on elsewhere, as after a restart of this daemon. The other
// members are asked for its end. restored says that the job cannot be lost, because this node has a copy of its ledger,
// or has taken part in the job until now.
type awaited struct {
	job      *Job
	restored bool
	unknown  time.Time // since when no member knows the job; zero if one may
}

// newAwaited enters a job that had not ended when its status was saved. c is this node's copy of its ledger, nil for
// none: another node may tell of the end before the engine comes to the copy, and then the output is written from here.
func (r *ender) newAwaited(st store.Status, c *store.Copy) *awaited {
	j := r.book.New(st.ID)
	j.s.SubmittedHere, j.s.Status = true, st.JobStatus
	j.s.Req.Output, j.s.Req.OutputDir, j.s.Req.Spares = st.Owed, st.OutputDir, st.Spares
	if c != nil {
		j.s.Desc = r.book.Whole(c.ID, c.Job)
	} else {
		r.book.Add(j)
	}
	return &awaited{job: j, restored: c != nil}
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

// awaitedOver asks for the end of an awaited job, and makes the job final if there is one. It reports whether the job
// is final, or is lost.
func (r *ender) awaitedOver(s *awaited) bool {
	j := s.job
	if now := r.book.Named(j.Name); now != nil && now.isOwn() { // the engine may have come to the job again since
		j = now
	}
	if j.Final() { // the end came through this node's copy of the ledger, and the output was written then
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

// tellingOf asks all members that are up about a job. It returns the descriptions that are believed, and how many
// members have answered at all.
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

// endTold picks a description that says how the job ended; ok is false if none does. RemoteStatus has checked its
// proof.
func endTold(told []api.JobStatus) (api.JobStatus, bool) {
	for _, st := range told {
		if st.State.Final() {
			return st, true
		}
	}
	return api.JobStatus{}, false
}

// loseAwaited fails an awaited job that no member knows.
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

// endAwaited makes an awaited job final with the end that another node has proven.
func (r *ender) endAwaited(j *Job, st api.JobStatus) {
	if !j.Adopt(st, true) {
		return
	}
	r.book.Add(j)
	r.SaveStatus(j)
	r.AfterEnd(j)
}

// Reopened takes back the end of a job, because the job was recovered from a copy of its ledger that does not have that
// end. What is kept here of the end is put aside. Only the engine's loop calls it.
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

// owedAgain waits for the new end of a job of this node's user whose end was taken back, and owes the output again.
func (r *ender) owedAgain(saved store.Status) {
	saved.Owed = cmp.Or(saved.Owed, saved.Output)
	saved.State, saved.Output, saved.SHA256, saved.Error, saved.Hint = api.Running, "", "", "", ""
	s := r.newAwaited(saved, nil)
	r.spawn(func() {
		r.SaveStatus(s.job)
		r.awaitEnds([]*awaited{s})
	})
}

// loadFinished enters the jobs whose status is on disk from before a restart. Those that had not ended, and may go on
// elsewhere, are returned to be awaited. Jobs that were still being prepared have failed with the daemon.
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
		if c != nil && st.Submitter != "" && c.Job.Submitter != st.Submitter {
			c = nil
		}
		if !st.State.Final() && (c != nil || st.State != api.Preparing) {
			waiting = append(waiting, r.newAwaited(saved, c))
			continue
		}
		if !st.State.Final() {
			st.State, st.Phase = api.Failed, ""
			st.Error, st.Hint = "the daemon of "+st.HomeName+", which led this job, was killed", "submit the job again"
		}
		j := r.book.New(st.ID)
		j.s.Home, j.s.Led, j.s.Complete, j.s.Status = st.Home, true, true, st
		j.s.SubmittedHere, j.s.OutDone = saved.Ours, st.Output != ""
		j.s.Req.Output, j.s.Req.OutputDir, j.s.Req.Spares = saved.Owed, saved.OutputDir, saved.Spares
		// An owed output is tried for as long as the result is kept, which for this purpose begins now.
		if j.s.Ended = time.Now(); r.Owed(j) == "" {
			j.s.Ended = r.results.SavedAt(name, r.ages)
		}
		close(j.Done)
		r.book.Add(j)
		r.results.ShareParts(st.ID)
	}
	return waiting
}
