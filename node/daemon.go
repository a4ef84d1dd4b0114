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
	"github.com/dtpnode/dtpnode/node/datasets"
	"github.com/dtpnode/dtpnode/node/jobs"
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
	cfg     Config
	log     *slog.Logger
	start   time.Time
	boot    uint64 // number of this life
	lock    *flock.Flock
	ctx     context.Context // of everything the daemon runs, beside its cancel
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	opened  chan struct{} // closed when the ledgers of earlier lives are back
	leaving leaving

	net      *p2p.Node
	loop     *engineLoop
	cluster  *members.Cluster // what the network shows of its members
	blobs    *store.Blobs
	ledgers  *store.Ledgers // copies of jobs' ledgers
	asides   *store.Asides  // those that were given up for a recovery
	results  *store.Results // of jobs that have ended
	runtimes *jobs.Runtimes // what this host can run
	planner  *plan.Planner  // of jobs' files
	jobs     *jobs.Room
	datasets *datasets.Room // lists of files by name

	steals     *worker.Meter // times from asking for work to having some
	recoveries recoveries    // under way here

	lying lying //nolint:unused // in builds for tests alone: see liars_on.go
}

// leaving is how far the daemon is on its way out.
type leaving struct {
	quit    chan struct{} // closed when a shutdown is asked for
	once    sync.Once     // of that
	left    chan struct{} // closed when the engine says Left
	forGood atomic.Bool   // the daemon leaves its cluster, and not only for now

	expulsionTold atomic.Bool // the log says that this node is no member any more
}

// Open starts a daemon. Runtimes are looked for first, and made ready while the daemon already answers.
func Open(ctx context.Context, cfg Config) (*Daemon, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		cfg:        cfg,
		log:        cfg.Logger,
		start:      time.Now(),
		opened:     make(chan struct{}),
		leaving:    leaving{quit: make(chan struct{}), left: make(chan struct{})},
		steals:     worker.NewMeter(),
		recoveries: recoveries{of: map[tasks.JobID]*recovering{}},
	}
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	d.loop = newLoop(d.ctx, d.start, d.obey)
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
	if err := d.takeFolders(); err != nil {
		return err
	}
	d.blobs = store.NewBlobs(d.cfg.ScratchDir, d.log)
	var err error
	if d.boot, err = store.NextBoot(d.cfg.StateDir, d.start); err != nil {
		return errors.Join(jobs.ToldDamage(err), d.lock.Unlock())
	}
	d.findRuntimes(ctx)
	if err := d.openNet(ctx); err != nil {
		return errors.Join(elsewhere(err), d.lock.Unlock())
	}
	d.openRooms()
	if err := d.openDatasets(); err != nil {
		return errors.Join(err, d.net.Close(), d.lock.Unlock())
	}
	d.loop.peer, err = engine.New(d.engineConfig())
	if err != nil {
		return errors.Join(err, d.net.Close(), d.lock.Unlock())
	}
	d.comeBack()
	d.cluster.NoteNames()
	d.warnExpelled()
	if h := d.runtimes.First(); h != nil {
		h.Begin()
	}
	d.spawn(d.loop.run)
	d.spawn(d.listen)
	set := d.runtimes.Set
	d.spawn(func() { d.announceRuntimes(set) })
	d.jobs.Begin()
	d.beginLying()
	return nil
}

// takeFolders makes the daemon's folders, of which no other daemon has the state while this one runs, and empties the
// one for what is under way.
func (d *Daemon) takeFolders() error {
	for _, dir := range []string{
		d.cfg.StateDir, d.cfg.CacheDir, api.JobsDir(d.cfg.StateDir), d.ledgersDir(), d.cancelsDir(),
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("could not make folder %q: %w", dir, err)
		}
	}
	d.lock = flock.New(api.LockPath(d.cfg.StateDir))
	if ok, err := d.lock.TryLock(); err != nil || !ok {
		held := fmt.Errorf("could not lock %q: a daemon runs with this state folder", d.cfg.StateDir)
		return &api.Error{
			Message: errors.Join(err, held).Error(),
			Hint:    "see `dtpnode status`; stop it with `dtpnode down`",
			Err:     err,
		}
	}
	// Partials of an earlier life are of no use: their jobs' homes have had them done again.
	if err := errors.Join(os.RemoveAll(d.cfg.ScratchDir), os.MkdirAll(d.cfg.ScratchDir, 0o700)); err != nil {
		return fmt.Errorf("could not empty scratch folder %q: %w", d.cfg.ScratchDir, err)
	}
	if d.cfg.KeepBytes == 0 {
		d.cfg.KeepBytes = store.DefaultKeepBytes(d.cfg.ScratchDir)
	}
	return nil
}

