package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job's program is made ready in two ways: on the node where the job is submitted it is made from what the user
// named, which also gives the job's description; on all other nodes it is made from that description. If the process
// that it consists of is killed, it is made from the description again.

// programs makes the programs of jobs ready, and has them used.
type programs struct{ *base }

// Runtimes are the runtimes of this host, with advice for a host that has none.
type Runtimes struct {
	*runtimes.Set
	Advice string // what a user can do if this host can run nothing
	// Other is what a user can do if this host lacks what a job of a kind needs, by the kinds; where it says nothing:
	// submit it on a member that has it.
	Other map[string]string
	// Lacks is what a user can do if this host has no runtime of a kind, though it has others, by the kinds.
	Lacks map[string]string
	// Elsewhere says which members have a runtime that meets needs, in words that follow advice; empty if none has. It may
	// be nil.
	Elsewhere func(needs []string) string
	// Missing says which other members have no runtime that meets needs, and so take no part in a job, in at most one
	// sentence. It may be nil.
	Missing func(needs []string) []string
}

// Ready returns the runtime of this host for a job of a kind with these needs, and waits until it is made ready.
func (s *Runtimes) Ready(ctx context.Context, kind string, needs []string) (exec.Runtime, error) {
	h, err := s.For(kind, needs)
	if err != nil {
		return nil, s.Advised(err)
	}
	return h.Ready(ctx)
}

// Advised adds to an error what the user can do about it, if the error is that this host has no runtime for the job. It
// returns other errors as they are.
func (s *Runtimes) Advised(err error) error {
	var lacks *exec.NeedsError
	switch {
	case errors.As(err, &lacks):
		const members = "submit it on a member that has what it needs: dtpnode members lists what each has"
		advice := ""
		if s.None() != nil {
			advice = s.Advice
		}
		hint := cmp.Or(s.Lacks[lacks.Kind], advice, s.Other[lacks.Of], members) + s.elsewhere(lacks.Needs)
		return &api.Error{Message: err.Error(), Hint: hint, Err: err}
	case errors.Is(err, exec.ErrNone), s.None() != nil:
		return &api.Error{Message: oneLine(err), Hint: s.Advice + s.elsewhere(nil), Err: err}
	}
	return err
}

// oneLine is the text of an error that may be several joined ones.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func (s *Runtimes) elsewhere(needs []string) string {
	if s.Elsewhere == nil {
		return ""
	}
	return s.Elsewhere(needs)
}

// checkItems refuses items for a kind of work whose programs run over entries of files alone.
func (s *Runtimes) checkItems(kind string) error {
	if s.TakesItems(kind) {
		return nil
	}
	return appendFailed(http.StatusBadRequest, "jobs of the kind "+kind+" run over files, and have no items")
}

// chosen waits until the runtime with which a job is led is ready, and shows the job's user meanwhile what is being
// done for that. err is the error of choosing the runtime.
func (r *programs) chosen(j *Job, h *runtimes.Hosted, err error) (exec.Runtime, error) {
	if err != nil {
		return nil, r.runtimes.Advised(err)
	}
	tick := time.NewTicker(eventEvery)
	defer tick.Stop()
	h.Begin()
	for {
		j.phase(api.Preparing, h.Step())
		select {
		case <-h.Opened():
			return h.Ready(j.ctx)
		case <-j.ctx.Done():
			return nil, j.ctx.Err()
		case <-tick.C:
		}
	}
}

// describe makes the program of a job ready that is submitted here, and serves the blobs that it ships to other nodes.
// earlier is the work of the job that this one retries, nil if it retries none; chosen is the selection of a job that
// has one.
func (r *programs) describe(ctx context.Context, rt exec.Runtime, j *Job, earlier *exec.Order, chosen []byte) error {
	steps := &steps{on: r.net.Name(), j: j}
	req := exec.Request{Spec: j.s.Req.Spec, Dir: j.s.Req.Dir, Earlier: earlier, Selection: chosen,
		LeadOnly: r.cfg.Slots == 0, Tell: steps.tell}
	out, err := rt.Describe(ctx, req)
	var lacks *exec.LacksError
	if errors.As(err, &lacks) {
		out, err = r.describeLed(ctx, rt.Info(), req, lacks)
	}
	steps.end()
	if err != nil {
		return err
	}
	j.note(out.Notes...)
	work := out.Work
	if r.runtimes.Missing != nil {
		j.note(r.runtimes.Missing(work.Needs)...)
	}
	for _, b := range out.Blobs {
		ship, err := r.shipBlob(j, b)
		if err != nil {
			out.Program.Release()
			return err
		}
		work.Ships = append(work.Ships, ship)
	}
	if err := work.Check(); err != nil {
		out.Program.Release()
		return fmt.Errorf("could not describe the job: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Freed {
		out.Program.Release()
		return ErrOver
	}
	j.s.Program, j.s.Work, j.s.CodeKey, j.s.LeadOnly = out.Program, work, out.Program.Key(), out.LeadOnly
	j.s.Params, j.s.Items, j.s.Whole = out.Params, out.Items, out.Whole
	j.s.Status.Kind, j.s.Status.Unit = work.Kind, r.runtimes.Words(work.Kind).Units
	return nil
}

// steps shows what a runtime is doing for a job, as its phase. Each step ends the one before.
type steps struct {
	on string // this node's name
	j  *Job

	mu   sync.Mutex
	done func() // ends the step that is shown; nil if none is
}

func (s *steps) tell(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.done()
	}
	s.done = s.j.lasting(step + " on " + s.on)
}

