package jobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/units"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// This file finds the committed partials of a job for node/units: in this node's copy of the ledger, on the job's home,
// or among what was kept when the job had ended.

// Units makes the room that streams results of units to this node's user.
func (r *collector) Units() *units.Room {
	const every, once, patience = 200 * time.Millisecond, 5 * time.Second, time.Minute
	return &units.Room{
		Jobs: unitJobs{r}, Values: r.runtimes, Early: &r.early.Early, Hear: r.hear, Every: every, Once: once,
		Patience: patience,
	}
}

// UnitsSettled has those that follow a job's units look for what has come. Only the engine's loop calls it.
func (r *collector) UnitsSettled(e engine.Settled) {
	if j := r.book.ByID(e.ID); j != nil {
		r.early.Committed(j.Name)
	}
}

// unitJobs finds the partials of jobs for node/units (units.Jobs).
type unitJobs struct{ r *collector }

// Source finds the partials of a job that this node's user may see. If the job waits for a home, a copy of the ledger
// on this node is good enough.
func (u unitJobs) Source(ctx context.Context, name string) (units.Source, error) {
	r := u.r
	_, at, st, err := r.granted(ctx, name, members.ForLook)
	switch {
	case err != nil:
		known := r.book.Meant(name)
		if len(known) != 1 || !r.cluster.May(r.net.ID(), known[0].submitter(), members.ForLook) {
			return nil, err
		}
		if c := r.ledgers.Of(known[0].ID()); c != nil {
			return unitsHere{r, c}, nil
		}
		return nil, err
	case st.State.Final():
		return r.unitsOfEnded(ctx, at, st)
	}
	here := r.ledgers.Named(st.ID)
	switch {
	case len(here) == 1:
		return unitsHere{r, here[0]}, nil
	case at == "":
		return nil, &api.Error{
			Status:  http.StatusServiceUnavailable,
			Message: fmt.Sprintf("job %s has no results yet: it %s", api.Short(st.ID), st.State.Stands()),
			Hint:    "follow it with --follow",
		}
	}
	return unitsThere{r, at, st.ID}, nil
}

// unitsHere are the units in this node's copy of a ledger (units.Source).
type unitsHere struct {
	r *collector
	c *store.Copy
}

func (u unitsHere) Job() string { return u.c.Name() }

func (u unitsHere) List(context.Context) (units.Listing, error) { return u.r.listUnits(u.c) }

func (u unitsHere) Blob(_ context.Context, p merge.Partial) (string, func(), error) {
	var v engine.LedgerView
	u.r.loop.Ask(func(peer *engine.Peer) { v, _ = peer.Ledger(u.c.ID) })
	path, err := u.r.ledgers.Keep(p, v.Replicas)
	if err != nil {
		return "", nil, err
	}
	if err := store.Verify(path, p.SHA256); err != nil {
		if errors.Is(err, store.ErrDamaged) {
			u.r.loop.Post(engine.BlobDamaged{Job: u.c.ID, ID: p.ID})
		}
		return "", nil, err // the blob may also have been folded with others just now
	}
	return path, func() {}, nil
}

// listUnits lists what is committed according to this node's copy of a ledger.
func (r *collector) listUnits(c *store.Copy) (l units.Listing, err error) {
	var v engine.LedgerView
	var g engine.GrowthView
	ok := false
	r.loop.Ask(func(p *engine.Peer) {
		if g, ok = p.Growth(c.ID); ok {
			v, ok = p.Ledger(c.ID)
		}
	})
	if !ok {
		return l, ErrOver
	}
	desc := r.book.Whole(c.ID, c.Job)
	return units.Listing{
		Kind:  desc.Work.Kind,
		Units: g.Units,
		Open:  g.Open,
		Ended: v.Ended,
		Parts: v.Parts,
		Lost:  missing(desc, v.Lost, r.cluster.Names()),
	}, nil
}

// unitsThere are the units in the copy of a job's home (units.Source).
type unitsThere struct {
	r    *collector
	home tasks.PeerID
	name string
}

func (u unitsThere) Job() string { return u.name }

func (u unitsThere) List(ctx context.Context) (l units.Listing, err error) {
	answer, err := u.r.cluster.Ask(ctx, u.home, "units", u.name)
	if err == nil {
		err = wire.Unmarshal(answer, &l)
	}
	if err != nil {
		return l, fmt.Errorf("could not ask %s what is committed: %w", u.r.cluster.NameOf(u.home), err)
	}
	return l, nil
}

func (u unitsThere) Blob(ctx context.Context, p merge.Partial) (string, func(), error) {
	return u.r.fetchAside(ctx, p, func(f *os.File) error {
		_, err := u.r.net.Fetch(ctx, u.home, p.SHA256, min(p.Size, merge.MaxSize), f)
		return err
	})
}

