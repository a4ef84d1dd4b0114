// Package jobs leads jobs from their submission to the delivery of their output, prepares this node for the jobs that
// others lead, and tells users and members of both. It owns what the node knows of its jobs: the book that they stand
// in, what each holds here, and which descriptions, growths and partials are on their way. It never decides who runs
// what, who leads a job or when one is over, which the engine does, and it knows members only by what the cluster says
// of them, runtimes only by their contract, and the daemon only as the loop in which the engine runs.
//
// A job, whose state has parts of their own, and all jobs of a node:
//
//	job.go       what is known of a job              book.go      all jobs, by id and by name
//	leading.go   who leads it                        held.go      what it holds here
//	told.go      what users are told                 printed.go   what it has printed
//	output.go    the output that is owed             ending.go    how it ends
//
// The room is made of parts, each of which reaches those before it:
//
//	base, what all stand on
//	  room.go       the interfaces, and the room
//	descriptions, what jobs are described as, and whether their submitters can have said that
//	  describe.go   from members                     signature.go who signed them
//	  jobnames.go   names that their submitters alone can give
//	programs, made ready and used
//	  program.go    from sources, or from work       ships.go     what goes along
//	  worked.go     for generations                  look.go      which files are there
//	  values.go     what units hand to others
//	copies, what is kept for the ledgers of jobs
//	  ledgers.go    what copies are made of          merging.go   partials brought here and merged
//	  fold.go       those that are committed         parts.go     those of results, for a retry
//	  items.go      items that are appended         spent.go     what no unit needs any more
//	teller, what is told of jobs, and believed of members that tell of them
//	  status.go     a job, as it stands              waiting.go   why it goes on no further
//	  lookup.go     a job, wherever it is led        whose.go     whose it is
//	  lead.go       proofs that a member leads it    ends.go      proofs that it has ended
//	  list.go       all jobs                         claims.go    which of several members is believed
//	  logs.go       what children printed            fetch.go     results, from any node
//	  damage.go     files that cannot be read
//	outputs, where users want them
//	  deliver.go    until they are written           results.go   how long results stay
//	  saving.go     what is known after a restart
//	ender, how jobs end
//	  finish.go     the last merge, and the end      unfinished.go an end that fails
//	  steer.go      as users want                    stopping.go  as their submitters may do no more
//	  cancels.go    cancels that are remembered      awaited.go   jobs of earlier lives
//	  ages.go       by whose clock a job waits
//	collector, what is handed out of jobs that have not ended
//	  partials.go   what is committed                units.go     results of single units
//	  watch.go      named objects while a job runs   feed.go      as its home makes them
//	  share.go      what one node has of them
//	grower, for open jobs
//	  grow.go       appends, and what jobs have grown by
//	Room
//	  submit.go     a request becomes a description  prepare.go   this node made ready for another's job
//	  retry.go      what is missing, once more       mended.go    with other code than before
//	  check.go      a job that is only tried         follow.go    a job, as it happens
package jobs

