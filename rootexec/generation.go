package rootexec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// queueDepth is how many packets a generation holds: one that runs and one that waits.
const queueDepth = 2

// Generation is one running child with one selector object.
type Generation struct {
	p    *process
	sink exec.Sink
	dir  string        // working directory
	done chan struct{} // closed when run has ended

	watch    watch // these are run's
	measured time.Time
	scratch  int64 // bytes in dir, then

	mu      sync.Mutex
	leased  []lease // in the order they were leased
	seq     uint64
	sealing chan sealResult // set by Seal
	ended   bool
	killed  bool
}

type lease struct {
	exec.Packet
	seq uint64
}

type sealResult struct {
	reply *reply
	err   error
}

// Start forks a generation. It returns as soon as the child exists: SlaveBegin runs while the first
// packets are leased, and reports its failure to sink as everything later does.
func (s *Selector) Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (*Generation, error) {
	if err := s.copyData(spec.Dir); err != nil {
		return nil, err
	}
	p, err := s.z.fork(ctx, "generation")
	if err != nil {
		return nil, err
	}
	spec.Limits = spec.Limits.WithDefaults(spec.Dir)
	p.limits = spec.Limits
	g := &Generation{p: p, sink: sink, dir: spec.Dir, watch: watch{limits: spec.Limits, since: time.Now()}, done: make(chan struct{})}
	begin := beginFrame{Op: "begin", Input: spec.Input, Option: spec.Option, Job: spec.Job,
		Memory: spec.Memory, FileSize: spec.FileSize, Dir: spec.Dir, Lax: spec.AllowMissingBranches}
	if err := p.send(begin); err != nil {
		f := p.crash()
		p.close()
		return nil, f
	}
	go g.run()
	return g, nil
}

// copyData gives a generation data files of its own: what it writes to them must not reach others.
func (s *Selector) copyData(dir string) error {
	if _, err := os.Stat(s.data); dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.CopyFS(dir, os.DirFS(s.data)); err != nil {
		return &exec.Failure{Kind: exec.KindDisk, Op: "prepare", Entry: -1, Msg: "could not copy the data files: " + err.Error()}
	}
	return nil
}

// Lease gives the generation a packet. One may be leased while another runs, so that the child never
// waits; a third is ErrQueueFull.
func (g *Generation) Lease(pk exec.Packet) error { return g.lease(pk, false) }

func (g *Generation) lease(pk exec.Packet, clip bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended || g.sealing != nil:
		return exec.ErrEnded
	case len(g.leased) >= queueDepth:
		return exec.ErrQueueFull
	}
	g.seq++
	g.leased = append(g.leased, lease{pk, g.seq})
	err := g.p.send(packetFrame{Op: "packet", ID: pk.ID, Seq: g.seq, File: pk.File, Tree: pk.Tree,
		First: pk.First, Last: pk.Last, Base: pk.Base, Clip: clip, Total: pk.Entries, UUID: pk.UUID})
	if err != nil {
		return nil // the child is dying: run reports why, once
	}
	return nil
}

// Preempt ends the packet that runs at the next entry boundary; one that waits comes back undone.
// Done.Last says how far each got.
func (g *Generation) Preempt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.p.page.stop(g.seq)
}

// Progress is the packet that runs, or ran last, and the entry it is at (-1 between entries). It costs
// one read of shared memory.
func (g *Generation) Progress() (packet uint64, entry int64) {
	s := g.p.page.read()
	return s.packet, s.entry
}

// PID is the child's process id.
func (g *Generation) PID() int { return g.p.pid }

// Output is what the child printed: the first and last 64 KiB of it.
func (g *Generation) Output() string { return g.p.out.text() }

// Done is closed when the generation has ended and its process is reaped.
func (g *Generation) Done() <-chan struct{} { return g.done }

// Seal runs SlaveTerminate after the packets leased so far and writes the output list to path, which
// appears whole or not at all. It ends the generation, whatever it returns. On failure the error is a
// *Failure; Sink.Failed is called only if a packet failed before.
func (g *Generation) Seal(ctx context.Context, path string) (exec.Partial, error) {
	result := make(chan sealResult, 1)
	g.mu.Lock()
	if g.ended || g.sealing != nil {
		g.mu.Unlock()
		return exec.Partial{}, exec.ErrEnded
	}
	g.sealing = result
	_ = g.p.send(pathFrame{Op: "seal", Path: path}) // a child that is dying is reported by run
	g.mu.Unlock()
	stop := context.AfterFunc(ctx, g.Kill)
	defer stop()
	res := <-result
	if res.err != nil {
		g.p.removeTemp(path)
	}
	if ctx.Err() != nil {
		return exec.Partial{}, fmt.Errorf("could not seal a generation: %w", ctx.Err())
	}
	if res.err != nil {
		return exec.Partial{}, res.err
	}
	return sealedFile(path, res.reply)
}

// Kill ends the generation at once, without a report to the sink, and waits until its process is gone.
// It must not be called by the sink.
func (g *Generation) Kill() {
	g.mu.Lock()
	g.killed = true
	g.mu.Unlock()
	g.p.kill()
	<-g.done
}

