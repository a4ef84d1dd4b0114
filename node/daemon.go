package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Daemon is one running node. Open starts it, Close ends it; Leave before Close hands its work back.
type Daemon struct {
	cfg    Config
	log    *slog.Logger
	start  time.Time
	boot   uint64 // number of this life
	lock   *flock.Flock
	ctx    context.Context // of everything the daemon runs, beside its cancel
	cancel context.CancelFunc
	wg     sync.WaitGroup

	net     *p2p.Node
	cluster *members.Cluster // what the network shows of its members
	blobs   *store.Blobs
	ledgers *store.Ledgers // copies of jobs' ledgers
	asides  *store.Asides  // those that were given up for a recovery
	ages    *store.Ages
	results *store.Results // of jobs that have ended
	book    *Book          // of the jobs that this node knows
	peer    *engine.Peer   // touched by the loop alone, and by open before it runs
	events  chan queued
	calls   chan func()
	left    chan struct{} // closed when the engine says Left
	quit    chan struct{} // closed when a shutdown is asked for
	opened  chan struct{} // closed when the ledgers of earlier lives are back
	once    sync.Once

	forGood atomic.Bool // the daemon leaves its cluster, and not only for now

	expulsionTold atomic.Bool // the log says that this node is no member any more

	steals  *worker.Meter // times from asking for work to having some
	workers *worker.Workers

	runtimes *runtimes.Set // what this host can run

	planner      *plan.Planner // of jobs' files
	descriptions descriptions  // of other members' jobs
	handouts     handouts      // of committed partials, to members
	appending    appending     // who waits for an append

	mu         sync.Mutex                  // guards what follows, and is held for moments
	recoveries map[tasks.JobID]*recovering // under way here

	lying lying //nolint:unused // in builds for tests alone: see liars_on.go
}

// Open starts a daemon. Runtimes are looked for first, and made ready while the daemon already answers.
func Open(ctx context.Context, cfg Config) (*Daemon, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		cfg:          cfg,
		log:          cfg.Logger,
		start:        time.Now(),
		events:       make(chan queued, 1024),
		calls:        make(chan func()),
		left:         make(chan struct{}),
		quit:         make(chan struct{}),
		opened:       make(chan struct{}),
		steals:       worker.NewMeter(),
		descriptions: newDescriptions(),
		handouts:     handouts{of: map[tasks.PeerID]*handout{}},
		recoveries:   map[tasks.JobID]*recovering{},
	}
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := d.open(ctx); err != nil {
		d.cancel()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) open(ctx context.Context) error {
	if err := d.checkDescriptors(); err != nil {
		return err
	}
	for _, dir := range []string{d.cfg.StateDir, d.cfg.CacheDir, api.JobsDir(d.cfg.StateDir), d.ledgersDir(), d.cancelsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("could not make folder %q: %w", dir, err)
		}
	}
	d.lock = flock.New(api.LockPath(d.cfg.StateDir))
	if ok, err := d.lock.TryLock(); err != nil || !ok {
		return &api.Error{Message: errors.Join(err, fmt.Errorf("could not lock %q: a daemon runs with this state folder", d.cfg.StateDir)).Error(),
			Hint: "see `dtpnode status`; stop it with `dtpnode down`", Err: err}
	}
	// Partials of an earlier life are of no use: their jobs' homes have had them done again.
	if err := errors.Join(os.RemoveAll(d.cfg.ScratchDir), os.MkdirAll(d.cfg.ScratchDir, 0o700)); err != nil {
		return fmt.Errorf("could not empty scratch folder %q: %w", d.cfg.ScratchDir, err)
	}
	if d.cfg.KeepBytes == 0 {
		d.cfg.KeepBytes = store.DefaultKeepBytes(d.cfg.ScratchDir)
	}
	d.blobs = store.NewBlobs(d.cfg.ScratchDir, d.log)
	var err error
	if d.boot, err = store.NextBoot(d.cfg.StateDir, d.start); err != nil {
		return errors.Join(toldDamage(err), d.lock.Unlock())
	}
	d.findRuntimes(ctx)
	d.net, err = p2p.Open(ctx, p2p.Config{Dir: filepath.Join(d.cfg.StateDir, "p2p"), Listen: d.cfg.Listen, Face: d.cfg.Face,
		Name: d.cfg.Name, Version: d.cfg.Version, Meta: runtimes.Announce(d.runtimes.Infos(), p2p.MaxMeta),
		Slots: d.cfg.Slots, Topics: []string{jobsTopic},
		Blobs: d.blobStore(), Serve: d.serveOpened, Log: d.log, ForgetAfter: d.cfg.ForgetAfter, EphemeralFor: d.cfg.ForgetEphemeral})
	if err != nil {
		return errors.Join(elsewhere(err), d.lock.Unlock())
	}
	d.openStore()
	d.planner = d.newPlanner()
	d.workers = worker.New(d.ctx, worker.Config{
		Limits: d.cfg.workerLimits(),
		Blobs:  d.blobs,
		Job:    d.worked,
		Post:   d.post,
		Log:    d.log,
	})
	d.peer, err = engine.New(engine.Config{Offers: runtimes.Offers(d.runtimes.Infos()), Boot: d.boot, Replicas: d.cfg.Replicas, Keys: netKeys{d.net}, Keep: d.cfg.KeepBytes,
		Quorum: quorum.Config{Seed: d.boot, Election: d.cfg.Election, SnapshotEntries: failpoint.Number("DTPNODE_SNAPSHOT", 0)},
		Steal:  steal.Config{Self: d.net.ID(), Slots: d.cfg.Slots, Seed: d.boot, Generation: d.cfg.CommitEvery}})
	if err != nil {
		return errors.Join(err, d.net.Close(), d.lock.Unlock())
	}
	waiting := d.comeBack()
	d.cluster.NoteNames()
	d.warnExpelled()
	if h := d.runtimes.First(); h != nil {
		h.Begin()
	}
	d.spawn(d.loop)
	d.spawn(d.listen)
	d.spawn(d.sweepOften)
	d.spawn(d.cancelOften)
	d.spawn(d.stopRevoked) // while this daemon was away
	d.spawn(func() { d.awaitEnds(waiting) })
	d.beginLying()
	return nil
}

