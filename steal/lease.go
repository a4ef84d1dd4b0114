package steal

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// firstPacket is how many units the first packet of a job has if its rate is unknown. It is small, since slow code may
// take a second for one unit. A packet may be packetGrowth times longer than the longest one before it, so that fast
// code has packets of full length after a few.
const (
	firstPacket  = 16
	packetGrowth = 8
)

// tailPackets is into how many packets the waiting work of a slot is cut at least. So packets become smaller towards
// the end, and most of what is left can be stolen.
const tailPackets = 6

// overdue is how many times longer than Config.Packet a packet may run before it is cut at its next unit. Then the rate
// was wrong or has changed, and other nodes can steal the rest of the packet.
const overdue = 4

// fill gives work to generations that have none and starts generations in free slots.
func (s *Scheduler) fill() {
	for _, j := range s.jobs {
		for _, g := range slices.Clone(j.gens) {
			s.refill(g)
		}
	}
	for len(s.gens) < s.cfg.Slots && !s.leaving && !s.full {
		j := s.hungriest()
		if j == nil {
			return
		}
		s.start(j)
	}
}

// hungriest is the job that has work to begin and the fewest generations here. Of several such jobs it is the one that
// has had the least of the slots, so that even one slot serves all jobs alike; then the one whose last generation was
// started the longest ago, where jobs that never had a generation come first, the oldest of them before the others.
func (s *Scheduler) hungriest() *job {
	var best *job
	for _, j := range s.jobs {
		if s.startable(j) && (best == nil || hungrier(j, best)) {
			best = j
		}
	}
	return best
}

func hungrier(a, b *job) bool {
	return cmp.Or(cmp.Compare(len(a.gens), len(b.gens)), cmp.Compare(a.had, b.had), cmp.Compare(a.last, b.last)) < 0
}

func (s *Scheduler) startable(j *job) bool {
	if j.stopped || j.shunned || s.now < j.paused {
		return false
	}
	if len(j.solo) > 0 || !j.pool.Empty() {
		return true
	}
	// Splitting a neighbour's task pays only if it outlasts the start of a generation.
	g := j.longest()
	return g != nil && j.rate > 0 && g.task.Len() > 2*j.units(5*s.cfg.MinPacket)
}

func (s *Scheduler) start(j *job) {
	s.nextGen++
	g := &gen{id: s.nextGen, job: j, started: s.now, idle: s.now, solo: len(j.solo) > 0}
	j.gens, j.last = append(j.gens, g), g.id
	s.gens[g.id] = g
	s.emit(Start{Job: j.id, Gen: g.id, Solo: g.solo})
	if g.solo {
		g.task, j.solo = j.solo[0], j.solo[1:]
	}
	s.refill(g)
}

// refill finds a task for g if it has none, and leases packets of it.
func (s *Scheduler) refill(g *gen) {
	if g.sealing {
		return
	}
	old := s.now-g.started > s.lifetime(g.job) || s.overShare(g)
	if old && !g.cover.Empty() && !s.full { // on a full disk a sealed generation would only wait for room
		g.job.pool, g.task = g.job.pool.Add(g.task), tasks.Range{}
		s.seal(g)
		return
	}
	if g.task.Empty() && !g.solo && s.now >= g.job.paused {
		g.task = s.nextTask(g)
	}
	s.lease(g)
	if g.solo && g.task.Empty() && len(g.leases) == 0 {
		s.seal(g)
	}
}

// A generation lives at least sealShare times as long as it took to seal the last output, so that nodes spend most of
// their time on units, however large their outputs are. maxStretch bounds the lifetime that follows from this.
const (
	sealShare  = 2
	maxStretch = 5 * time.Minute
)

// lifetime is how long a generation of a job lives. It is shorter after failures, since each failure loses what its
// generation has done.
func (s *Scheduler) lifetime(j *job) time.Duration {
	return max(s.cfg.Generation>>min(2*j.failures, 8), min(sealShare*j.sealTook, maxStretch))
}

// nextTask takes g's share of the pool or, if that is empty, half of a neighbour's task.
func (s *Scheduler) nextTask(g *gen) tasks.Range {
	j := g.job
	if !j.pool.Empty() {
		r := j.pool[j.pick(g)]
		share := max(j.pool.Len()/int64(s.sharers(j)), j.units(s.cfg.MinPacket), 1)
		if share < r.Len() {
			r.Last = j.data.Cut(r, r.First+share, share/4)
		}
		j.pool = j.pool.Minus(tasks.CoverOf(r))
		return r
	}
	v := j.longest()
	if v == nil || v == g || v.task.Len() < 2*max(j.units(s.cfg.MinPacket), 1) {
		return tasks.Range{}
	}
	cut := j.data.Cut(v.task, v.task.First+v.task.Len()/2, v.task.Len()/8)
	if j.data.Whole && cut == v.task.Last && len(v.leases) > 0 {
		cut = v.task.First // a file that cannot be divided, and that nobody has begun
	}
	r := tasks.R(cut, v.task.Last)
	v.task.Last = cut
	return r
}

