package engine

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/quorum/modelkeys"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// group is a few peers with an orderly network, disks that survive crashes and children that take time.
type group struct {
	*testing.T
	now   time.Duration
	rng   *rand.Rand
	hosts []*host
	late  []later
	ran   map[string]int64
	needs string                         // what a runtime must offer to run the job; nothing if empty
	has   map[tasks.PeerID][]tasks.Offer // what each host offers
	admin tasks.PeerID                   // whose word counts for all jobs; admin if empty
}

// later is something that happens to a host at a time.
type later struct {
	at time.Duration
	do func()
}

type host struct {
	*group
	id      tasks.PeerID
	peer    *Peer // nil while it is down
	boot    uint64
	logs    map[tasks.JobID]*quorum.Log // on disk
	desc    map[tasks.JobID]*tasks.Job  // on disk
	kept    map[merge.ID]merge.Partial  // on disk
	aside   *quorum.Log                 // on disk: a copy that was superseded
	blobs   map[merge.ID]merge.Partial
	gens    map[steal.GenID]*ran
	ended   *ledger.Result
	results []string // that it was asked to keep, by hash
	homes   []tasks.PeerID

	full   bool     // its disk takes the log, and no blobs
	broken bool     // its disk takes nothing
	deaf   bool     // it hears nothing of the log
	slow   bool     // a unit takes it a second
	gives  bool     // its copy is one that it may give up
	lacks  bool     // it can bring no blob here
	over   bool     // it knows that the job is over
	opened int      // jobs that were over and go on
	loads  int      // times that it was asked to load the job's code
	no     []string // why no ledger was recovered
	wrongs []Violation

	refused tasks.PeerID   // whose recovery was refused last
	stays   bool           // it does not come to an end with the result
	noCode  bool           // the job's code does not load
	failed  *ledger.Failed // how the job failed, as told here
}

func newGroup(t *testing.T, n int) *group { return newMixedGroup(t, n, "", nil) }

// newMixedGroup is a group of hosts that offer different things, with a job that needs something.
func newMixedGroup(t *testing.T, n int, needs string, has map[tasks.PeerID][]tasks.Offer) *group {
	g := &group{T: t, rng: rand.New(rand.NewPCG(1, 2)), ran: map[string]int64{}, needs: needs, has: has}
	for i := range n {
		h := &host{
			group: g,
			id:    fmt.Sprint("n", i),
			logs:  map[tasks.JobID]*quorum.Log{},
			desc:  map[tasks.JobID]*tasks.Job{},
			kept:  map[merge.ID]merge.Partial{},
		}
		g.hosts = append(g.hosts, h)
	}
	for _, h := range g.hosts {
		h.start()
	}
	return g
}

func (h *host) start() {
	h.boot++
	h.blobs, h.gens = map[merge.ID]merge.Partial{}, map[steal.GenID]*ran{}
	p, err := New(Config{
		Boot:     h.boot,
		Replicas: 3,
		Keys:     modelkeys.Keys(h.id),
		Offers:   h.has[h.id],
		Quorum:   quorum.Config{Seed: uint64(len(h.id)) + h.boot},
		Steal:    steal.Config{Self: h.id, Slots: 1, Seed: h.boot + uint64(h.id[1])},
	})
	if err != nil {
		h.Fatal(err)
	}
	h.peer = p
	h.step(Admins{IDs: []tasks.PeerID{cmp.Or(h.admin, admin)}})
	for id, log := range h.logs {
		h.step(Restore{ID: id, Job: h.desc[id], Log: *log})
	}
	for _, o := range h.hosts {
		if o != h && o.peer != nil {
			h.step(PeerUp{ID: o.id, Slots: 1, Offers: h.has[o.id]})
			o.step(PeerUp{ID: h.id, Slots: 1, Offers: h.has[h.id]})
		}
	}
}

