package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/tasks"
)

// A job's program is made ready twice over: described from what its user named, where it is submitted, and prepared
// from its description, everywhere else. Where the process that it consists of is killed, it is prepared again.

// runtimeFor waits for the runtime that works for a job on this node.
func (d *Daemon) runtimeFor(ctx context.Context, kind string, needs []string) (exec.Runtime, error) {
	h, err := d.runtimes.For(kind, needs)
	if err != nil {
		return nil, d.advised(err)
	}
	return h.Ready(ctx)
}

// chosen waits for the runtime that a job is led with, and tells the job's user meanwhile what is waited for.
func (d *Daemon) chosen(j *job, h *runtimes.Hosted, err error) (exec.Runtime, error) {
	if err != nil {
		return nil, d.advised(err)
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

// advised is an error with what to do about it, if it is that this host can run nothing.
func (d *Daemon) advised(err error) error {
	var needs *exec.NeedsError
	switch {
	case errors.Is(err, exec.ErrNone):
		return &api.Error{Message: err.Error(), Hint: d.cfg.NoRuntime, Err: err}
	case errors.As(err, &needs):
		return &api.Error{Message: err.Error(), Hint: "submit it on a member that has what it needs: dtpnode members lists what each has", Err: err}
	}
	return err
}

// describe makes the program of a job ready that is submitted here, and has what it ships here for others. earlier is
// the work of the job that it retries, nil if it is none.
func (d *Daemon) describe(ctx context.Context, rt exec.Runtime, j *job, earlier *exec.Order) error {
	steps := &steps{d: d, j: j}
	out, err := rt.Describe(ctx, exec.Request{Spec: j.req.Spec, Dir: j.req.Dir, Earlier: earlier, Tell: steps.tell})
	steps.end()
	if err != nil {
		return err
	}
	work := out.Work
	for _, b := range out.Blobs {
		ship, err := d.shipBlob(j, b)
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
	if j.freed {
		out.Program.Release()
		return errOver
	}
	j.program, j.work, j.codeKey = out.Program, work, out.Program.Key()
	j.params, j.items = out.Params, out.Items
	j.status.Kind = work.Kind
	return nil
}

// steps shows the steps of a runtime that take their time, one after the other.
type steps struct {
	d *Daemon
	j *job

	mu   sync.Mutex
	done func() // of the one that is shown
}

func (s *steps) tell(step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.done()
	}
	s.done = s.j.lasting(step + " on " + s.d.net.Name())
}

func (s *steps) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		s.done()
		s.done = nil
	}
}

// shipBlob has a blob of a job here for others. One with a key is packed once while there are jobs with it.
func (d *Daemon) shipBlob(j *job, b exec.Blob) (tasks.Ship, error) {
	ship := tasks.Ship{Name: b.Name, Keep: b.Keep}
	if b.Key != "" {
		was, known := d.book.Packed(b.Key)
		if known && d.blobs.ShipAgain(was.SHA256) {
			j.holds(was.SHA256, func() { d.blobs.Unship(was.SHA256) })
			ship.SHA256, ship.Size = was.SHA256, was.Size
			return ship, nil
		}
	}
	data, err := b.Pack()
	if err != nil {
		return ship, err
	}
	if len(data) > tasks.MaxShip {
		return ship, fmt.Errorf("could not ship the %s of the job: it has %d bytes, the limit is %d", b.Name, len(data), tasks.MaxShip)
	}
	if ship.SHA256, err = d.ship(j, data); err != nil {
		return ship, err
	}
	ship.Size = int64(len(data))
	if b.Key != "" {
		d.book.SetPacked(b.Key, ship)
	}
	return ship, nil
}

// load prepares a job's program from its work.
func (d *Daemon) load(ctx context.Context, j *job, submitter tasks.PeerID, work tasks.Work) error {
	rt, err := d.runtimeFor(ctx, work.Kind, work.Needs)
	if err != nil {
		return err
	}
	p, err := rt.Prepare(ctx, d.orderOf(j, submitter, work))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.blobs.JobDir(j.id), 0o700); err != nil { // not before: it goes with a job that is known here
		p.Release()
		return &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
	}
	j.mu.Lock()
	old, over := j.program, j.freed
	if over {
		old = p
	} else {
		j.program, j.codeKey = p, p.Key()
	}
	j.mu.Unlock()
	if old != nil {
		old.Release()
	}
	if over {
		return errOver
	}
	return nil
}

// orderOf is a job's work as a runtime prepares it.
func (d *Daemon) orderOf(j *job, submitter tasks.PeerID, work tasks.Work) exec.Order {
	return exec.Order{Submitter: submitter, Work: work, Fetch: func(ctx context.Context, name string) ([]byte, error) {
		ship, ok := work.Ship(name)
		if !ok {
			return nil, fmt.Errorf("the job ships no %s", name)
		}
		return d.fetchShip(ctx, j, ship)
	}}
}

// errOver says that a job ended while something was being done for it.
var errOver = errors.New("the job is over")

// use has a job's program do something. Where its process was killed it is prepared again, and asked once more.
func (d *Daemon) use(ctx context.Context, j *job, do func(p exec.Program, desc *tasks.Job) error) error {
	p, desc, err := d.programOf(ctx, j, nil)
	if err != nil {
		return err
	}
	if err = do(p, desc); !errors.Is(err, exec.ErrGone) {
		return err
	}
	d.log.Warn("the process with a job's code was killed; the code is loaded again", "job", api.Short(j.name))
	if p, desc, err = d.programOf(ctx, j, p); err != nil {
		return err
	}
	return do(p, desc)
}

// programOf is a job's program, prepared if this node has none, or none but the one that is dead, and its description,
// nil for a job that is still being prepared where it is submitted.
func (d *Daemon) programOf(ctx context.Context, j *job, dead exec.Program) (exec.Program, *tasks.Job, error) {
	j.loading.Lock()
	defer j.loading.Unlock()
	p, desc := j.prepared()
	if j.released() {
		return nil, nil, errOver
	}
	if p != nil && p != dead {
		return p, desc, nil
	}
	submitter, work := d.net.ID(), j.ownWork()
	if desc != nil {
		submitter, work = desc.Submitter, desc.Work
	}
	if work.Kind == "" {
		return nil, nil, errOver
	}
	if err := d.load(ctx, j, submitter, work); err != nil {
		return nil, nil, err
	}
	p, desc = j.prepared()
	if p == nil {
		return nil, nil, errOver
	}
	return p, desc, nil
}
