package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// QueueDepth is how many packets a generation holds: one that runs and one that waits.
const QueueDepth = 2

// Generation is a process that works off packets. Its methods may be called from several goroutines.
type Generation struct {
	p    *Process
	sink exec.Sink
	dir  string        // working directory
	done chan struct{} // closed when run has ended

	// Only the goroutine of run uses these.
	watch    watch
	measured time.Time
	scratch  int64    // bytes in dir when it was measured last
	held     *os.File // in which the process holds values; nil until it has told of some
	heldFD   int      // the process's descriptor of it

	mu      sync.Mutex
	leased  []exec.Packet // in the order they were leased
	seq     uint64
	sealing chan sealResult                       // set by Seal
	asked   map[uint64]func(exec.Snapshot, error) // snapshots that are not answered yet, by their numbers
	ended   bool
	killed  bool
}

type sealResult struct {
	reply *Reply
	err   error
}

// Begin makes a generation of a process that was forked for it. The process belongs to the generation from then on,
// whatever Begin returns. extend, which may be nil, adds the runtime's own fields to the request that every generation
// gets. Begin does not wait for the process to be ready: the first packets can be leased meanwhile, and a failure to
// start is reported to sink as every later one is. An error is a *exec.Failure if the process has failed.
func Begin(p *Process, spec exec.GenSpec, extend func(BeginFrame) any, sink exec.Sink) (*Generation, error) {
	spec.Limits = spec.Limits.WithDefaults(spec.Dir)
	p.limits = spec.Limits
	g := &Generation{
		p: p, sink: sink, dir: spec.Dir,
		watch: watch{limits: spec.Limits, stall: p.cfg.Stall, since: time.Now()},
		done:  make(chan struct{}),
	}
	var begin any = newBegin(spec)
	if extend != nil {
		begin = extend(newBegin(spec))
	}
	if err := p.send(begin); err != nil {
		f := p.crash()
		p.Close()
		return nil, f
	}
	go g.run()
	return g, nil
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
	case len(g.leased) >= QueueDepth:
		return exec.ErrQueueFull
	}
	g.seq++
	g.leased = append(g.leased, pk)
	err := g.p.send(packetFrame{Packet: pk, Op: "packet", Seq: g.seq, Clip: clip})
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

// Seal has the generation finish after the packets leased so far and write its output to path, which appears whole or
// not at all. It ends the generation, whatever it returns. On failure the error is a *exec.Failure; Sink.Failed is
// called only if a packet failed before.
func (g *Generation) Seal(ctx context.Context, path string) (exec.Partial, error) {
	return g.SealThrough(ctx, path, ReadPartial)
}

// SealThrough is Seal with read in the place of ReadPartial, which may put another file at path.
func (g *Generation) SealThrough(
	ctx context.Context, path string, read func(path string, r *Reply) (exec.Partial, error),
) (exec.Partial, error) {
	result := make(chan sealResult, 1)
	g.mu.Lock()
	if g.ended || g.sealing != nil {
		g.mu.Unlock()
		return exec.Partial{}, exec.ErrEnded
	}
	g.sealing = result
	_ = g.p.send(sealFrame{Op: "seal", Path: path}) // a child that is dying is reported by run
	g.mu.Unlock()
	stop := context.AfterFunc(ctx, g.Kill)
	defer stop()
	res := <-result
	if res.err != nil {
		g.p.RemoveTemp(path)
	}
	if ctx.Err() != nil {
		return exec.Partial{}, fmt.Errorf("could not seal a generation: %w", ctx.Err())
	}
	if res.err != nil {
		return exec.Partial{}, res.err
	}
	return read(path, res.reply)
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

// run is the one goroutine of a generation. It ends when the child has closed its socket, and then reaps the process.
func (g *Generation) run() {
	defer close(g.done)
	defer g.letGo()
	defer g.p.Close()
	frames := make(chan *Reply)
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
				for range frames { // until read has ended
				}
				g.p.awaitExit()
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
				g.p.abort(v)
			}
		}
	}
}