// elsewhere adds to an error about an address to listen on how another is chosen.
func elsewhere(err error) error {
	var no *p2p.ListenError
	if !errors.As(err, &no) {
		return err
	}
	host, _, _ := net.SplitHostPort(no.Addr)
	hint := "`dtpnode up --listen auto:0` listens where the other members can reach this host, whatever its address"
	if errors.Is(err, syscall.EADDRINUSE) {
		hint = fmt.Sprintf("end that program, or choose another port: `dtpnode up --listen %s`, where 0 takes one that is free", net.JoinHostPort(host, "0"))
	}
	return &api.Error{Message: no.Error(), Hint: hint, Err: err}
}

// comeBack makes this daemon what it was in its earlier life. The peer learns of its ledgers before anything
// that the network has to say: of a job that it has heard of first it would not take its own copy up again.
func (d *Daemon) comeBack() []*awaited {
	restored := d.restoreLedgers()
	d.asides.Restore()
	waiting := d.loadFinished()
	d.tellAdmins(d.step)
	for _, e := range d.results.Ends() {
		d.step(e)
	}
	for _, r := range restored {
		d.step(r)
	}
	close(d.opened)
	return waiting
}

// serveOpened is serve for requests that may come before the daemon is complete.
func (d *Daemon) serveOpened(ctx context.Context, from p2p.PeerID, kind string, payload []byte) ([]byte, error) {
	select {
	case <-d.opened:
		b, err := d.serve(ctx, from, kind, payload)
		return d.answers(kind, string(payload), b, err)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spawn runs f until the daemon closes; Close waits for it.
func (d *Daemon) spawn(f func()) {
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		f()
	}()
}

// findRuntimes only looks: it takes milliseconds, and peers are to be told what this host can run.
func (d *Daemon) findRuntimes(ctx context.Context) {
	d.runtimes = runtimes.Find(ctx, d.cfg.Runtimes, exec.Config{Scratch: d.cfg.ScratchDir, Cache: d.cfg.CacheDir, Log: d.log})
	if err := d.runtimes.None(); err != nil {
		d.log.Warn("this node cannot run jobs", "reason", err)
	}
}

// Quit is closed when a shutdown was asked for over the control interface.
func (d *Daemon) Quit() <-chan struct{} { return d.quit }

func (d *Daemon) askQuit() { d.once.Do(func() { close(d.quit) }) }

// Leave hands waiting work, ledgers and the lead of jobs over, ends what runs and waits until others have
// it, for LeaveWait at the most. A job that nobody else has the ledger of waits on disk for this daemon.
func (d *Daemon) Leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.LeaveWait)
	defer cancel()
	d.abandonPreparing("the daemon was shut down")
	d.post(engine.Leave{})
	select {
	case <-d.left:
	case <-ctx.Done():
		d.log.Warn("left without handing all work back")
	case <-d.ctx.Done():
	}
	if err := d.sayGoodbye(ctx); err != nil {
		d.log.Warn("could not say goodbye", "reason", err)
	}
}

// Close ends everything at once and waits for it.
func (d *Daemon) Close() error {
	d.cancel()
	err := d.net.Close()
	d.wg.Wait()
	d.workers.Wait()
	d.ledgers.Wait()
	err = errors.Join(err, d.runtimes.Close())
	_ = os.RemoveAll(d.cfg.ScratchDir)
	return errors.Join(err, d.lock.Unlock())
}

// Run opens a daemon with its control socket, serves until ctx ends or a shutdown is asked for, leaves
// politely and closes. hurry, when it is done, cuts the leaving short.
func Run(ctx, hurry context.Context, cfg Config) error {
	d, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	ctl, err := d.serveControl()
	if err != nil {
		return errors.Join(err, d.Close())
	}
	d.log.Info("up", "id", d.net.ID(), "addrs", d.net.Addrs(), "slots", d.cfg.Slots, "state", d.cfg.StateDir)
	if n := len(d.net.Members()); n == 2 {
		d.log.Info(api.LostHost(n))
	}
	if cfg.Opened != nil {
		cfg.Opened()
	}
	select {
	case <-ctx.Done():
	case <-d.quit:
	}
	d.Leave(hurry)
	return errors.Join(ctl.Close(), d.Close())
}
