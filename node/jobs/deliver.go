package jobs

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// The node on which a job was submitted owes the user the job's output: it copies the result to the path that the user
// gave with -o. The debt is noted in the job's status.json from the submission until the file is written. A copy that
// fails, or that a crash interrupts, is tried again for as long as the result is kept.

// outputs writes the outputs of jobs, and keeps results and statuses of jobs on disk.
type outputs struct {
	*base
	*teller
}

// The pause after a failed copy doubles with each failure.
const (
	deliverEvery = 2 * time.Second // how often owed outputs are looked for, and the pause after the first failure
	deliverPause = 5 * time.Minute // the longest pause
)

// Owed is the path to which this node has yet to write a job's output, empty if it owes none.
func (r *outputs) Owed(j *Job) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	none := j.s.Status.State == api.Failed || j.s.Status.State == api.Cancelled
	if !j.own() || none || j.s.OutDone || j.s.OutWaived {
		return ""
	}
	return j.s.Req.Output
}

// deliver writes a job's output, if it is owed. open opens the result.
func (r *outputs) deliver(j *Job, open func() (*os.File, error)) error {
	j.Delivering.Lock()
	defer j.Delivering.Unlock()
	out := r.Owed(j)
	if out == "" {
		return nil
	}
	err := durable.PlaceSynced(out, func(f *os.File) error {
		in, err := open()
		if err != nil {
			return err
		}
		defer in.Close()
		if err := r.deliverFiles(j, in, out); err != nil {
			return err
		}
		size, _, err := readResult(in)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, io.NewSectionReader(in, 0, size)); err != nil {
			return err
		}
		return f.Chmod(0o644)
	})
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s.OutDone, j.s.Status.Output, j.s.Status.OutputError = true, out, ""
	return r.results.NoteDelivered(j.Name)
}

// DeliverLate is deliver for a job that is final. The job's status tells the user how it went.
func (r *outputs) DeliverLate(j *Job) {
	out := r.Owed(j)
	if out == "" {
		return
	}
	if later := r.replaced(j, out); later != "" {
		j.mu.Lock()
		j.s.OutWaived, j.s.Status.OutputError = true, fmt.Sprintf("%q was written by a later job, %s", out, api.Short(later))
		j.mu.Unlock()
		r.SaveStatus(j)
		return
	}
	err := r.deliver(j, func() (*os.File, error) { return r.openResult(r.ctx, j, "", j.Name) })
	if err != nil {
		r.undelivered(j, err)
		return
	}
	r.SaveStatus(j)
	r.log.Info("wrote a job's output", "job", api.Short(j.Name), "file", out)
	r.Fetched(j.Name, j.submitter())
}

// replaced is the name of a job that was submitted later than j and has written its output to the same path, which then
// must not be overwritten; empty if there is none.
func (r *outputs) replaced(j *Job, out string) string {
	since, _ := j.ledSince()
	for _, o := range r.book.AllTold() {
		o.mu.Lock()
		later := o.s.OutDone && o.s.Status.Output == out && o.s.Status.Submitted.After(since) && o.own()
		o.mu.Unlock()
		if later {
			return o.Name
		}
	}
	return ""
}

// undelivered notes that an output could not be written, and when that is to be tried again.
func (r *outputs) undelivered(j *Job, err error) {
	j.mu.Lock()
	again := j.s.Status.OutputError == err.Error()
	j.s.Status.OutputError = err.Error()
	pause := min(deliverEvery<<min(j.s.OutTries, 10), deliverPause)
	j.s.OutTries++
	j.s.OutNext = time.Now().Add(pause)
	j.mu.Unlock()
	if !again && r.ctx.Err() == nil {
		r.log.Error("could not write a job's output; it is tried again, and dtpnode get fetches it", "job", api.Short(j.Name),
			"reason", err)
	}
}

// Settled reports whether a final job's output is written, is not owed, or could not be written at least once.
func (r *outputs) Settled(j *Job) bool {
	j.mu.Lock()
	tried := j.s.OutTries > 0
	j.mu.Unlock()
	return tried || r.Owed(j) == ""
}

// deliverOften writes owed outputs when they are due, until the daemon closes.
func (r *outputs) deliverOften() {
	tick := time.NewTicker(deliverEvery)
	defer tick.Stop()
	for {
		for _, j := range r.book.AllTold() {
			if r.due(j) {
				r.DeliverLate(j)
			}
		}
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// due reports whether a job's output is owed and is to be tried now.
func (r *outputs) due(j *Job) bool {
	j.mu.Lock()
	now := j.s.Status.State.Final() && time.Now().After(j.s.OutNext)
	j.mu.Unlock()
	return now && r.Owed(j) != ""
}
