package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/cli/local"
	"github.com/dtpnode/dtpnode/cli/logging"
	"github.com/dtpnode/dtpnode/cli/progress"
	"github.com/dtpnode/dtpnode/cli/submit"
	"github.com/dtpnode/dtpnode/node/api"
)

// jobClient is a client for the daemon that knows a job: the one that runs or, for a job of a run without a daemon that
// was kept, one that is started on what is kept of it.
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
	if !unknown(err) {
		return c, st, err
	}
	if c.kept = findKept(paths, id); c.kept == "" {
		if errors.Is(err, api.ErrNoDaemon) {
			return nil, st, nobodyKnows(paths, id)
		}
		return c, st, err
	}
	// Another command may be working on it.
	c.Client = local.Paths{State: c.kept, Cache: paths.Cache}.Client()
	if st, err = c.Job(ctx, id); !unknown(err) {
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

// findKept finds the folder in which a job is kept, be it that its run was killed just now; empty if there is none.
func findKept(paths local.Paths, id string) (dir string) {
	local.SweepTemporary(paths)
	return local.Kept(paths, id)
}

// unknown reports whether an error says that there is no daemon that knows a job.
func unknown(err error) bool {
	var e *api.Error
	return errors.Is(err, api.ErrNoDaemon) || errors.As(err, &e) && e.Status == http.StatusNotFound
}

// nobodyKnows is the error about a job while no daemon runs, and none of that name is kept: it may be known to a
// daemon, or have been of a run without one and be gone.
func nobodyKnows(paths local.Paths, id string) error {
	for name := range local.AllKept(paths) {
		if id != "" && strings.HasPrefix(name, id) {
			return &api.Error{
				Message: fmt.Sprintf("could not tell which job is meant by %s, as those that are kept begin", progress.Clean(id)),
				Hint:    "give four letters of its name or more, until no other job's begins so; `dtpnode ps` lists them",
			}
		}
	}
	return &api.Error{
		Message: fmt.Sprintf("could not find job %s: no dtpnode daemon is running that may know it, and no run without a "+
			"daemon has kept it", progress.Clean(id)),
		Hint: "if it is a daemon's, start that with `dtpnode up --detach`, or name its folder with --state; of a run " +
			"without a daemon nothing is kept " +
			"once its output is written or it was cancelled, and what was fetched or is partial for a day only",
		Err: api.ErrNoDaemon,
	}
}

// settled waits until a daemon that has just started tells how its job stands: that it cannot be finished or, if it was
// broken off, that it goes on.
func (c *jobClient) settled(ctx context.Context, id string) (st api.JobStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, keptWait)
	defer cancel()
	goesOn := brokenOff(local.ReadKept(c.kept))
	for {
		st, err = c.Job(ctx, id)
		if err == nil && (st.State.Halted() || goesOn && (st.State == api.Running || st.State == api.Merging)) {
			return st, nil
		}
		select {
		case <-ctx.Done():
			return st, errors.Join(fmt.Errorf("could not take up the job that is kept in %q: see dtpnode.log there: %w", c.kept,
				ctx.Err()), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// idle finds a job that is kept and broken off, and that no daemon works on: to tell of it none is started, which would
// have to go on with it.
func idle(ctx context.Context, paths local.Paths, id string) (st api.JobStatus, ok bool) {
	dir := findKept(paths, id)
	if dir == "" {
		return st, false
	}
	for _, client := range []*api.Client{paths.Client(), local.Paths{State: dir}.Client()} {
		if _, err := client.Job(ctx, id); !unknown(err) {
			return st, false
		}
	}
	st = local.ReadKept(dir)
	return st, brokenOff(st)
}

// goOn follows a kept job until it ends, or until ctx does. What was kept of it goes once its user has all of it; what
// a retry of a partial result needs is kept on for a day.
func (c *jobClient) goOn(ctx context.Context, g *globals, id, out string) error {
	st, err := follow(ctx, g, c.Client, id, output{fetch: out, owed: true}, nil, true)
	if st.State == api.Partial && !owing(st) {
		return errors.Join(err, c.had(st))
	}
	c.close(st.State.Final() && !owing(st))
	return c.ended(st, err)
}

// had ends a daemon that was started for the command, once the user has the job's output: what was kept of it stays for
// as long as a daemon keeps a result that was fetched.
func (c *jobClient) had(st api.JobStatus) error {
	if c.own == nil {
		return nil
	}
	c.close(false)
	return errors.Join(local.NoteKept(c.kept, st), local.UserHas(c.kept, true))
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
	if c.own == nil || err == nil || st.State.Final() && !owing(st) {
		return err
	}
	if !owing(st) {
		st = local.BreakOff(st)
	}
	if bad := local.NoteKept(c.kept, st); bad != nil && !errors.Is(bad, fs.ErrNotExist) {
		err = errors.Join(err, bad)
	}
	return keptIn(st, err, c.kept)
}

// owing reports whether a job's user is still owed what it has done: it could not be finished, or its output is nowhere
// but in the daemon's state folder.
func owing(st api.JobStatus) bool {
	return st.State == api.CannotFinish || (st.State == api.Done || st.State == api.Partial) && st.Output == ""
}

// A job is broken off if nothing works on it, and it is to go on from what is committed.
func brokenOff(st api.JobStatus) bool { return st.State == api.Waiting }

// closeOwn ends the daemon that run had started for a job that it has followed. If the user is still owed what the job
// has done, be it that the daemon was killed or this command ended, that is kept, and the error says where, and how to
// go on. What a partial result was made of is kept for a day.
func closeOwn(g *globals, own *local.Daemon, st api.JobStatus, err error) error {
	goesOn := !st.State.Final() && !owing(st) && founded(st)
	died := errors.Is(err, api.ErrLost) && !errors.Is(err, submit.ErrInterrupted) && goesOn
	left := errors.Is(err, submit.ErrLeft) && goesOn
	if errors.Is(err, api.ErrLost) && !errors.Is(err, submit.ErrInterrupted) && !st.State.Halted() && !founded(st) {
		_ = own.Close()
		return &api.Error{Message: fmt.Sprintf("the node that run had started was killed before the job had begun: %v", err),
			Hint: "nothing of it is kept: run it again", Err: err}
	}
	owed := owing(st) || died || left
	if err == nil || !owed && st.State != api.Partial || errors.Is(err, submit.ErrCancelled) {
		_ = own.Close()
		return err
	}
	if died || left {
		st = local.BreakOff(st)
	}
	paths, bad := g.paths()
	if bad != nil {
		return errors.Join(err, bad, own.Close())
	}
	dir, bad := own.Keep(paths, st)
	switch {
	case died: // how its process has ended is no news
		err = fmt.Errorf("the node that run had started was killed; all that is committed is kept: %w", err)
		return keptIn(st, err, dir)
	case bad != nil:
		return errors.Join(err, fmt.Errorf("could not keep what is done in %q: %w", dir, bad))
	case left:
		err = fmt.Errorf("%w; all that is committed is kept", err)
		noteLeft(dir, st, err)
		return keptIn(st, err, dir)
	case owed:
		return keptIn(st, err, dir)
	}
	return errors.Join(err, local.UserHas(dir, true))
}

// noteLeft says in the log of the node that has ended why it did: whoever closed the terminal sees no more of this
// command.
func noteLeft(dir string, st api.JobStatus, why error) {
	f, err := os.OpenFile(local.Paths{State: dir}.Log(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if h, err := logging.New(f, logging.Auto, slog.LevelInfo); err == nil {
		slog.New(h).Warn("run has ended before its job", "job", progress.Short(st.ID), "reason", why.Error(), "next", st.Hint)
	}
}

// retried ends a daemon that was started to retry a kept job. What it keeps then is of the new job, if that has begun
// and was neither finished nor dropped.
func (c *jobClient) retried(old, st api.JobStatus, err error) error {
	whole := st.State == api.Done && !owing(st)
	if c.own == nil || whole || errors.Is(err, submit.ErrCancelled) || st.State == api.Failed || !founded(st) {
		c.close(whole)
		return err
	}
	c.close(false)
	partial := st.State == api.Partial && !owing(st)
	if !partial && !owing(st) {
		st = local.BreakOff(st)
	}
	dir := strings.TrimSuffix(c.kept, old.ID) + st.ID
	if bad := errors.Join(os.Rename(c.kept, dir), local.NoteKept(dir, st), local.UserHas(dir, partial)); bad != nil {
		return errors.Join(err, bad)
	}
	if partial {
		return err
	}
	return keptIn(st, err, dir)
}

// founded reports whether a job has a ledger: there is something to go on from.
func founded(st api.JobStatus) bool { return st.State != "" && st.State != api.Preparing }

// keptIn is the error of a job of which more is kept in a folder than its user has.
func keptIn(st api.JobStatus, err error, dir string) error {
	advice := fmt.Sprintf("`dtpnode get %s -o FILE` writes it", progress.Short(st.ID))
	switch {
	case brokenOff(st):
		advice = st.Hint
	case st.State == api.CannotFinish:
		advice = cmp.Or(hint(err), api.Advice(st.ID))
	}
	return &api.Error{Message: err.Error(), Hint: advice + "; it is in " + dir, Err: err}
}
