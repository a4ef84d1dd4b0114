package node

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// The output of a job is written where its user wants it, -o, by the node that the job was submitted on. That is
// owed from the submission on, in the job's status.json, and no more when the file is there: a copy that fails, or
// that a crash cuts short, is tried again for as long as the result is kept.

// Times of an output that is owed.
const (
	deliverEvery = 2 * time.Second // how often it is looked what is owed, and the pause after the first failure
	deliverPause = 5 * time.Minute // the longest pause after a failure
)

// owed is where this node is still to write a job's output, empty for nowhere.
func (d *Daemon) owed(j *job) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	none := j.status.State == api.Failed || j.status.State == api.Cancelled
	if !j.own() || none || j.outDone || j.outWaived {
		return ""
	}
	return j.req.Output
}

// deliver writes a job's output where it is owed, if it is. open gives the result.
func (d *Daemon) deliver(j *job, open func() (*os.File, error)) error {
	j.delivering.Lock()
	defer j.delivering.Unlock()
	out := d.owed(j)
	if out == "" {
		return nil
	}
	err := durable.PlaceSynced(out, func(f *os.File) error {
		in, err := open()
		if err != nil {
			return err
		}
		defer in.Close()
		if _, err := io.Copy(f, in); err != nil {
			return err
		}
		return f.Chmod(0o644)
	})
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outDone, j.status.Output, j.status.OutputError = true, out, ""
	return d.results.NoteDelivered(j.name)
}

// deliverLate is deliver for a job that is final; its user hears of it by the job's status.
func (d *Daemon) deliverLate(j *job) {
	out := d.owed(j)
	if out == "" {
		return
	}
	if later := d.replaced(j, out); later != "" {
		j.mu.Lock()
		j.outWaived, j.status.OutputError = true, fmt.Sprintf("%q was written by a later job, %s", out, api.Short(later))
		j.mu.Unlock()
		d.saveStatus(j)
		return
	}
	err := d.deliver(j, func() (*os.File, error) { return d.openResult(d.ctx, j, "", j.name) })
	if err != nil {
		d.undelivered(j, err)
		return
	}
	d.saveStatus(j)
	d.log.Info("wrote a job's output", "job", api.Short(j.name), "file", out)
	d.fetched(j.name, j.submitter())
}

// replaced names a job that was submitted later than j and has written to the same file: its output stays there.
func (d *Daemon) replaced(j *job, out string) string {
	since, _ := j.ledSince()
	for _, o := range d.book.AllTold() {
		o.mu.Lock()
		later := o.outDone && o.status.Output == out && o.status.Submitted.After(since) && o.own()
		o.mu.Unlock()
		if later {
			return o.name
		}
	}
	return ""
}

// undelivered notes that an output could not be written, and when it is tried again.
func (d *Daemon) undelivered(j *job, err error) {
	j.mu.Lock()
	again := j.status.OutputError == err.Error()
	j.status.OutputError = err.Error()
	pause := min(deliverEvery<<min(j.outTries, 10), deliverPause)
	j.outTries++
	j.outNext = time.Now().Add(pause)
	j.mu.Unlock()
	if !again && d.ctx.Err() == nil {
		d.log.Error("could not write a job's output; it is tried again, and dtpnode get fetches it", "job", api.Short(j.name),
			"reason", err)
	}
}

// settled reports whether a final job's output is written, or was tried to be.
func (d *Daemon) settled(j *job) bool {
	j.mu.Lock()
	tried := j.outTries > 0
	j.mu.Unlock()
	return tried || d.owed(j) == ""
}

// deliverOften tries again what is owed, until the daemon closes.
func (d *Daemon) deliverOften() {
	tick := time.NewTicker(deliverEvery)
	defer tick.Stop()
	for {
		for _, j := range d.book.AllTold() {
			if d.due(j) {
				d.deliverLate(j)
			}
		}
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// due reports whether an output is to be written now.
func (d *Daemon) due(j *job) bool {
	j.mu.Lock()
	now := j.status.State.Final() && time.Now().After(j.outNext)
	j.mu.Unlock()
	return now && d.owed(j) != ""
}
