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

// jobClient is a client for the daemon that knows a job: the running one or, for a kept job of a run without a daemon,
// one that this command starts on the kept folder.
type jobClient struct {
	*api.Client
	own  *local.Daemon // started by this command
	kept string        // the folder it works on
}

// keptWait is how long a daemon may take to know the job that is kept in its folder.
const keptWait = 30 * time.Second

// forJob finds the daemon for a job, and the job's status. If there is no error, the caller must call close.
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
	// Another command may have started a daemon on the kept folder already.
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

// findKept finds the folder in which a job is kept, even if its run was killed just now; empty if there is none.
func findKept(paths local.Paths, id string) (dir string) {
	local.SweepTemporary(paths)
	return local.Kept(paths, id)
}

// unknown reports whether an error says that no daemon that knows the job is running.
func unknown(err error) bool {
	var e *api.Error
	return errors.Is(err, api.ErrNoDaemon) || errors.As(err, &e) && e.Status == http.StatusNotFound
}

// nobodyKnows is the error for a job that is not kept while no daemon runs. A daemon may know it, or it may have been
// run without a daemon and be gone.
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

// settled waits until a daemon that was just started reports the job's state: that it cannot be finished or, if it was
// broken off, that it continues.
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

// idle finds a kept job that was broken off and that no daemon is working on. Its status is shown without starting a
// daemon, since that would have to continue the job.
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

// goOn follows a kept job until it or ctx ends. What was kept of it is removed once its user has everything; what a
// retry of a partial result needs is kept for another day.
func (c *jobClient) goOn(ctx context.Context, g *globals, id, out string) error {
	st, err := follow(ctx, g, c.Client, id, output{fetch: out, owed: true}, nil, true)
	if st.State == api.Partial && !owing(st) {
		return errors.Join(err, c.had(st))
	}
	c.close(st.State.Final() && !owing(st))
	return c.ended(st, err)
}

// had stops a daemon that was started for this command, after the user has received the job's output. What was kept of
// the job stays for as long as a daemon keeps a fetched result.
func (c *jobClient) had(st api.JobStatus) error {
	if c.own == nil {
		return nil
	}
	c.close(false)
	return errors.Join(local.NoteKept(c.kept, st), local.UserHas(c.kept, true))
}

// close stops a daemon that was started for this command. gone means that nobody needs what was kept of the job, so it
// is removed.
func (c *jobClient) close(gone bool) {
	if c.own == nil {
		return
	}
	if err := c.own.Close(); err == nil && gone {
		_ = os.RemoveAll(c.kept)
	}
}

// ended adds to the error of a command that followed a kept job where the job is still kept.
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

// owing reports whether a job's user has not received all that was done: the job could not be finished, or its output
// exists only in the daemon's state folder.
func owing(st api.JobStatus) bool {
	return st.State == api.CannotFinish || (st.State == api.Done || st.State == api.Partial) && st.Output == ""
}

// brokenOff reports whether nobody is working on a job that can continue from what is committed.
func brokenOff(st api.JobStatus) bool { return st.State == api.Waiting }

// closeOwn stops the daemon that run started for a job, after following the job. If the user has not received all that
// was done, because the daemon was killed or this command ended, the work is kept, and the error says where, and how to
// continue. What a partial result was made of is kept for a day.
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
	case died: // the user knows already how the process ended
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

// noteLeft writes into the log of the stopped node why it was stopped, since a user who has closed the terminal no
// longer sees this command.
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

// retried stops a daemon that was started to retry a kept job. What it keeps belongs to the new job, if that has begun
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

// founded reports whether a job has a ledger, so that it can be continued. One that has only just begun to run has
// none on disk until a node is told of that has a copy.
func founded(st api.JobStatus) bool {
	begun := st.State != api.Running || len(st.Replicas) > 0 || st.Done > 0
	return st.State != "" && st.State != api.Preparing && begun
}

// keptIn is the error for a job of which the folder dir has more than the user has.
func keptIn(st api.JobStatus, err error, dir string) error {
	advice := fmt.Sprintf("`dtpnode get %s -o FILE` writes it", progress.Short(st.ID))
	switch {
	case brokenOff(st):
		advice = st.Hint
	case st.State == api.CannotFinish:
		advice = cmp.Or(hint(err), api.Advice(st.ID, st.Unit))
	}
	return &api.Error{Message: err.Error(), Hint: advice + "; it is in " + dir, Err: err}
}