// groupJob is testJob of the first host.
func groupJob(t interface{ Fatal(...any) }) *tasks.Job {
	job := testJob(t)
	job.Submitter = "n0"
	if g, ok := t.(interface{ needed() string }); ok && g.needed() != "" {
		job.Work.Needs = []string{g.needed()}
	}
	return job
}

func (g *group) needed() string { return g.needs }

func (h *host) kill() {
	h.peer = nil
	for _, o := range h.hosts {
		o.step(PeerDown{ID: h.id})
	}
}

func (h *host) step(ev Event) {
	if h.peer == nil {
		return
	}
	for _, e := range h.peer.Step(h.now, ev) {
		h.obey(e)
	}
}

// soon feeds an event a moment later, if h lives on until then.
func (h *host) soon(ev Event) { h.after(time.Millisecond, ev) }

func (h *host) after(d time.Duration, ev Event) {
	boot := h.boot
	h.late = append(h.late, later{h.now + d, func() {
		if h.boot == boot {
			h.step(ev)
		}
	}})
}

func (h *host) obey(e Effect) {
	switch e := e.(type) {
	case Send:
		if e.To == admin {
			return // who is no host of these
		}
		if h.at(e.To).deaf && e.Msg.Frame != nil {
			return
		}
		h.at(e.To).soon(Recv{From: h.id, Msg: e.Msg})
	case Announce:
		for _, o := range h.hosts {
			if o != h && o.peer != nil {
				o.soon(Recv{From: h.id, Msg: e.Msg})
			}
		}
	case Describe:
		h.soon(Described{ID: e.ID, From: e.From, Job: groupJob(h)})
	case Prepare:
		h.loads++
		if !h.noCode {
			h.soon(Prepared{ID: e.ID, Job: groupJob(h)})
		}
	case StartGen:
		h.gens[e.Gen] = &ran{}
	case LeasePacket:
		h.gens[e.Gen].units += e.Packet.Len()
		h.gens[e.Gen].canary += tasks.Canary(jobID.Seed(), e.Packet)
		h.ran[h.id] += e.Packet.Len()
		d := time.Duration(e.Packet.Len()) * time.Millisecond
		if h.slow {
			d *= 1000
		}
		h.after(d, PacketDone{Gen: e.Gen, Packet: e.Packet, Last: e.Packet.Last, Elapsed: d})
	case SealGen:
		h.soon(GenSealed{Gen: e.Gen, Partial: merge.Partial{ID: e.ID, Units: e.Units, Canary: e.Canary, Size: e.Units}})
	case MergeBlobs:
		h.soon(Merged{Partial: merge.Sum(e.ID, e.Inputs)})
	case FetchBlob:
		if _, here := h.kept[e.Partial.ID]; h.lacks && !here {
			h.soon(NotStored{Partial: e.Partial, Seq: e.Seq})
			return
		}
		if h.full {
			h.soon(NotStored{Partial: e.Partial, Here: "no space left on device", Seq: e.Seq})
			return
		}
		h.kept[e.Partial.ID] = e.Partial
		h.soon(Stored{Partial: e.Partial, Units: e.Partial.Units, Canary: e.Partial.Canary, Seq: e.Seq})
	case KeepBlob:
		if !h.full {
			h.kept[e.Partial.ID] = e.Partial
		}
		h.soon(BlobKept{Asked: e, OK: !h.full, Full: h.full})
	case KeepResult:
		h.results = append(h.results, e.Result.SHA256)
		h.soon(ResultKept{Asked: e, OK: true})
	case FinishJob:
		if e.Units != units {
			h.Errorf("the result has %d units", e.Units)
		}
		if h.stays {
			return
		}
		h.soon(Finished{ID: e.ID, Result: ledger.Result{SHA256: "result", Status: []byte("done")}})
	case FailJob:
		h.failed = &e.Failure
		if !h.broken {
			h.Fatalf("%s: job failed: %+v", h.id, e.Failure)
		}
		h.soon(Finished{ID: e.ID, Result: ledger.Result{Status: []byte("failed")}})
	case JobEnded:
		h.ended = &e.Result
	case JobOver:
		h.over = h.over || !e.Lost
	case HomeIs:
		h.homes = append(h.homes, e.Home)
	default:
		h.disk(e)
	}
}

