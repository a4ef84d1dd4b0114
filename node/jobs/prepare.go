package jobs

import (
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// Prepare makes this node ready for a job that another node leads, if it may and can work for it.
func (r *Room) Prepare(e engine.Prepare) {
	id, home, desc := e.ID, e.Home, e.Job
	j := r.book.New(store.NameOf(desc))
	j.s.ID, j.s.Home = id, home
	own := desc.Submitter == r.net.ID()
	if !r.takesPartIn(desc.Submitter) { // the home knows that this node has no slots for the job
		if j.s.Desc = r.book.Whole(id, desc); own {
			r.meet(j)
		}
		return
	}
	var err error
	if !r.net.HasRight(desc.Submitter, p2p.Submitter) {
		err = fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), desc.Submitter)
	} else {
		j.s.Desc = r.book.Whole(j.s.ID, desc)
		err = r.Load(j.ctx, j, desc.Submitter, desc.Work)
	}
	err = ofDisk(err)
	var fail *exec.Failure
	switch {
	case err == nil:
		rate := r.meet(j)
		r.log.Info("ready for job", "job", api.Short(j.Name), "home", home)
		program, _ := j.Prepared()
		r.tellPrepared(id, desc.Submitter, program)
		r.loop.Post(engine.Prepared{ID: id, Job: desc, Rate: rate})
		return
	case errors.As(err, &fail):
		r.tellNotPrepared(id, desc.Submitter, fail)
		r.loop.Post(engine.NotPrepared{ID: id, Failure: worker.Failure(fail)})
	default:
		r.loop.Post(engine.NotPrepared{ID: id})
	}
	r.log.Warn("could not prepare job", "job", api.Short(j.Name), "home", home, "reason", err)
	if own { // the job's user asks for it on this node, and may append to it here
		r.meet(j)
		return
	}
	j.Release()
}

// meet has a job be known, with the node that leads it as the engine knows it now: it may have told of another one
// while the job was being prepared, and nobody knew it then.
func (r *Room) meet(j *Job) (rate float64) {
	id := j.s.ID
	rate = r.book.Meet(j)
	r.loop.Ask(func(p *engine.Peer) {
		known, home := r.book.ByID(id), p.Home(id)
		if known == nil || home == "" {
			return
		}
		known.mu.Lock()
		defer known.mu.Unlock()
		known.s.Home = home
	})
	return rate
}

// ofDisk makes an error of this node's disk a failure, which the home is told, so that users learn which node has no
// room, and where. It returns other errors as they are.
func ofDisk(err error) error {
	var fail *exec.Failure
	if errors.As(err, &fail) || store.DiskError(err) == nil {
		return err
	}
	return &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
}

// takesPartIn reports whether this node runs work of a submitter's jobs that other nodes lead. A node without the right
// to work does so only for jobs that were submitted on it.
func (r *base) takesPartIn(submitter tasks.PeerID) bool {
	return r.cfg.Slots > 0 && (submitter == r.net.ID() || r.net.HasRight(r.net.ID(), p2p.Worker))
}

// takeFrom takes over program, description, blobs and what Begin has made of o, which is the same job prepared once
// more, and releases what the job held before.
func (j *Job) takeFrom(o *Job) {
	o.mu.Lock()
	program, desc, key, ships, input := o.s.Program, o.s.Desc, o.s.CodeKey, o.s.Ships, o.s.Input
	o.s.Program, o.s.Ships = nil, nil
	o.mu.Unlock()
	j.mu.Lock()
	old := j.s.Program
	if j.s.Freed {
		old = program
	} else {
		j.s.Program, j.s.Desc, j.s.CodeKey, j.s.Input = program, desc, key, input
	}
	j.mu.Unlock()
	for hash, let := range ships {
		j.holds(hash, let)
	}
	if old != nil {
		old.Release()
	}
	o.Release()
}
