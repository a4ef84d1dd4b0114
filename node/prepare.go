package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// prepare makes this node ready for a job that another node leads, if it may and can work for it.
func (d *Daemon) prepare(e engine.Prepare) {
	if !d.takesPartIn(e.Job.Submitter) {
		return // its home counts on no slots of this node
	}
	id, home, desc := e.ID, e.Home, e.Job
	j := d.book.New(store.NameOf(desc))
	j.id, j.home = id, home
	var err error
	if !d.net.HasRight(desc.Submitter, p2p.Submitter) {
		err = fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), desc.Submitter)
	} else {
		j.desc = d.book.growths.whole(j.id, desc)
		err = d.load(j.ctx, j, desc.Submitter, desc.Work)
	}
	var fail *exec.Failure
	switch {
	case err == nil:
		rate := d.book.Meet(j)
		d.log.Info("ready for job", "job", api.Short(j.name), "home", home)
		d.post(engine.Prepared{ID: id, Job: desc, Rate: rate})
		return
	case errors.As(err, &fail):
		d.post(engine.NotPrepared{ID: id, Failure: worker.Failure(fail)})
	default:
		d.post(engine.NotPrepared{ID: id})
	}
	d.log.Warn("could not prepare job", "job", id.Short(), "home", home, "reason", err)
	j.release()
}

// takesPartIn reports whether this node works for a member's jobs that others lead: without the right to work only in
// its own.
func (d *Daemon) takesPartIn(submitter tasks.PeerID) bool {
	return d.cfg.Slots > 0 && (submitter == d.net.ID() || d.net.HasRight(d.net.ID(), p2p.Worker))
}

// takeFrom takes over what o was prepared with, and lets go of what was there.
func (j *job) takeFrom(o *job) {
	o.mu.Lock()
	program, desc, key, ships := o.program, o.desc, o.codeKey, o.ships
	o.program, o.ships = nil, nil
	o.mu.Unlock()
	j.mu.Lock()
	old := j.program
	if j.freed {
		old = program
	} else {
		j.program, j.desc, j.codeKey = program, desc, key
	}
	j.mu.Unlock()
	for hash, let := range ships {
		j.holds(hash, let)
	}
	if old != nil {
		old.Release()
	}
	o.release()
}

// fetchShip gets a blob that a job ships into memory, from this node if it has it whole, and has it here for others as
// long as the job lasts. One that is kept with the copy of a ledger is made whole there where it was damaged.
func (d *Daemon) fetchShip(ctx context.Context, j *job, ship tasks.Ship) ([]byte, error) {
	b, ok := d.blobs.Read(ship.SHA256)
	if !ok {
		var err error
		if b, err = d.fetchBytes(ctx, j.id, j.homeNow(), ship.SHA256, ship.Size); err != nil {
			return nil, err
		}
	}
	c := d.ledgers.Of(j.id)
	if !ship.Keep || c == nil {
		_, err := d.ship(j, b)
		return b, err
	}
	if path := c.ShipPath(ship.SHA256); !d.blobs.Has(ship.SHA256, path) {
		if err := durable.PlaceSynced(path, durable.Bytes(b)); err != nil {
			return nil, &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
		}
		d.blobs.Add(ship.SHA256, path)
	}
	return b, nil
}

// maxAsked bounds the members that are asked for a blob before it is taken as not to be had now.
const maxAsked = 8

// fetchBytes gets a blob of a job into memory, as askAround finds it.
func (d *Daemon) fetchBytes(ctx context.Context, id tasks.JobID, at tasks.PeerID, hash string, limit int64) (data []byte, err error) {
	err = d.askAround(id, at, hash, func(from tasks.PeerID) error {
		var buf bytes.Buffer
		_, err := d.net.Fetch(ctx, from, hash, limit, &buf)
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
func (d *Daemon) askAround(id tasks.JobID, at tasks.PeerID, hash string, fetch func(from tasks.PeerID) error) error {
	var v engine.LedgerView
	d.ask(func(p *engine.Peer) { v, _ = p.Ledger(id) })
	var asked []tasks.PeerID
	var errs error
	for _, from := range slices.Concat([]tasks.PeerID{at}, v.Replicas, d.cluster.Up()) {
		if from == "" || from == d.net.ID() || slices.Contains(asked, from) {
			continue
		}
		if asked = append(asked, from); len(asked) > maxAsked || d.ctx.Err() != nil {
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
