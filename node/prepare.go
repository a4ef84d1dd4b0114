package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/rootexec"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// signature is what a home answers to the request "signature": who signed a job, and how.
type signature struct {
	Signer string `msgpack:"s"`
	Sig    []byte `msgpack:"g"`
}

// errNotNow says that a job cannot be prepared just now and may be later.
var errNotNow = errors.New("not now")

// prepare makes this node ready for a job of another node, if it may and can work.
func (d *Daemon) prepare(id tasks.JobID, home tasks.PeerID) {
	if !d.net.HasRight(d.net.ID(), p2p.Worker) || d.cfg.Slots == 0 {
		return // it takes no part, and its home counts on no slots of it
	}
	ctx, cancel := context.WithCancel(d.ctx)
	j := &job{id: id, home: home, ctx: ctx, cancel: cancel}
	desc, err := d.fetchJob(ctx, id, home)
	if err == nil {
		j.name = hex.EncodeToString(desc.Nonce)
		err = d.load(ctx, j, desc)
	}
	var fail *rootexec.Failure
	switch {
	case err == nil:
		old, rate := d.adopt(j)
		if old != nil { // prepared twice: it was lost and found meanwhile
			old.release()
		}
		d.log.Info("ready for job", "job", j.name[:12], "home", home)
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

// adopt makes a job of another node known here, in place of old. Its submitter chose its name, which must
// not hide a job that is led here.
func (d *Daemon) adopt(j *job) (old *job, rate float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old = d.jobs[j.id]
	d.jobs[j.id] = j
	if o := d.byName[j.name]; o == nil || !o.led {
		d.byName[j.name] = j
	}
	return old, d.rates[j.codeKey]
}

// fetchJob gets a description and checks its name, its signature and the signer's right.
func (d *Daemon) fetchJob(ctx context.Context, id tasks.JobID, home tasks.PeerID) (*tasks.Job, error) {
	var body bytes.Buffer
	if _, err := d.net.Fetch(ctx, home, string(id), maxJobBytes, &body); err != nil {
		return nil, fmt.Errorf("could not fetch job %s: %w", id.Short(), err)
	}
	answer, err := d.net.Request(ctx, home, "signature", []byte(id))
	if err != nil {
		return nil, fmt.Errorf("could not ask for the signature of job %s: %w", id.Short(), err)
	}
	var sig signature
	if err := wire.Unmarshal(answer, &sig); err != nil {
		return nil, err
	}
	if err := p2p.Verify(sig.Signer, []byte(id), sig.Sig); err != nil {
		return nil, fmt.Errorf("could not accept job %s: %w", id.Short(), err)
	}
	if !d.net.HasRight(sig.Signer, p2p.Submitter) {
		return nil, fmt.Errorf("could not accept job %s: %s has no right to submit", id.Short(), sig.Signer)
	}
	var desc tasks.Job
	if err := wire.Unmarshal(body.Bytes(), &desc); err != nil {
		return nil, err
	}
	if err := desc.Check(); err != nil {
		return nil, err
	}
	if desc.Submitter != sig.Signer || len(desc.Nonce) != 16 {
		return nil, fmt.Errorf("%w: signed by %s in the name of %s", tasks.ErrJob, sig.Signer, desc.Submitter)
	}
	return &desc, nil
}

// load gets the selector: from the cache, or the home's library if the platform is the same, or by
// compiling the sources.
func (d *Daemon) load(ctx context.Context, j *job, desc *tasks.Job) error {
	exec, err := d.executor(ctx)
	if err != nil {
		return err
	}
	if !sameROOT(desc.Code.Platform, d.root.Platform) {
		return fmt.Errorf("%w: the job needs %s, this node has %s", errNotNow, desc.Code.Platform, d.root.Platform)
	}
	packed, err := d.fetchSmall(ctx, j.home, desc.Code.Source, maxSources+maxSources/8)
	if err != nil {
		return err
	}
	src, err := unpackSource(packed)
	if err != nil {
		return err
	}
	lib, ok := exec.Compiled(src)
	if !ok {
		if lib, err = d.libraryFrom(ctx, exec, j.home, desc, src); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.blobs.jobDir(j.id), 0o700); err != nil {
		return &rootexec.Failure{Kind: rootexec.KindDisk, Op: "prepare", Entry: -1, Msg: err.Error()}
	}
	sel, err := exec.Load(ctx, lib, desc.Code.Class)
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

func (d *Daemon) libraryFrom(ctx context.Context, exec Executor, home tasks.PeerID, desc *tasks.Job, src rootexec.Source) (rootexec.Library, error) {
	if desc.Code.Library != "" && desc.Code.Platform == d.root.Platform {
		b, err := d.fetchSmall(ctx, home, desc.Code.Library, maxJobBytes)
		if err == nil {
			var lib rootexec.Library
			if lib, err = exec.Unpack(ctx, src, b); err == nil {
				return lib, nil
			}
		}
		d.log.Warn("could not use the home's library; compiling", "home", home, "reason", err)
	}
	return exec.Compile(ctx, src)
}

// fetchSmall gets a blob into memory, from this node if it has it.
func (d *Daemon) fetchSmall(ctx context.Context, from tasks.PeerID, hash string, limit int64) ([]byte, error) {
	if path, ok := d.blobs.path(hash); ok {
		if b, err := os.ReadFile(path); err == nil {
			return b, nil
		}
	}
	var buf bytes.Buffer
	if _, err := d.net.Fetch(ctx, from, hash, limit, &buf); err != nil {
		return nil, fmt.Errorf("could not fetch blob %s: %w", hash, err)
	}
	if _, err := d.blobs.put(d.shipDir(), buf.Bytes()); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// errOver says that a job ended while something was being done for it.
var errOver = errors.New("the job is over")

// selector is a job's selector, loaded anew if its process was killed.
func (d *Daemon) selector(ctx context.Context, j *job) (Selector, *tasks.Job, error) {
	j.loading.Lock()
	defer j.loading.Unlock()
	sel, desc := j.prepared()
	switch {
	case sel == nil:
		return nil, nil, errOver
	case sel.Alive():
		return sel, desc, nil
	}
	exec, err := d.executor(ctx)
	if err != nil {
		return nil, nil, err
	}
	d.log.Warn("a job's ROOT process was killed; loading its selector again", "job", j.name[:12])
	fresh, err := exec.Load(ctx, j.lib, classOf(j, desc))
	if err != nil {
		return nil, nil, err
	}
	j.mu.Lock()
	over := j.resources
	if !over {
		j.sel = fresh
	}
	j.mu.Unlock()
	if over {
		fresh.Release()
		return nil, nil, errOver
	}
	sel.Release()
	return fresh, desc, nil
}

// classOf is the class of a job's selector; a job that is being prepared at its home has no description
// yet.
func classOf(j *job, desc *tasks.Job) string {
	if desc != nil {
		return desc.Code.Class
	}
	return className(j.req)
}
