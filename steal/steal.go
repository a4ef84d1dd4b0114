// Package steal is one node's scheduler: which generation runs which packet, what is given to a thief
// and whom to steal from. It is pure: Step(now, event) returns effects, and the caller (the daemon or
// the simulator) carries them out and reports back with further events.
//
// Work lies in three places on a node. A job's pool holds ranges nobody here has begun. A generation
// owns a task, one contiguous range whose front it has leased to its child as packets. Ranges given to
// a thief stay pending until the thief acknowledges them, and return to the pool otherwise: they may
// then run twice, which the commit rules make harmless.
//
// Stealing follows divisible-load work stealing (Gast, Khatiri, Trystram, Wagner: "Analysis of
// work stealing with latency", 2018) with lifelines (Saraswat et al.: "Lifeline-based global load
// balancing", PPoPP 2011): random victims first, then rest and be woken by neighbours.
package steal

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// GenID names a generation on this node.
type GenID uint64

// Config sets one node's scheduler up.
type Config struct {
	Self  tasks.PeerID
	Slots int    // generations at once; 0 for a node that only submits
	Seed  uint64 // of the choice of victims

	Packet     time.Duration // aim for a packet's run time; default 100 ms
	MinPacket  time.Duration // aim at the tail; default 8 ms
	Generation time.Duration // a generation is sealed when it is older; default 30 s
	Resend     time.Duration // a grant not acknowledged is repeated so often; default 400 ms
	AckWait    time.Duration // a grant not acknowledged by then is taken back; default 10 s
	StealWait  time.Duration // a request not answered by then counts as refused; default 500 ms
	IdleSeal   time.Duration // a generation without work for so long is sealed; default 30 ms
	RestMax    time.Duration // longest rest between steal requests in vain; default 1 s
}

// validate fills in defaults and refuses nonsense.
func (c *Config) validate() error {
	if c.Self == "" || c.Slots < 0 {
		return fmt.Errorf("could not set up scheduler of peer %q with %d slots", c.Self, c.Slots)
	}
	if d := min(c.Packet, c.MinPacket, c.Generation, c.Resend, c.AckWait, c.StealWait, c.IdleSeal, c.RestMax); d < 0 {
		return fmt.Errorf("could not set up scheduler: negative duration %v", d)
	}
	tasks.Default(&c.Packet, 100*time.Millisecond)
	tasks.Default(&c.MinPacket, 8*time.Millisecond)
	tasks.Default(&c.Generation, 30*time.Second)
	tasks.Default(&c.Resend, 400*time.Millisecond)
	tasks.Default(&c.AckWait, 10*time.Second)
	tasks.Default(&c.StealWait, 500*time.Millisecond)
	tasks.Default(&c.IdleSeal, 30*time.Millisecond)
	tasks.Default(&c.RestMax, time.Second)
	return nil
}

// Messages between schedulers.
type (
	// Request asks a victim for work of one of the jobs that the thief is ready to run.
	Request struct {
		ID    uint64        `msgpack:"i"`
		Slots int           `msgpack:"s"`
		Jobs  []tasks.JobID `msgpack:"j"` // at most MaxJobs
		Rates []float64     `msgpack:"r"` // units/s of the whole thief for each job, 0 if unknown
		// Blind is, for each job, what the thief is not to be given, mostly since it cannot read it. It may be shorter than
		// Jobs.
		Blind []tasks.Cover `msgpack:"b"`
		Wait  bool          `msgpack:"w"` // if there is nothing now, push when there is (lifeline)
	}
	// Grant gives ranges away; the victim holds them until the Ack, and repeats the grant until then.
	// Request is 0 for a push, and for work that is dealt.
	Grant struct {
		ID      uint64        `msgpack:"i"`
		Request uint64        `msgpack:"q"`
		Job     tasks.JobID   `msgpack:"j"`
		Ranges  tasks.Cover   `msgpack:"r"`
		Left    time.Duration `msgpack:"l"` // run time left on the victim
		Dealt   bool          `msgpack:"d"` // it is the share of the receiver, and of Others, of a job that has just begun
		Others  []Share       `msgpack:"o"` // nodes to which the receiver passes on their shares
		Above   tasks.PeerID  `msgpack:"u"` // node that merges the receiver's partials; empty for the giver
		// Near is what one of the units takes longer on other nodes, if the receiver is near them; else zero.
		Near time.Duration `msgpack:"n,omitempty"`
		// Proof shows, if there are Others or the giver is not the submitter, that the submitter deals the work so.
		Proof *DealProof `msgpack:"p,omitempty"`
	}
	// Share is a peer's part in work that is dealt, by slots.
	Share struct {
		_msgpack struct{} `msgpack:",as_array"`

		ID    tasks.PeerID
		Slots int
	}
	// Ack takes (OK) or returns (not OK) a grant.
	Ack struct {
		ID  uint64      `msgpack:"i"`
		Job tasks.JobID `msgpack:"j"`
		OK  bool        `msgpack:"o"`
	}
	// Refuse answers a Request that got nothing.
	Refuse struct {
		Request uint64 `msgpack:"q"`
	}
	// Message is exactly one of them.
	Message struct {
		Request *Request `msgpack:"q,omitempty"`
		Grant   *Grant   `msgpack:"g,omitempty"`
		Ack     *Ack     `msgpack:"a,omitempty"`
		Refuse  *Refuse  `msgpack:"r,omitempty"`
	}
)

