// Package engine is one peer's whole protocol: the scheduler (steal), the partials it keeps (merge), its
// copies of ledgers (quorum) and the jobs it leads (ledger), wired together. It is pure: the daemon drives it with real
// children, sockets and blobs, the simulator with modelled ones, and what the simulator proves is what ships.
//
// A job is announced by its home. A node that hears of one prepares it (fetches description, sources
// and library, loads the selector) and from then on reports to the home, is dealt work and steals.
//
// The home is the leader of the job's replicated log (replica.go). When it dies another replica leads and
// announces itself with a higher term; nodes obey the home of the highest term they have heard of.
package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Config sets a peer up.
type Config struct {
	Steal  steal.Config
	Offers []tasks.Offer // of this node's runtimes: it works for the jobs whose needs they meet
	Ledger ledger.Config
	Boot   uint64        // grows with each start of this peer, so that its reports and partials have new numbers
	Report time.Duration // between reports to a home; default 400 ms
	Silent time.Duration // after which a job whose home is not heard is given up; default 10 min

	Replicas int           // of a job's ledger, where there are as many nodes; 0 for a ledger in memory alone
	Quorum   quorum.Config // of the replicated logs; Seed is this peer's
	Keys     quorum.Keys   // sign as this peer, and check what others have signed; must be set
	Replace  time.Duration // after which a silent replica is replaced; default 10 s
	Found    time.Duration // how long commits of a new job wait for its replicas; default 3 s
	Keep     int64         // bytes of partials not yet committed that may be kept here; 0 for no bound
	Linger   time.Duration // how long a replica serves the others after the end of a job is proven; default 2 s
	Unsealed time.Duration // how long it does so while the end is not proven; default 10 min
}

// Peer is one peer. It is not safe for concurrent use.
type Peer struct {
	cfg  Config
	self tasks.PeerID
	now  time.Duration
	seq  uint64 // the last number that this peer has given to a partial, a report, a voter or a request

	out    []Effect  // of the Step that runs, so far
	loop   []Message // that this peer has sent itself in the Step that runs, and not taken yet
	ticked bool      // the scheduler was stepped in the Step that runs

	sched   *steal.Scheduler
	gens    map[steal.GenID]*genState
	jobs    []*jobState // in the order in which they were heard of
	ends    ends
	members map[tasks.PeerID]memberState // that are connected
	admins  []tasks.PeerID               // members with the right admin
	charges charges
	room    room
	leaving leaving
}

// leaving is how far this peer has come with leaving its cluster. Left is emitted once, when nobody needs it any more.
type leaving struct {
	on    bool
	since time.Duration
	done  bool // Left was emitted
}

// genState is what this peer knows of a running generation.
type genState struct {
	job    *jobState
	solo   bool          // it runs a suspect range by itself
	cover  tasks.Cover   // units that it has run
	canary uint64        // that its output must show
	room   int64         // bytes that are set aside for its output, while that is sealed
	slot   time.Duration // until when the time in its slot is counted (countSlots)
}

// New returns a peer without jobs.
func New(cfg Config) (*Peer, error) {
	if mutant.On(mutant.SameBoot) {
		cfg.Boot = 1
	}
	if cfg.Keys == nil {
		return nil, errors.New("could not set up peer: it has no keys to sign with")
	}
	cfg.defaults()
	sched, err := steal.New(cfg.Steal)
	if err != nil {
		return nil, fmt.Errorf("could not set up peer: %w", err)
	}
	checks := &counted{Keys: cfg.Keys}
	cfg.Keys = checks
	return &Peer{
		cfg:     cfg,
		self:    cfg.Steal.Self,
		seq:     cfg.Boot << 24,
		sched:   sched,
		gens:    map[steal.GenID]*genState{},
		ends:    ends{of: map[tasks.JobID]*endedJob{}},
		members: map[tasks.PeerID]memberState{},
		charges: charges{checks: checks, of: map[tasks.PeerID]*dues{}},
	}, nil
}

