package jobs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/values"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What units of a job hand to others of it stays on the nodes that have run them (node/values). This file connects that
// store with the jobs, and with the members that may work.

// Values is the path of the socket at which generations of the job find the store. Only jobs that grow have units that
// take results of others.
func (w worked) Values() (string, error) {
	_, desc := w.j.Prepared()
	if desc == nil || !desc.Open {
		return "", nil
	}
	return w.of.values.Socket(w.j.ID(), jobOfValues(w))
}

// jobOfValues is a job as the store needs it (values.Job).
type jobOfValues struct {
	of *programs
	j  *Job
}

func (v jobOfValues) Dir() string { return v.of.blobs.JobDir(v.j.ID()) }

// Item finds a unit's item. A blob that comes with its append gets a file of its own.
func (v jobOfValues) Item(ctx context.Context, unit int64) (path string, at int64, err error) {
	_, desc := v.j.Prepared()
	if desc == nil || unit < 0 || unit >= desc.Data.Entries() {
		return "", 0, fmt.Errorf("the job has no unit %d that is known here", unit)
	}
	i, at := desc.Data.Locate(unit)
	f := desc.Data.Files[i]
	if f.Items == "" {
		return "", 0, fmt.Errorf("the unit %d is only a number", unit)
	}
	if len(f.Data) == 0 {
		path, err = v.of.itemsPath(ctx, v.j, f)
		return path, at, err
	}
	path = filepath.Join(v.Dir(), "items-"+f.Items)
	if store.SizeOf(path) == int64(len(f.Data)) {
		return path, at, nil
	}
	err = durable.Place(path, func(to *os.File) error {
		_, err := to.Write(f.Data)
		return err
	})
	return path, at, err
}

// peersOfValues are the members that may have values (values.Peers).
type peersOfValues struct{ *copies }