// MaxJobs bounds the jobs named in one Request.
const MaxJobs = 32

// MaxBlind bounds the ranges with which a Request says what its sender cannot read. A node that is blind for more
// ranges than that may be given what it cannot read, and passes it on.
const MaxBlind = 2048

// Event is what happened; the types below.
type Event interface{ isStealEvent() }

// Events.
type (
	// Tick lets time-outs take effect. The owner sends a few a second, and one at the time that Wake returns.
	Tick struct{}
	// PeerUp tells of a peer that can be stolen from.
	PeerUp struct {
		ID     tasks.PeerID
		Slots  int           // that it is known for
		Offers []tasks.Offer // of its runtimes: it is asked for, and given, work of the jobs whose needs they meet
	}
	// PeerDown tells that a peer is not reachable.
	PeerDown struct{ ID tasks.PeerID }
	// Open says that this node is ready to run a job. Rate is units/s a slot from earlier runs, or 0.
	Open struct {
		Job  tasks.JobID
		Home tasks.PeerID
		Data *tasks.Dataset
		Want tasks.Range // grants lie within; all of Data if empty
		Open bool        // the job may grow
		Rate float64
		// Needs are what a node's runtimes must offer to run the job.
		Needs []string
		// Dealt says that work comes by itself: none is stolen for a moment.
		Dealt bool
	}
	// Home tells that another node leads a job now; empty while nobody is known to.
	Home struct {
		Job  tasks.JobID
		Home tasks.PeerID
	}
	// Grow tells that a job has grown: its Data has more now, and grants lie within Want. Open says that it may grow
	// again.
	Grow struct {
		Job  tasks.JobID
		Want tasks.Range
		Open bool
	}
	// Close forgets a job and kills its generations.
	Close struct{ Job tasks.JobID }
	// Stop drops a job's waiting work, cuts its running packets and seals its generations.
	Stop struct{ Job tasks.JobID }
	// Rest drops a job's waiting work and kills its generations: no more of it is needed.
	Rest struct{ Job tasks.JobID }
	// Lost tells of units that nobody holds and that are run again, elsewhere.
	Lost struct {
		Job   tasks.JobID
		Cover tasks.Cover
		Ago   time.Duration // since that was found
	}
	// Losers names all nodes that the home finds to lose what they take.
	Losers struct {
		Job tasks.JobID
		All []Loser
	}
	// Work puts ranges in the pool. Solo ranges run one by one, each in a generation of its own, so
	// that a crash costs nothing else; they are never stolen.
	Work struct {
		Job    tasks.JobID
		Ranges tasks.Cover
		Solo   bool
		Near   []Near // nodes near some of them
	}
	// Deal pushes about Units of the pool to a peer, which passes on what is for Others.
	Deal struct {
		Job    tasks.JobID
		To     tasks.PeerID
		Units  int64
		Others []Share
		Above  tasks.PeerID // merges what To makes; empty for this node
		Blind  tasks.Cover  // what To cannot read, and is not to be given
		Sig    []byte       // this node's under DealText; for nobody where there are no Others
	}
	// Blind tells which units of a job this host cannot read now, all of them: they are run by others. What of
	// them waits here is for thieves that can read it.
	Blind struct {
		Job   tasks.JobID
		Cover tasks.Cover
	}
	// Drop forgets work that is committed already, and kills generations that have done some of it:
	// their partials would be rejected.
	Drop struct {
		Job   tasks.JobID
		Cover tasks.Cover
	}
	// Undone tells that units which were said to be committed are not any more.
	Undone struct {
		Job   tasks.JobID
		Cover tasks.Cover
	}
	// Yield forgets waiting work that another node holds too.
	Yield struct {
		Job   tasks.JobID
		Cover tasks.Cover
	}
	// Shun hands all of a job's work back to its home and runs no more of it here.
	Shun struct{ Job tasks.JobID }
	// Busy tells which peers have work and how long it will last, for the choice of victims.
	Busy struct {
		Peers []tasks.PeerID
		Left  []time.Duration
	}
	// Recv is a message from a peer.
	Recv struct {
		From tasks.PeerID
		Msg  Message
	}
	// PacketDone ends a lease. Last is the first unit that was not processed.
	PacketDone struct {
		Gen     GenID
		Packet  tasks.Range
		Last    int64
		Elapsed time.Duration
		Bytes   int64 // read from the file; counted by the scheduler's owner
		Opened  bool  // Elapsed holds the opening of a file, and says little of the rate
		Full    bool  // the disk takes no more of the generation's output, which is sealed with what it has
		Worn    bool  // the generation is to run nothing more, and is sealed
	}
	// PacketRefused ends a lease whose file could not be opened, with nothing of it done. Blame and Blind are those of
	// GenFailed; the generation goes on.
	PacketRefused struct {
		Gen    GenID
		Packet tasks.Range
		Blame  tasks.Cover
		Blind  tasks.Cover
	}
	// GenSealed ends a generation well; its units have become a partial.
	GenSealed struct{ Gen GenID }
	// GenFailed ends a generation badly: all its units run again but those of Blame, which leave
	// this node. Pause keeps the job from starting a generation for so long.
	GenFailed struct {
		Gen   GenID
		Blame tasks.Cover
		Alone tasks.Range // units of Blame that do not leave, but run again here in a generation of their own
		Pause time.Duration
		Blind tasks.Cover // what this host cannot read, all of it, if it failed for that; else empty
	}
	// Leave hands all waiting work to the jobs' homes and winds the generations up.
	Leave struct{}
	// Full tells that there is no room here for more results: nothing is begun or stolen until there is, and what runs
	// goes on for as long as it has work.
	Full struct{ On bool }
)