func (h *host) disk(e Effect) {
	switch e := e.(type) {
	case FoundLedger:
		log := e.Log
		h.logs[e.ID], h.desc[e.ID] = &log, groupJob(h)
		h.soon(Founded{ID: e.ID, Voter: log.Self.ID, Job: h.desc[e.ID]})
	case WriteLedger:
		if h.broken {
			h.soon(Written{ID: e.ID, Seq: e.Seq, Reason: "no space left on device"})
			return
		}
		log := h.logs[e.ID]
		if log == nil {
			h.Fatalf("%s writes a ledger that it has not", h.id)
		}
		log.Keep(e.Write)
		h.soon(Written{ID: e.ID, Seq: e.Seq})
	case DropLedger:
		if e.Reason != "" && !h.broken && !h.gives {
			h.Errorf("%s drops its ledger: %s", h.id, e.Reason)
		}
		if e.Superseded != nil {
			h.aside = h.logs[e.ID]
		}
		delete(h.logs, e.ID)
	case NotRecovered:
		h.no = append(h.no, e.Reason)
	case RecoveryRefused:
		h.refused = e.By
	case Reopened:
		h.ended, h.over = nil, false
		h.opened++
	case Violation:
		if slices.ContainsFunc(h.hosts, func(o *host) bool { return o.id == e.From }) {
			h.Errorf("%s accuses %s, which is honest: %s", h.id, e.From, e.What)
		}
		h.wrongs = append(h.wrongs, e)
	}
}

func (g *group) at(id tasks.PeerID) *host { return g.hosts[id[1]-'0'] }

// run lets time pass until done says so.
func (g *group) run(limit time.Duration, done func() bool) bool {
	for end := g.now + limit; g.now < end; g.now += time.Millisecond {
		if done() {
			return true
		}
		due := slices.Clone(g.late)
		g.late = slices.DeleteFunc(g.late, func(l later) bool { return l.at <= g.now })
		for _, l := range due {
			if l.at <= g.now {
				l.do()
			}
		}
		for _, h := range g.hosts {
			if h.peer != nil && h.peer.Wake() <= g.now && h.peer.Wake() >= 0 {
				h.step(Tick{})
			}
		}
	}
	return done()
}

// replicas counts the hosts that know of three replicas and are one.
func (g *group) replicas() (n int) {
	for _, h := range g.hosts {
		if h.peer == nil {
			continue
		}
		if v, ok := h.peer.Ledger(jobID); ok && len(v.Replicas) == 3 {
			n++
		}
	}
	return n
}

// home is the host that leads the job, nil if there is none.
func (g *group) home() *host {
	for _, h := range g.hosts {
		if h.peer != nil {
			if v, ok := h.peer.Ledger(jobID); ok && v.Home == h.id {
				return h
			}
		}
	}
	return nil
}

func (g *group) submit() {
	g.hosts[0].step(Submit{ID: jobID, Job: groupJob(g)})
}

func TestLedgerIsReplicated(t *testing.T) {
	g := newGroup(t, 4)
	g.submit()
	replicated := func() bool {
		v, ok := g.hosts[0].peer.Ledger(jobID)
		return ok && len(v.Replicas) == 3
	}
	if !g.run(time.Second, replicated) {
		t.Fatal("no three replicas after a second")
	}
	if !g.run(time.Minute, func() bool { return g.hosts[0].ended != nil }) {
		t.Fatal("the job did not end")
	}
	g.run(10*time.Second, func() bool { return false })
	for _, h := range g.hosts {
		if len(h.logs) > 0 || len(h.peer.jobs) > 0 {
			t.Errorf("%s keeps %d ledgers, %d jobs", h.id, len(h.logs), len(h.peer.jobs))
		}
	}
}

