package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/wire"
)

// Times of a stray, a job that this node submitted in an earlier life and that may go on elsewhere.
const (
	strayEvery = 2 * time.Second // between questions to the others
	strayLimit = time.Minute     // if all of them say for so long that they know of no such job, there is none
)

// endFile keeps, beside a job's result, how it ended, for nodes that ask after this daemon has started anew.
const endFile = "end"

func (d *Daemon) saveEnd(j *job, e engine.JobEnded) {
	b, err := wire.Marshal(&engine.Remember{ID: e.ID, Term: e.Term, Result: e.Result, Submitter: d.submitterOf(j), Recovery: e.Recovery})
	if err == nil {
		err = writeFile(filepath.Join(d.jobsDir(), j.name, endFile), b)
	}
	if err != nil {
		d.log.Warn("could not save how a job ended", "job", j.name[:12], "reason", err)
	}
}

// loadEnds reads how jobs of earlier lives ended.
func (d *Daemon) loadEnds() (out []engine.Remember) {
	files, _ := filepath.Glob(filepath.Join(d.jobsDir(), "*", endFile))
	for _, file := range files {
		var e engine.Remember
		if b, err := os.ReadFile(file); err == nil && wire.Unmarshal(b, &e) == nil && e.ID.Valid() {
			out = append(out, e)
		}
	}
	return out
}

// stray is a job whose end is asked for. restored says that it has not been lost: this node has its ledger, and
// hears from there how it ends, or has known it all along.
type stray struct {
	job      *job
	restored bool
	unknown  time.Time // since when nobody knows of it, zero if somebody may
}

// newStray makes a job known that was not over when this daemon ended.
func (d *Daemon) newStray(st savedStatus, restored bool) *stray {
	j := newJob(d.ctx, st.ID)
	j.mine, j.status = true, st.JobStatus
	j.req.Output = st.Owed
	if !restored {
		d.byName[st.ID] = j
	}
	return &stray{job: j, restored: restored}
}

// followStrays asks the others about strays until each has ended.
func (d *Daemon) followStrays(strays []*stray) {
	tick := time.NewTicker(strayEvery)
	defer tick.Stop()
	for {
		strays = slices.DeleteFunc(strays, d.strayOver)
		if len(strays) == 0 {
			return
		}
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// strayOver looks for the end of a stray, and has its output written.
func (d *Daemon) strayOver(s *stray) bool {
	j := s.job
	d.mu.Lock()
	now := d.byName[j.name]
	d.mu.Unlock()
	if now != nil && now.final() { // its ledger here has told, and that wrote the output
		return true
	}
	told, asked := d.tellingOf(j)
	if st, ok := agreedEnd(told); ok {
		d.endStray(j, st)
		return true
	}
	known := len(told) > 0
	alone := len(d.net.Members()) == 1
	switch {
	case known || s.restored || (asked == 0 && !alone):
		s.unknown = time.Time{}
	case s.unknown.IsZero() && !alone:
		s.unknown = time.Now()
	case alone || time.Since(s.unknown) > strayLimit:
		d.loseStray(j)
		return true
	}
	return false
}

// tellingOf asks all members that are up about a job: what those say that know of it, and how many answered at all.
func (d *Daemon) tellingOf(j *job) (told []api.JobStatus, asked int) {
	peers := d.upPeers()
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

// agreedEnd is how a job ended, if more than half of those that tell of it say so, with the same result. A member that
// says that the job goes on is as good as one that says that it has ended, so one of them alone takes no job from its
// submitter while another tells of it. Where only one member tells of the job at all, its word has to do.
func agreedEnd(told []api.JobStatus) (api.JobStatus, bool) {
	for _, st := range told {
		same := 0
		for _, o := range told {
			if o.State == st.State && o.SHA256 == st.SHA256 {
				same++
			}
		}
		if st.State.Final() && 2*same > len(told) {
			return st, true
		}
	}
	return api.JobStatus{}, false
}

// loseStray ends a stray that nobody knows of.
func (d *Daemon) loseStray(j *job) {
	msg := "this node, which led the job, was stopped, and no other knows of the job"
	d.mu.Lock()
	if why := d.unread[j.name]; why != "" {
		msg += ": " + why
	}
	d.byName[j.name] = j
	d.mu.Unlock()
	j.mu.Lock()
	j.led = true
	j.mu.Unlock()
	d.endLed(j, api.Failed, msg, "submit the job again")
}

// endStray makes a stray final as another node tells it.
func (d *Daemon) endStray(j *job, st api.JobStatus) {
	if !j.adopt(st, true) {
		return
	}
	d.mu.Lock()
	d.byName[j.name] = j
	d.mu.Unlock()
	d.saveStatus(j)
	d.afterEnd(j)
}