// pick chooses a range of the pool for g: the one at which g can go on reading its file, or else the longest.
func (j *job) pick(g *gen) int {
	best := 0
	for i, r := range j.pool {
		if n := len(g.cover); n > 0 && r.First == g.cover[n-1].Last {
			return i
		}
		if r.Len() > j.pool[best].Len() {
			best = i
		}
	}
	return best
}

// sharers counts those that will take work from j's pool now: the generations without a task, and the free slots.
func (s *Scheduler) sharers(j *job) int {
	n := max(s.cfg.Slots-len(s.gens), 0)
	for _, g := range j.gens {
		if g.task.Empty() && !g.sealing {
			n++
		}
	}
	return max(n, 1)
}

// longest is the generation whose task, which is not leased yet, is the longest; nil if no generation has a task.
func (j *job) longest() (best *gen) {
	for _, g := range j.gens {
		if !g.solo && !g.task.Empty() && (best == nil || g.task.Len() > best.task.Len()) {
			best = g
		}
	}
	return best
}

// lease gives g packets of its task: one to run and, while much work is left, a second one, so that the child never
// waits for the daemon.
func (s *Scheduler) lease(g *gen) {
	j := g.job
	for !g.task.Empty() && len(g.leases) < s.depth(j) {
		p := j.data.Packet(g.task, s.target(j))
		if g.solo {
			p = j.data.Packet(g.task, g.task.Len())
		}
		g.task.First = p.Last
		if len(g.leases) == 0 {
			g.since = s.now
		}
		g.leases = append(g.leases, p)
		s.emit(Lease{Gen: g.id, Packet: p})
	}
	if len(g.leases) > 0 {
		g.idle = s.now
	}
}

// depth is how many packets a generation may have at a time. Nobody can steal a packet that waits in a generation, so
// it is one if little work is left, if files are not divided, so that it may be long, or if a single unit takes, or may
// take, as long as a packet should.
func (s *Scheduler) depth(j *job) int {
	if j.data.Whole || j.units(s.cfg.Packet) < 1 || s.timeFor(j, j.waiting()) < 2*s.cfg.Packet {
		return 1
	}
	return 2
}

// target is how many units the next packet should have so that it takes Config.Packet. Packets are shorter towards the
// end of this node's work, and grow step by step while the rate is new.
func (s *Scheduler) target(j *job) int64 {
	most := max(packetGrowth*j.largest, firstPacket)
	t := min(most, 4096)
	if j.rate > 0 && !j.rough { // without a good rate only the growth bounds the packet
		t = min(j.units(s.cfg.Packet), most)
	}
	if tail := j.waiting() / int64(tailPackets*max(s.cfg.Slots, 1)); tail < t {
		t = max(tail, j.units(s.cfg.MinPacket))
	}
	return max(t, 1)
}

// units is how many units a slot processes in d.
func (j *job) units(d time.Duration) int64 { return int64(j.rate * d.Seconds()) }

// endLease ends the lease of a packet and returns its generation, or nil if that does not have the packet.
func (s *Scheduler) endLease(id GenID, packet tasks.Range) *gen {
	g := s.gens[id]
	if g == nil {
		return nil
	}
	i := slices.Index(g.leases, packet)
	if i < 0 {
		return nil
	}
	g.leases = slices.Delete(g.leases, i, i+1)
	g.cut, g.since, g.idle = false, s.now, s.now
	return g
}

func (s *Scheduler) packetDone(ev PacketDone) {
	g := s.endLease(ev.Gen, ev.Packet)
	if g == nil {
		return
	}
	last := min(max(ev.Last, ev.Packet.First), ev.Packet.Last)
	done := tasks.R(ev.Packet.First, last)
	g.cover = g.cover.Add(done)
	g.job.measure(done.Len(), ev.Elapsed, ev.Opened)
	if rest := tasks.R(last, ev.Packet.Last); !rest.Empty() && !g.job.stopped {
		s.goOn(g, rest)
	}
	if ev.Full {
		g.job.paused = max(g.job.paused, s.now+fullPause)
	}
	if ev.Full || ev.Worn {
		s.retire(g)
	}
	if g.job.done.Intersects(tasks.CoverOf(done)) {
		s.kill(g)
		return
	}
	s.sealIfDrained(g)
}

// fullPause is how long a job starts no generation here after the disk took no more of one: until what that one has
// done is committed, another would find no room either.
const fullPause = 250 * time.Millisecond