// TestLoneHomeLeaves has the only node leave in the middle of a job: what runs is ended and committed, and nobody is
// waited for who could take the rest.
func TestLoneHomeLeaves(t *testing.T) {
	g := newGroup(t, 1)
	g.submit()
	h := g.hosts[0]
	if !g.run(time.Minute, func() bool { return g.ran[h.id] > 100 }) {
		t.Fatal("nothing runs")
	}
	h.step(Leave{})
	if !g.run(5*time.Second, func() bool { return h.peer.leaving.done }) {
		t.Fatal("the node does not leave")
	}
	v, ok := h.peer.Ledger(jobID)
	if done := v.Committed.Len(); !ok || done != g.ran[h.id] || done == units {
		t.Errorf("%d units are committed of %d that ran", done, g.ran[h.id])
	}
}

// TestHomeDies kills the home at many moments: another replica leads within ten seconds, the job ends, and
// what is committed does not run again.
func TestHomeDies(t *testing.T) {
	kills := 0
	for at := 10 * time.Millisecond; at < 1500*time.Millisecond; at += 25 * time.Millisecond {
		g := newGroup(t, 4)
		g.submit()
		g.run(at, func() bool { return false })
		home := g.home()
		if g.replicas() < 3 || home == nil || g.hosts[0].ended != nil {
			continue // nothing to take over yet, or any more
		}
		kills++
		before, _ := home.peer.Ledger(jobID)
		committed, ran := before.Committed.Len(), g.allRan()
		home.kill()
		if !g.run(10*time.Second, func() bool { h := g.home(); return h != nil || g.endedSomewhere() }) {
			t.Fatalf("killed at %v: no new home after 10 s", at)
		}
		if !g.run(time.Minute, g.endedSomewhere) {
			t.Fatalf("killed at %v: the job did not end under its new home", at)
		}
		if again := g.allRan() - ran; again > units-committed {
			t.Errorf("killed at %v: %d units were run after that, with %d of %d committed", at, again, committed, units)
		}
	}
	if kills < 10 {
		t.Errorf("only %d kills", kills)
	}
}

func (g *group) allRan() (n int64) {
	for _, r := range g.ran {
		n += r
	}
	return n
}

func (g *group) endedSomewhere() bool {
	return slices.ContainsFunc(g.hosts, func(h *host) bool { return h.peer != nil && h.ended != nil })
}

// TestVoterThatMissedItsSeatVotes: a copy gets its seat in the ledger and does not hear of it before the home dies for
// good. The third voter needs its vote, and is heard once it has proven that it is a voter.
func TestVoterThatMissedItsSeatVotes(t *testing.T) {
	g := newGroup(t, 4)
	g.submit()
	var missed *host // the first that has made a copy
	if !g.run(time.Second, func() bool {
		for _, h := range g.hosts[1:] {
			if h.logs[jobID] != nil {
				missed = h
			}
		}
		return missed != nil
	}) {
		t.Fatal("nobody makes a copy")
	}
	missed.deaf = true
	var chain quorum.Chain
	if !g.run(time.Second, func() bool {
		chain = g.hosts[0].peer.job(jobID).copy.log.Chain()
		return votes(chain.Conf(), missed.id)
	}) {
		t.Fatal("it gets no seat")
	}
	if missed.peer.job(jobID).seated() {
		t.Fatal("it knows of its seat")
	}
	stranger := g.at("n3")
	if votes(chain.Conf(), stranger.id) {
		stranger = g.at("n2")
	}
	g.hosts[0].kill()
	missed.deaf = false
	if missed.peer.mayFrame(missed.peer.job(jobID), stranger.id) {
		t.Error("it hears one who is no voter")
	}
	if !g.run(time.Minute, func() bool { return g.home() != nil || g.endedSomewhere() }) {
		t.Fatal("nobody leads the job, though two of three voters are there")
	}
	if !g.run(time.Minute, g.endedSomewhere) {
		t.Error("the job does not end")
	}
}