// read sends the child's frames to a channel, which it closes when the child has closed its socket.
func (g *Generation) read(frames chan<- *Reply) {
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
func (g *Generation) handle(r *Reply) bool {
	switch r.Op {
	case "done":
		if g.pop(r.ID) {
			g.open(&r.Done)
			g.sink.PacketDone(r.Done)
		}
	case "refused":
		g.mu.Lock()
		var first int64
		if len(g.leased) > 0 {
			first = g.leased[0].First
		}
		g.mu.Unlock()
		if g.pop(r.ID) {
			g.sink.PacketDone(exec.Done{ID: r.ID, Last: first, Refused: g.p.failureIn(r)})
		}
	case "snapped":
		g.snapped(r)
	case "sealed":
		g.end(r, nil)
		return true
	case "failed":
		g.end(nil, g.p.lastFailure(r))
		return true
	}
	return false
}

// open opens the file in which the process holds values of a packet, or forgets these values. It is opened by the
// process's descriptor, since it may have no name. One file is enough for all packets; letGo closes it.
func (g *Generation) open(d *exec.Done) {
	if d.Held == nil {
		return
	}
	if d.Held.Check() != nil {
		d.Held = nil
		return
	}
	if g.held == nil || g.heldFD != d.Held.FD {
		f, err := os.Open(fmt.Sprintf("/proc/%d/fd/%d", g.p.pid, d.Held.FD))
		if err != nil {
			d.Held = nil
			return
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			_ = f.Close()
			d.Held = nil
			return
		}
		g.letGo()
		g.held, g.heldFD = f, d.Held.FD
	}
	d.Held.File = g.held
}

// letGo closes the file in which the process has held values. What was not handed out of it by then comes with the
// generation's partial or, where there is none, from the generation that runs the units again: a file without a name
// that stayed open here would take room of a full disk, which nobody could free.
func (g *Generation) letGo() {
	if g.held != nil {
		_ = g.held.Close() // it was only read
		g.held = nil
	}
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

// busy reports whether the child works, or has something to work on.
func (g *Generation) busy() bool {
	if g.p.page.read().phase != idle {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.leased) > 0 || g.sealing != nil
}

// end tells the sink, and whoever waits in Seal, how the generation ended.
func (g *Generation) end(sealed *Reply, f *exec.Failure) {
	g.mu.Lock()
	g.ended = true
	sealing, killed := g.sealing, g.killed
	packetFailed := len(g.leased) > 0
	asked := g.asked
	g.asked = nil
	if f != nil && f.File == "" {
		f.File = g.currentFile()
	}
	g.mu.Unlock()
	for _, told := range asked {
		told(exec.Snapshot{}, exec.ErrEnded)
	}
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

// drainLines gives the sink the lines that the child printed before it ended.
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

// lookEvery is the longest interval between readings of a generation. Its working folder is measured more rarely, since
// that takes a walk over all files in it.
const (
	lookEvery    = 250 * time.Millisecond
	measureEvery = 2 * time.Second
)

// reading reads the state of the child. Only run calls it.
func (g *Generation) reading(now time.Time) reading {
	s := g.p.page.read()
	if g.dir != "" && now.Sub(g.measured) >= measureEvery {
		g.measured, g.scratch = now, bytesIn(g.dir)
	}
	return reading{
		at: now, busy: g.busy(), progress: s.progress, opening: g.p.cfg.phase(s.phase).Opens, cpu: cpuTime(g.p.pid),
		processes: descendants(g.p.pid, g.watch.limits.Processes), scratch: g.scratch,
	}
}

// Try runs a generation over one packet, whose end may lie behind that of the file, and throws it away. It finds what
// would fail everywhere before the work is dealt out. The process is the generation's, as with Begin. It returns what
// the process tells with the packet of the job as a whole.
func Try(
	ctx context.Context, p *Process, spec exec.GenSpec, extend func(BeginFrame) any, pk exec.Packet,
) (exec.Foreseen, error) {
	sink := &probeSink{result: make(chan exec.Done, 2)} // room for the packet and for a failure after it
	g, err := Begin(p, spec, extend, sink)
	if err != nil {
		return exec.Foreseen{}, err
	}
	defer g.Kill()
	// A generation may fail, and so end, before its packet is leased. Then the sink is told the reason.
	if err := g.lease(pk, true); err != nil && !errors.Is(err, exec.ErrEnded) {
		return exec.Foreseen{}, err
	}
	select {
	case d := <-sink.result:
		if d.Refused != nil {
			return exec.Foreseen{}, d.Refused
		}
		return exec.Foreseen{Hints: d.Hints, Whole: d.Whole}, nil
	case <-ctx.Done():
		return exec.Foreseen{}, fmt.Errorf("could not try the code on %q: %w", pk.File, ctx.Err())
	}
}

type probeSink struct{ result chan exec.Done }

func (s *probeSink) PacketDone(d exec.Done) { s.result <- d }
func (s *probeSink) Failed(f *exec.Failure) { s.result <- exec.Done{Refused: f} }
func (s *probeSink) Output(string)          {}