func (Tick) isStealEvent()          {}
func (PeerUp) isStealEvent()        {}
func (PeerDown) isStealEvent()      {}
func (Open) isStealEvent()          {}
func (Home) isStealEvent()          {}
func (Grow) isStealEvent()          {}
func (Close) isStealEvent()         {}
func (Stop) isStealEvent()          {}
func (Rest) isStealEvent()          {}
func (Work) isStealEvent()          {}
func (Lost) isStealEvent()          {}
func (Losers) isStealEvent()        {}
func (Deal) isStealEvent()          {}
func (Blind) isStealEvent()         {}
func (Drop) isStealEvent()          {}
func (Undone) isStealEvent()        {}
func (Yield) isStealEvent()         {}
func (Shun) isStealEvent()          {}
func (Busy) isStealEvent()          {}
func (Recv) isStealEvent()          {}
func (PacketDone) isStealEvent()    {}
func (GenSealed) isStealEvent()     {}
func (GenFailed) isStealEvent()     {}
func (Leave) isStealEvent()         {}
func (Full) isStealEvent()          {}
func (PacketRefused) isStealEvent() {}

// Package engine takes these from its owner, and hands them on as they are.

func (PacketDone) IsEvent() {}

// Effect is what the caller must do; the types below.
type Effect interface{ isStealEffect() }

// Effects.
type (
	// Send a message to a peer; it may be lost.
	Send struct {
		To  tasks.PeerID
		Msg Message
	}
	// Start a generation.
	Start struct {
		Job  tasks.JobID
		Gen  GenID
		Solo bool
	}
	// Lease a packet to a generation; at most two are out at once.
	Lease struct {
		Gen    GenID
		Packet tasks.Range
	}
	// Preempt the running packet; it and queued ones end with PacketDone.
	Preempt struct{ Gen GenID }
	// Seal a generation that has no lease out. Cover and canary are the caller's to record.
	Seal struct {
		Gen   GenID
		Cover tasks.Cover
	}
	// Kill a generation whose work is not wanted; no event answers it.
	Kill struct{ Gen GenID }
	// Dealt reports that this node's share was dealt, and that Above merges what this node makes of it.
	Dealt struct {
		Job   tasks.JobID
		Above tasks.PeerID
	}
	// Taken reports that another node says that it took what it was given of a job.
	Taken struct{ Job tasks.JobID }
	// Stolen reports that a request was granted after Wait.
	Stolen struct {
		Job  tasks.JobID
		From tasks.PeerID
		Wait time.Duration
	}
)

