package node

import (
	"github.com/dtpnode/dtpnode/node/members"

	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// findResult opens a job's output for its user, and returns the job as it is told of.
func (d *Daemon) findResult(ctx context.Context, name string) (api.JobStatus, *os.File, error) {
	j, at, st, err := d.granted(ctx, name, members.ForLook)
	if err != nil {
		return st, nil, err
	}
	f, err := d.openResult(ctx, j, at, st.ID)
	return st, f, err
}

// openResult opens a job's output: what is kept here, or else a copy of what is with any member that has it whole, the
// member at first. The copy is gone when it is closed. It is the file that the proof of the job's end names, whoever
// has it: no member's word counts for that.
func (d *Daemon) openResult(ctx context.Context, j *job, at tasks.PeerID, name string) (*os.File, error) {
	var from []tasks.PeerID
	if at != "" {
		from = append(from, at)
	}
	var missing error
	want := ""
	if j != nil {
		j.mu.Lock()
		want = j.status.SHA256
		j.mu.Unlock()
		f, err := d.result(j)
		var e *api.Error
		if err == nil || !errors.As(err, &e) || e.Status != http.StatusNotFound {
			return f, err
		}
		missing = err
	}
	for _, id := range append(from, d.cluster.Up()...) {
		st, err := d.remoteStatus(ctx, id, name)
		if err != nil || !st.State.Final() {
			continue
		}
		f, err := d.remoteResult(ctx, id, name, cmp.Or(want, st.SHA256))
		if err == nil {
			return f, nil
		}
		missing = err
	}
	if missing == nil {
		missing = &api.Error{
			Status:  http.StatusNotFound,
			Message: "no member that can be reached has the job's result",
			Hint:    "dtpnode status " + api.Short(name) + " says why",
		}
	}
	return nil, missing
}

// result opens a finished job's output that is kept here, if it is what the job's ledger says.
func (d *Daemon) result(j *job) (*os.File, error) {
	if !j.final() {
		return nil, &api.Error{
			Status:  http.StatusConflict,
			Message: "the job has not ended yet",
			Hint:    "wait for it, or stop it: dtpnode cancel " + api.Short(j.name),
		}
	}
	none := d.noResult(j)
	path := d.results.Path(j.name)
	f, err := os.Open(path)
	if err != nil {
		none.Err = err
		return nil, none
	}
	j.mu.Lock()
	want := j.status.SHA256
	j.mu.Unlock()
	if want == "" { // of a job that ended before this was noted
		return f, nil
	}
	if err := store.Verify(path, want); err != nil {
		_ = f.Close()
		d.log.Error("a job's result is damaged here; it is put aside, and taken from another node that has it",
			"job", api.Short(j.name), "reason", err)
		if err := d.results.SetAside(j.name, want); err != nil {
			d.log.Warn("could not put a damaged result aside", "reason", err)
		}
		none.Message, none.Err = "the job's result is damaged: "+err.Error(), err
		return nil, none
	}
	return f, nil
}

// noResult says that no result of a finished job is kept here.
func (d *Daemon) noResult(j *job) *api.Error {
	e := &api.Error{
		Status:  http.StatusNotFound,
		Message: "the job has no result",
		Hint:    "dtpnode status " + api.Short(j.name) + " says why",
	}
	if at := d.results.FetchedAt(j.name); !at.IsZero() {
		e.Message = fmt.Sprintf("the job's result was fetched at %s, and is not kept any more", at.Format(time.DateTime))
	}
	return e
}

// shareResult makes a result fetchable and returns its hash, as the job's ledger says it. It is not read for that:
// who asks waits for the answer only so long, and compares what it fetches.
func (d *Daemon) shareResult(j *job) ([]byte, error) {
	if !j.final() {
		return nil, &api.Error{Status: http.StatusConflict, Message: "the job has not ended yet"}
	}
	path := d.results.Path(j.name)
	j.mu.Lock()
	sum := j.status.SHA256
	j.mu.Unlock()
	if sum == "" || store.SizeOf(path) < 0 {
		return nil, d.noResult(j)
	}
	d.blobs.Add(sum, path)
	return []byte(sum), nil
}

// remoteResult copies the result of a job, with that hash, from another node into a file without a name.
func (d *Daemon) remoteResult(ctx context.Context, from tasks.PeerID, name, want string) (*os.File, error) {
	sum, err := d.cluster.Ask(ctx, from, "result", name) // which makes it fetchable there
	switch {
	case err != nil:
		return nil, err
	case string(sum) != want:
		return nil, fmt.Errorf("%s offers another file than the job's result: its hash is not the one that is proven", from)
	}
	tmp, err := os.CreateTemp(d.cfg.ScratchDir, "result-*")
	if err != nil {
		return nil, fmt.Errorf("could not fetch the result: %w", err)
	}
	_, err = d.net.Fetch(ctx, from, want, merge.MaxSize, tmp)
	if err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err = errors.Join(err, os.Remove(tmp.Name())); err != nil {
		return nil, errors.Join(err, tmp.Close())
	}
	return tmp, nil
}
