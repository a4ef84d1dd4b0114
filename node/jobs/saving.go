package jobs

import (
	"errors"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// SaveStatus keeps a job's status on disk, for after a restart; durably where its user is owed an output.
func (r *ender) SaveStatus(j *Job) {
	saved := store.Status{JobStatus: r.StatusOf(j), Owed: r.Owed(j)}
	saved.Dir, saved.Env = r.surroundings(j)
	j.mu.Lock()
	saved.Ours = j.own()
	j.mu.Unlock()
	err := r.results.SaveStatus(j.Name, saved)
	if err != nil {
		r.log.Warn("could not save a job's status", "job", api.Short(j.Name), "reason", err)
	}
}

// surroundings are the folder and the environment of Begin and Terminate, which the node knows that a job was
// submitted on, if need be from its disk. Elsewhere, and of a job that another has submitted, they are empty.
func (r *ender) surroundings(j *Job) (dir string, env []string) {
	j.mu.Lock()
	dir, env, own := j.s.Req.Dir, j.s.Req.Env, j.own()
	j.mu.Unlock()
	if dir != "" || !own {
		return dir, env
	}
	saved, err := r.results.Status(j.Name)
	if err != nil || !saved.Ours {
		return "", nil
	}
	return saved.Dir, saved.Env
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