import (
	"context"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/node/plan"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/node/values"
	"github.com/dtpnode/dtpnode/node/worker"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// Loop is the engine behind the loop that owns it.
type Loop interface {
	// Post hands the engine an event. It may wait for a moment, never after the daemon's end.
	Post(ev engine.Event)
	// Ask has f read the engine in the loop, and waits for it. After the daemon's end f is not called.
	Ask(f func(p *engine.Peer))
	// Step has the engine handle an event at once; it is for functions that Ask calls.
	Step(ev engine.Event)
}

// Net is the network as far as jobs need it (p2p.Node).
type Net interface {
	// ID and Name are this node's.
	ID() tasks.PeerID
	Name() string
	// Members are all members, this node among them.
	Members() []p2p.Member
	// HasRight reports whether a member has a right, as the signed registers say.
	HasRight(id tasks.PeerID, r p2p.Right) bool
	// Request sends a member a request and returns the answer.
	Request(ctx context.Context, to tasks.PeerID, kind string, payload []byte) ([]byte, error)
	// Fetch copies the blob with a hash from a member to dst, if it has at most so many bytes.
	Fetch(ctx context.Context, from tasks.PeerID, hash string, most int64, dst io.Writer) (int64, error)
	// Sign signs with this node's key.
	Sign(text []byte) []byte
}

// Tricks are the ways in which a daemon that is built to lie (build tag liars) differs from an honest one, in which
// these methods change nothing.
type Tricks interface {
	// Named is the name that a job gets which is submitted here; nonce is what it would be on an honest node.
	Named(nonce []byte) []byte
	// NamesAny reports whether this node accepts jobs whatever their names are.
	NamesAny() bool
	// Boasts reports whether this node claims to keep blobs that it does not keep.
	Boasts() bool
}

// Datasets keeps lists of files under names.
type Datasets interface {
	// Add reads the files and registers them under a name of this node's.
	Add(ctx context.Context, req api.DatasetRequest) (api.Dataset, error)
	// Get is the dataset of a name, with its owner's before it or without.
	Get(ctx context.Context, name string) (api.Dataset, error)
}

// Config is what a Room is made of.
type Config struct {
	store.Retention // how long results, unfinished jobs and what is known of jobs are kept

	Slots         int           // how many children run at once
	ScratchDir    string        // folder for temporary files, on the file system of the blobs
	CancelsDir    string        // folder in which cancels are remembered
	SignatureWait time.Duration // how long a member that leads a job may take to say who signed it
	Host          exec.Host     // what user code is told of this node
}

// Rooms are the rooms below this one that it uses.
type Rooms struct {
	Cluster  *members.Cluster
	Blobs    *store.Blobs
	Ledgers  *store.Ledgers
	Asides   *store.Asides
	Results  *store.Results
	Ages     *store.Ages
	Data     store.Data
	Runtimes *Runtimes
	Planner  *plan.Planner
}

// Outside is what connects this room to the rest of the daemon, and to the cluster.
type Outside struct {
	Loop   Loop
	Net    Net
	Tricks Tricks
	Sets   Datasets     // where files that jobs write are registered if their code asks for it
	Spawn  func(func()) // starts a goroutine that the daemon waits for when it closes
	Log    *slog.Logger
}

// base is what all parts of the room use.
type base struct {
	cfg    Config
	ctx    context.Context // ends all that is done for jobs
	loop   Loop
	net    Net
	tricks Tricks
	sets   Datasets
	spawn  func(func())
	log    *slog.Logger

	cluster  *members.Cluster
	blobs    *store.Blobs
	ledgers  *store.Ledgers
	asides   *store.Asides
	results  *store.Results
	ages     *store.Ages
	data     store.Data
	runtimes *Runtimes
	planner  *plan.Planner
	workers  *worker.Workers
	book     *Book

	values  *values.Store      // what units hand to others
	kept    backlogs           // calls that wait to be appended to jobs of this node's user
	early   early              // values that are told before they are committed
	hearing hearing            // and those that go to other nodes, or come from them
	placing singleflight.Group // blobs that jobs ship and that are being brought, by their hashes
}

// Room has all jobs of a node. It is made of parts, each of which uses only those that are named before it. The room
// itself accepts jobs, leads them and prepares this node for those of others. Its methods may be called from any
// goroutine but that of the engine's loop, which may call only the methods whose comments say so. Those never wait.
type Room struct {
	*base
	*descriptions
	*programs
	*copies
	*teller
	*outputs
	*ender
	*collector
	*grower

	waiting []*awaited // jobs submitted before a restart, whose ends Begin asks for
}

// New makes a room without jobs. All that is done for jobs ends with ctx.
func New(ctx context.Context, cfg Config, limits worker.Limits, in Rooms, out Outside) *Room {
	b := &base{
		cfg:      cfg,
		ctx:      ctx,
		loop:     out.Loop,
		net:      out.Net,
		tricks:   out.Tricks,
		sets:     out.Sets,
		spawn:    out.Spawn,
		log:      out.Log,
		cluster:  in.Cluster,
		blobs:    in.Blobs,
		ledgers:  in.Ledgers,
		asides:   in.Asides,
		results:  in.Results,
		ages:     in.Ages,
		data:     in.Data,
		runtimes: in.Runtimes,
		planner:  in.Planner,
		book:     NewBook(ctx, out.Net.ID(), cfg.KeepJobs, in.Ledgers, in.Results),
	}
	d := newDescriptions(b)
	p := &programs{b}
	b.workers = worker.New(ctx, worker.Config{
		Limits: limits,
		Blobs:  in.Blobs,
		Data:   in.Data.Dir,
		Host:   cfg.Host,
		Job:    p.worked,
		Post:   out.Loop.Post,
		Log:    out.Log,
	})
	c, t := &copies{base: b, descriptions: d, programs: p}, &teller{b, d}
	b.values = values.New(ctx, peersOfValues{c}, out.Spawn, out.Log)
	o := &outputs{b, t}
	return &Room{
		base:         b,
		descriptions: d,
		programs:     p,
		copies:       c,
		teller:       t,
		outputs:      o,
		ender:        &ender{b, d, p, c, t, o},
		collector:    newCollector(b, p, c, t),
		grower:       &grower{base: b, programs: p, copies: c, teller: t},
	}
}

// Workers run the generations of the jobs.
func (r *Room) Workers() *worker.Workers { return r.workers }

// Book is all jobs that the node knows.
func (r *Room) Book() *Book { return r.book }

// Restore enters the jobs that are on disk from before a restart. It is called before the engine's loop runs.
func (r *Room) Restore() { r.waiting = r.loadFinished() }

// Begin starts what is done for jobs from time to time, until the daemon closes.
func (r *Room) Begin() {
	r.spawn(r.sweepOften)
	r.spawn(r.cancelOften)
	r.restoreBacklogs()
	r.spawn(r.closeAbandoned)
	r.spawn(r.StopRevoked) // for members that were revoked while this daemon did not run
	r.spawn(func() { r.awaitEnds(r.waiting) })
}

// CheckFor has the engine check a proof in a member's answer, on the account of that member, whose share of checks is
// bounded.
func (r *base) CheckFor(
	at tasks.PeerID, id tasks.JobID, submitter tasks.PeerID, check func(quorum.Trust) error,
) error {
	err := ErrOver // in case the daemon has closed, and the loop does not run any more
	r.loop.Ask(func(p *engine.Peer) { err = p.CheckFor(at, id, submitter, check) })
	return err
}

// openLimit is how long a file of a job may take to be opened here.
func (r *base) openLimit(req api.JobRequest) time.Duration {
	return r.workers.Limits.For(limitsOf(req)).Open
}
