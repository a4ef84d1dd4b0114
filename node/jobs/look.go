package jobs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// glanceWait is how long the look at one file may take. On a mount whose server is gone it would never end.
const glanceWait = 30 * time.Second

// glancesAtOnce bounds the files that are looked at at the same time.
const glancesAtOnce = 16

// Look finds out which files of a job this host sees now, as the engine has asked for (engine.Look), and tells the
// engine.
func (r *programs) Look(e engine.Look) {
	out := engine.Looked{ID: e.ID}
	defer func() { r.loop.Post(out) }()
	j := r.book.ByID(e.ID)
	if j == nil {
		return
	}
	_, desc := j.Prepared()
	if desc == nil {
		return
	}
	found := make([]engine.Glance, len(e.Files))
	known := make([]bool, len(e.Files))
	g, ctx := errgroup.WithContext(j.ctx)
	g.SetLimit(glancesAtOnce)
	for i, f := range e.Files {
		g.Go(func() error {
			var cause exec.Cause
			var reason string
			if why, yes := j.refuses(desc.Data.Files[f].URL); yes {
				cause, reason, known[i] = exec.CauseDiffers, why, true
			} else {
				cause, reason, known[i] = r.glance(ctx, desc.Work, desc.Data.Files[f])
			}
			found[i] = engine.Glance{File: f, Cause: string(cause), Reason: reason}
			return nil
		})
	}
	_ = g.Wait()
	for i := range found {
		if known[i] {
			out.Files = append(out.Files, found[i])
		}
	}
}

// glance tries to open one file. A file that can be opened is seen, whatever its content is; the caller has dealt with
// files that were refused for their content. known is false if the look was ended before its time.
func (r *programs) glance(
	ctx context.Context, work tasks.Work, f tasks.File,
) (cause exec.Cause, reason string, known bool) {
	if f.URL == "" {
		return "", "", true // the units are items, which came with the job
	}
	ctx, cancel := context.WithTimeout(ctx, glanceWait)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- r.openInput(ctx, work, f) }() // it may hang in the kernel longer than anybody waits
	select {
	case err := <-answer:
		var fail *exec.Failure
		switch {
		case err == nil:
			return "", "", true
		case errors.As(err, &fail):
			return fail.Host, fail.Msg, fail.Kind == exec.KindOpen
		}
		return exec.CauseOf(err), plan.Reason(err), true
	case <-ctx.Done():
		late := errors.Is(ctx.Err(), context.DeadlineExceeded)
		return exec.CauseUnreachable, fmt.Sprintf("no answer in %s", glanceWait), late
	}
}

// openInput opens a local file, or has the job's runtime open a URL.
func (r *programs) openInput(ctx context.Context, work tasks.Work, f tasks.File) error {
	if path := strings.TrimPrefix(f.URL, "file://"); !plan.IsURL(path) {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return file.Close()
	}
	rt, err := r.runtimes.Ready(ctx, work.Kind, work.Needs)
	if err != nil {
		return err
	}
	_, err = rt.Plan(ctx, f.URL, f.Part, glanceWait)
	return err
}

// UnseenOf converts the files that a node does not see to the form in which users are told of them.
func UnseenOf(all []ledger.Unseen) (out []api.Unseen) {
	for _, u := range all {
		out = append(out, api.Unseen{Where: u.Where, Files: u.Files, Units: u.Cover.Len(), Cause: u.Cause, Reason: u.Reason})
	}
	return out
}