// TestForgedVotersAreNotHeard: a copy that never had a seat is shown voters whom nobody has signed.
func TestForgedVotersAreNotHeard(t *testing.T) {
	for what, forge := range map[string]func(c *quorum.Chain){
		"nobody signed":   func(c *quorum.Chain) { c.Links[0].Sigs = nil },
		"a liar signed":   func(c *quorum.Chain) { c.Links[0].Sigs[0].By = "x" },
		"it is not there": func(c *quorum.Chain) { c.Links[0].Conf.Voters[1] = quorum.NewVoter("r", 1) },
		"other founders":  func(c *quorum.Chain) { *c = quorum.Chain{Founders: []quorum.Voter{quorum.NewVoter("x", 1)}} },
	} {
		r, made := asCopy(t)
		r.step(Founded{ID: jobID, Job: testJob(t), Voter: made.Log.Self.ID})
		j := r.peer.job(jobID)
		if r.step(Recv{From: "x", Msg: Message{Job: jobID, Frame: []byte{0}}}); !asks(r.sent, "x") {
			t.Fatal("a member that speaks as a voter is not asked to prove it")
		}
		c := mandate("x", 9).Chain
		forge(&c)
		out := r.step(Recv{From: "x", Msg: Message{Job: jobID, Moved: &Moved{Voters: &c}}})
		if r.peer.mayFrame(j, "x") || len(find[Violation](out)) != 1 {
			t.Errorf("%s, and it is heard: %v", what, out)
		}
		c = mandate("x", 9).Chain
		r.step(Recv{From: "x", Msg: Message{Job: jobID, Moved: &Moved{Voters: &c}}})
		if !r.peer.mayFrame(j, "x") {
			t.Errorf("a voter that proves to be one is not heard")
		}
	}
}

// asks reports whether a peer was asked to prove that it is a voter.
func asks(sent []Send, id tasks.PeerID) bool {
	return slices.ContainsFunc(sent, func(s Send) bool { return s.To == id && s.Msg.Moved != nil && s.Msg.Moved.Asks })
}

// TestAllDie kills everything in the middle of a job and starts it again.
func TestAllDie(t *testing.T) {
	for at := 10 * time.Millisecond; at < 1500*time.Millisecond; at += 50 * time.Millisecond {
		g := newGroup(t, 4)
		g.submit()
		g.run(at, func() bool { return false })
		if g.hosts[0].ended != nil {
			break
		}
		for _, h := range g.hosts {
			h.kill()
		}
		g.late = nil
		for _, h := range g.hosts {
			h.start()
		}
		if len(g.hosts[0].logs) == 0 {
			continue
		}
		if !g.run(time.Minute, func() bool { return g.hosts[0].ended != nil }) {
			t.Fatalf("killed at %v: the job did not end", at)
		}
	}
}

// TestReplicaThatIsFull: where two of three replicas have no room for blobs, others take their place, or the home goes
// on alone.
func TestReplicaThatIsFull(t *testing.T) {
	for _, hosts := range []int{3, 5} {
		g := newGroup(t, hosts)
		g.hosts[1].full, g.hosts[2].full = true, true
		g.submit()
		if !g.run(2*time.Minute, func() bool { return g.hosts[0].ended != nil }) {
			t.Errorf("%d hosts: the job did not end", hosts)
		}
	}
}

// TestHomeThatIsFull: another leads the job to its end, which is complete.
func TestHomeThatIsFull(t *testing.T) {
	g := newGroup(t, 4)
	g.hosts[0].full = true
	g.submit()
	if !g.run(2*time.Minute, func() bool { return g.hosts[0].ended != nil }) {
		t.Fatal("the job did not end")
	}
	if homes := g.hosts[3].homes; len(homes) < 2 {
		t.Errorf("homes were %v", homes)
	}
}

