package rootexec

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// Plan reads the number of entries and the clusters of a tree. With an empty tree name the file must hold exactly one.
// Many calls may run at once; each uses a planner process of its own, which is kept for the next call, if that comes
// soon. Failures that are the file's come as *Failure and name it. The file must be read within the time given, zero
// for DefaultOpen, not counting the wait for a planner.
func (e *Executor) Plan(ctx context.Context, file, tree string, within time.Duration) (exec.Plan, error) {
	var out planned
	if err := e.ask(ctx, file, planFrame{Op: "plan", File: file, Tree: tree}, within, &out); err != nil {
		return exec.Plan{}, err
	}
	return exec.Plan{
		File: file, Part: out.Tree, Entries: out.Entries, Clusters: out.Clusters, Bytes: out.Bytes, UUID: out.UUID,
	}, nil
}

// List reads an object that names files or entries: a TChain, a TFileCollection, a TEntryList, a TEventList. It is as
// Plan in all else.
func (e *Executor) List(ctx context.Context, file, object string, within time.Duration) (out exec.Listing, err error) {
	err = e.ask(ctx, file, listFrame{Op: "list", File: file, Object: object}, within, &out)
	return out, err
}

// ask has a planner look at a file, and decodes its answer into out.
func (e *Executor) ask(ctx context.Context, file string, frame any, within time.Duration, out any) error {
	select {
	case e.planners <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("could not plan %q: %w", file, ctx.Err())
	}
	defer func() { <-e.planners }()
	p, err := e.planner(ctx)
	if err != nil {
		return fmt.Errorf("could not plan %q: %w", file, err)
	}
	within = cmp.Or(within, exec.DefaultOpen)
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	p.ForgetOutput()
	r, err := p.Call(limited, frame)
	if limited.Err() != nil && ctx.Err() == nil {
		p.Close()
		return &exec.Failure{
			Kind: exec.KindOpen, Host: exec.CauseUnreachable, Op: "open", File: file, Entry: -1, Msg: child.TooLong(within),
		}
	}
	if f := asFailure(err); f != nil {
		f.File, f.Entry = file, -1
		// It answered, so it lives; after a crash there is nobody.
		if f.Kind == exec.KindOpen || f.Kind == exec.KindSchema || f.Kind == exec.KindAmbiguous {
			e.keepPlanner(p)
			return f
		}
		p.Close()
		if f.Kind == exec.KindSignal || f.Kind == exec.KindExit {
			f.Kind = exec.KindOpen // this file kills ROOT, before any user code
		}
		return f
	}
	if err == nil {
		err = r.Decode(out)
	}
	if err != nil {
		p.Close()
		return fmt.Errorf("could not plan %q: %w", file, err)
	}
	e.keepPlanner(p)
	return nil
}

func (e *Executor) planner(ctx context.Context) (*child.Process, error) {
	e.mu.Lock()
	if n := len(e.idle); n > 0 {
		p := e.idle[n-1]
		e.idle = e.idle[:n-1]
		e.mu.Unlock()
		select {
		case <-p.Exited(): // killed while it waited
			p.Close()
		default:
			return p, nil
		}
	} else {
		e.mu.Unlock()
	}
	return e.base.Fork(ctx, rolePlanner)
}

// plannerIdle is how long a planner is kept without work: another is forked in milliseconds, and the memory is the
// job's.
const plannerIdle = 2 * time.Second

func (e *Executor) keepPlanner(p *child.Process) {
	e.mu.Lock()
	keep := !e.closed && len(e.idle) < e.cfg.Planners
	if keep {
		e.idle = append(e.idle, p)
		time.AfterFunc(plannerIdle, func() { e.dropPlanner(p) })
	}
	e.mu.Unlock()
	if !keep {
		p.Close()
	}
}

// dropPlanner ends a planner that has no work.
func (e *Executor) dropPlanner(p *child.Process) {
	e.mu.Lock()
	i := slices.Index(e.idle, p)
	if i >= 0 {
		e.idle = slices.Delete(e.idle, i, i+1)
	}
	e.mu.Unlock()
	if i >= 0 {
		p.Close()
	}
}