func (p peersOfValues) Workers() (ids []tasks.PeerID) {
	for _, m := range p.net.Members() {
		if m.Up && !m.Self && m.Slots > 0 && p.net.HasRight(m.ID, p2p.Worker) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func (p peersOfValues) AskValues(ctx context.Context, id tasks.PeerID, request []byte) ([]byte, error) {
	return p.net.Request(ctx, id, "values", request)
}

// ServeValues answers the request "values" of a member that may work.
func (r *programs) ServeValues(from tasks.PeerID, arg string) ([]byte, error) {
	if !r.net.HasRight(from, p2p.Worker) {
		return nil, fmt.Errorf("values of jobs are for members that may work, and %s may not", r.cluster.NameOf(from))
	}
	return r.values.Serve([]byte(arg))
}

// makersAsk is the request "makers" of a job's home.
type makersAsk struct {
	Job   tasks.JobID `msgpack:"j"`
	Units tasks.Cover `msgpack:"u"`
}

// makersTold is its answer.
type makersTold struct {
	Known tasks.Cover `msgpack:"k"` // any member may have run the others
	Of    []maker     `msgpack:"o"`
}

// maker is a member with units that it may have run.
type maker struct {
	Node  tasks.PeerID `msgpack:"n"`
	Units tasks.Cover  `msgpack:"u"`
}

// ServeMakers answers the request "makers" of a member that may work.
func (r *programs) ServeMakers(from tasks.PeerID, arg string) ([]byte, error) {
	if !r.net.HasRight(from, p2p.Worker) {
		return nil, fmt.Errorf("who runs what of jobs is for members that may work, and %s may not", r.cluster.NameOf(from))
	}
	var a makersAsk
	if err := wire.Unmarshal([]byte(arg), &a); err != nil {
		return nil, err
	}
	if !a.Units.Valid(tasks.R(0, tasks.MaxUnits)) {
		return nil, errors.New("these are no units")
	}
	of, known, err := r.makers(a.Job, a.Units)
	if err != nil {
		return nil, err
	}
	told := makersTold{Known: known}
	for id, c := range of {
		told.Of = append(told.Of, maker{id, c})
	}
	return wire.Marshal(&told)
}

// makers are the members that may have run some units of a job that is led here.
func (r *programs) makers(
	id tasks.JobID, units tasks.Cover,
) (of map[tasks.PeerID]tasks.Cover, known tasks.Cover, err error) {
	leads := false
	r.loop.Ask(func(p *engine.Peer) { of, known, leads = p.Makers(id, units) })
	if !leads {
		return nil, nil, fmt.Errorf("this node does not lead the job %s", id.Short())
	}
	return of, known, nil
}

// Makers asks a job's home (values.Peers).
func (p peersOfValues) Makers(
	ctx context.Context, id tasks.JobID, units tasks.Cover,
) (of map[tasks.PeerID]tasks.Cover, known tasks.Cover, err error) {
	j := p.book.ByID(id)
	if j == nil {
		return nil, nil, NoJob(id.Short())
	}
	home := j.homeNow()
	if home == p.net.ID() {
		return p.makers(id, units)
	}
	request, err := wire.Marshal(&makersAsk{id, units})
	var answer []byte
	if err == nil {
		answer, err = p.cluster.Ask(ctx, home, "makers", string(request))
	}
	var told makersTold
	if err == nil {
		err = wire.Unmarshal(answer, &told)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("could not ask %s who has run units: %w", p.cluster.NameOf(home), err)
	}
	of = map[tasks.PeerID]tasks.Cover{}
	for _, m := range append(told.Of, maker{Units: told.Known}) {
		if !m.Units.Valid(tasks.R(0, tasks.MaxUnits)) {
			return nil, nil, fmt.Errorf("%s has told units that are none", p.cluster.NameOf(home))
		}
		of[m.Node] = of[m.Node].Union(m.Units)
	}
	return of, told.Known, nil
}

// Within calls do with a job while it is not over here (values.Peers). JobOver is called by the engine's loop, too.
func (p peersOfValues) Within(name string, do func(tasks.JobID, values.Job)) error {
	err := error(NoJob(name))
	p.loop.Ask(func(*engine.Peer) {
		j := p.book.Named(name)
		if j == nil {
			return
		}
		if id := j.ID(); p.book.ByID(id) == j {
			err = nil
			do(id, jobOfValues{&programs{p.base}, j})
		}
	})
	return err
}

// releaseWait is for how long a node is asked to remove values.
const releaseWait = 5 * time.Second

// releaseAsk is the request "release" of a job's submitter.
type releaseAsk struct {
	Job   tasks.JobID `msgpack:"j"`
	Units tasks.Cover `msgpack:"u"`
}

// ReleaseValues has nodes remove what units of an open job of this node's user have made for others. A node that does
// not answer keeps that until the job ends.
func (r *copies) ReleaseValues(ctx context.Context, name string, units [][2]int64) error {
	j, err := r.book.ownOpen(name)
	if j == nil {
		return err
	}
	id := j.ID()
	ranges := make([]tasks.Range, len(units))
	for i, u := range units {
		ranges[i] = tasks.R(u[0], u[1])
	}
	cover := tasks.CoverOf(ranges...)
	request, err := wire.Marshal(&releaseAsk{id, cover})
	if err != nil {
		return err
	}
	if err := r.ServeRelease(r.net.ID(), string(request)); err != nil {
		return &api.Error{Status: http.StatusBadRequest, Message: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, releaseWait)
	defer cancel()
	var wg sync.WaitGroup
	for _, to := range (peersOfValues{r}).Workers() {
		wg.Add(1)
		r.spawn(func() {
			defer wg.Done()
			if _, err := r.net.Request(ctx, to, "release", request); err != nil {
				r.log.Info("a node keeps values that nobody needs until their job ends", "job", id.Short(), "node", to,
					"reason", err)
			}
		})
	}
	wg.Wait()
	return nil
}

// ServeRelease answers the request "release".
func (r *copies) ServeRelease(from tasks.PeerID, arg string) error {
	var a releaseAsk
	if err := wire.Unmarshal([]byte(arg), &a); err != nil {
		return err
	}
	if !a.Units.Valid(tasks.R(0, tasks.MaxUnits)) {
		return errors.New("these are no units")
	}
	j := r.book.ByID(a.Job)
	if j == nil { // it is over, and its values with it
		return nil
	}
	_, desc := j.Prepared()
	if desc == nil || desc.Submitter != from {
		return fmt.Errorf("values of job %s are removed for the node that has submitted it, which %s is not",
			a.Job.Short(), r.cluster.NameOf(from))
	}
	if err := r.values.Release(j.Name, a.Units); err != nil && r.book.ByID(a.Job) != nil {
		return err
	}
	return nil
}
