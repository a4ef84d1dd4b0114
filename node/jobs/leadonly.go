package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// A node may lead a job without what its code runs in (exec.Leading): a laptop that lacks the version of Python, or
// cannot make the environment, or has no slots. Others do all of the work then, and this node merges. If every one of
// them lacks it as well the job ends, since it would wait for ever.

// leadsOnly is a runtime that leads a job for which this host has none, as why says, where other members have one. It
// is for jobs of a version that their user has named.
func (r *Room) leadsOnly(j *Job, why error) (exec.Runtime, bool) {
	var lacks *exec.NeedsError
	if !errors.As(why, &lacks) || !r.othersHave(lacks.Needs) {
		return nil, false
	}
	rt, ok := r.runtimes.Leading(j.s.Req.Kind, j.s.Req.Version)
	if !ok {
		return nil, false
	}
	out, err := rt.Describe(j.ctx, exec.Request{Spec: j.s.Req.Spec, Dir: j.s.Req.Dir, LeadOnly: true})
	if err != nil {
		return nil, !errors.Is(err, exec.ErrNotLed) // another error is told when it is described
	}
	out.Program.Release()
	j.note(fmt.Sprintf("this node takes no part, and leads the job alone: %v", why))
	return rt, true
}

// othersHave reports whether other members that are up may work for a job with these needs.
func (r *base) othersHave(needs []string) bool { return len(r.cluster.Planners(needs)) > 0 }

// describeLed describes a job that this node leads without taking part, since it cannot make what the code runs in. If
// that cannot be, the error is why it cannot make it.
func (r *programs) describeLed(
	ctx context.Context, info exec.Info, req exec.Request, why *exec.LacksError,
) (out exec.Description, err error) {
	rt, ok := r.runtimes.Leading(info.Kind, info.Version)
	if !ok {
		return out, why.Err
	}
	req.LeadOnly = true
	if out, err = rt.Describe(ctx, req); errors.Is(err, exec.ErrNotLed) {
		return out, &api.Error{
			Message: why.Error(),
			Hint: "others may have it, and this node needs it as well, since it adds up what the code makes of all items: " +
				"submit elsewhere, or have each item give a value of its own",
			Err: why,
		}
	}
	if err != nil {
		return out, why.Err
	}
	if !r.othersHave(out.Work.Needs) {
		out.Program.Release()
		return exec.Description{}, why.Err
	}
	out.Notes = append(out.Notes, fmt.Sprintf("this node takes no part, and leads the job alone: %v", why))
	return out, nil
}

// loadLed makes a program that only merges of a job that is led here, where the one that runs cannot be made, as why
// says.
func (r *programs) loadLed(
	ctx context.Context, j *Job, submitter tasks.PeerID, work tasks.Work, why error,
) (exec.Program, bool) {
	var needs *exec.NeedsError
	var fail *exec.Failure
	if !errors.As(why, &needs) && (!errors.As(why, &fail) || fail.Kind != exec.KindLacks) {
		return nil, false
	}
	rt, ok := r.runtimes.Leading(work.Kind, "any")
	if !ok {
		return nil, false
	}
	p, err := rt.Prepare(ctx, r.orderOf(j, submitter, work))
	if err != nil {
		return nil, false
	}
	if err := r.loadInput(ctx, j); err != nil {
		p.Release()
		return nil, false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Freed {
		p.Release()
		return nil, false
	}
	j.s.Program = p
	return p, true
}

// endLeft ends a job that is only led here if none of the members that might have worked for it does.
func (r *Room) endLeft(j *Job) {
	j.mu.Lock()
	out := make(map[tasks.PeerID]string, len(j.s.Out))
	for id, why := range j.s.Out {
		out[id] = why
	}
	leads, needs := j.s.LeadOnly && j.s.Led && !j.s.Concluding, j.s.Work.Needs
	for id, n := range j.s.View.Nodes {
		if n.Stats.Units > 0 { // it could not, and can now
			delete(out, id)
		}
	}
	j.mu.Unlock()
	if !leads {
		return
	}
	for _, m := range r.cluster.Planners(needs) {
		if out[m.ID] == "" {
			return
		}
	}
	var whys []string
	for id, why := range out {
		whys = append(whys, cmp.Or(r.cluster.NameOf(id), id)+": "+why)
	}
	slices.Sort(whys)
	r.failLed(j, &api.Error{
		Message: "none of the nodes can run the job:\n" + strings.Join(whys, "\n"),
		Hint:    "mend that on one of them, and submit again",
	})
}
