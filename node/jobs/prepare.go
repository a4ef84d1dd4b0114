package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/durable"
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
	if !r.takesPartIn(desc.Submitter) { // its home counts on no slots of this node
		if j.s.Desc = r.book.Whole(id, desc); own {
			r.book.Meet(j)
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
	var fail *exec.Failure
	switch {
	case err == nil:
		rate := r.book.Meet(j)
		r.log.Info("ready for job", "job", api.Short(j.Name), "home", home)
		r.loop.Post(engine.Prepared{ID: id, Job: desc, Rate: rate})
		return
	case errors.As(err, &fail):
		r.loop.Post(engine.NotPrepared{ID: id, Failure: worker.Failure(fail)})
	default:
		r.loop.Post(engine.NotPrepared{ID: id})
	}
	r.log.Warn("could not prepare job", "job", id.Short(), "home", home, "reason", err)
	if own { // its user asks for it here, and may append to it
		r.book.Meet(j)
		return
	}
	j.Release()
}

// takesPartIn reports whether this node works for a member's jobs that others lead: without the right to work only in
// its own.
func (r *Room) takesPartIn(submitter tasks.PeerID) bool {
	return r.cfg.Slots > 0 && (submitter == r.net.ID() || r.net.HasRight(r.net.ID(), p2p.Worker))
}

// takeFrom takes over what o was prepared with, and lets go of what was there.
func (j *Job) takeFrom(o *Job) {
	o.mu.Lock()
	program, desc, key, ships := o.s.Program, o.s.Desc, o.s.CodeKey, o.s.Ships
	o.s.Program, o.s.Ships = nil, nil
	o.mu.Unlock()
	j.mu.Lock()
	old := j.s.Program
	if j.s.Freed {
		old = program
	} else {
		j.s.Program, j.s.Desc, j.s.CodeKey = program, desc, key
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

// fetchShip gets a blob that a job ships into memory, from this node if it has it whole, and has it here for others as
// long as the job lasts. One that is kept with the copy of a ledger is made whole there where it was damaged.
func (r *Room) fetchShip(ctx context.Context, j *Job, ship tasks.Ship) ([]byte, error) {
	b, ok := r.blobs.Read(ship.SHA256)
	if !ok {
		var err error
		if b, err = r.fetchBytes(ctx, j.s.ID, j.homeNow(), ship.SHA256, ship.Size); err != nil {
			return nil, err
		}
	}
	c := r.ledgers.Of(j.s.ID)
	if !ship.Keep || c == nil {
		_, err := r.ship(j, b)
		return b, err
	}
	if path := c.ShipPath(ship.SHA256); !r.blobs.Has(ship.SHA256, path) {
		if err := durable.PlaceSynced(path, durable.Bytes(b)); err != nil {
			return nil, &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
		}
		r.blobs.Add(ship.SHA256, path)
	}
	return b, nil
}

// maxAsked bounds the members that are asked for a blob before it is taken as not to be had now.
const maxAsked = 8

// fetchBytes gets a blob of a job into memory, as askAround finds it.
func (r *Room) fetchBytes(
	ctx context.Context, id tasks.JobID, at tasks.PeerID, hash string, limit int64,
) (data []byte, err error) {
	err = r.askAround(id, at, hash, func(from tasks.PeerID) error {
		var buf bytes.Buffer
		_, err := r.net.Fetch(ctx, from, hash, limit, &buf)
		data = buf.Bytes()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	})
	return data, err
}

// askAround has a blob of a job fetched from the member at, or else from others that may have it: replicas of its
// ledger do, and those that run it.
func (r *Room) askAround(id tasks.JobID, at tasks.PeerID, hash string, fetch func(from tasks.PeerID) error) error {
	var v engine.LedgerView
	r.loop.Ask(func(p *engine.Peer) { v, _ = p.Ledger(id) })
	var asked []tasks.PeerID
	var errs error
	for _, from := range slices.Concat([]tasks.PeerID{at}, v.Replicas, r.cluster.Up()) {
		if from == "" || from == r.net.ID() || slices.Contains(asked, from) {
			continue
		}
		if asked = append(asked, from); len(asked) > maxAsked || r.ctx.Err() != nil {
			break
		}
		err := fetch(from)
		if err == nil {
			return nil
		}
		if errs = errors.Join(errs, err); errors.Is(err, context.Canceled) || store.DiskError(err) != nil {
			break
		}
	}
	if errs == nil {
		errs = errors.New("no other member can be reached")
	}
	return fmt.Errorf("could not fetch blob %s of job %s: %w", hash, id.Short(), errs)
}
