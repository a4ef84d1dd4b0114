package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// handleResult sends a finished job's output, from wherever it is.
func (d *Daemon) handleResult(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("id")
	j, at, err := d.lookup(r.Context(), name)
	if err == nil {
		w.Header().Set("Content-Type", "application/octet-stream")
		err = d.sendResult(r.Context(), w, j, at, name)
	}
	if err != nil {
		writeError(w, err)
	}
}

// sendResult copies a job's result to w: what is kept here, or else what is with any member that has it whole.
// Nothing is written to w before all of it is here.
func (d *Daemon) sendResult(ctx context.Context, w io.Writer, j *job, at tasks.PeerID, name string) error {
	var from []tasks.PeerID
	if at != "" {
		from = append(from, at)
	}
	var missing error
	if j != nil {
		f, err := d.result(j)
		if err == nil {
			defer f.Close()
			if _, err = io.Copy(w, f); err == nil {
				d.wasFetched(j.name)
			}
			return nil // a half result is for the reader to see
		}
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusNotFound {
			return err
		}
		missing, name = err, j.name
	}
	for _, id := range append(from, d.upPeers()...) {
		if st, err := d.remoteStatus(ctx, id, name); err != nil || !st.State.Final() {
			continue
		}
		err := d.remoteResult(ctx, w, id, name)
		if err == nil {
			return nil
		}
		missing = err
	}
	if missing == nil {
		missing = &api.Error{Status: http.StatusNotFound, Message: "no member that can be reached has the job's result", Hint: "dtpnode status " + name[:min(12, len(name))] + " says why"}
	}
	return missing
}

// result opens a finished job's output that is kept here, if it is what the job's ledger says.
func (d *Daemon) result(j *job) (io.ReadCloser, error) {
	if !j.final() {
		return nil, &api.Error{Status: http.StatusConflict, Message: "the job has not ended yet", Hint: "wait for it, or stop it: dtpnode cancel " + j.name[:12]}
	}
	none := &api.Error{Status: http.StatusNotFound, Message: "the job has no result", Hint: "dtpnode status " + j.name[:12] + " says why"}
	path := d.resultPath(j.name)
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
	if err := verify(path, want); err != nil {
		_ = f.Close()
		d.blobs.forget(want)
		d.log.Error("a job's result is damaged here; it is put aside, and taken from another node that has it", "job", j.name[:12], "reason", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			d.log.Warn("could not put a damaged result aside", "reason", err)
		}
		none.Message, none.Err = "the job's result is damaged: "+err.Error(), err
		return nil, none
	}
	return f, nil
}

// shareResult makes a result fetchable and returns its hash.
func (d *Daemon) shareResult(j *job) ([]byte, error) {
	f, err := d.result(j)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	sum, err := hashFile(d.resultPath(j.name))
	if err != nil {
		return nil, fmt.Errorf("could not read the result: %w", err)
	}
	d.blobs.add(sum, d.resultPath(j.name))
	return []byte(sum), nil
}

// remoteResult copies the result of a job from another node.
func (d *Daemon) remoteResult(ctx context.Context, w io.Writer, from tasks.PeerID, name string) error {
	sum, err := d.askPeer(ctx, from, "result", name)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(d.cfg.ScratchDir, "result-*")
	if err != nil {
		return fmt.Errorf("could not fetch the result: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := d.net.Fetch(ctx, from, string(sum), maxPartial, tmp); err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, tmp)
	return err
}

// collect brings the result of a job that was submitted here and ended under another home to where its user
// wants it.
func (d *Daemon) collect(j *job) {
	j.mu.Lock()
	out := j.req.Output
	j.mu.Unlock()
	st, err := d.jobStatus(d.ctx, j.name)
	if out == "" || err != nil || (st.State != api.Done && st.State != api.Partial) {
		return
	}
	tmp, err := os.CreateTemp(d.cfg.ScratchDir, "result-*")
	if err == nil {
		defer os.Remove(tmp.Name())
		err = errors.Join(d.sendResult(d.ctx, tmp, nil, "", j.name), tmp.Close())
	}
	if err == nil {
		err = copyFile(out, tmp.Name())
	}
	if err != nil {
		d.log.Warn("could not write a job's output; dtpnode get fetches it", "job", j.name[:12], "file", out, "reason", err)
		return
	}
	d.log.Info("wrote a job's output", "job", j.name[:12], "file", out)
}