func (s *steps) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.done()
		s.done = nil
	}
}

// Load prepares a job's program from its work.
func (r *programs) Load(ctx context.Context, j *Job, submitter tasks.PeerID, work tasks.Work) error {
	rt, err := r.runtimes.Ready(ctx, work.Kind, work.Needs)
	if err != nil {
		return err
	}
	p, err := rt.Prepare(ctx, r.orderOf(j, submitter, work))
	if err != nil {
		return err
	}
	if err := r.loadInput(ctx, j); err != nil {
		p.Release()
		return err
	}
	// The folder is made last, since it is removed only with a job that is known here, and not for one that was released.
	j.mu.Lock()
	old, over := j.s.Program, j.s.Freed
	if !over {
		if err := os.MkdirAll(r.blobs.JobDir(j.s.ID), 0o700); err != nil {
			j.mu.Unlock()
			p.Release()
			return &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
		}
		j.s.Program, j.s.CodeKey = p, p.Key()
	} else {
		old = p
	}
	j.mu.Unlock()
	if old != nil {
		old.Release()
	}
	if over {
		return ErrOver
	}
	return nil
}

// orderOf is the order to a runtime to prepare a job's program.
func (r *programs) orderOf(j *Job, submitter tasks.PeerID, work tasks.Work) exec.Order {
	return exec.Order{Submitter: submitter, Work: work, Fetch: func(ctx context.Context, name string) ([]byte, error) {
		ship, ok := work.Ship(name)
		if !ok {
			return nil, fmt.Errorf("the job ships no %s", name)
		}
		return r.fetchShip(ctx, j, ship)
	}, FetchFile: func(ctx context.Context, name string) (string, error) {
		ship, ok := work.Ship(name)
		if !ok {
			return "", fmt.Errorf("the job ships no %s", name)
		}
		return r.fetchShipFile(ctx, j, ship)
	}}
}

// ErrOver says that a job ended while something was being done for it.
var ErrOver = errors.New("the job is over")

// use calls do with a job's program and description. If the program's process turns out to be killed, use prepares the
// program again and calls do once more.
func (r *programs) use(ctx context.Context, j *Job, do func(p exec.Program, desc *tasks.Job) error) error {
	p, desc, err := r.programOf(ctx, j, nil)
	if err != nil {
		return err
	}
	if err = do(p, desc); !errors.Is(err, exec.ErrGone) {
		return err
	}
	r.log.Warn("the process with a job's code was killed; the code is loaded again", "job", api.Short(j.Name))
	if p, desc, err = r.programOf(ctx, j, p); err != nil {
		return err
	}
	return do(p, desc)
}

// programOf returns a job's program and its description. It prepares the program if this node has none, or only the one
// that dead names as having lost its process. The description is nil while the job is being prepared to be submitted
// here.
func (r *programs) programOf(ctx context.Context, j *Job, dead exec.Program) (exec.Program, *tasks.Job, error) {
	j.loading.Lock()
	defer j.loading.Unlock()
	p, desc := j.Prepared()
	if j.released() {
		return nil, nil, ErrOver
	}
	if p != nil && p != dead {
		return p, desc, nil
	}
	submitter, work := r.net.ID(), j.ownWork()
	if desc != nil {
		submitter, work = desc.Submitter, desc.Work
	}
	if work.Kind == "" {
		return nil, nil, ErrOver
	}
	if err := r.Load(ctx, j, submitter, work); err != nil {
		if p, ok := r.loadLed(ctx, j, submitter, work, err); ok {
			return p, desc, nil
		}
		return nil, nil, err
	}
	p, desc = j.Prepared()
	if p == nil {
		return nil, nil, ErrOver
	}
	return p, desc, nil
}
