// Package sim runs the shipping cores (package engine and what it drives) on modelled nodes in virtual time. One seed
// decides everything: delays, losses, repetitions, crashes, pauses, disks. There is no other source of chance, no clock
// and no goroutine, so a seed that fails always fails.
//
// A modelled blob is the list of packets in it, and a modelled disk keeps what its node had synced when it crashed. At
// the end of a job the committed parts are put together, and every unit must be there exactly once. check.go says what
// else is checked.
package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/engine/liar"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Config describes one run. Node 0 submits the job.
type Config struct {
	Seed     uint64
	Nodes    int
	Slots    int           // slots of each node
	Units    int64         // units of the job
	Files    int           // files of the dataset
	UnitTime time.Duration // run time of a unit on a node of speed 1
	Even     bool          // all nodes have speed 1; otherwise 0.8 to 1.2
	Latency  time.Duration // mean latency, one way
	Replicas int           // replicas of the ledger; 0 if the home alone knows it, and must not be lost
	// Snapshot is after how many entries the log is compacted; 0 for the default, which short jobs do not reach.
	Snapshot int
	// View is how many random links a node has, beside those to the home and its neighbours in the hypercube (draw); 0
	// links all nodes.
	View    int
	Blob    time.Duration // time to fetch one blob from another node
	Hasty   bool          // timeouts are far too short for this network, so much is done twice
	Packet  time.Duration // intended run time of a packet; 0 for the scheduler's default
	Poison  []int64       // units at which user code crashes, on every node
	Deal    bool          // the home deals work; otherwise all is stolen
	Whole   bool          // files are not divided, since the code gives some of them up (whole.go)
	Slow    int           // nodes that are five times slower
	Kinds   bool          // three jobs of different kinds run at once, and each node can run some of them (kinds.go)
	Apart   time.Duration // time between the submissions of these
	Blind   int           // nodes that do not see some of the files, always or at times (blind.go)
	Lacking int           // nodes on which everything fails, as if by the entries (lacks)
	Halves  bool          // each node sees a different half of the files, and two nodes see each file
	Hidden  int           // the last files, which nobody sees since the job was planned

	// Faults begin before Calm; those with a duration end a little later. After that the network is only slow.
	Calm       time.Duration
	Drop       float64 // share of messages lost
	Repeat     float64 // share of messages delivered twice
	Delay      float64 // share of messages that arrive out of order, and later than the timeouts
	Crashes    int     // nodes that lose everything but their disk and restart a little later; half of them during a write
	Wipes      int     // nodes that lose their disk too, but never more than one replica at a time
	PowerCuts  int     // crashes of all nodes at once
	Partitions int     // times that some nodes are cut off from the others, in one direction or both
	Pauses     int     // nodes that stop for longer than every timeout
	Stutters   int     // nodes that stop again and again for a moment
	Jumps      int     // nodes whose clock leaps forward or stops
	DiskErrors float64 // share of writes to disk that fail
	Rots       int     // committed blobs that become unreadable on a disk
	Twins      int     // times that a second process has a node's identity, for a while
	Kills      int     // single generations that are killed
	Leaves     int     // nodes that announce that they leave
	Late       int     // nodes that join during the job
	BadEnds    float64 // share of nodes that cannot make the result until Calm
	BadCode    bool    // Terminate crashes everywhere until Calm, when the user has repaired the cause

	Appends   int     // steps by which the job grows (grow.go); 0 for a job that does not
	Linked    bool    // units of these depend on others (linked.go)
	Base      int     // outputs of an earlier job with which the job begins (base.go)
	BaseShare float64 // share of the units that these cover

	Recover bool // two of three replicas are lost, and the job is recovered from the third
	Return  int  // lost replicas that come back later, with everything that they had

	Liars int  // members that lie
	Liar  Role // their role in the job
	// Second has the liar submit a job of its own, and lie about that as its home.
	Second bool
	// Restarts is how often the other follower restarts beside one that lies, and hears that one first.
	Restarts int
	Thieves  int  // members that take all the work that they can get, and do nothing
	Holds    bool // their only lie is that they hold all units, and they never finish a packet
	Climbs   bool // their only lie is that others must send them their partials to merge
	Admin    bool // they have the right admin, and sign recoveries that nobody has asked for
	Usurp    bool // they also lie about their role, and send anything; otherwise they lie about their work only

	Prepare time.Duration // longest time to load a job's code; default 300 ms
	Watch   time.Duration // interval at which all disks are checked, also in a run without faults; 0 for never
	Flat    int64         // bytes that every blob has, as with histograms
	// PerUnit is how many bytes each unit adds to a blob, as with trees. If Flat is 0 too, a blob has as many bytes as
	// packets.
	PerUnit    int64
	Folding    ledger.Config // settings of when committed partials are folded; its other fields are not used
	Keep       int64         // bytes of uncommitted blobs that a node may keep; 0 for no bound
	Generation time.Duration // age at which a generation is sealed; default 5 s
	Bytes      bool          // count the bytes of the home's messages, which takes time
	Limit      time.Duration // give up at this virtual time; default 10 min
	Trace      io.Writer     `json:"-"` // readable trace of every event; nil for none
}