// run is the generation's one goroutine; with it ends the process. It ends with the child's socket.
func (g *Generation) run() {
	defer close(g.done)
	defer g.p.close()
	frames := make(chan *reply)
	go g.read(frames)
	tick := time.NewTicker(g.watch.every())
	defer tick.Stop()
	lines := g.p.out.lines
	for {
		select {
		case r, ok := <-frames:
			if !ok {
				g.end(nil, g.p.crash())
				return
			}
			if g.handle(r) {
				for range frames { // read ends with the child
				}
				g.p.settle()
				g.drainLines()
				return
			}
		case line, ok := <-lines:
			if !ok {
				lines = nil
				continue
			}
			g.sink.Output(line)
		case now := <-tick.C:
			if v, bad := g.watch.look(g.reading(now)); bad {
				g.p.condemn(v)
			}
		}
	}
}

// read hands on the child's frames until its socket is at its end.
func (g *Generation) read(frames chan<- *reply) {
	defer close(frames)
	for {
		r, err := readReply(g.p.conn)
		if err != nil {
			return
		}
		frames <- r
	}
}

// handle deals with one frame and reports whether it was the last.
func (g *Generation) handle(r *reply) bool {
	switch r.Op {
	case "done":
		if g.pop(r.ID) {
			g.sink.PacketDone(exec.Done{ID: r.ID, Last: r.Last, Elapsed: time.Duration(r.Ns), Bytes: r.Bytes, Opened: r.Opened})
		}
	case "refused":
		g.mu.Lock()
		var first int64
		if len(g.leased) > 0 {
			first = g.leased[0].First
		}
		g.mu.Unlock()
		if g.pop(r.ID) {
			g.sink.PacketDone(exec.Done{ID: r.ID, Last: first, Refused: g.p.told(r)})
		}
	case "sealed":
		g.end(r, nil)
		return true
	case "failed":
		g.end(nil, g.p.failure(r))
		return true
	}
	return false
}

func (g *Generation) pop(id uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.leased) == 0 || g.leased[0].ID != id {
		return false
	}
	g.leased = g.leased[1:]
	return true
}

// busy reports whether the child owes us something.
func (g *Generation) busy() bool {
	if g.p.page.read().phase != phaseIdle {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.leased) > 0 || g.sealing != nil
}

// end tells who waits how the generation ended.
func (g *Generation) end(sealed *reply, f *exec.Failure) {
	g.mu.Lock()
	g.ended = true
	sealing, killed := g.sealing, g.killed
	packetFailed := len(g.leased) > 0
	if f != nil && f.File == "" {
		f.File = g.currentFile()
	}
	g.mu.Unlock()
	if f != nil && !killed && (sealing == nil || packetFailed) {
		g.drainLines()
		g.sink.Failed(f)
	}
	if sealing == nil {
		return
	}
	if f != nil {
		sealing <- sealResult{err: f}
		return
	}
	sealing <- sealResult{reply: sealed}
}

// currentFile is the file of the packet that ran; the caller holds mu.
func (g *Generation) currentFile() string {
	id := g.p.page.read().packet
	for _, l := range g.leased {
		if l.ID == id {
			return l.File
		}
	}
	return ""
}

// drainLines hands on what the child printed before it ended.
func (g *Generation) drainLines() {
	for {
		select {
		case line, ok := <-g.p.out.lines:
			if !ok {
				return
			}
			g.sink.Output(line)
		default:
			return
		}
	}
}

// lookEvery is how often a generation is compared with its limits; its working folder is measured more rarely.
const (
	lookEvery    = 250 * time.Millisecond
	measureEvery = 2 * time.Second
)

// reading is the child as it stands; called by run alone.
func (g *Generation) reading(now time.Time) reading {
	s := g.p.page.read()
	if g.dir != "" && now.Sub(g.measured) >= measureEvery {
		g.measured, g.scratch = now, bytesIn(g.dir)
	}
	return reading{at: now, busy: g.busy(), progress: s.progress, phase: s.phase, cpu: cpuTime(g.p.pid),
		processes: descendants(g.p.pid, g.watch.limits.Processes), scratch: g.scratch}
}

// Probe tries a generation on the first entry of a file: SlaveBegin, Init, Notify, Process. It finds
// what would fail everywhere, a missing branch above all, before the work is dealt out.
func (s *Selector) Probe(ctx context.Context, spec exec.GenSpec, file, tree string) error {
	sink := &probeSink{result: make(chan *exec.Failure, 1)}
	g, err := s.Start(ctx, spec, sink)
	if err != nil {
		return err
	}
	defer g.Kill()
	// A SlaveBegin that fails at once ends the generation before the lease: the sink has why.
	if err := g.lease(exec.Packet{ID: 1, File: file, Tree: tree, Last: 1}, true); err != nil && !errors.Is(err, exec.ErrEnded) {
		return err
	}
	select {
	case f := <-sink.result:
		if f != nil {
			return f
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("could not try the selector on %q: %w", file, ctx.Err())
	}
}

type probeSink struct{ result chan *exec.Failure }

func (s *probeSink) PacketDone(d exec.Done) { s.result <- d.Refused }
func (s *probeSink) Failed(f *exec.Failure) { s.result <- f }
func (s *probeSink) Output(string)          {}