// TestOnlyLedgerIsLost: the job ends at once, and says why.
func TestOnlyLedgerIsLost(t *testing.T) {
	g := newGroup(t, 1)
	g.submit()
	g.run(100*time.Millisecond, func() bool { return false })
	h := g.hosts[0]
	h.broken = true
	if !g.run(10*time.Second, func() bool { return h.ended != nil }) {
		t.Fatal("the job did not end")
	}
	if h.failed == nil || h.failed.Kind != "disk" || string(h.ended.Status) != "failed" || len(h.logs) > 0 {
		t.Errorf("failed with %+v, status %q, ledgers %v", h.failed, h.ended.Status, h.logs)
	}
}

// TestLedgerOfTheLastReplicaIsLost: a home that goes on alone, since there are too few others, and loses its ledger too
// ends the job so that the others believe it.
func TestLedgerOfTheLastReplicaIsLost(t *testing.T) {
	g := newGroup(t, 3)
	for _, h := range g.hosts {
		h.slow = true
	}
	g.submit()
	if !g.run(time.Second, func() bool { return g.replicas() == 3 }) {
		t.Fatal("no three replicas")
	}
	g.pass(time.Second) // until the change of the voters is complete
	g.hosts[0].destroy()
	var home *host
	alone := func() bool {
		if home = g.home(); home == nil {
			return false
		}
		v, ok := home.peer.Ledger(jobID)
		return ok && len(v.Replicas) == 1 && !v.Changing
	}
	if !g.run(5*time.Minute, alone) {
		t.Fatal("no home goes on alone")
	}
	home.broken = true
	if !g.run(10*time.Minute, func() bool { return home.ended != nil }) {
		t.Fatal("the job did not end")
	}
	g.pass(5 * time.Second)
	if n := len(g.hosts[3-home.num()].peer.jobs); n > 0 {
		t.Error("the other does not know that the job is over")
	}
}

// num is a host's place in its group.
func (h *host) num() int { return int(h.id[1] - '0') }

// TestHomeWithoutTheCode: a home that cannot run the job's code could not give work back to nodes, and hands the lead
// to one that can.
func TestHomeWithoutTheCode(t *testing.T) {
	g := newGroup(t, 4)
	for _, h := range g.hosts[1:3] {
		h.noCode = true
	}
	g.hosts[3].kill() // so that all replicas beside the home have no code
	g.submit()
	if !g.run(
		10*time.Second,
		func() bool { v, _ := g.hosts[1].peer.Ledger(jobID); return g.replicas() == 3 && !v.Changing },
	) {
		t.Fatal("no three replicas")
	}
	g.hosts[3].start()
	g.hosts[0].kill()
	if !g.run(3*time.Minute, g.endedSomewhere) {
		t.Error("the job did not end")
	}
}

// TestResultIsKeptOfAnEndedLedger has a home want a result kept of a job that has not ended as far as a replica knows.
// It is kept when the replica has followed that far, and never if that does not come: such a home lies.
func TestResultIsKeptOfAnEndedLedger(t *testing.T) {
	g := newGroup(t, 3)
	g.submit()
	if !g.run(time.Minute, func() bool { return g.replicas() == 3 }) {
		t.Fatal("no job with three replicas")
	}
	h := g.hosts[1]
	v, ok := h.peer.Ledger(jobID)
	if !ok || v.Ended || v.Home == h.id {
		t.Fatalf("the ledger is %+v, %v", v, ok)
	}
	early := Message{Job: jobID, Term: v.Term, Keep: &Keep{Result: &ledger.Result{SHA256: "early", Size: 1}}}
	h.step(Recv{From: v.Home, Msg: early})
	ended := func() bool { v, ok = h.peer.Ledger(jobID); return ok && v.Ended }
	for deadline := g.now + time.Minute; !ended(); g.pass(time.Millisecond) {
		if len(h.results) > 0 || g.now > deadline {
			t.Fatalf("kept %v of a job that runs", h.results)
		}
	}
	if !slices.Equal(h.results[:min(1, len(h.results))], []string{"early"}) {
		t.Errorf("kept %v of a job that has ended", h.results)
	}
}
