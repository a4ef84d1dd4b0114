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
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

func (r *programs) fetchWhole(ctx context.Context, from tasks.PeerID, hash string, limit int64) ([]byte, error) {
	if b, ok := r.blobs.Read(hash); ok {
		return b, nil
	}
	var b bytes.Buffer
	_, err := r.net.Fetch(ctx, from, hash, limit, &b)
	return b.Bytes(), err
}

// fetchShip reads a blob that a job ships into memory, from this node's disk if it is whole there, else from a member,
// and serves it to other members until the job ends. If the blob belongs to this node's copy of the job's ledger, and
// is missing or damaged there, fetchShip also writes it anew.
func (r *programs) fetchShip(ctx context.Context, j *Job, ship tasks.Ship) ([]byte, error) {
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

// maxAsked bounds the members that are asked for one blob before the search fails.
const maxAsked = 8

// fetchBytes fetches a blob of a job into memory, from the first member that has it in the order of askAround.
func (r *programs) fetchBytes(
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

// askAround calls fetch for one member after the other that may have a blob of a job, until one call succeeds: first
// for the member at, then for the replicas of the job's ledger, then for all others that are up, since nodes that run
// the job have its blobs.
func (r *programs) askAround(id tasks.JobID, at tasks.PeerID, hash string, fetch func(from tasks.PeerID) error) error {
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

// shipBlob packs a blob of a job and serves it to other nodes. A blob with a key is packed only once, as long as a job
// here holds it.
func (r *programs) shipBlob(j *Job, b exec.Blob) (tasks.Ship, error) {
	ship := tasks.Ship{Name: b.Name, Keep: b.Keep}
	if b.Key != "" {
		was, known := r.book.Packed(b.Key)
		if known && r.blobs.ShipAgain(was.SHA256) {
			j.holds(was.SHA256, func() { r.blobs.Unship(was.SHA256) })
			ship.SHA256, ship.Size = was.SHA256, was.Size
			return ship, nil
		}
	}
	data, err := b.Pack()
	if err != nil {
		return ship, err
	}
	if len(data) > tasks.MaxShip {
		return ship, fmt.Errorf("could not ship the %s of the job: it has %d bytes, the limit is %d", b.Name, len(data),
			tasks.MaxShip)
	}
	if ship.SHA256, err = r.ship(j, data); err != nil {
		return ship, err
	}
	ship.Size = int64(len(data))
	if b.Key != "" {
		r.book.SetPacked(b.Key, ship)
	}
	return ship, nil
}

// ship serves bytes to other nodes, which fetch them by their hash to take part in a job, until the job ends.
func (r *programs) ship(j *Job, data []byte) (hash string, err error) {
	if hash, err = r.blobs.Ship(data); err == nil {
		j.holds(hash, func() { r.blobs.Unship(hash) })
	}
	return hash, err
}