// Result is how a run ended.
type Result struct {
	Makespan  time.Duration // time until the job's result was in the ledger
	Finished  bool
	Lost      []ledger.Lost
	Err       error // the first check that failed
	Messages  int
	Faults    Faults
	Counts    ledger.Counts   // what the last home had to repair
	Speed     float64         // sum over all nodes
	ToWork    []time.Duration // for each node that joined late, the time from joining to its first packet
	Steals    int
	Homes     int // nodes that led the job, one after the other
	Load      Load
	Rerun     float64       // units processed over units wanted, minus 1
	Stolen    int64         // units that thieves took
	Climbed   map[int]bool  // honest nodes that gave a liar partials to merge
	Claimed   int64         // units that liars offered without having run them
	Falsified int64         // of these, the units that are in the result
	Before    int64         // units that the job took from an earlier one
	Redone    int64         // of these, the units that were given to a child again
	Again     int64         // units given to a child after they were committed
	Settled   time.Duration // when the last fault ended
	Bound     time.Duration // latest time at which the job must end, see Allowance
	Lacked    int           // generations that failed because of what their host lacks
	Unread    int           // generations that failed because their node did not see a file
	Longest   int           // longest log on a disk, in entries, if logs are compacted
	Commits   int           // commits in the log, as first written
	Folds     int           // folds that were proposed
	Refetch   int           // committed blobs that an outdated copy of the ledger freed and fetches again
	MostBlobs int           // most blobs on one disk at once
	MostParts int           // most committed parts at once
	MostBytes int64         // most bytes of blobs on one disk at once
	MostOpen  int64         // most bytes of uncommitted blobs on one node at once
	Sides     []Side        // jobs beside the first that have ended, in that order
	Able      float64       // speed of the nodes that can run the job which the fewest can run
	Hash      uint64        // hash of the trace of all effects
}

// Faults counts the faults that really happened in a run.
type Faults struct {
	Crashes, HomeCrashes, ReplicaCrashes, PowerCuts, Wipes, ReplicaWipes int
	Torn                                                                 int // writes that a crash kept from the disk
	Partitions, OneWays, Cut                                             int // Cut counts messages
	Pauses, Stutters, Leaps, Stills, Twins, Kills, Leaves, HomeLeaves    int
	DiskErrors, LedgerErrors, Rots, Stalls                               int
	// failed attempts to make the result; jobs that could not be finished until the user asked again
	BadEnds, Stuck                            int
	Defied                                    int // recoveries by an admin that a node refused
	Joins, Dropped, Repeated, Late, Reordered int
	// snapshots written, received from a home, read after a restart, torn by a crash
	Compacted, Shipped, Reloaded, TornSnapshots int
	// recoveries of ledgers without a majority; lost replicas that came back
	Recoveries, Returns     int
	Lies, Violations, Shuns int // lies told by liars; violations noticed; links refused for them
}

// returnWait is how long the home waits for absent nodes that may see a file which no other sees. All that return have
// done so by then.
func (c *Config) returnWait() time.Duration { return max(c.Calm, 10*time.Second) }

const home = 0

