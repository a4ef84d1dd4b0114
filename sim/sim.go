// Package sim runs the shipping cores (package engine and what it drives) on modelled nodes in virtual
// time. One seed decides everything: delays, losses, repetitions, crashes, pauses. There is no
// other source of chance, no clock and no goroutine, so a seed that fails fails again.
//
// A modelled blob is the list of packets in it. At the end of a job the parts that the home would
// merge are put together, and every unit must be there exactly once.
package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// Config describes one run. Node 0 is the home; it is spared crashes, since its loss ends the job.
type Config struct {
	Seed     uint64
	Nodes    int
	Slots    int           // a node
	Units    int64         // of the job
	Files    int           // of the dataset
	UnitTime time.Duration // run time of a unit on a node of speed 1
	Latency  time.Duration // mean, one way
	View     int           // random links a node draws, beside those to the home and its lifelines; 0 links all with all
	Blob     time.Duration // to bring one blob from another node
	Hasty    bool          // time-outs far too short for this network: much is done twice
	Packet   time.Duration // aim for a packet's run time; 0 for the scheduler's default
	Poison   []int64       // units at which user code crashes, on every node

	// Faults happen until Calm; afterwards the network is only slow.
	Calm    time.Duration
	Drop    float64 // share of messages lost
	Repeat  float64 // share of messages delivered twice
	Delay   float64 // share of messages that come late, beyond the time-outs and out of order
	Crashes int     // nodes that lose everything and come back a little later
	Pauses  int     // nodes that stand still for longer than every time-out
	Kills   int     // single generations killed
	Leaves  int     // nodes that leave politely
	Late    int     // nodes that join during the job
	Slow    int     // nodes five times slower
	Deal    bool    // the home deals work; otherwise all is stolen

	Prepare    time.Duration // longest time to load a job's code; default 300 ms
	Generation time.Duration // a generation is sealed when it is older; default 5 s
	Bytes      bool          // count the bytes of the home's messages, which takes time
	Limit      time.Duration // give up at this virtual time; default 10 min
	Trace      io.Writer     // of every event, readable; nil for none
}

// Result tells how a run ended.
type Result struct {
	Makespan time.Duration
	Finished bool
	Lost     []ledger.Lost
	Err      error // units missing or counted twice
	Messages int
	Faults   Faults
	Counts   ledger.Counts   // what the home had to mend
	Speed    float64         // of all nodes together
	ToWork   []time.Duration // of nodes that joined late: from joining to their first packet
	Steals   int
	Load     Load
	Rerun    float64 // units processed over units wanted, minus 1
	Hash     uint64  // of the trace of all effects
}

// Faults counts what really happened to a run.
type Faults struct {
	Crashes, Pauses, Kills, Leaves, Joins, Dropped, Repeated, Late int
}

const home = 0

type blob struct {
	packets []tasks.Range
	canary  uint64
	depth   int // of the merges it came from
}

func (b blob) units() (n int64) {
	for _, p := range b.packets {
		n += p.Len()
	}
	return n
}

type genModel struct {
	queue   []tasks.Range
	started time.Duration // of the running packet
	cutting bool
	token   int // of the event that ends the running packet
	done    blob
	solo    bool
}

type node struct {
	num    int
	id     tasks.PeerID
	peer   *engine.Peer
	boot   uint64
	up     bool
	paused time.Duration // until
	speed  float64
	wake   time.Duration
	gens   map[steal.GenID]*genModel
	blobs  map[merge.ID]blob
	view   []int32 // whom this node may link to, in order; nil for all
	links  []int32 // whom it believes to be up, in order
	gone   bool    // left for good
	joined time.Duration
	worked bool
}

type world struct {
	cfg    Config
	rng    *rand.Rand
	now    time.Duration
	queue  events
	serial int
	nodes  []*node
	index  map[tasks.PeerID]int
	job    *tasks.Job
	id     tasks.JobID
	poison map[int64]bool
	res    Result
	ran    int64
	over   bool
	trace  *tracer
}

