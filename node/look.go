package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/tasks"
)

// glanceWait is how long one file may take to be looked at: a mount whose server is gone lets its users hang.
const glanceWait = 30 * time.Second

// glancesAtOnce bounds the files that are looked at together.
const glancesAtOnce = 16

// look sees which files of a job are there (engine.Look).
func (d *Daemon) look(e engine.Look) {
	out := engine.Looked{ID: e.ID}
	defer func() { d.post(out) }()
	j := d.book.ByID(e.ID)
	if j == nil {
		return
	}
	_, desc := j.prepared()
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
				cause, reason, known[i] = d.glance(ctx, desc.Work, desc.Data.Files[f])
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

// glance tries to open one file. A file that is there, whatever is in it, is seen: whether one that was refused for
// what is in it has changed is looked at before.
func (d *Daemon) glance(
	ctx context.Context, work tasks.Work, f tasks.File,
) (cause exec.Cause, reason string, known bool) {
	if f.URL == "" {
		return "", "", true // items, which came with the job
	}
	ctx, cancel := context.WithTimeout(ctx, glanceWait)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- d.openInput(ctx, work, f) }() // may hang in the kernel longer than anybody waits
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

// openInput opens a local file, or has the runtime open a URL that the job's work is done with.
func (d *Daemon) openInput(ctx context.Context, work tasks.Work, f tasks.File) error {
	if path := strings.TrimPrefix(f.URL, "file://"); !plan.IsURL(path) {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return file.Close()
	}
	rt, err := d.runtimeFor(ctx, work.Kind, work.Needs)
	if err != nil {
		return err
	}
	_, err = rt.Plan(ctx, f.URL, f.Part, glanceWait)
	return err
}

func unseenOf(all []ledger.Unseen) (out []api.Unseen) {
	for _, u := range all {
		out = append(out, api.Unseen{Where: u.Where, Files: u.Files, Units: u.Cover.Len(), Cause: u.Cause, Reason: u.Reason})
	}
	return out
}

// blindMembers says of members, this node among them, what they do not see of the jobs that run, as far as this node
// knows: of itself, and of all in jobs that it leads.
func (d *Daemon) blindMembers() map[tasks.PeerID]string {
	out, alone := map[tasks.PeerID]string{}, len(d.net.Members()) == 1
	say := func(id tasks.PeerID, us []ledger.Unseen) {
		if len(us) > 0 && out[id] == "" {
			u := us[0]
			out[id] = fmt.Sprintf("does not see %s (%s)", u.Where, u.Reason)
			if !alone {
				out[id] += fmt.Sprintf(": %d files left to others", u.Files)
			}
		}
	}
	d.ask(func(p *engine.Peer) {
		say(d.net.ID(), p.Unseen())
		for job := range p.Jobs() {
			if v, ok := p.View(job); ok {
				for id, us := range v.Unseen {
					say(id, us)
				}
			}
		}
	})
	return out
}

// membersThatLose are those that took work of a job led here and did not do it, and how many entries.
func (d *Daemon) membersThatLose() map[tasks.PeerID]int64 {
	out := map[tasks.PeerID]int64{}
	d.ask(func(p *engine.Peer) {
		for job := range p.Jobs() {
			if v, ok := p.View(job); ok {
				for _, l := range v.Losers {
					out[l.ID] += l.Lost
				}
			}
		}
	})
	return out
}