func (Send) isStealEffect()    {}
func (Start) isStealEffect()   {}
func (Lease) isStealEffect()   {}
func (Preempt) isStealEffect() {}
func (Seal) isStealEffect()    {}
func (Kill) isStealEffect()    {}
func (Stolen) isStealEffect()  {}
func (Taken) isStealEffect()   {}
func (Dealt) isStealEffect()   {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Lease) IsEffect() {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Preempt) IsEffect() {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Kill) IsEffect() {}

// IsEffect marks what package engine hands on to its owner as it is.
func (Stolen) IsEffect() {}

// Scheduler is one node's scheduler. It is not safe for concurrent use.
type Scheduler struct {
	cfg     Config
	now     time.Duration
	out     []Effect
	jobs    []*job // in order of Open
	gens    map[GenID]*gen
	nextGen GenID
	nextID  uint64 // of requests and grants
	thief   thief
	peers   []tasks.PeerID        // sorted
	known   map[tasks.PeerID]peer // what is known of each of them
	charged time.Duration         // until when jobs are charged for slots
	least   time.Duration         // that a job had of the slots which wanted some
	leaving bool
	full    bool
}

// New returns a scheduler without jobs.
func New(cfg Config) (*Scheduler, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Scheduler{cfg: cfg, gens: map[GenID]*gen{}, known: map[tasks.PeerID]peer{}}
	s.thief = thief{
		rng:     cfg.Seed ^ 0x6474706e6f6465,
		busy:    map[tasks.PeerID]time.Duration{},
		refused: map[tasks.PeerID]bool{},
	}
	// Grant ids must not repeat after a restart, or a thief would take a new grant for a repeated one.
	s.nextID = cfg.Seed << 20
	return s, nil
}

// Step takes one event at time now, which must not go backwards, and returns what is to be done.
func (s *Scheduler) Step(now time.Duration, ev Event) []Effect {
	s.now = max(s.now, now)
	s.out = nil
	s.charge()
	s.handle(ev)
	s.expire()
	s.release()
	s.sift()
	s.handBack()
	s.cutOverdue()
	s.fill()
	s.feedWaiters()
	s.stealOrRest()
	return s.out
}

func (s *Scheduler) handle(ev Event) {
	switch ev := ev.(type) {
	case Tick:
	case PeerUp:
		s.peerUp(ev)
	case PeerDown:
		s.peerDown(ev.ID)
	case Open:
		s.open(ev)
	case Close:
		s.close(ev.Job)
	case Stop:
		s.stop(ev.Job)
	case Rest:
		s.forgetAll(ev.Job)
	case Work:
		s.work(ev)
	case Deal:
		s.deal(ev)
	case Drop:
		s.drop(ev)
	case Shun:
		s.shun(ev.Job)
	case Busy:
		s.setBusy(ev)
	case Recv:
		s.recv(ev)
	case PacketDone:
		s.packetDone(ev)
	case GenSealed:
		s.genSealed(ev.Gen)
	case PacketRefused:
		s.packetRefused(ev)
	case GenFailed:
		s.genFailed(ev)
	case Leave:
		s.leave()
	case Full:
		s.full = ev.On
	default:
		s.learn(ev)
	}
}

// learn handles the events that tell what others know of one job: its home, and which units are where.
func (s *Scheduler) learn(ev Event) {
	switch ev := ev.(type) {
	case Home:
		if j := s.job(ev.Job); j != nil {
			j.home = ev.Home
		}
	case Grow:
		if j := s.job(ev.Job); j != nil {
			j.want, j.open = ev.Want, ev.Open
			s.thief.wake(s.now)
		}
	case Blind:
		if j := s.job(ev.Job); j != nil {
			j.see(ev.Cover)
		}
	case Lost:
		if j := s.job(ev.Job); j != nil {
			s.lostWork(j, ev.Cover, ev.Ago)
		}
	case Losers:
		if j := s.job(ev.Job); j != nil {
			j.setLosers(ev.All)
		}
	case Undone:
		if j := s.job(ev.Job); j != nil {
			j.done = j.done.Minus(ev.Cover)
		}
	case Yield:
		if j := s.job(ev.Job); j != nil {
			s.forget(j, ev.Cover)
		}
	}
}

func (s *Scheduler) recv(ev Recv) {
	switch m := ev.Msg; {
	case m.Request != nil:
		s.onRequest(ev.From, *m.Request)
	case m.Grant != nil:
		s.onGrant(ev.From, *m.Grant)
	case m.Ack != nil:
		s.onAck(ev.From, *m.Ack)
	case m.Refuse != nil:
		s.onRefuse(ev.From, m.Refuse.Request)
	}
}

func (s *Scheduler) emit(e Effect) { s.out = append(s.out, e) }

func (s *Scheduler) send(to tasks.PeerID, m Message) { s.emit(Send{To: to, Msg: m}) }