type genModel struct {
	job     tasks.JobID
	queue   []tasks.Range
	started time.Duration // start of the running packet
	cutting bool
	token   int // number of the event that ends the running packet; others are void
	done    blob
	solo    bool
}

// node is a process and its host.
type node struct {
	num      int
	id       tasks.PeerID
	peer     *engine.Peer
	boot     int // number of starts and stops: events for an earlier life are void
	up       bool
	paused   time.Duration // paused until then
	asleep   time.Duration // since when it is paused, if for long
	offset   time.Duration // its clock minus the world's
	still    time.Duration // its clock stands still until then
	stillAt  time.Duration // time that its clock shows while it stands still
	speed    float64
	wake     time.Duration
	gens     map[steal.GenID]*genModel
	blobs    map[merge.ID]blob         // blobs in scratch, lost with the process
	sides    map[tasks.JobID]*sideDisk // what it has on disk of side jobs
	sideFree time.Duration             // when what is being written for these is on disk
	disk     *disk
	view     []int32 // nodes that it may link to, in order; nil for all
	links    []int32 // nodes that it believes to be up, in order
	gone     bool    // it has left for good
	emptied  bool    // it has lost its disk after the job's end
	joined   time.Duration
	worked   bool
	armed    bool   // it crashes at its next write
	waits    bool   // it crashes at its next snapshot instead
	term     uint64 // term of the home that it follows
	leaving  bool   // it was told to leave
	twin     *node  // another process with the same identity
	copy     bool   // this is the second process
	knows    int64  // it has been told that the units below are the job's
	unread   int    // generations in this life that reached a file which it does not see
	honest   bool
	thief    bool // it takes work and does not do it
	thefts   uint64
	liar     *liar.Liar            // nil until it begins to lie
	fooled   bool                  // it followed a lying admin before it heard of any home
	wrongs   map[int]int           // by sender, how many messages it got that no honest node sends
	shuns    map[int]time.Duration // peers whose links it refuses, and until when
}

type world struct {
	cfg       Config
	rng       *rand.Rand
	now       time.Duration
	queue     events
	serial    int
	boots     uint64 // number of process starts
	shas      uint64 // number of blobs made
	nodes     []*node
	ids       []tasks.PeerID // ids of all nodes
	index     map[tasks.PeerID]int
	cuts      []*partition
	job       *tasks.Job
	aborts    []int64 // by file: the unit at which the code gives it up, or its end; of a job with whole files
	flaked    []int   // by file: how often the code has crashed at that unit
	id        tasks.JobID
	second    tasks.JobID // id of the second job; empty for none
	secondJob *tasks.Job
	sides     []*sideJob
	poison    map[int64]bool
	before    tasks.Cover // units that the job took from an earlier one
	res       Result
	ran       int64
	over      bool
	trace     *tracer
	client    client
	committed tasks.Cover // what was seen to be committed, of a job with linked units
	check
	ends
	recovery
}

// Run plays one run to its end.
func Run(cfg Config) Result {
	tasks.Default(&cfg.Limit, 10*time.Minute)
	tasks.Default(&cfg.Prepare, 300*time.Millisecond)
	tasks.Default(&cfg.Generation, 5*time.Second)
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), index: map[tasks.PeerID]int{},
		poison: map[int64]bool{}, trace: newTracer(cfg.Trace), check: newCheck(), ends: newEnds()}
	for _, u := range cfg.Poison {
		w.poison[u] = true
	}
	if err := w.build(); err != nil {
		return Result{Err: err}
	}
	w.start()
	for len(w.queue) > 0 && !w.over {
		e := w.queue.pop()
		if e.at > cfg.Limit {
			break
		}
		w.now = e.at
		e.do()
	}
	w.res.Finished, w.res.Hash = w.over && w.ended, w.trace.sum.Sum64()
	w.res.Before = w.before.Len()
	w.res.Rerun = float64(w.ran+w.res.Before)/float64(max(cfg.Units, 1)) - 1
	if !w.over {
		w.unfinished()
	}
	if !w.ended && w.honestHome() { // otherwise the result determines it
		w.res.Makespan = w.now
	}
	return w.res
}