// Run plays one seed to its end.
func Run(cfg Config) Result {
	if cfg.Limit == 0 {
		cfg.Limit = 10 * time.Minute
	}
	if cfg.Prepare == 0 {
		cfg.Prepare = 300 * time.Millisecond
	}
	if cfg.Generation == 0 {
		cfg.Generation = 5 * time.Second
	}
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), index: map[tasks.PeerID]int{},
		poison: map[int64]bool{}, trace: newTracer(cfg.Trace)}
	for _, u := range cfg.Poison {
		w.poison[u] = true
	}
	if err := w.build(); err != nil {
		return Result{Err: err}
	}
	w.start()
	if cfg.Trace != nil {
		w.status()
	}
	for len(w.queue) > 0 && !w.over {
		e := w.queue.pop()
		if e.at > cfg.Limit {
			break
		}
		w.now = e.at
		e.do()
	}
	w.res.Makespan, w.res.Finished, w.res.Hash = w.now, w.over, w.trace.sum.Sum64()
	w.res.Rerun = float64(w.ran)/float64(max(cfg.Units, 1)) - 1
	if !w.over && w.res.Err == nil {
		w.res.Err = fmt.Errorf("job not finished after %v", w.now)
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
	w.job = &tasks.Job{Protocol: tasks.Protocol, Data: *data, Want: data.Space(), SeedLocal: !w.cfg.Deal}
	w.id = tasks.NameOf([]byte(fmt.Sprint("job", w.cfg.Seed)))
	for i := range w.cfg.Nodes {
		n := &node{num: i, id: fmt.Sprintf("n%06d", i), speed: 0.8 + 0.4*w.rng.Float64(), up: i < w.cfg.Nodes-w.cfg.Late || i == home}
		if i > 0 && i <= w.cfg.Slow {
			n.speed = 0.2
		}
		w.res.Speed += n.speed
		w.nodes = append(w.nodes, n)
		w.index[n.id] = i
		if err := w.boot(n); err != nil {
			return err
		}
	}
	w.draw()
	return nil
}

func (w *world) boot(n *node) error {
	n.boot++
	n.gens, n.blobs, n.wake = map[steal.GenID]*genModel{}, map[merge.ID]blob{}, -1
	cfg := engine.Config{Boot: n.boot,
		Steal: steal.Config{Self: n.id, Slots: w.cfg.Slots, Seed: w.rng.Uint64() >> 24, Generation: w.cfg.Generation, Packet: w.cfg.Packet}}
	if w.cfg.Hasty {
		cfg.Steal.AckWait, cfg.Steal.Resend = 50*time.Millisecond, 20*time.Millisecond
		cfg.Ledger = ledger.Config{Audit: 300 * time.Millisecond, AuditWait: 400 * time.Millisecond, Audits: 1}
	}
	p, err := engine.New(cfg)
	n.peer = p
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
	w.after(0, func() { w.step(w.nodes[home], engine.Submit{ID: w.id, Job: w.job}) })
	faults := []struct {
		n  int
		do func(*node)
	}{{w.cfg.Crashes, w.crash}, {w.cfg.Pauses, w.pause}, {w.cfg.Kills, w.kill}, {w.cfg.Leaves, w.leaveNode}}
	for _, f := range faults {
		for range f.n {
			victim := w.nodes[1+w.rng.IntN(max(len(w.nodes)-1, 1))]
			w.after(w.random(w.cfg.Calm), func() { f.do(victim) })
		}
	}
	for i := w.cfg.Nodes - w.cfg.Late; i < w.cfg.Nodes; i++ {
		n := w.nodes[i]
		w.after(w.random(w.cfg.Calm), func() {
			w.res.Faults.Joins++
			w.join(n)
			n.joined = w.now
		})
	}
}

func (w *world) random(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(max(d, 1))))
}

// after queues do; events at one time run in the order in which they were queued.
func (w *world) after(d time.Duration, do func()) {
	w.serial++
	w.queue.push(event{at: w.now + d, serial: w.serial, do: do})
}

// step feeds one event to a node, at once or when its pause is over.
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
	for _, e := range n.peer.Step(w.now, ev) {
		w.trace.effect(w.now, n.num, e)
		w.obey(n, e)
	}
	if at := n.peer.Wake(); at >= 0 && (n.wake < w.now || at < n.wake) {
		n.wake = max(at, w.now+time.Microsecond)
		boot := n.boot
		w.after(n.wake-w.now, func() {
			if n.boot == boot && n.wake <= w.now {
				n.wake = -1
				w.step(n, engine.Tick{})
			}
		})
	}
}

