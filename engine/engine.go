// Package engine is one peer's whole protocol: the scheduler (steal), the partials it keeps (merge), its
// copies of ledgers (quorum) and the jobs it leads (ledger), wired together. It is pure: the daemon drives it with real children,
// sockets and blobs, the simulator with modelled ones, and what the simulator proves is what ships.
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
	Ledger ledger.Config
	Boot   uint64        // grows with each start of this peer; distinguishes its messages and partials
	Report time.Duration // between reports to a home; default 400 ms
	Silent time.Duration // a job without any home for so long is given up; default 10 min

	Replicas int           // of a job's ledger, where there are as many nodes; 0 for a ledger in memory alone
	Quorum   quorum.Config // of the replicated logs; Seed is this peer's
	Keys     quorum.Keys   // sign as this peer, and check what others signed; needed
	Replace  time.Duration // a replica that is silent for so long is replaced; default 10 s
	Found    time.Duration // commits of a new job wait so long for its replicas; default 3 s
	Keep     int64         // bytes of partials not yet committed that may be kept here; 0 for no bound
	Linger   time.Duration // replicas of a job that is over serve the others for so long; default 2 s
	Unsealed time.Duration // or so long, while the end is not proven to others; default 10 min
}

// Message is what peers send each other: exactly one field besides Job and Term is set. It may be lost,
// repeated or late; the protocol does not care.
type Message struct {
	Job    tasks.JobID    `msgpack:"j"`
	Term   uint64         `msgpack:"e,omitempty"` // of the home that speaks
	Steal  *steal.Message `msgpack:"t,omitempty"`
	Open   *Open          `msgpack:"o,omitempty"` // home to all: a job begins
	Report *ledger.Report `msgpack:"r,omitempty"` // to the home
	Ack    *ReportAck     `msgpack:"a,omitempty"` // home's answer
	Offer  *merge.Partial `msgpack:"p,omitempty"` // to the home
	Answer *Answer        `msgpack:"w,omitempty"` // home's answer
	Gather *merge.Partial `msgpack:"g,omitempty"` // to the node above: merge this with others' and offer it on
	Told   *Told          `msgpack:"b,omitempty"` // its answers
	Reduce *Reduce        `msgpack:"m,omitempty"` // home to a holder: merge these
	Drop   tasks.Cover    `msgpack:"d,omitempty"` // home: these are committed
	Undone tasks.Cover    `msgpack:"n,omitempty"` // home: these are committed no more, and run again
	Yield  tasks.Cover    `msgpack:"l,omitempty"` // home: others hold these too; forget what waits of them
	Refuse []merge.ID     `msgpack:"u,omitempty"` // to the home: these cannot be reduced as ordered
	Try    *tasks.Range   `msgpack:"y,omitempty"` // home: run this suspect by itself
	Order  Order          `msgpack:"x,omitempty"` // home to all, or to one

	Moved    *Moved    `msgpack:"h,omitempty"`  // answer to what was meant for a home: it is another
	Enlist   *Enlist   `msgpack:"l1,omitempty"` // home: be a replica of the ledger
	Enlisted *Enlisted `msgpack:"l2,omitempty"` // answer
	Resign   *Resign   `msgpack:"l4,omitempty"` // to replicas: may this one forget its copy?
	Resigned *Resign   `msgpack:"l5,omitempty"` // answer: it may
	Frame    []byte    `msgpack:"l3,omitempty"` // between replicas: the replicated log's own (package quorum)
	Keep     *Keep     `msgpack:"k1,omitempty"` // home to a replica: keep this blob
	Kept     *Kept     `msgpack:"k2,omitempty"` // answer
	Ended    *Ended    `msgpack:"z,omitempty"`  // the job is over, proven

	Recovery *quorum.Link `msgpack:"v,omitempty"` // the job's ledger was recovered: signed by who may (recover.go)
}

// Moved tells whom its sender takes for a job's home, and asks for what is newer.
type Moved struct {
	Home  tasks.PeerID    `msgpack:"h"` // empty for nobody
	Term  uint64          `msgpack:"t"`
	Proof *quorum.Mandate `msgpack:"p,omitempty"` // of that, if the sender has it
	Gone  bool            `msgpack:"g,omitempty"` // answer: the sender knows of no such job, nor of its end
}