func (w *world) build() error {
	files := make([]tasks.File, max(w.cfg.Files, 1))
	for i := range files {
		files[i] = tasks.File{URL: fmt.Sprint("f", i), Entries: w.cfg.Units / int64(len(files))}
		if i == 0 {
			files[i].Entries += w.cfg.Units % int64(len(files))
		}
		step := max(files[i].Entries/7, 1)
		for c := int64(0); c < files[i].Entries; c += step {
			files[i].Clusters = append(files[i].Clusters, c)
		}
	}
	data, err := tasks.NewDataset(files)
	if err != nil {
		return err
	}
	w.job = &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: nodeID(home),
		Data:      *data,
		Want:      data.Space(),
		SeedLocal: !w.cfg.Deal,
	}
	w.planAborts()
	w.makeSides()
	w.planGrowth()
	w.id = tasks.NameOf([]byte(fmt.Sprint("job", w.cfg.Seed)))
	for i := range w.cfg.Nodes {
		n := &node{
			num:    i,
			id:     nodeID(i),
			speed:  w.speed(),
			up:     i < w.cfg.Nodes-w.cfg.Late || i == home || w.cfg.Kinds && i < kindsOfWork,
			disk:   &disk{},
			honest: true,
		}
		if i > 0 && i <= w.cfg.Slow {
			n.speed = 0.2
		}
		w.res.Speed += n.speed
		w.nodes, w.ids = append(w.nodes, n), append(w.ids, n.id)
		w.index[n.id] = i
		if n.up {
			if err := w.boot(n); err != nil {
				return err
			}
		}
	}
	w.draw()
	return nil
}

// nodeID is the id of a node.
func nodeID(i int) tasks.PeerID { return fmt.Sprintf("n%06d", i) }

// boot starts a node's process, without what is on its disk (restore).
func (w *world) boot(n *node) error {
	n.boot++
	w.boots++
	n.gens, n.blobs, n.wake = map[steal.GenID]*genModel{}, map[merge.ID]blob{}, -1
	n.paused, n.asleep, n.armed, n.leaving, n.unread = 0, 0, false, false, 0
	n.term, n.fooled, n.knows = 0, false, w.client.desc.Want.Last
	cfg := engine.Config{
		Boot:     w.boots,
		Replicas: w.cfg.Replicas,
		Keep:     w.cfg.Keep,
		Keys:     modelkeys.Keys(n.id),
		Offers:   w.offers(n),
		Quorum:   quorum.Config{Seed: w.rng.Uint64(), SnapshotEntries: w.cfg.Snapshot},
		Steal: steal.Config{
			Self:       n.id,
			Slots:      w.cfg.Slots,
			Seed:       w.rng.Uint64() >> 24,
			Generation: w.cfg.Generation,
			Packet:     w.cfg.Packet,
		},
	}
	cfg.Ledger, cfg.Unsealed = w.cfg.Folding, 30*time.Second
	cfg.Ledger.Return = w.cfg.returnWait()
	if w.cfg.Hasty {
		cfg.Steal.AckWait, cfg.Steal.Resend = 50*time.Millisecond, 20*time.Millisecond
		cfg.Ledger.Audit, cfg.Ledger.AuditWait, cfg.Ledger.Audits = 300*time.Millisecond, 400*time.Millisecond, 1
	}
	p, err := engine.New(cfg)
	n.peer = p
	if err == nil && w.cfg.Recover {
		p.Step(0, engine.Admins{IDs: []tasks.PeerID{w.nodes[home].id}})
	}
	if err == nil && w.cfg.Admin {
		p.Step(0, engine.Admins{IDs: []tasks.PeerID{nodeID(w.cfg.Nodes - 1)}})
	}
	return err
}

// start links the nodes, submits the job and plans the faults.
func (w *world) start() {
	for _, n := range w.nodes {
		if n.up {
			for o := range w.viewed(n) {
				if o.up {
					w.link(n, o)
				}
			}
		}
	}
	w.after(0, func() { w.step(w.nodes[home], engine.Submit{ID: w.id, Job: w.client.desc, Base: w.base()}) })
	w.startClient()
	w.submitSides()
	w.drawEnds()
	w.planFaults()
	w.planLiars()
	w.planThieves()
	w.planRecovery()
	if w.hostile() {
		w.watch()
	} else if w.cfg.Watch > 0 {
		w.lookAtDisks()
	}
	if w.cfg.Trace != nil {
		w.status()
	}
}