// reply feeds an event later, unless the node has crashed meanwhile.
func (w *world) reply(n *node, d time.Duration, ev engine.Event) {
	boot := n.boot
	w.after(d, func() {
		if n.boot == boot {
			w.step(n, ev)
		}
	})
}

func (w *world) obey(n *node, e engine.Effect) {
	switch e := e.(type) {
	case engine.Send:
		w.send(n, e.To, e.Msg)
	case engine.Announce:
		for _, i := range slices.Clone(n.links) {
			w.send(n, w.nodes[i].id, e.Msg)
		}
	case engine.Prepare:
		w.reply(n, 20*time.Millisecond+w.random(w.cfg.Prepare), engine.Prepared{ID: e.ID, Job: w.job})
	case engine.StartGen:
		n.gens[e.Gen] = &genModel{solo: e.Solo}
	case engine.LeasePacket:
		g := n.gens[e.Gen]
		w.firstWork(n)
		g.queue = append(g.queue, e.Packet)
		if len(g.queue) == 1 {
			w.runPacket(n, e.Gen, 3*time.Millisecond)
		}
	case engine.PreemptGen:
		w.preempt(n, e.Gen)
	case engine.SealGen:
		w.sealGen(n, e)
	case engine.KillGen:
		delete(n.gens, e.Gen)
	case engine.MergeBlobs:
		w.mergeBlobs(n, e)
	case engine.FetchBlob:
		w.fetch(n, e.Partial)
	case engine.ForgetBlob:
		delete(n.blobs, e.ID)
	case engine.FinishJob:
		w.finish(n, e)
	case engine.FailJob:
		w.res.Err = fmt.Errorf("job failed: %s", e.Failure.Reason)
		w.over = true
	case engine.Stolen:
		w.res.Steals++
	case engine.Left:
		n.gone = true
		w.takeDown(n, 0)
	}
}

// firstWork notes when a node that joined late gets its first packet.
func (w *world) firstWork(n *node) {
	if n.joined > 0 && !n.worked {
		n.worked = true
		w.res.ToWork = append(w.res.ToWork, w.now-n.joined)
	}
}

func (w *world) send(from *node, to tasks.PeerID, m engine.Message) {
	w.res.Messages++
	w.measure(from, to, m)
	o := w.nodes[w.index[to]]
	copies := 1
	if w.now < w.cfg.Calm {
		if w.rng.Float64() < w.cfg.Drop {
			copies = 0
			w.res.Faults.Dropped++
		} else if w.rng.Float64() < w.cfg.Repeat {
			copies = 2
			w.res.Faults.Repeated++
		}
	}
	for range copies {
		d := w.cfg.Latency/2 + w.random(w.cfg.Latency)
		if w.now < w.cfg.Calm && w.rng.Float64() < w.cfg.Delay {
			w.res.Faults.Late++
			d += w.random(3 * time.Second)
		}
		w.reply(o, d, engine.Recv{From: from.id, Msg: m})
	}
}

// finish puts the result together and counts every unit in it.
func (w *world) finish(n *node, e engine.FinishJob) {
	w.over = true
	w.res.Lost = e.Lost
	if v, ok := n.peer.View(w.id); ok {
		w.res.Counts = v.Counts
	}
	var all []tasks.Range
	var canary uint64
	for _, p := range e.Parts {
		b, ok := n.blobs[p.ID]
		if !ok {
			w.res.Err = fmt.Errorf("blob of committed partial %v is gone", p.ID)
			return
		}
		all = append(all, b.packets...)
		canary += b.canary
	}
	for _, l := range e.Lost {
		all = append(all, l.Range)
	}
	slices.SortFunc(all, func(a, b tasks.Range) int { return int(min(max(a.First-b.First, -1), 1)) })
	next := w.job.Want.First
	for _, r := range all {
		if r.First > next {
			w.res.Err = fmt.Errorf("units %v are missing", tasks.R(next, r.First))
			return
		}
		if r.First < next {
			w.res.Err = fmt.Errorf("units %v are counted twice", tasks.R(r.First, min(next, r.Last)))
			return
		}
		next = r.Last
	}
	if next != w.job.Want.Last {
		w.res.Err = fmt.Errorf("result ends at unit %d of %d", next, w.job.Want.Last)
	} else if canary != e.Canary {
		w.res.Err = fmt.Errorf("canary of the result differs")
	}
}
