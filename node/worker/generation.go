package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// generation is one generation of a job: a goroutine that starts it and passes it the engine's commands, in order. Its
// methods of exec.Sink are called by whoever reads what the child says.
type generation struct {
	w      *Workers
	id     steal.GenID
	job    tasks.JobID
	solo   bool               // it runs a suspect range by itself
	of     Job                // the job; nil if it is gone
	orders chan engine.Effect // LeasePacket and SealGen
	ctx    context.Context    // ended by Kill, or with the workers
	cancel context.CancelFunc

	mu     sync.Mutex
	gen    exec.Generation // nil until started
	leased []exec.Packet   // the packets that are not done, in the order in which they were leased
	free   time.Time       // when the first of them could begin: when it was leased, or when the one before it ended
	ran    bool            // a packet has ended
	failed bool            // the engine was told of the generation's failure, and is told nothing after that
	cover  tasks.Cover     // the units of the packets that are done
	shots  shots           // snapshots of the output
}

// orderDepth is the capacity of orders. It is more than the two leases and one seal that can be under way together, so
// that whoever gives an order never waits.
const orderDepth = 8

// started is the running child, nil until there is one.
func (g *generation) started() exec.Generation {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gen
}

// serve runs the generation from start to end.
func (g *generation) serve() {
	defer func() {
		g.cancel()
		g.w.forget(g.id)
		g.dropShots()
	}()
	child, err := g.start()
	if err != nil {
		g.fail(asFailure(err, "start"))
		return
	}
	defer os.RemoveAll(g.workDir())
	for {
		select {
		case <-g.ctx.Done():
			child.Kill()
			return
		case <-child.Done():
			if g.sealLater() {
				continue
			}
			return
		case e := <-g.orders:
			switch e := e.(type) {
			case engine.LeasePacket:
				g.lease(child, e.Packet)
			case engine.SealGen:
				g.seal(child, e)
				return
			}
		}
	}
}

// sealLater reports whether an order still waits after the child's end. Carrying it out then fails, and that failure is
// reported.
func (g *generation) sealLater() bool {
	g.mu.Lock()
	failed := g.failed
	g.mu.Unlock()
	return !failed && len(g.orders) > 0 && g.ctx.Err() == nil
}

func (g *generation) workDir() string {
	return filepath.Join(g.w.Blobs.JobDir(g.job), fmt.Sprintf("gen-%d", g.id))
}