// hostile reports whether this run has faults, and is checked closely.
func (w *world) hostile() bool { return w.cfg.Calm > 0 }

// speed draws a node's speed.
func (w *world) speed() float64 {
	if w.cfg.Even {
		return 1
	}
	return 0.8 + 0.4*w.rng.Float64()
}

func (w *world) random(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(max(d, 1))))
}

// between draws a duration of at least a and less than b.
func (w *world) between(a, b time.Duration) time.Duration { return a + w.random(b-a) }

// after queues do. Events for the same time run in the order in which they were queued.
func (w *world) after(d time.Duration, do func()) {
	w.serial++
	w.queue.push(event{at: w.now + d, serial: w.serial, do: do})
}

// clock is the time on a node's clock.
func (w *world) clock(n *node) time.Duration {
	if w.now < n.still {
		return n.stillAt
	}
	return w.now + n.offset
}

// due is when a node's clock will show the time at.
func (w *world) due(n *node, at time.Duration) time.Duration {
	if w.now < n.still {
		return n.still + max(at-n.stillAt, 0)
	}
	return w.now + max(at-w.clock(n), time.Microsecond)
}

// step feeds one event to a node, at once or at the end of its pause.
func (w *world) step(n *node, ev engine.Event) {
	if !n.up || w.over {
		return
	}
	if n.paused > w.now {
		boot := n.boot
		w.after(n.paused-w.now, func() {
			if n.boot == boot {
				w.step(n, ev)
			}
		})
		return
	}
	for _, e := range n.peer.Step(w.clock(n), ev) {
		w.trace.effect(w.now, n, e)
		if n.up {
			w.carryOut(n, e)
		}
	}
	if at := n.peer.Wake(); at >= 0 && n.up {
		w.wakeAt(n, w.due(n, at))
	}
}

func (w *world) wakeAt(n *node, at time.Duration) {
	if n.wake >= w.now && at >= n.wake {
		return // it wakes earlier already
	}
	n.wake = at
	boot := n.boot
	w.after(at-w.now, func() {
		if n.boot == boot && n.wake <= w.now {
			n.wake = -1
			w.step(n, engine.Tick{})
		}
	})
}

// reply feeds an event to a node later, unless the node has crashed meanwhile.
func (w *world) reply(n *node, d time.Duration, ev engine.Event) {
	boot := n.boot
	w.after(d, func() {
		if n.boot == boot {
			w.step(n, ev)
		}
	})
}

func (w *world) carryOut(n *node, e engine.Effect) {
	w.checkRuntime(n, e)
	if w.second != "" && w.ofSecond(n, e) || len(w.sides) > 0 && w.ofSide(n, e) {
		return
	}
	switch e := e.(type) {
	case engine.Send:
		w.send(n, e.To, e.Msg)
	case engine.Announce:
		for _, i := range slices.Clone(n.links) {
			w.send(n, w.nodes[i].id, e.Msg)
		}
	case engine.Describe:
		w.describe(n, e)
	case engine.Prepare:
		w.prepare(n, e)
	case engine.StartGen, engine.LeasePacket, engine.PreemptGen, engine.SealGen, engine.KillGen:
		w.child(n, e)
	case engine.MergeBlobs:
		w.mergeBlobs(n, e)
	case engine.ForgetBlob:
		w.forget(n, e)
	case engine.FetchBlob, engine.KeepBlob, engine.FoldBlobs, engine.FreeBlob, engine.SweepBlobs, engine.KeepResult:
		w.kept(n, e)
	case engine.FoundLedger:
		w.foundLedger(n, e)
	case engine.WriteLedger:
		w.writeLedger(n, e)
	case engine.DropLedger:
		w.dropLedger(n, e)
	case engine.HomeIs:
		w.homeIs(n, e)
	case engine.FinishJob:
		w.finish(n, e)
	case engine.FailJob:
		w.fail("the job failed on %s: %s: %s", n.id, e.Failure.Kind, e.Failure.Reason)
	case engine.JobEnded, engine.Reopened, engine.RecoveryRefused, engine.EndSealed, engine.JobOver:
		w.jobNews(n, e)
	case engine.Look:
		w.look(n, e)
	case engine.Grown, engine.Regrown, engine.Appended, engine.ReadLinks:
		w.grew(n, e)
	case engine.Stolen:
		w.res.Steals++
	case engine.Violation:
		w.violated(n, e)
	case engine.Left:
		w.left(n)
	}
}

