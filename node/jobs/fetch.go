package jobs

import (
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
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// FindResult opens a job's result for this node's user, and returns the job's status with it.
func (r *teller) FindResult(ctx context.Context, name string) (api.JobStatus, *os.File, error) {
	j, at, st, err := r.granted(ctx, name, members.ForLook)
	if err != nil {
		return st, nil, err
	}
	f, err := r.openResult(ctx, j, at, st.ID)
	return st, f, err
}

// openResult opens a job's result if it is kept here. Otherwise it fetches the result from a member, first asking the
// member at, into a file that vanishes when it is closed. The content is compared with the hash in the proven end of
// the job, so it does not matter who sends it.
func (r *teller) openResult(ctx context.Context, j *Job, at tasks.PeerID, name string) (*os.File, error) {
	var from []tasks.PeerID
	if at != "" {
		from = append(from, at)
	}
	var missing error
	want := ""
	if j != nil {
		j.mu.Lock()
		want = j.s.Status.SHA256
		j.mu.Unlock()
		f, err := r.Result(j)
		var e *api.Error
		if err == nil || !errors.As(err, &e) || e.Status != http.StatusNotFound {
			return f, err
		}
		missing = err
	}
	for _, id := range append(from, r.cluster.Up()...) {
		st, err := r.RemoteStatus(ctx, id, name)
		if err != nil || !st.State.Final() {
			continue
		}
		f, err := r.remoteResult(ctx, id, name, cmp.Or(want, st.SHA256))
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

// Result opens the result of a finished job that is kept here, if it has the hash that is in the job's ledger.
func (r *teller) Result(j *Job) (*os.File, error) {
	if !j.Final() {
		return nil, &api.Error{
			Status:  http.StatusConflict,
			Message: "the job has not ended yet",
			Hint:    "wait for it, or stop it: dtpnode cancel " + api.Short(j.Name),
		}
	}
	none := r.noResult(j)
	path := r.results.Path(j.Name)
	f, err := os.Open(path)
	if err != nil {
		none.Err = err
		return nil, none
	}
	j.mu.Lock()
	want := j.s.Status.SHA256
	j.mu.Unlock()
	if want == "" { // the job ended under an older version, which did not note the hash
		return f, nil
	}
	if err := store.Verify(path, want); err != nil {
		_ = f.Close()
		r.log.Error("a job's result is damaged here; it is put aside, and taken from another node that has it",
			"job", api.Short(j.Name), "reason", err)
		if err := r.results.SetAside(j.Name, want); err != nil {
			r.log.Warn("could not put a damaged result aside", "reason", err)
		}
		none.Message, none.Err = "the job's result is damaged: "+err.Error(), err
		return nil, none
	}
	return f, nil
}

// noResult is the error for a finished job of which no result is kept here.
func (r *teller) noResult(j *Job) *api.Error {
	e := &api.Error{
		Status:  http.StatusNotFound,
		Message: "the job has no result",
		Hint:    "dtpnode status " + api.Short(j.Name) + " says why",
	}
	if at := r.results.FetchedAt(j.Name); !at.IsZero() {
		e.Message = fmt.Sprintf("the job's result was fetched at %s, and is not kept any more", at.Format(time.DateTime))
	}
	return e
}

// ShareResult lets members fetch a result, and returns its hash as the job's ledger has it. It does not read the file,
// which would take too long for an answer; whoever fetches the result compares it with the hash.
func (r *teller) ShareResult(j *Job) ([]byte, error) {
	if !j.Final() {
		return nil, &api.Error{Status: http.StatusConflict, Message: "the job has not ended yet"}
	}
	path := r.results.Path(j.Name)
	j.mu.Lock()
	sum := j.s.Status.SHA256
	j.mu.Unlock()
	if sum == "" || store.SizeOf(path) < 0 {
		return nil, r.noResult(j)
	}
	r.blobs.Add(sum, path)
	return []byte(sum), nil
}

// remoteResult fetches the result of a job, which must have a hash, from another node into a file without a name.
func (r *teller) remoteResult(ctx context.Context, from tasks.PeerID, name, want string) (*os.File, error) {
	sum, err := r.cluster.Ask(ctx, from, "result", name) // the node lets others fetch the result from now on
	switch {
	case err != nil:
		return nil, err
	case string(sum) != want:
		return nil, fmt.Errorf("%s offers another file than the job's result: its hash is not the one that is proven", from)
	}
	tmp, err := os.CreateTemp(r.cfg.ScratchDir, "result-*")
	if err != nil {
		return nil, fmt.Errorf("could not fetch the result: %w", err)
	}
	_, err = r.net.Fetch(ctx, from, want, merge.MaxSize, tmp)
	if err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err = errors.Join(err, os.Remove(tmp.Name())); err != nil {
		return nil, errors.Join(err, tmp.Close())
	}
	return tmp, nil
}