// Enlist asks a node to become a replica of a job's ledger: a member of a log that began with Voters. The node
// chooses which member it is: a name that a home gave, heard late or twice, could be that of one whose log is lost.
type Enlist struct {
	Nonce  uint64          `msgpack:"n"` // of the home, for the answer
	Voters []quorum.Member `msgpack:"v"`
	Not    uint64          `msgpack:"g,omitempty"` // the member that the node was, which has been removed
	Proof  *quorum.Mandate `msgpack:"p"`           // that the sender leads the job in the message's term
}

// Enlisted answers Enlist.
type Enlisted struct {
	Nonce  uint64        `msgpack:"n"`
	Member quorum.Member `msgpack:"m"`
	OK     bool          `msgpack:"o"`
}

// Resign is of a member that its own log says is none any more. The others may not know yet, and need its vote.
type Resign struct {
	Member uint64 `msgpack:"m"`
}

// Keep asks a replica to keep a blob durably: a partial's, or the result's.
type Keep struct {
	Partial *merge.Partial `msgpack:"p,omitempty"`
	Sources []tasks.PeerID `msgpack:"s,omitempty"` // beside the holder
	Seq     uint64         `msgpack:"q,omitempty"` // counts the home's requests in its term
	Free    bool           `msgpack:"f,omitempty"` // the other way round: it will not be committed
	At      uint64         `msgpack:"a,omitempty"` // the last entry of the log that the home has applied
	Result  *ledger.Result `msgpack:"r,omitempty"`
}

// Kept answers Keep.
type Kept struct {
	ID     merge.ID `msgpack:"i"` // zero for the result
	SHA256 string   `msgpack:"h"` // of the result
	OK     bool     `msgpack:"o"`
	Full   bool     `msgpack:"f,omitempty"` // it could not be written here
	Term   uint64   `msgpack:"t,omitempty"` // of the home that asked
	Seq    uint64   `msgpack:"q,omitempty"` // of its request
	Member uint64   `msgpack:"m,omitempty"` // that keeps it: a copy goes with its member
}

// Ended tells how a job ended, and proves it. Those who take no result from it are told its sum alone.
type Ended struct {
	Sum     string         `msgpack:"h"`           // of the result: ledger.Result.Sum
	Units   int64          `msgpack:"u"`           // in the result
	Missing int64          `msgpack:"m"`           // set aside
	Result  *ledger.Result `msgpack:"r,omitempty"` // nil if only its sum is told
	Seal    *quorum.Seal   `msgpack:"s"`           // of a majority of the ledger's voters, under all but itself and Result
}

// Text is what a seal of the end is under.
func (e *Ended) Text() []byte {
	return fmt.Appendf(nil, "dtpnode end\x00%s\x00%d\x00%d", e.Sum, e.Units, e.Missing)
}

// Order is a word without arguments from a home.
type Order int

// Orders.
const (
	NoOrder   Order = iota
	OrderStop       // wind up, offer what you have
	OrderShun       // hand this job's work back
	OrderRest       // the result is being made, or the job given up: forget all work
)

// Open announces a job.
type Open struct {
	Home  tasks.PeerID  `msgpack:"h"`
	Every time.Duration `msgpack:"e"` // between reports
	// Proof is that the home leads the job in the message's term.
	Proof *quorum.Mandate `msgpack:"p"`
}

// Told answers Gather, at once and again when there is news.
type Told struct {
	ID   merge.ID   `msgpack:"i"`
	Word merge.Word `msgpack:"w"`
}

// ReportAck answers a Report.
type ReportAck struct {
	Seq      uint64          `msgpack:"q"`
	Failures uint64          `msgpack:"f"`           // booked up to this one
	Busy     []tasks.PeerID  `msgpack:"b"`           // some nodes with waiting work,
	Left     []time.Duration `msgpack:"l"`           // and for how long
	Every    time.Duration   `msgpack:"e"`           // between reports from now on
	Above    tasks.PeerID    `msgpack:"u"`           // merges this node's partials from now on; empty to leave that as it is
	Lost     []Loss          `msgpack:"x,omitempty"` // units that nobody held and that run again,
	Losers   []steal.Loser   `msgpack:"y,omitempty"` // and all nodes that lose what they take
}

