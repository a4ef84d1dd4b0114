package fakeexec

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/tasks"
)

// generation is one run over packets, in one goroutine.
type generation struct {
	p     *program
	spec  exec.GenSpec
	sink  exec.Sink
	entry time.Duration // for one entry
	out   Output        // of the goroutine alone
	file  string        // open, of the goroutine alone; for items their blob

	ctx    context.Context // ended by Kill, or with the runtime
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	news   chan struct{} // of room for one: something below has changed

	mu      sync.Mutex
	leased  []queued // in order
	seq     uint64
	stop    uint64 // leases up to this one are to end
	sealing chan sealed
	path    string
	ended   bool
	killed  bool // by Kill, or by who seals: nobody is told
}

// queued is a packet that the generation was leased, with its number among them.
type queued struct {
	exec.Packet
	seq uint64
}

type sealed struct {
	exec.Partial
	err error
}

// What code prints before it does what it was told, and leaves with.
const (
	mark       = "about to be bad: "
	exitStatus = 7
)

// queueDepth is how many packets a generation holds: one that runs and one that waits.
const queueDepth = 2

func (p *program) Start(_ context.Context, spec exec.GenSpec, sink exec.Sink) (exec.Generation, error) {
	g := &generation{
		p: p, spec: spec, sink: sink, entry: p.spec.entry, out: newOutput(p.spec),
		done: make(chan struct{}), news: make(chan struct{}, 1),
	}
	if slow := p.r.finder.Slow; slow > 0 {
		g.entry = time.Duration(float64(g.entry) * slow)
	}
	if g.spec.Stall == 0 {
		g.spec.Stall = exec.DefaultStall
	}
	g.ctx, g.cancel = context.WithCancel(p.r.ctx)
	go g.run()
	return g, nil
}

func (g *generation) Done() <-chan struct{} { return g.done }

func (g *generation) Kill() {
	g.kill()
	<-g.done
}

func (g *generation) kill() {
	g.mu.Lock()
	g.killed = true
	g.mu.Unlock()
	g.cancel()
}

func (g *generation) Lease(p exec.Packet) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ended || g.sealing != nil:
		return exec.ErrEnded
	case len(g.leased) >= queueDepth:
		return exec.ErrQueueFull
	}
	g.seq++
	g.leased = append(g.leased, queued{p, g.seq})
	g.wake()
	return nil
}

func (g *generation) Preempt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop = g.seq
	g.wake()
}

// wake is called with mu held.
func (g *generation) wake() {
	select {
	case g.news <- struct{}{}:
	default:
	}
}

func (g *generation) Seal(ctx context.Context, path string) (exec.Partial, error) {
	result := make(chan sealed, 1)
	g.mu.Lock()
	if g.ended || g.sealing != nil {
		g.mu.Unlock()
		return exec.Partial{}, exec.ErrEnded
	}
	g.sealing, g.path = result, path
	g.wake()
	g.mu.Unlock()
	stop := context.AfterFunc(ctx, g.kill)
	defer stop()
	r := <-result
	if ctx.Err() != nil {
		return exec.Partial{}, fmt.Errorf("could not seal a generation: %w", ctx.Err())
	}
	return r.Partial, r.err
}

// run is the generation's life.
func (g *generation) run() {
	defer close(g.done)
	defer g.cancel()
	f := g.begin()
	for f == nil {
		l, seal, ok := g.next()
		switch {
		case g.ctx.Err() != nil:
			f = &exec.Failure{Kind: exec.KindKilled, Op: "generation", Entry: -1, Msg: "killed"}
		case ok:
			f = g.process(l)
		case seal != nil:
			s, err := g.out.store(g.path, g.p.spec.Size)
			if err == nil && g.p.r.flips(g.spec.Job) {
				err = damage(g.path)
			}
			g.end()
			seal <- sealed{s, err}
			return
		default:
			select {
			case <-g.news:
			case <-g.ctx.Done():
			}
		}
	}
	g.fail(f)
}