// retire has a generation sealed that is to run nothing more: others go on with its task. Where the disk takes no more
// of its output, what is committed leaves the disk, and what had no room runs again; all that it has done would have
// to, if it failed.
func (s *Scheduler) retire(g *gen) {
	j := g.job
	if !j.stopped {
		j.pool = j.pool.Union(tasks.CoverOf(g.task).Minus(j.done))
	}
	g.task = tasks.Range{}
	g.sealing = true
}

// goOn takes the rest of a packet that was cut. Where files are not divided, the generation goes on with it if it
// may, since nobody else could take less than all of it.
func (s *Scheduler) goOn(g *gen, rest tasks.Range) {
	j := g.job
	if j.data.Whole && !g.sealing && !g.solo && (g.task.Empty() || g.task.First == rest.Last) &&
		!j.done.Intersects(tasks.CoverOf(rest)) {
		g.task = tasks.R(rest.First, max(rest.Last, g.task.Last))
		return
	}
	j.pool = j.pool.Union(tasks.Cover{rest}.Minus(j.done))
}

// packetRefused ends the lease of a packet whose file could not be opened. The generation goes on with another task,
// and packet and task go back to the pool, except for what is to blame.
func (s *Scheduler) packetRefused(ev PacketRefused) {
	g := s.endLease(ev.Gen, ev.Packet)
	if g == nil {
		return
	}
	j := g.job
	if !ev.Blame.Empty() {
		j.failures++
	}
	if !ev.Blind.Empty() {
		j.see(ev.Blind)
	}
	if !j.stopped {
		again := tasks.CoverOf(ev.Packet, g.task).Minus(ev.Blame).Minus(j.done)
		g.task = tasks.Range{}
		j.pool = j.pool.Union(again)
	}
	s.sealIfDrained(g)
}

// measure moves the rate towards that of a finished packet, the more the longer the packet took. Packets that opened a
// file count only as long as there are no others.
func (j *job) measure(n int64, d time.Duration, opened bool) {
	if n <= 0 || d <= 0 {
		return
	}
	j.largest = max(j.largest, n)
	j.finished, j.ranFor = j.finished+n, j.ranFor+d
	r := float64(n) / d.Seconds()
	switch {
	case j.rate == 0 || (j.rough && !opened):
		j.rate, j.rough = r, opened
	case !opened:
		w := min(0.5, d.Seconds()/0.2)
		j.rate += w * (r - j.rate)
		j.settled += w * (1 - j.settled)
	}
}

// cutOverdue cuts packets that run far longer than they should.
func (s *Scheduler) cutOverdue() {
	for _, j := range s.jobs {
		for _, g := range j.gens {
			if g.late(s.now, s.cfg.Packet) {
				s.emit(Preempt{Gen: g.id})
				g.cut, g.since = true, s.now // it is cut once more later, since it may not have started yet
			}
		}
	}
}

// late reports whether g's running packet has run too long and is to be cut. A suspect that runs alone is never cut.
func (g *gen) late(now, packet time.Duration) bool {
	return len(g.leases) > 0 && !g.solo && now-g.since > overdue*packet
}

// seal lets g take no more work. Seal is emitted at once, or when its last lease has ended.
func (s *Scheduler) seal(g *gen) {
	g.sealing = true
	s.sealIfDrained(g)
}

func (s *Scheduler) sealIfDrained(g *gen) {
	if !g.sealing || g.sealed || len(g.leases) > 0 {
		return
	}
	if g.cover.Empty() {
		s.emit(Kill{Gen: g.id})
		s.endGen(g.id)
		return
	}
	g.sealed, g.since = true, s.now
	s.emit(Seal{Gen: g.id, Cover: g.cover})
}

func (s *Scheduler) genSealed(id GenID) {
	if g := s.gens[id]; g != nil && g.sealed {
		g.job.sealTook = s.now - g.since
	}
	s.endGen(id)
}

func (s *Scheduler) endGen(id GenID) {
	if g := s.gens[id]; g != nil {
		g.job.gens = slices.DeleteFunc(g.job.gens, func(o *gen) bool { return o == g })
		delete(s.gens, id)
	}
}

func (s *Scheduler) genFailed(ev GenFailed) {
	g := s.gens[ev.Gen]
	if g == nil {
		return
	}
	j := g.job
	again := g.units().Minus(ev.Blame).Minus(j.done)
	s.endGen(ev.Gen)
	if !ev.Blame.Empty() {
		j.failures++
	}
	if !ev.Blind.Empty() {
		j.see(ev.Blind)
	}
	j.paused = max(j.paused, s.now+ev.Pause)
	if j.stopped {
		return
	}
	j.pool = j.pool.Union(again)
	for _, r := range g.units().Intersect(tasks.CoverOf(ev.Alone)).Minus(j.done) {
		if !slices.Contains(j.solo, r) {
			j.solo = append(j.solo, r)
		}
	}
}