func (g *generation) start() (child exec.Generation, err error) {
	if g.of == nil {
		return nil, errors.New("could not start a generation: its job is gone")
	}
	err = g.of.Use(g.ctx, func(p exec.Program, job *tasks.Job, input string) (err error) {
		if err := os.MkdirAll(g.workDir(), 0o700); err != nil {
			return &exec.Failure{Kind: exec.KindDisk, Op: "start", Entry: -1, Msg: err.Error()}
		}
		spec := g.w.Limits.Spec(job, input, g.job.Seed(), g.workDir())
		spec.Data, spec.Host, spec.Alone = g.w.Data, g.w.Host, g.solo
		if spec.Values, err = g.of.Values(); err != nil {
			return &exec.Failure{Kind: exec.KindDisk, Op: "start", Entry: -1, Msg: err.Error()}
		}
		child, err = p.Start(g.ctx, spec, g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("could not start a generation of job %s: %w", g.job.Short(), err)
	}
	g.mu.Lock()
	g.gen = child
	g.mu.Unlock()
	return child, nil
}

// lease translates units into a file's entries.
func (g *generation) lease(child exec.Generation, p tasks.Range) {
	job := g.of.Described()
	if job == nil || len(job.Data.Files) == 0 { // the job was released since, and with it this generation
		return
	}
	i, first := job.Data.Locate(p.First)
	f := job.Data.Files[i]
	base := p.First - first
	packet := exec.Packet{
		ID:      uint64(p.First),
		File:    f.URL,
		Part:    f.Part,
		First:   first,
		End:     min(job.Data.Units(i).Last, job.Want.Last) - base,
		Last:    p.Last - base,
		Base:    base,
		Start:   job.Data.Start(i),
		Entries: f.Total(),
		UUID:    f.UUID,
	}
	g.mu.Lock()
	if len(g.leased) == 0 {
		g.free = time.Now()
	}
	g.leased = append(g.leased, packet)
	g.mu.Unlock()
	if packet.Small = f.Data; f.Items != "" && len(f.Data) == 0 {
		var err error
		if packet.Items, err = g.of.Items(g.ctx, f); err != nil {
			g.refuse(packet, err)
			return
		}
	}
	if err := child.Lease(packet); err != nil && !errors.Is(err, exec.ErrEnded) { // ErrEnded: Failed has told, or will
		g.fail(asFailure(err, "lease"))
	}
}

// refuse tells that the items of a packet cannot be had on this host, unless the generation has been ended.
func (g *generation) refuse(p exec.Packet, why error) {
	if g.ctx.Err() != nil {
		return
	}
	g.PacketDone(exec.Done{ID: p.ID, Last: p.First, Refused: &exec.Failure{
		Kind:  exec.KindOpen,
		Host:  exec.CauseUnreachable,
		Op:    "fetch items",
		Entry: -1,
		Msg:   why.Error(),
	}})
}

func (g *generation) seal(child exec.Generation, e engine.SealGen) {
	path := g.w.Blobs.Partial(g.job, e.ID)
	s, err := g.sealed(child, path)
	if err != nil {
		if g.ctx.Err() == nil {
			g.fail(asFailure(err, "seal"))
		}
		return
	}
	part := Partial(g.job, e.ID, nil, s)
	g.w.Blobs.Add(part.SHA256, path)
	g.w.Blobs.IsSound(path)
	g.of.Apart(s.Apart)
	g.w.Post(engine.GenSealed{Gen: g.id, Partial: part})
}

// sealed has the child write its output, without values that are not to be kept.
func (g *generation) sealed(child exec.Generation, path string) (exec.Partial, error) {
	t, ok := child.(exec.Taker)
	if !ok {
		return child.Seal(g.ctx, path)
	}
	g.mu.Lock()
	cover := g.cover
	g.mu.Unlock()
	return t.SealWithout(g.ctx, path, g.of.Taken(g.ctx, cover))
}

// PacketDone is called by the child's reader (exec.Sink).
func (g *generation) PacketDone(done exec.Done) {
	now := time.Now()
	g.mu.Lock()
	if len(g.leased) == 0 {
		g.mu.Unlock()
		return
	}
	packet, since, first := g.leased[0], g.free, !g.ran
	g.leased, g.free, g.ran = g.leased[1:], now, true
	if done.Refused == nil && done.Last > packet.First {
		g.cover = g.cover.Add(tasks.R(packet.Base+packet.First, packet.Base+done.Last))
	}
	g.mu.Unlock()
	if f := done.Refused; f != nil {
		out := failureOf(g.of.Described(), f, packet)
		g.of.Refused(packet.File, f)
		g.w.Log.Warn("a file could not be opened", "gen", g.id, "file", f.File, "reason", f.Error())
		g.w.Post(engine.PacketRefused{Gen: g.id, Packet: packet.Units(), Failure: out})
		return
	}
	var early exec.Early = done.Early
	if done.Held != nil {
		early = done.Held
	}
	if n := min(int64(early.Len()), done.Last-packet.First); n > 0 {
		g.of.Early(packet.Base+packet.First, early.Until(int(n)))
	}
	if done.Full != "" {
		g.w.Log.Warn("a generation is sealed with what the disk took of it", "gen", g.id, "reason", done.Full)
	}
	if !first && done.Last == packet.Last { // the first packet waits for the start of the user's code, too
		g.w.packets.Add(max(now.Sub(since)-done.Elapsed, 0))
	}
	g.w.Post(engine.PacketDone{
		Gen:     g.id,
		Packet:  packet.Units(),
		Last:    done.Last + packet.Base,
		Elapsed: done.Elapsed,
		Bytes:   done.Bytes,
		Opened:  done.Opened,
		Full:    done.Full != "",
		Worn:    done.Worn,
	})
}

// Failed is called by the child's reader when the generation has failed (exec.Sink).
func (g *generation) Failed(f *exec.Failure) { g.fail(f) }

// Output is called for each line that the child prints (exec.Sink).
func (g *generation) Output(line string) { g.of.Printed(line) }

// fail reports to the engine, once, that the generation has ended with a failure.
func (g *generation) fail(f *exec.Failure) {
	g.mu.Lock()
	if g.failed || g.ctx.Err() != nil {
		g.mu.Unlock()
		return
	}
	g.failed = true
	var running exec.Packet
	if len(g.leased) > 0 {
		running = g.leased[0]
	}
	g.mu.Unlock()
	var job *tasks.Job
	if g.of != nil {
		job = g.of.Described()
		unit := int64(-1)
		if f.Entry >= 0 {
			unit = running.Base + f.Entry
		}
		g.of.Crashed(f, unit)
	}
	out := failureOf(job, f, running)
	if f.Kind == exec.KindKilled && g.solo && !out.Blame.Empty() {
		out.Reason += ", while it ran alone: it did so itself, or somebody on this host has"
	}
	g.w.Log.Warn("generation failed", "gen", g.id, "kind", f.Kind, "reason", f.Error(), "blame", out.Blame.String())
	g.w.Post(engine.GenFailed{Gen: g.id, Failure: out, Killed: f.Kind == exec.KindKilled})
}