func (g *generation) begin() *exec.Failure {
	if line := g.p.spec.Print; line != "" {
		g.sink.Output(line)
	}
	g.sleep(g.p.spec.begin)
	kind, ok := g.p.spec.Steps["SlaveBegin"]
	if broken := g.p.r.finder.Broken; broken != "" {
		kind, ok = broken, true
	}
	if !ok {
		return nil
	}
	return &exec.Failure{Kind: kind, Stage: exec.StageStart, Op: "SlaveBegin", Entry: -1, Msg: "failed on order"}
}

// next is the packet to run, or the request to seal.
func (g *generation) next() (l queued, seal chan sealed, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.leased) > 0 {
		return g.leased[0], nil, true
	}
	return queued{}, g.sealing, false
}

func (g *generation) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
}

// fail ends the generation and says so: to who seals it and, but if it was killed, to the sink.
func (g *generation) fail(f *exec.Failure) {
	g.mu.Lock()
	g.ended = true
	seal, busy, killed := g.sealing, len(g.leased) > 0, g.killed
	g.mu.Unlock()
	if !killed && (seal == nil || busy) {
		g.sink.Output("failing on order: " + f.Error())
		g.sink.Failed(f)
	}
	if seal != nil {
		seal <- sealed{err: f}
	}
}

// process runs one packet, up to the unit at which it is to fail, or to be cut.
func (g *generation) process(l queued) *exec.Failure {
	start := time.Now()
	opened := l.File+l.Items+string(l.Small) != g.file
	d, f := g.open(l, opened)
	if f != nil {
		g.report(exec.Done{ID: l.ID, Last: l.First, Refused: f})
		return nil
	}
	g.file = l.File + l.Items + string(l.Small)
	if d.fail != "" {
		return &exec.Failure{Kind: d.fail, Op: "open", File: l.File, Entry: -1, Msg: "failed on order"}
	}
	end, f := g.work(l)
	if f != nil {
		return f
	}
	if g.ctx.Err() != nil {
		return nil // run sees it
	}
	if end > l.First {
		if f := g.count(l, end); f != nil {
			return f
		}
	}
	g.report(exec.Done{ID: l.ID, Last: end, Elapsed: time.Since(start), Bytes: end - l.First, Opened: opened})
	return nil
}

// report tells that a packet is no longer leased.
func (g *generation) report(d exec.Done) {
	g.mu.Lock()
	g.leased = g.leased[1:]
	g.mu.Unlock()
	g.sink.PacketDone(d)
}

// open sees whether the file of a packet is there, and is the one that was planned. Entries that are only numbers have
// none.
func (g *generation) open(l queued, fresh bool) (d dataset, f *exec.Failure) {
	switch {
	case l.HasItems():
		return d, openItems(l)
	case l.File == "":
		return d, nil
	}
	if f := g.p.r.finder.hidden(l.File, false); fresh && f != nil {
		return d, f
	}
	f = &exec.Failure{Kind: exec.KindOpen, Op: "open", File: l.File, Entry: -1}
	d, err := parseDataset(l.File)
	switch {
	case err != nil:
		f.Msg = err.Error()
		return d, f
	case l.Entries > 0 && l.Entries != d.entries:
		f.Host, f.Msg = exec.CauseDiffers, fmt.Sprintf("it has %d entries here, and %d where it was planned", d.entries,
			l.Entries)
		return d, f
	}
	return d, nil
}

// openItems sees whether the blob of items of a packet is there, and has as many as were appended.
func openItems(l queued) *exec.Failure {
	f := &exec.Failure{Kind: exec.KindOpen, Op: "open", File: l.Items, Entry: -1}
	items, err := l.OpenItems()
	if err != nil {
		f.Msg = err.Error()
		return f
	}
	defer items.Close()
	if l.Entries > 0 && items.Len() != l.Entries {
		f.Msg = fmt.Sprintf("it has %d items, and %d were appended", items.Len(), l.Entries)
		return f
	}
	return nil
}

// work lets the entries of a packet pass, and returns the first one that did not: the packet's end, or an earlier one
// if the packet was to end.
func (g *generation) work(l queued) (end int64, f *exec.Failure) {
	for at := l.First; ; {
		next := g.nextEvent(l, at)
		if end := g.pass(l, at, next.entry); end < next.entry || next.entry == l.Last || g.ctx.Err() != nil {
			return end, nil
		}
		switch {
		case next.kind != "":
			return next.entry, g.failAt(l, next.entry, next.kind)
		case next.hold != "":
			g.sink.Output(mark + "holding")
			waitForFile(g.ctx, next.hold)
		default:
			g.sink.Output(mark + "printing")
			for range next.lines {
				g.sink.Output("a line of very many")
			}
		}
		if at = next.entry + 1; g.cut(l) {
			return at, nil
		}
	}
}