func (c *Config) defaults() {
	tasks.Default(&c.Report, 400*time.Millisecond)
	tasks.Default(&c.Silent, 10*time.Minute)
	tasks.Default(&c.Replace, 10*time.Second)
	tasks.Default(&c.Found, 3*time.Second)
	tasks.Default(&c.Linger, 2*time.Second)
	tasks.Default(&c.Unsealed, 10*time.Minute)
	tasks.Default(&c.Ledger.MaxBlobs, ledger.MaxBlobs)
	tasks.Default(&c.Ledger.FoldFloor, ledger.FoldFloor)
	c.Ledger.Self, c.Ledger.Report = c.Steal.Self, c.Report
	c.Ledger.Unsealed = c.Steal.Generation // other nodes seal their generations as late as this one does
}

// Step takes one event at time now and returns what is to be done.
func (p *Peer) Step(now time.Duration, ev Event) []Effect {
	if gap := now - p.now; gap > stopped {
		p.wake(gap)
	}
	p.now, p.out = max(p.now, now), nil
	p.ticked = false
	p.handle(ev)
	if !p.ticked {
		p.schedule(steal.Tick{})
	}
	p.drain()
	for _, j := range p.jobs {
		p.tidy(j)
		if !j.shut {
			p.flush(j)
			p.report(j)
		}
	}
	p.drain()
	p.makeRoom()
	p.checkLeft()
	return p.out
}

// stopped is the time without an event after which a peer must have been stopped, as by SIGSTOP or with its virtual
// machine: a peer with jobs has events much more often.
const stopped = 10 * time.Second

// wake puts off giving up what this peer would give up for the silence of others: it could not hear them for the time
// gap in which it was stopped.
func (p *Peer) wake(gap time.Duration) {
	for _, j := range p.jobs {
		j.seeking.heard += gap
		if j.shut && !j.end.proven {
			j.closeAt += gap
		}
	}
}

// drain delivers messages that this peer sent to itself.
func (p *Peer) drain() {
	for len(p.loop) > 0 {
		m := p.loop[0]
		p.loop = p.loop[1:]
		p.recv(p.self, m)
	}
}

func (p *Peer) emit(e Effect) { p.out = append(p.out, e) }

func (p *Peer) send(to tasks.PeerID, m Message) {
	if to == p.self {
		p.loop = append(p.loop, m)
		return
	}
	p.emit(Send{To: to, Msg: m})
}

func (p *Peer) job(id tasks.JobID) *jobState {
	for _, j := range p.jobs {
		if j.id == id {
			return j
		}
	}
	return nil
}

// nextID names a new partial.
func (p *Peer) nextID() merge.ID {
	p.seq++
	return merge.ID{Node: p.self, Seq: p.seq}
}

// Wake is the latest time by which Step must be called again, or -1 if nothing is due.
func (p *Peer) Wake() time.Duration {
	next := p.sched.Wake()
	at := func(t time.Duration) {
		if t >= 0 && (next < 0 || t < next) {
			next = t
		}
	}
	for _, j := range p.jobs {
		if j.copy.log != nil {
			at(j.copy.log.Wake())
		}
		if j.copy.log != nil && !j.copy.leaveAt.Never() {
			at(j.copy.resigned + resignAgain)
		}
		if j.shut {
			at(max(j.closeAt, p.now+p.cfg.Report))
			continue
		}
		if (j.loaded || j.leads() || j.desc != nil && !p.canRun(j, p.self)) && j.mayReport() {
			at(j.reports.next)
		}
		if due := p.flushDue(j); due >= 0 {
			at(due)
		}
		if j.leads() {
			at(j.led.home.Wake())
		}
		at(j.sight.due())
		if !j.leads() {
			at(max(j.seeking.heard+p.silent(j), p.now+time.Second))
		}
	}
	return next
}
