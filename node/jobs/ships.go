package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
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

// fetchShipFile is fetchShip for a blob that may be too large for memory. It returns the path of a file, which stays
// until the job is released. Calls for the same blob wait for one another, so that it crosses the links once.
func (r *programs) fetchShipFile(ctx context.Context, j *Job, ship tasks.Ship) (string, error) {
	j.shipping.Lock()
	defer j.shipping.Unlock()
	from := j.homeNow()
	path, err := r.shipped(ctx, j, j.s.ID, from, ship)
	if store.DiskError(err) != nil {
		return "", &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
	}
	if err != nil {
		return "", err
	}
	c := r.ledgers.Of(j.s.ID)
	if c == nil || !ship.Keep || r.blobs.Has(ship.SHA256, c.ShipPath(ship.SHA256)) {
		return path, nil
	}
	if err := r.placeShip(ctx, j.s.ID, from, ship, c.ShipPath(ship.SHA256)); err != nil {
		return "", err
	}
	r.blobs.Add(ship.SHA256, c.ShipPath(ship.SHA256))
	return path, nil
}

// shipped has a blob of the job id lie in the folder of what is shipped, as long as the job j is here, and returns its
// path. One that was there before is compared with its hash: if it was damaged meanwhile it is brought again.
func (r *base) shipped(
	ctx context.Context, j *Job, id tasks.JobID, from tasks.PeerID, ship tasks.Ship,
) (string, error) {
	path, placed := r.blobs.ShipPath(ship.SHA256), false
	err := r.blobs.ShipWith(ship.SHA256, func(path string) error {
		placed = true
		return r.placeShip(ctx, id, from, ship, path)
	})
	if err != nil {
		return "", err
	}
	j.holds(ship.SHA256, func() { r.blobs.Unship(ship.SHA256) })
	switch {
	case placed:
		r.blobs.IsSound(path) // who places a blob compares it
	case !r.blobs.Sound(ship.SHA256, path):
		if err := r.placeShip(ctx, id, from, ship, path); err != nil {
			return "", err
		}
		r.blobs.Add(ship.SHA256, path)
		r.blobs.IsSound(path)
	}
	return path, nil
}

// placeShip puts a blob at path, whole or not at all: from this node's disk, where it then has two names, else from a
// member. If from is empty the blob must be on this node. Of those that want the same blob one at a time brings it, be
// it to the path of another: how one fares says nothing of the others, which may have other members to ask, and whose
// jobs go on where its job is over.
func (r *base) placeShip(ctx context.Context, id tasks.JobID, from tasks.PeerID, s tasks.Ship, path string) error {
	for {
		mine := false
		_, err, _ := r.placing.Do(s.SHA256, func() (any, error) {
			mine = true
			return nil, r.placeOnce(ctx, id, from, s, path)
		})
		if mine || err == nil && store.SizeOf(path) == s.Size {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (r *base) placeOnce(ctx context.Context, id tasks.JobID, from tasks.PeerID, s tasks.Ship, path string) error {
	for _, there := range r.blobs.Paths(s.SHA256) {
		if !r.blobs.Sound(s.SHA256, there) {
			continue
		}
		if there == path || store.Link(there, path) == nil {
			return nil
		}
		if durable.Place(path, func(f *os.File) error { return store.CopyVerified(f, there, s.SHA256) }) == nil {
			return nil // on another file system
		}
	}
	if from == "" {
		return fmt.Errorf("could not find blob %s here", s.SHA256)
	}
	err := r.askAround(id, from, s.SHA256, func(from tasks.PeerID) error {
		return durable.Place(path, func(f *os.File) error {
			_, err := r.net.Fetch(ctx, from, s.SHA256, s.Size, f)
			return err
		})
	})
	if err == nil { // another path for the same bytes is a second name from now on
		r.blobs.Add(s.SHA256, path)
	}
	return err
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
func (r *base) askAround(id tasks.JobID, at tasks.PeerID, hash string, fetch func(from tasks.PeerID) error) error {
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
	if b.File != "" {
		err := r.shipFile(j, b, &ship)
		return ship, err
	}
	data, err := b.Pack()
	if err != nil {
		return ship, err
	}
	if int64(len(data)) > tasks.MostOf(b.Name) {
		return ship, fmt.Errorf("could not ship the %s of the job: it has %d bytes, the limit is %d", b.Name, len(data),
			tasks.MostOf(b.Name))
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

// shipFile is shipBlob for a blob that is a file.
func (r *programs) shipFile(j *Job, b exec.Blob, ship *tasks.Ship) (err error) {
	info, err := os.Stat(b.File)
	switch {
	case err != nil:
	case b.Name == tasks.InputShip && info.Size() > tasks.MaxInput:
		err = tooMuchInput(info.Size())
	case info.Size() > tasks.MostOf(b.Name):
		err = fmt.Errorf("it has %d bytes, the limit is %d", info.Size(), tasks.MostOf(b.Name))
	}
	if err != nil {
		return fmt.Errorf("could not ship the %s of the job: %w", b.Name, err)
	}
	if ship.SHA256, ship.Size, err = r.blobs.ShipFile(b.File, b.Foreign); err == nil {
		j.holds(ship.SHA256, func() { r.blobs.Unship(ship.SHA256) })
	}
	return err
}

// tooMuchInput is the error for an input that no job may have.
func tooMuchInput(bytes int64) error {
	return fmt.Errorf("what is handed to every process has %d bytes, the limit is %d: let the code open a file that all "+
		"hosts see instead", bytes, int64(tasks.MaxInput))
}

// ship serves bytes to other nodes, which fetch them by their hash to take part in a job, until the job ends.
func (r *programs) ship(j *Job, data []byte) (hash string, err error) {
	if hash, err = r.blobs.Ship(data); err == nil {
		j.holds(hash, func() { r.blobs.Unship(hash) })
	}
	return hash, err
}
