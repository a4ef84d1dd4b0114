package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/tasks"
)

// prepare makes this node ready for a job that another node leads, if it may and can work for it.
func (d *Daemon) prepare(e engine.Prepare) {
	if !d.takesPartIn(e.Job.Submitter) {
		return // its home counts on no slots of this node
	}
	id, home, desc := e.ID, e.Home, e.Job
	j := newJob(d.ctx, store.NameOf(desc))
	j.id, j.home = id, home
	var err error
	if !d.net.HasRight(desc.Submitter, p2p.Submitter) {
		err = fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), desc.Submitter)
	} else {
		err = d.load(j.ctx, j, desc)
	}
	var fail *exec.Failure
	switch {
	case err == nil:
		rate := d.meet(j)
		d.log.Info("ready for job", "job", api.Short(j.name), "home", home)
		d.post(engine.Prepared{ID: id, Job: desc, Rate: rate})
		return
	case errors.As(err, &fail):
		d.post(engine.NotPrepared{ID: id, Kind: string(fail.Kind), Reason: reason(fail), Tail: fail.Tail})
	default:
		d.post(engine.NotPrepared{ID: id})
	}
	d.log.Warn("could not prepare job", "job", id.Short(), "home", home, "reason", err)
	j.release()
}

// takesPartIn reports whether this node works for a member's jobs that others lead: without the right to work only in its own.
func (d *Daemon) takesPartIn(submitter tasks.PeerID) bool {
	return d.cfg.Slots > 0 && (submitter == d.net.ID() || d.net.HasRight(d.net.ID(), p2p.Worker))
}

// meet makes a prepared job known here. It may be known already: by its ledger, or as it was prepared twice.
// Its submitter chose its name, which must not hide a job that is led here.
func (d *Daemon) meet(j *job) (rate float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rate = d.rates[j.codeKey]
	if old := d.jobs[j.id]; old != nil {
		old.takeFrom(j)
		return rate
	}
	d.jobs[j.id] = j
	if o := d.byName[j.name]; o == nil || !o.leads() {
		d.byName[j.name] = j
	}
	return rate
}

