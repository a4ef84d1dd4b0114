package jobs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// Told is what the users of a job are told of it. Status, Lost and View are completed from the ledger whenever somebody
// asks (Room.StatusOf), until Complete is set: then the job has ended, and Status came with the end in the ledger.
type Told struct {
	Out       map[tasks.PeerID]string // why other nodes take no part in a job that is only led here
	NodeNotes map[tasks.PeerID]bool   // other nodes of which a note is among Status.Notes
	Status    api.JobStatus           // while the job runs, only state, phase, errors and notes
	Complete  bool                    // Status is told as it is, and nothing is filled in
	Ended     time.Time               // when the job ended, by this node's clock
	Running   time.Time               // when the job was given to the engine
	Working   time.Duration           // from Running to the last commit
	Merges    int64                   // how many merges were made on the submitting side
	Lost      []ledger.Lost           // units that are set aside, once the result is being made
	View      engine.JobView          // the ledger as it was at the last look
	Apart     []string                // outputs that could not be merged, and stand side by side
}

// phase shows what is being done for the job now, unless the job is final.
func (j *Job) phase(state api.JobState, text string) {
	if j.Tell != nil {
		j.Tell(text)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.s.Status.State.Final() {
		j.s.Status.State, j.s.Status.Phase = state, text
	}
}

// lasting shows a phase of a job that is being prepared and, if it takes long, also for how long it has lasted. The
// caller calls done at its end.
func (j *Job) lasting(text string) (done func()) {
	j.phase(api.Preparing, text)
	began, stop, stopped := time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				j.phase(api.Preparing, fmt.Sprintf("%s, for %v", text, time.Since(began).Round(time.Second)))
			case <-stop:
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// finalise makes a job final with an end that was decided here. Only the first call has an effect, and returns true.
func (j *Job) finalise(state api.JobState, message, hint string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Status.State.Final() {
		return false
	}
	if j.s.Ended.IsZero() {
		j.s.Ended = time.Now()
	}
	j.s.Status.State, j.s.Status.Phase, j.s.Status.Error, j.s.Status.Hint = state, "", message, hint
	j.s.Status.Stdout = strings.Join(j.s.Lines, "\n")
	if state != api.Done && state != api.Partial {
		j.s.Status.Output = "" // a file of that name is an older one, since nothing was written
	}
	return true
}

// Adopt makes a job final with the status that came from its ledger or from another node. Only the first call has an
// effect, and returns true. own says that the job was submitted on this node: then what st says of the output is
// ignored, since only this node knows whether it has written it.
func (j *Job) Adopt(st api.JobStatus, own bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Status.State.Final() {
		return false
	}
	if st.OutputError = ""; own {
		st.Output, st.OutputError = "", j.s.Status.OutputError
	}
	if j.s.OutDone {
		st.Output = j.s.Req.Output
	}
	j.s.Status, j.s.Complete, j.s.Led, j.s.Ended = st, true, true, time.Now()
	return true
}

// Final reports whether the job has ended, as far as this node has heard.
func (j *Job) Final() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.s.Status.State.Final()
}

func (j *Job) addApart(names []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range names {
		known := false
		for _, o := range j.s.Apart {
			known = known || o == n
		}
		if !known {
			j.s.Apart = append(j.s.Apart, n)
		}
	}
}

// note adds notes to the job's status, which its user should read.
func (j *Job) note(texts ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s.Status.Notes = append(j.s.Status.Notes, texts...)
}

// noteOnce is note for a text that may be there already.
func (j *Job) noteOnce(text string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Contains(j.s.Status.Notes, text) {
		j.s.Status.Notes = append(j.s.Status.Notes, text)
	}
}

// describedBy fills in what a job's users are told, from its description, which is given with all that it has grown by,
// and with what they see of its title; j.mu is held.
func (j *Job) describedBy(c *store.Copy, desc *tasks.Job, title string) {
	if !j.s.Running.IsZero() && j.s.Status.ID != "" {
		return
	}
	ask := c.Job.Ask
	if j.s.Running = ask.Begun; j.s.Running.IsZero() || time.Since(j.s.Running) < 0 {
		j.s.Running = time.Now() // clocks differ
	}
	if j.s.Desc = desc; j.s.Status.ID != "" {
		return // it was submitted here, and of the rest more is known than its description says
	}
	j.s.Req = requestOf(c.Job)
	j.s.Status = api.JobStatus{
		ID: j.Name, Kind: c.Job.Work.Kind, Title: title, Submitted: ask.Submitted,
		Files: len(desc.Data.Files) + len(desc.Bad), Units: desc.Want.Len(), Output: ask.Output,
	}
}

// titleOf is what users see of a job's title.
func (r *base) titleOf(desc *tasks.Job) string {
	return r.runtimes.Words(desc.Work.Kind).Title(desc.Ask.Title)
}