// openNet starts the network. It serves requests once all else is open.
func (d *Daemon) openNet(ctx context.Context) (err error) {
	d.net, err = p2p.Open(ctx, p2p.Config{
		Dir:          filepath.Join(d.cfg.StateDir, "p2p"),
		Listen:       d.cfg.Listen,
		Face:         d.cfg.Face,
		Name:         d.cfg.Name,
		Version:      d.cfg.Version,
		Meta:         runtimes.Announce(d.runtimes.Told(), p2p.MaxMeta),
		Slots:        d.cfg.Slots,
		Topics:       []string{jobsTopic},
		Blobs:        d.blobStore(),
		Serve:        d.serveOpened,
		Log:          d.log,
		ForgetAfter:  d.cfg.ForgetAfter,
		EphemeralFor: d.cfg.ForgetEphemeral,
	})
	return err
}

// openRooms makes the rooms that need the network.
func (d *Daemon) openRooms() {
	d.cluster = members.New(d.net, d.spawn, d.log)
	d.openStore()
	d.planner = d.newPlanner()
	d.jobs = jobs.New(d.ctx, jobs.Config{
		Retention:     d.cfg.retention(),
		Slots:         d.cfg.Slots,
		ScratchDir:    d.cfg.ScratchDir,
		CancelsDir:    d.cancelsDir(),
		SignatureWait: d.cfg.SignatureWait,
		Host:          exec.Host{ID: d.net.ID(), Name: d.cfg.Name, Kept: filepath.Join(d.cfg.StateDir, "caches")},
	}, d.cfg.workerLimits(), jobs.Rooms{
		Cluster:  d.cluster,
		Blobs:    d.blobs,
		Ledgers:  d.ledgers,
		Asides:   d.asides,
		Results:  d.results,
		Ages:     &store.Ages{KeepFor: d.cfg.KeepFor, Log: d.log},
		Data:     store.Data{Dir: filepath.Join(d.cfg.StateDir, "data"), Log: d.log},
		Runtimes: d.runtimes,
		Planner:  d.planner,
	}, jobs.Outside{
		Loop:   d.loop,
		Net:    d.net,
		Tricks: tricks{d},
		Sets:   datasetBook{d},
		Spawn:  d.spawn,
		Log:    d.log,
	})
}

func (d *Daemon) engineConfig() engine.Config {
	return engine.Config{
		Offers:   runtimes.Offers(d.runtimes.Told()),
		Boot:     d.boot,
		Replicas: d.cfg.Replicas,
		Keys:     netKeys{d.net, new(madeLately)},
		Keep:     d.cfg.KeepBytes,
		Quorum: quorum.Config{
			Seed:            d.boot,
			Election:        d.cfg.Election,
			SnapshotEntries: failpoint.Number("DTPNODE_SNAPSHOT", 0),
		},
		Steal: steal.Config{
			Self:       d.net.ID(),
			Slots:      d.cfg.Slots,
			Seed:       d.boot,
			Generation: d.cfg.CommitEvery,
		},
	}
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
		hint = fmt.Sprintf("end that program, or choose another port: `dtpnode up --listen %s`, where 0 takes one that is "+
			"free", net.JoinHostPort(host, "0"))
	}
	return &api.Error{Message: no.Error(), Hint: hint, Err: err}
}

// comeBack makes this daemon what it was in its earlier life. The peer learns of its ledgers before anything
// that the network has to say: of a job that it has heard of first it would not take its own copy up again.
func (d *Daemon) comeBack() {
	restored := d.restoreLedgers()
	d.asides.Restore()
	d.results.Restore()
	d.jobs.Restore()
	d.tellAdmins(d.loop.Step)
	for _, e := range d.results.Ends() {
		d.loop.Step(e)
	}
	for _, r := range restored {
		d.loop.Step(r)
	}
	close(d.opened)
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
	found := exec.Config{Scratch: d.cfg.ScratchDir, Cache: d.cfg.CacheDir, Log: d.log}
	d.runtimes = &jobs.Runtimes{
		Set:       runtimes.Find(ctx, d.cfg.Runtimes, found),
		Advice:    d.cfg.NoRuntime,
		Other:     d.cfg.OtherNeeds,
		Lacks:     d.cfg.Lacks,
		Elsewhere: d.othersHave,
		Missing:   d.othersLack,
	}
	if err := d.runtimes.None(); err != nil {
		d.log.Warn("this node cannot run jobs", "reason", err)
	}
}

// Quit is closed when a shutdown was asked for over the control interface.
func (d *Daemon) Quit() <-chan struct{} { return d.leaving.quit }

func (d *Daemon) askQuit() { d.leaving.once.Do(func() { close(d.leaving.quit) }) }

// Leave hands waiting work, ledgers and the lead of jobs over, ends what runs and waits until others have
// it, for LeaveWait at the most. A job that nobody else has the ledger of waits on disk for this daemon.
func (d *Daemon) Leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.LeaveWait)
	defer cancel()
	d.jobs.AbandonPreparing("the daemon was shut down")
	d.loop.Post(engine.Leave{})
	select {
	case <-d.leaving.left:
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
	d.jobs.Workers().Wait()
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
	case <-d.leaving.quit:
	}
	d.Leave(hurry)
	return errors.Join(ctl.Close(), d.Close())
}