// takeFrom takes over what o was prepared with, and lets go of what was there.
func (j *job) takeFrom(o *job) {
	o.mu.Lock()
	sel, lib, desc, key, ships := o.sel, o.lib, o.desc, o.codeKey, o.ships
	o.sel, o.ships = nil, nil
	o.mu.Unlock()
	j.mu.Lock()
	old := j.sel
	if j.resources {
		old = sel
	} else {
		j.sel, j.lib, j.desc, j.codeKey = sel, lib, desc, key
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

// load gets the selector: from the cache of what was compiled here, or the submitter's library if the platform is the same, or by
// compiling the sources.
func (d *Daemon) load(ctx context.Context, j *job, desc *tasks.Job) error {
	ex, err := d.executor(ctx)
	if err != nil {
		return err
	}
	if !sameROOT(desc.Code.Platform, d.root.Platform) {
		return fmt.Errorf("the job needs %s, this node has %s", desc.Code.Platform, d.root.Platform)
	}
	packed, err := d.sources(ctx, j, desc)
	if err != nil {
		return err
	}
	src, err := unpackSource(packed)
	if err != nil {
		return err
	}
	lib, ok := ex.Compiled(src)
	if !ok {
		if lib, err = d.libraryFrom(ctx, ex, j, desc, src); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.blobs.JobDir(j.id), 0o700); err != nil {
		return &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
	}
	sel, err := ex.Load(ctx, lib, desc.Code.Class)
	if err != nil {
		return err
	}
	j.mu.Lock()
	j.sel, j.lib, j.desc, j.codeKey = sel, lib, desc, lib.Key
	j.mu.Unlock()
	return nil
}

// sameROOT compares the ROOT in two platform names, "os-arch/ROOT version/compiler".
func sameROOT(a, b string) bool {
	part := func(s string) string {
		if f := strings.Split(s, "/"); len(f) > 1 {
			return f[1]
		}
		return s
	}
	return part(a) == part(b)
}

// libraryFrom gets a library that was not compiled here: what the submitter has signed, which is for its own jobs
// alone, or else what the sources become here.
func (d *Daemon) libraryFrom(ctx context.Context, ex Executor, j *job, desc *tasks.Job, src rootexec.Source) (rootexec.Library, error) {
	if desc.Code.Library != "" && desc.Code.Platform == d.root.Platform {
		from := rootexec.Origin{Submitter: desc.Submitter, SHA256: desc.Code.Library}
		if lib, ok := ex.Unpacked(src, from); ok {
			return lib, nil
		}
		b, err := d.fetchSmall(ctx, j, desc.Code.Library, maxLibrary)
		if err == nil {
			var lib rootexec.Library
			if lib, err = ex.Unpack(ctx, src, from, b); err == nil {
				return lib, nil
			}
		}
		d.log.Warn("could not use the home's library; compiling", "home", j.homeNow(), "reason", err)
	}
	return ex.Compile(ctx, src)
}

// sources gets a job's packed sources. Those in its ledger's folder are made whole again where they were damaged.
func (d *Daemon) sources(ctx context.Context, j *job, desc *tasks.Job) ([]byte, error) {
	hash := desc.Code.Source
	packed, err := d.fetchSmall(ctx, j, hash, maxSources+maxSources/8)
	if err != nil {
		return nil, err
	}
	if c := d.ledgers.Of(j.id); c != nil {
		if path := c.SourcePath(); !d.blobs.Has(hash, path) {
			if err := durable.PlaceSynced(path, durable.Bytes(packed)); err != nil {
				return nil, &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
			}
			d.blobs.Add(hash, path)
		}
	}
	return packed, nil
}

// fetchSmall gets a blob that a job ships into memory, from this node if it has it whole, and has it here for
// others as long as the job lasts.
func (d *Daemon) fetchSmall(ctx context.Context, j *job, hash string, limit int64) ([]byte, error) {
	b, ok := d.blobs.Read(hash)
	if !ok {
		var err error
		if b, err = d.fetchBytes(ctx, j.id, j.homeNow(), hash, limit); err != nil {
			return nil, err
		}
	}
	if d.ledgers.KeepsSource(j.id, hash) {
		return b, nil // it is
	}
	_, err := d.ship(j, b)
	return b, err
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
	for _, from := range slices.Concat([]tasks.PeerID{at}, v.Members, d.upPeers()) {
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

// errOver says that a job ended while something was being done for it.
var errOver = errors.New("the job is over")

// selector is a job's selector, loaded anew if its process was killed, or if this node came to need it
// without having been prepared.
func (d *Daemon) selector(ctx context.Context, j *job) (Selector, *tasks.Job, error) {
	j.loading.Lock()
	defer j.loading.Unlock()
	sel, desc := j.prepared()
	switch {
	case j.released():
		return nil, nil, errOver
	case sel == nil && desc == nil:
		return nil, nil, errOver
	case sel == nil:
		if err := d.load(ctx, j, desc); err != nil {
			return nil, nil, err
		}
		sel, _ = j.prepared()
		return sel, desc, nil
	case sel.Alive():
		return sel, desc, nil
	}
	ex, err := d.executor(ctx)
	if err != nil {
		return nil, nil, err
	}
	d.log.Warn("a job's ROOT process was killed; loading its selector again", "job", api.Short(j.name))
	fresh, err := ex.Load(ctx, j.lib, classOf(j, desc))
	if errors.Is(err, rootexec.ErrDamaged) && desc != nil {
		if err = d.load(ctx, j, desc); err != nil { // which gets the library anew
			return nil, nil, err
		}
		sel.Release()
		fresh, _ = j.prepared()
		return fresh, desc, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if !j.reload(fresh) {
		fresh.Release()
		return nil, nil, errOver
	}
	sel.Release()
	return fresh, desc, nil
}

// reload puts a fresh selector in place, unless the job is over.
func (j *job) reload(fresh Selector) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.resources {
		j.sel = fresh
	}
	return !j.resources
}

func (j *job) released() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.resources
}

// classOf is the class of a job's selector; a job that is being prepared at its home has no description
// yet.
func classOf(j *job, desc *tasks.Job) string {
	if desc != nil {
		return desc.Code.Class
	}
	return className(j.req)
}