// event is what happens at an entry.
type event struct {
	entry int64
	kind  exec.Kind // it fails so
	hold  string    // it waits for this file
	lines int       // it prints so many
}

// nextEvent is the next one of a packet from an entry on; the packet's end if there is none.
func (g *generation) nextEvent(l queued, at int64) event {
	next := event{entry: l.Last}
	sooner := func(unit int64) bool { e := unit - l.Base; return at <= e && e < next.entry }
	for unit, kind := range g.p.spec.Fail {
		if sooner(unit) {
			next = event{entry: unit - l.Base, kind: kind}
		}
	}
	for unit, path := range g.p.spec.Hold {
		if sooner(unit) {
			next = event{entry: unit - l.Base, hold: path}
		}
	}
	for unit, lines := range g.p.spec.Flood {
		if sooner(unit) {
			next = event{entry: unit - l.Base, lines: lines}
		}
	}
	return next
}

// cut reports whether a packet is to end.
func (g *generation) cut(l queued) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return l.seq <= g.stop
}

// pass lets the time of the entries [first, last) of a packet pass and returns the entry at which it ended: last, or
// an earlier one if the packet was to end.
func (g *generation) pass(l queued, first, last int64) int64 {
	if g.cut(l) {
		return first
	}
	start := time.Now()
	timer := time.NewTimer(g.entry * time.Duration(last-first))
	defer timer.Stop()
	for {
		if g.cut(l) && g.entry > 0 {
			return min(last, first+int64(time.Since(start)/g.entry))
		}
		select {
		case <-timer.C:
			return last
		case <-g.news:
		case <-g.ctx.Done():
			return first
		}
	}
}

// count adds the entries of a packet before end to the output.
func (g *generation) count(l queued, end int64) *exec.Failure {
	units := tasks.R(l.Base+l.First, l.Base+end)
	if g.out.Values != nil {
		if err := g.keepValues(l, units); err != nil {
			return &exec.Failure{Kind: exec.KindData, Op: "Process", File: l.File, Entry: -1, Msg: err.Error()}
		}
	}
	g.out.Units += units.Len()
	g.out.Canary += tasks.Canary(g.spec.Job, units)
	for u := units.First; u < units.Last; u++ {
		g.out.Bins[Bin(u, len(g.out.Bins))]++
	}
	return nil
}

// keepValues keeps the values of units of a packet.
func (g *generation) keepValues(l queued, units tasks.Range) error {
	var items *exec.Items
	if l.HasItems() {
		var err error
		if items, err = l.OpenItems(); err != nil {
			return err
		}
		defer items.Close()
	}
	for u := units.First; u < units.Last; u++ {
		var item []byte
		if items != nil {
			var err error
			if item, err = items.At(u - l.Base); err != nil {
				return err
			}
		}
		g.out.Values[u] = Value(u, item)
	}
	return nil
}

// failAt is the failure at an entry; one that stalls takes its time.
func (g *generation) failAt(l queued, entry int64, kind exec.Kind) *exec.Failure {
	line := mark + string(kind)
	g.sink.Output(line)
	f := &exec.Failure{Kind: kind, Op: "Process", File: l.File, Entry: entry, Msg: "failed on order", Tail: line}
	switch kind {
	case exec.KindStall:
		g.sleep(g.spec.Stall)
	case exec.KindSignal:
		f.Signal = int(unix.SIGSEGV)
	case exec.KindExit:
		f.Exit = exitStatus
	}
	if kind != exec.KindData {
		f.Blame = tasks.R(entry, entry+1)
	}
	return f
}

// sleep lets time pass, as long as the generation lives.
func (g *generation) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.ctx.Done():
	}
}

// waitForFile waits until there is a file, as long as a context lasts.
func waitForFile(ctx context.Context, path string) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
