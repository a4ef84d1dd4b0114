package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// run is one generation: a goroutine that starts it and passes it the loop's commands, in order.
type run struct {
	d      *Daemon
	id     steal.GenID
	job    *job
	cmds   chan genCommand
	ctx    context.Context // ended by KillGen, or with the daemon
	cancel context.CancelFunc

	mu      sync.Mutex
	gen     exec.Generation // nil until started
	leases  []lease         // out, in order
	lastEnd time.Time       // of the packet before
	failed  bool            // reported; nothing more is
}

type lease struct {
	packet tasks.Range
	base   int64 // unit of the file's entry 0
	at     time.Time
}

type genCommand struct {
	lease *tasks.Range
	seal  *engine.SealGen
}

// commandDepth is above what can be under way at once: two leases and a seal.
const commandDepth = 8

func (d *Daemon) startGen(e engine.StartGen) {
	r := &run{d: d, id: e.Gen, cmds: make(chan genCommand, commandDepth)}
	r.ctx, r.cancel = context.WithCancel(d.ctx)
	d.mu.Lock()
	r.job = d.jobs[e.Job]
	d.gens[e.Gen] = r
	d.mu.Unlock()
	d.spawn(r.serve)
}

func (d *Daemon) run(id steal.GenID) *run {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gens[id]
}

func (d *Daemon) command(id steal.GenID, c genCommand) {
	if r := d.run(id); r != nil {
		r.cmds <- c
	}
}

func (d *Daemon) preempt(id steal.GenID) {
	if r := d.run(id); r != nil {
		d.spawn(func() {
			if g := r.generation(); g != nil {
				g.Preempt()
			}
		})
	}
}

func (d *Daemon) killGen(id steal.GenID) {
	if r := d.run(id); r != nil {
		r.cancel()
	}
}

func (r *run) generation() exec.Generation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gen
}

// serve runs the generation from start to end.
func (r *run) serve() {
	defer func() {
		r.cancel()
		r.d.mu.Lock()
		delete(r.d.gens, r.id)
		r.d.mu.Unlock()
	}()
	g, err := r.start()
	if err != nil {
		r.fail(asFailure(err, "start"))
		return
	}
	defer os.RemoveAll(r.workDir())
	for {
		select {
		case <-r.ctx.Done():
			g.Kill()
			return
		case <-g.Done():
			if r.sealLater(g) {
				continue
			}
			return
		case c := <-r.cmds:
			if c.lease != nil {
				r.lease(g, *c.lease)
				continue
			}
			r.seal(g, *c.seal)
			return
		}
	}
}

// sealLater reports whether a command still waits after the child's end; it will fail, and say so.
func (r *run) sealLater(g exec.Generation) bool {
	r.mu.Lock()
	failed := r.failed
	r.mu.Unlock()
	return !failed && len(r.cmds) > 0 && r.ctx.Err() == nil && g != nil
}

func (r *run) workDir() string {
	return filepath.Join(r.d.blobs.JobDir(r.job.id), fmt.Sprintf("gen-%d", r.id))
}