// Loss are units that were put back to work.
type Loss struct {
	Seq    uint64        `msgpack:"q"` // counts the losses that a home tells of
	Ranges tasks.Cover   `msgpack:"r"`
	Ago    time.Duration `msgpack:"a"`
}

// Answer accepts, notes or else rejects an offer.
type Answer struct {
	ID     merge.ID `msgpack:"i"`
	Accept bool     `msgpack:"a"`
	Note   bool     `msgpack:"n"` // no verdict yet:
	Known  bool     `msgpack:"k"` // the offer is known, or is not any more
}

// Reduce orders a merge.
type Reduce struct {
	Inputs []merge.Partial `msgpack:"i"`
}

// Peer is one peer. It is not safe for concurrent use.
type Peer struct {
	cfg     Config
	self    tasks.PeerID
	now     time.Duration
	out     []Effect
	loop    []Message // to this peer itself
	sched   *steal.Scheduler
	jobs    []*jobState           // in order of arrival
	peers   map[tasks.PeerID]int  // their slots,
	own     map[tasks.PeerID]int  // and those for jobs of their own
	rules   map[tasks.PeerID]bool // who may submit jobs
	gens    map[steal.GenID]*genState
	seq     uint64
	ends    ends // of jobs that are over
	admins  []tasks.PeerID
	left    bool
	leave   bool
	leaveAt time.Duration // since when
	full    bool          // of partials
	seals   []steal.GenID // that wait for room to be sealed

	checks  *counted // of signatures
	checked quorum.Checked
	dues    map[tasks.PeerID]*dues
	sent    allowance // by the receivers of this peer's own reports

	ticked bool // the scheduler has been stepped in this Step
}

// genState is what must be known of a generation to seal it.
type genState struct {
	job    *jobState
	cover  tasks.Cover
	canary uint64
	room   int64 // taken for its output while that is sealed
}

// New returns a peer without jobs.
func New(cfg Config) (*Peer, error) {
	if mutant.On(mutant.SameBoot) {
		cfg.Boot = 1
	}
	if cfg.Keys == nil {
		return nil, errors.New("could not set up peer: it has no keys to sign with")
	}
	if cfg.Report == 0 {
		cfg.Report = 400 * time.Millisecond
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&cfg.Silent, 10 * time.Minute}, {&cfg.Replace, 10 * time.Second}, {&cfg.Found, 3 * time.Second}, {&cfg.Linger, 2 * time.Second}, {&cfg.Unsealed, 10 * time.Minute}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if cfg.Ledger.MaxBlobs == 0 {
		cfg.Ledger.MaxBlobs = ledger.MaxBlobs
	}
	if cfg.Ledger.FoldFloor == 0 {
		cfg.Ledger.FoldFloor = ledger.FoldFloor
	}
	cfg.Ledger.Self, cfg.Ledger.Report = cfg.Steal.Self, cfg.Report
	cfg.Ledger.Unsealed = cfg.Steal.Generation // as this node does it, others will
	sched, err := steal.New(cfg.Steal)
	if err != nil {
		return nil, fmt.Errorf("could not set up peer: %w", err)
	}
	checks := &counted{Keys: cfg.Keys}
	cfg.Keys = checks
	return &Peer{cfg: cfg, checks: checks, dues: map[tasks.PeerID]*dues{}, self: cfg.Steal.Self, sched: sched, peers: map[tasks.PeerID]int{}, own: map[tasks.PeerID]int{},
		rules: map[tasks.PeerID]bool{}, gens: map[steal.GenID]*genState{}, ends: ends{of: map[tasks.JobID]*end{}}, seq: cfg.Boot << 24}, nil
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

// stopped is the time without an event after which a peer with jobs must have been stopped, as by SIGSTOP or with its
// virtual machine: they tick much more often.
const stopped = 10 * time.Second

// wake puts off what this peer would give up because of others' silence: while it was stopped it could not hear them.
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
		if (j.loaded || j.leads()) && j.mayReport() {
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
