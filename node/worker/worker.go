// Package worker runs generations: what one child does from the start of a program to a sealed partial. It turns the
// engine's orders into commands for children, and what becomes of them into the engine's events; it owns the goroutines
// of the generations and their work folders. It never decides what runs, how much or for how long, and it knows jobs
// only as Job: it fetches, prepares and ends none.
//
//	worker.go      the workers of a node
//	generation.go  one generation, from start to end
//	failure.go     what a job's home is told of a failure
//	limits.go      what a child may take of the host
//	meter.go       histograms of durations
package worker

import (
	"context"
	"log/slog"
	"sync"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Job is a job as far as generations of it need it. Its methods may be called from any goroutine.
type Job interface {
	// Use has the job's program do something, which is made ready first if need be. input is the path of what generations
	// are given.
	Use(ctx context.Context, do func(p exec.Program, desc *tasks.Job, input string) error) error
	// Described is the job's description, nil while it is not known.
	Described() *tasks.Job
	// Items has a blob of items here that does not come with its file (tasks.File.Items), and returns its path.
	Items(ctx context.Context, f tasks.File) (path string, err error)
	// Values is the path of the socket at which generations keep what units make for others; empty if none does.
	Values() (socket string, err error)
	// Early is told values of units that have run, from first on, and of which no partial is committed yet (exec.Done).
	Early(first int64, values exec.Early)
	// Taken are those of units that have run whose values the job's user has taken, so that they need not be kept. It may
	// wait a moment for values that are about to be.
	Taken(ctx context.Context, units tasks.Cover) tasks.Cover
	// Printed is told each line that a child prints.
	Printed(line string)
	// Crashed is told of the failure that ended a generation, and of the unit that it was at, or -1.
	Crashed(f *exec.Failure, unit int64)
	// Refused is told of a file of the job that a child could not open, or that was not the one that was planned, or
	// beside which it could not open one of a friend: f names which.
	Refused(file string, f *exec.Failure)
	// Apart is told the names of outputs that could not be merged, and are kept side by side.
	Apart(names []string)
}

// Config is what workers are made of.
type Config struct {
	Limits Limits
	Blobs  *store.Blobs                  // where partials and work folders lie
	Data   string                        // folder of files that programs leave here (store.Data); empty for none
	Host   exec.Host                     // what programs are told of this node
	Job    func(tasks.JobID) (Job, bool) // the job with that id; false if it is gone
	Post   func(engine.Event)            // hands an event to the engine
	Log    *slog.Logger
}

// Workers are the generations that run on a node. Its methods may be called from any goroutine, and do not wait for a
// child.
type Workers struct {
	Config
	ctx     context.Context // of all generations
	tasks   sync.WaitGroup  // of their goroutines
	packets *Meter          // from the end of a packet to the start of the next one

	mu   sync.Mutex
	gens map[steal.GenID]*generation // that have not ended
}

// New has no generations yet. They end with ctx; call Wait after that.
func New(ctx context.Context, cfg Config) *Workers {
	return &Workers{Config: cfg, ctx: ctx, packets: NewMeter(), gens: map[steal.GenID]*generation{}}
}

// Wait returns when all generations have ended.
func (w *Workers) Wait() { w.tasks.Wait() }

// Latencies are the times from the end of a packet to the start of the next one, as the child saw it.
func (w *Workers) Latencies() api.Histogram { return w.packets.Summary() }

func (w *Workers) spawn(f func()) {
	w.tasks.Add(1)
	go func() {
		defer w.tasks.Done()
		f()
	}()
}

// Start starts a generation. How it went is told by what becomes of its packets.
func (w *Workers) Start(e engine.StartGen) {
	g := &generation{w: w, id: e.Gen, job: e.Job, solo: e.Solo, orders: make(chan engine.Effect, orderDepth)}
	g.ctx, g.cancel = context.WithCancel(w.ctx)
	if j, ok := w.Job(e.Job); ok {
		g.of = j
	}
	w.mu.Lock()
	w.gens[e.Gen] = g
	w.mu.Unlock()
	w.spawn(g.serve)
}

func (w *Workers) generation(id steal.GenID) *generation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gens[id]
}

func (w *Workers) forget(id steal.GenID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.gens, id)
}

func (w *Workers) order(id steal.GenID, e engine.Effect) {
	if g := w.generation(id); g != nil {
		g.orders <- e
	}
}

// Lease gives a generation a packet. Of one that has ended nothing comes.
func (w *Workers) Lease(e engine.LeasePacket) { w.order(e.Gen, e) }

// Seal ends a generation after the packets that it has, and makes a partial of what it has done.
func (w *Workers) Seal(e engine.SealGen) { w.order(e.Gen, e) }

// Preempt cuts what a generation runs at the next entry.
func (w *Workers) Preempt(id steal.GenID) {
	if g := w.generation(id); g != nil {
		w.spawn(func() {
			if child := g.started(); child != nil {
				child.Preempt()
			}
		})
	}
}

// Kill ends a generation at once, without a word.
func (w *Workers) Kill(id steal.GenID) {
	if g := w.generation(id); g != nil {
		g.cancel()
	}
}