func (r *run) start() (g exec.Generation, err error) {
	if r.job == nil {
		return nil, errors.New("could not start a generation: its job is gone")
	}
	j := r.job
	err = r.d.use(r.ctx, j, func(p exec.Program, job *tasks.Job) (err error) {
		if err := os.MkdirAll(r.workDir(), 0o700); err != nil {
			return &exec.Failure{Kind: exec.KindDisk, Op: "start", Entry: -1, Msg: err.Error()}
		}
		g, err = p.Start(r.ctx, r.d.genSpec(job, j.id.Seed(), r.workDir()), r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("could not start a generation of job %s: %w", j.id.Short(), err)
	}
	r.mu.Lock()
	r.gen = g
	r.mu.Unlock()
	return g, nil
}

// lease translates units into a file's entries.
func (r *run) lease(g exec.Generation, p tasks.Range) {
	_, job := r.job.prepared()
	i, first := job.Data.Locate(p.First)
	f := job.Data.Files[i]
	base := p.First - first
	r.mu.Lock()
	r.leases = append(r.leases, lease{packet: p, base: base, at: time.Now()})
	r.mu.Unlock()
	err := g.Lease(exec.Packet{ID: uint64(p.First), File: f.URL, Tree: f.Tree, First: first, Last: p.Last - base, Base: base, Entries: f.Entries, UUID: f.UUID})
	if err != nil && !errors.Is(err, exec.ErrEnded) { // ErrEnded: Failed has told, or will
		r.fail(asFailure(err, "lease"))
	}
}

func (r *run) seal(g exec.Generation, e engine.SealGen) {
	path := r.d.blobs.Partial(r.job.id, e.ID)
	s, err := g.Seal(r.ctx, path)
	if err != nil {
		if r.ctx.Err() == nil {
			r.fail(asFailure(err, "seal"))
		}
		return
	}
	sha := hex.EncodeToString(s.SHA256[:])
	r.d.blobs.Add(sha, path)
	r.job.addApart(s.Apart)
	r.d.post(engine.GenSealed{Gen: r.id, ID: e.ID, Units: s.Units, Canary: s.Canary, SHA256: sha, Size: s.Size})
}

// PacketDone is called by the child's reader (exec.Sink).
func (r *run) PacketDone(done exec.Done) {
	now := time.Now()
	r.mu.Lock()
	if len(r.leases) == 0 {
		r.mu.Unlock()
		return
	}
	l := r.leases[0]
	r.leases = r.leases[1:]
	since := l.at
	if r.lastEnd.After(since) {
		since = r.lastEnd
	}
	first := r.lastEnd.IsZero()
	r.lastEnd = now
	r.mu.Unlock()
	if f := done.Refused; f != nil {
		out := r.failureOf(f, l.packet, l.base)
		if r.job != nil {
			r.job.refuse(f)
		}
		r.d.log.Warn("a file could not be opened", "gen", r.id, "file", f.File, "reason", f.Error())
		r.d.post(engine.PacketRefused{Gen: r.id, Packet: l.packet, Failure: out})
		return
	}
	if !first && done.Last+l.base == l.packet.Last { // the first one waits for SlaveBegin too
		r.d.packets.add(max(now.Sub(since)-done.Elapsed, 0))
	}
	r.d.post(engine.PacketDone{Gen: r.id, Packet: l.packet, Last: done.Last + l.base, Elapsed: done.Elapsed, Bytes: done.Bytes, Opened: done.Opened})
}

// Failed is called by the child's reader when the generation has failed (exec.Sink).
func (r *run) Failed(f *exec.Failure) { r.fail(f) }

// Output is called for each line that the child prints (exec.Sink).
func (r *run) Output(line string) { r.job.printed(line) }

// fail reports the generation's end once.
func (r *run) fail(f *exec.Failure) {
	r.mu.Lock()
	if r.failed || r.ctx.Err() != nil {
		r.mu.Unlock()
		return
	}
	r.failed = true
	var running tasks.Range
	var base int64
	if len(r.leases) > 0 {
		running, base = r.leases[0].packet, r.leases[0].base
	}
	r.mu.Unlock()
	out := r.failureOf(f, running, base)
	if r.job != nil {
		r.job.crashed(r.d.net.Name(), f)
	}
	r.d.log.Warn("generation failed", "gen", r.id, "kind", f.Kind, "reason", f.Error(), "blame", out.Blame.String())
	r.d.post(engine.GenFailed{Gen: r.id, Failure: out, Killed: f.Kind == exec.KindKilled})
}

// failureOf is what the home is told of a failure in a packet.
func (r *run) failureOf(f *exec.Failure, running tasks.Range, base int64) ledger.Failure {
	out := ledger.Failure{Kind: string(f.Kind), Reason: reason(f), Stack: f.Stack, Tail: f.Tail}
	if r.job != nil {
		if _, job := r.job.prepared(); job != nil {
			out.Blame = blame(job, f, running, base)
		}
	}
	switch f.Kind {
	case exec.KindOpen:
		out.Here, out.Data, out.Host = f.Host == "", true, string(f.Host)
	case exec.KindData, exec.KindSchema:
		out.Data = true
	case exec.KindAbort:
		// A program that gives up before any input says that it cannot work on this host, where something that it opens may
		// be missing, and not that the job makes no sense.
		out.Fatal, out.Reason = f.Stage != exec.StageStart, f.Error() // with file and entry: nothing else tells them
	}
	return out
}

// reason is the failure in one line, without the file and entry, which are told beside it.
func reason(f *exec.Failure) string {
	if f.Op == "" {
		return f.Msg
	}
	return f.Op + ": " + f.Msg
}

// blame is the units that a failure is about: one entry for crashing code, a cluster or file for bad
// data, none for anything else.
func blame(job *tasks.Job, f *exec.Failure, running tasks.Range, base int64) tasks.Range {
	if running.Empty() {
		return tasks.Range{}
	}
	file, _ := job.Data.Locate(running.First)
	units := job.Data.Units(file)
	var out tasks.Range
	switch f.Kind {
	case exec.KindSignal, exec.KindExit, exec.KindException, exec.KindStall, exec.KindMemory, exec.KindLimit:
		if f.Entry < 0 {
			return tasks.Range{}
		}
		out = tasks.R(base+f.Entry, base+f.Entry+1)
	case exec.KindData:
		out = tasks.R(base+f.Blame.First, base+f.Blame.Last)
		if f.Blame.Empty() {
			out = job.Data.Cluster(base + min(max(f.Entry, running.First-base), running.Last-base-1))
		}
	case exec.KindOpen, exec.KindSchema:
		out = units
	default:
		return tasks.Range{}
	}
	return out.Intersect(units).Intersect(job.Want)
}

func asFailure(err error, op string) *exec.Failure {
	var f *exec.Failure
	if errors.As(err, &f) {
		return f
	}
	kind := exec.KindInternal
	if errors.Is(err, exec.ErrGone) { // who killed it did not mean the job
		kind = exec.KindKilled
	}
	return &exec.Failure{Kind: kind, Op: op, Entry: -1, Msg: err.Error()}
}
