package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/dtpnode/dtpnode/internal/local"
	"github.com/dtpnode/dtpnode/internal/progress"
	"github.com/dtpnode/dtpnode/internal/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

// jobClient is a client for the daemon that knows a job: the one that runs or, for a job that a run without a daemon
// could not finish, one that is started on what is kept of it.
type jobClient struct {
	*api.Client
	own  *local.Daemon // started by this command
	kept string        // the folder it works on
}

// keptWait is how long a daemon may take to know the job that is kept in its folder.
const keptWait = 30 * time.Second

// forJob finds the daemon for a job, and how the job stands. Without an error the caller must call close.
func (g *globals) forJob(ctx context.Context, id string) (*jobClient, api.JobStatus, error) {
	paths, err := g.paths()
	if err != nil {
		return nil, api.JobStatus{}, err
	}
	c := &jobClient{Client: paths.Client()}
	st, err := c.Job(ctx, id)
	var e *api.Error
	if err == nil || !errors.Is(err, api.ErrNoDaemon) && !(errors.As(err, &e) && e.Status == http.StatusNotFound) {
		return c, st, err
	}
	if c.kept = local.Kept(paths, id); c.kept == "" {
		return c, st, err
	}
	if c.own, err = local.StartKept(ctx, c.kept, paths.Cache); err != nil {
		return nil, st, err
	}
	c.Client = c.own.Client
	if st, err = c.settled(ctx, id); err != nil {
		return nil, st, errors.Join(err, c.own.Close())
	}
	return c, st, nil
}

// settled waits until a daemon that has just started tells how its job stands.
func (c *jobClient) settled(ctx context.Context, id string) (st api.JobStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, keptWait)
	defer cancel()
	for {
		if st, err = c.Job(ctx, id); err == nil && st.State.Halted() {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, errors.Join(fmt.Errorf("could not take up the job that is kept in %q: see dtpnode.log there: %w", c.kept, ctx.Err()), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// close ends a daemon that was started for the command. What was kept of the job goes when gone says that nobody
// needs it any more.
func (c *jobClient) close(gone bool) {
	if c.own == nil {
		return
	}
	if err := c.own.Close(); err == nil && gone {
		_ = os.RemoveAll(c.kept)
	}
}

// ended adds to the error of a command that has followed a kept job where that stays.
func (c *jobClient) ended(st api.JobStatus, err error) error {
	if c.own == nil || err == nil || !owing(st) {
		return err
	}
	return keptIn(st, err, c.kept)
}

// owing reports whether a job's user is still owed what it has done: it could not be finished, or its output is nowhere
// but in the daemon's state folder.
func owing(st api.JobStatus) bool {
	return st.State == api.CannotFinish || (st.State == api.Done || st.State == api.Partial) && st.Output == ""
}

// closeOwn ends the daemon that run had started for a job that it has followed. If the user is still owed what the job
// has done, that is kept, and the error says where, and how to go on.
func closeOwn(g *globals, own *local.Daemon, st api.JobStatus, err error) error {
	if err == nil || !owing(st) || errors.Is(err, submit.ErrCancelled) {
		_ = own.Close()
		return err
	}
	paths, bad := g.paths()
	if bad != nil {
		return errors.Join(err, bad, own.Close())
	}
	dir, bad := own.Keep(paths, st)
	if bad != nil {
		return errors.Join(err, fmt.Errorf("could not keep what is done in %q: %w", dir, bad))
	}
	return keptIn(st, err, dir)
}

// keptIn is the error of a job of which more is kept in a folder than its user has.
func keptIn(st api.JobStatus, err error, dir string) error {
	advice := fmt.Sprintf("`dtpnode get %s -o FILE` writes it", progress.Short(st.ID))
	if st.State == api.CannotFinish {
		advice = cmp.Or(hint(err), api.Advice(st.ID))
	}
	return &api.Error{Message: err.Error(), Hint: advice + "; it is in " + dir, Err: err}
}