// jobNews handles what a node reports about the end of a job, or that the job goes on.
func (w *world) jobNews(n *node, e engine.Effect) {
	switch e := e.(type) {
	case engine.JobEnded:
		w.jobEnded(n, e)
	case engine.Reopened:
		n.disk.end = nil
	case engine.RecoveryRefused:
		w.res.Faults.Defied++
	case engine.EndSealed:
		w.endSealed(n, e)
	case engine.JobOver:
		w.jobOver(n, e)
	}
}

// kept carries out the effects of a node on blobs that it keeps for the ledger.
func (w *world) kept(n *node, e engine.Effect) {
	switch e := e.(type) {
	case engine.FetchBlob:
		w.fetch(n, e)
	case engine.KeepBlob:
		w.keepBlob(n, e)
	case engine.KeepResult:
		w.keepResult(n, e)
	case engine.FoldBlobs:
		w.fold(n, e)
	case engine.FreeBlob:
		w.freed(n, e)
	case engine.SweepBlobs:
		w.sweep(n, e)
	}
}

// child carries out the effects of a node on its children.
func (w *world) child(n *node, e engine.Effect) {
	switch e := e.(type) {
	case engine.StartGen:
		n.gens[e.Gen] = &genModel{job: e.Job, solo: e.Solo}
	case engine.LeasePacket:
		g := n.gens[e.Gen]
		if g == nil { // the child is gone, and the paused node does not know it yet
			return
		}
		w.firstWork(n)
		if g.job == w.id {
			w.leased(e.Packet)
			w.checkKnown(n, e.Packet)
			w.checkReady(n, e.Packet)
			w.checkWhole(n, e.Packet)
		} else if s := w.side(g.job); s != nil {
			s.ran += e.Packet.Len()
		}
		g.queue = append(g.queue, e.Packet)
		if len(g.queue) == 1 && !(n.liar != nil && n.liar.Hog) {
			w.runPacket(n, e.Gen, beforePacket(g))
		}
	case engine.PreemptGen:
		w.preempt(n, e.Gen)
	case engine.SealGen:
		w.sealGen(n, e)
	case engine.KillGen:
		delete(n.gens, e.Gen)
	}
}

// describe fetches a job's description from a member that claims to lead the job.
func (w *world) describe(n *node, e engine.Describe) {
	boot := n.boot
	w.after(w.cfg.Latency+w.random(10*time.Millisecond), func() {
		switch job := w.jobOf(e.ID); {
		case n.boot != boot:
		case job == nil || w.hostile() && !w.reaches(n, w.at(e.From)):
			w.step(n, engine.NotDescribed{ID: e.ID, From: e.From})
		default:
			w.step(n, engine.Described{ID: e.ID, From: e.From, Job: job})
		}
	})
}

// prepare loads a job's code, which a node gets from the home, or has on its disk with the ledger.
func (w *world) prepare(n *node, e engine.Prepare) {
	boot := n.boot
	w.after(20*time.Millisecond+w.random(w.cfg.Prepare), func() {
		switch {
		case n.boot != boot:
		case w.jobOf(e.ID) == nil:
			w.step(n, engine.NotPrepared{ID: e.ID})
		case e.Home != "" && w.hostile() && !w.reaches(n, w.at(e.Home)):
			n.term = 0 // it may forget the job until it hears of it again
			w.step(n, engine.NotPrepared{ID: e.ID})
		default:
			w.step(n, engine.Prepared{ID: e.ID, Job: w.jobOf(e.ID)})
		}
	})
}

// firstWork notes when a node that joined late gets its first packet.
func (w *world) firstWork(n *node) {
	if n.joined > 0 && !n.worked {
		n.worked = true
		w.res.ToWork = append(w.res.ToWork, w.now-n.joined)
	}
}