// fetchAside fetches a partial into a folder of its own, which done removes.
func (r *collector) fetchAside(
	ctx context.Context, p merge.Partial, fill func(*os.File) error,
) (path string, done func(), err error) {
	dir, err := os.MkdirTemp(r.cfg.ScratchDir, "units-")
	if err != nil {
		return "", nil, fmt.Errorf("could not make a folder for a partial: %w", err)
	}
	done = func() { _ = os.RemoveAll(dir) }
	path = filepath.Join(dir, "partial")
	if err = durable.Place(path, fill); err == nil {
		err = ctx.Err()
	}
	if err != nil {
		done()
		return "", nil, fmt.Errorf("could not fetch partial %v: %w", p.ID, err)
	}
	return path, done, nil
}

// ServeUnits answers the request "units" about a job of which this node has a copy of the ledger.
func (r *collector) ServeUnits(name string) ([]byte, error) {
	found := r.ledgers.Named(name)
	if len(found) != 1 {
		return nil, NoJob(name)
	}
	l, err := r.listUnits(found[0])
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&l)
}

// unitsEnded are the units in what was kept of a job that has ended (units.Source).
type unitsEnded struct {
	r     *collector
	found *foundParts
	list  units.Listing
}

// keptSoon is how long after a job's end what its result was made of may yet be on its way to where it is kept.
const keptSoon = 5 * time.Second

// unitsOfEnded finds what was kept of a job that has ended.
func (r *collector) unitsOfEnded(ctx context.Context, at tasks.PeerID, st api.JobStatus) (units.Source, error) {
	id := api.Short(st.ID)
	switch {
	case st.State != api.Done && st.State != api.Partial:
		return nil, &api.Error{
			Status:  http.StatusConflict,
			Message: fmt.Sprintf("nothing is kept of the units of job %s: it %s", id, st.State.Stands()),
			Hint:    fmt.Sprintf("`dtpnode status %s` says more", id),
		}
	case st.PartsSHA256 == "" && st.State == api.Done:
		return nil, &api.Error{
			Status:  http.StatusConflict,
			Message: fmt.Sprintf("job %s has no values of single units: all %d are in its result", id, st.Units),
			Hint:    fmt.Sprintf("`dtpnode get %s` fetches it", id),
		}
	}
	found, err := r.FindParts(ctx, at, st)
	for began := time.Now(); err != nil && time.Since(began) < keptSoon; found, err = r.FindParts(ctx, at, st) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(eventEvery):
		}
	}
	if err != nil {
		return nil, &api.Error{
			Status:  http.StatusGone,
			Message: fmt.Sprintf("could not tell of the units of job %s, which %s: %v", id, st.State.Stands(), err),
			Hint:    "they are kept as long as the result, a day after that was written or fetched",
			Err:     err,
		}
	}
	return unitsEnded{r, found, listOfEnded(found, st)}, nil
}

// listOfEnded lists the units of a job that has ended. Why a unit is in no partial is taken from the job's status,
// which may not have had room for all of them.
func listOfEnded(found *foundParts, st api.JobStatus) units.Listing {
	l := units.Listing{Kind: found.desc.Work.Kind, Units: found.desc.Want, Ended: true, Parts: found.Parts}
	rest := tasks.CoverOf(l.Units)
	for _, p := range l.Parts {
		rest = rest.Minus(p.Cover)
	}
	for _, m := range st.Missing {
		r := tasks.R(m.Units[0], m.Units[1])
		if in := rest.Intersect(tasks.CoverOf(r)); in.Equal(tasks.CoverOf(r)) && !r.Empty() {
			l.Lost = append(l.Lost, m)
			rest = rest.Minus(in)
		}
	}
	for _, r := range rest {
		l.Lost = append(l.Lost, api.Missing{
			Units:  [2]int64{r.First, r.Last},
			Reason: "not in the result; why is told of others alone, which came before",
		})
	}
	return l
}

func (u unitsEnded) Job() string { return store.NameOf(u.found.desc) }

func (u unitsEnded) List(context.Context) (units.Listing, error) { return u.list, nil }

func (u unitsEnded) Blob(ctx context.Context, p merge.Partial) (string, func(), error) {
	path := u.r.results.PartPath(store.NameOf(u.found.desc), p.SHA256)
	err := store.Verify(path, p.SHA256)
	if err == nil {
		return path, func() {}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		u.r.log.Warn("could not read what is kept of a job here; asking others", "reason", err)
	}
	return u.r.fetchAside(ctx, p, func(f *os.File) error {
		return u.r.askAround(u.found.Job, u.found.at, p.SHA256, func(from tasks.PeerID) error {
			if _, err := f.Seek(0, 0); err != nil {
				return err
			}
			if err := f.Truncate(0); err != nil {
				return err
			}
			_, err := u.r.net.Fetch(ctx, from, p.SHA256, min(p.Size, merge.MaxSize), f)
			return err
		})
	})
}
