package steal

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// firstPacket is the length of the first packet of a job of unknown rate: little for the slowest code, which
// may take a second for a unit; and a packet may be packetGrowth times longer than the longest before it, so that the
// fastest comes to its full length in a few packets.
const (
	firstPacket  = 16
	packetGrowth = 8
)

// tailPackets is how many packets a slot's waiting work makes at least: they shrink towards the end, so that most
// of what is left can be stolen.
const tailPackets = 6

// overdue is how many times longer than Packet a packet may run before it is cut at its next unit: the
// rate was wrong, or has changed, and what is behind it may wait for others to steal it.
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

// hungriest is the job with work to begin that has the fewest generations here; of several the one that has waited for
// the longest since its last one began, so that one slot serves all jobs in turn, and the oldest of those that had
// none.
func (s *Scheduler) hungriest() *job {
	var best *job
	for _, j := range s.jobs {
		if s.startable(j) &&
			(best == nil || len(j.gens) < len(best.gens) || len(j.gens) == len(best.gens) && j.last < best.last) {
			best = j
		}
	}
	return best
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
	if old && !g.cover.Empty() && !s.full { // else it would only wait for room
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

// sealShare is how many times longer than the last output took to be sealed a generation lives at least, so that nodes
// spend most of their time on units however large their outputs are, and maxStretch the longest that it lives for that.
const (
	sealShare  = 2
	maxStretch = 5 * time.Minute
)

// lifetime of a generation: shorter where units have failed, since each failure costs a generation.
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
	r := tasks.R(cut, v.task.Last)
	v.task.Last = cut
	return r
}

// pick chooses the range of the pool where g goes on reading its file, else the longest.
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

// sharers counts the generations that will want work of j's pool now: those without, and free slots.
func (s *Scheduler) sharers(j *job) int {
	n := max(s.cfg.Slots-len(s.gens), 0)
	for _, g := range j.gens {
		if g.task.Empty() && !g.sealing {
			n++
		}
	}
	return max(n, 1)
}

// longest is the generation with the most unleased work.
func (j *job) longest() (best *gen) {
	for _, g := range j.gens {
		if !g.solo && !g.task.Empty() && (best == nil || g.task.Len() > best.task.Len()) {
			best = g
		}
	}
	return best
}

// lease keeps one packet running in g, and a second queued while much is left, so that the child does
// not wait for the daemon.
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

// depth is how many packets a generation may have: one where little is left, or where a unit alone takes as long as a
// packet should, or may do so, for what is queued behind it nobody can steal.
func (s *Scheduler) depth(j *job) int {
	if j.units(s.cfg.Packet) < 1 || s.timeFor(j, j.waiting()) < 2*s.cfg.Packet {
		return 1
	}
	return 2
}

// target is the wanted length of the next packet: so that it takes cfg.Packet, less at the tail of
// this node's work, and growing slowly while the rate is new.
func (s *Scheduler) target(j *job) int64 {
	most := max(packetGrowth*j.largest, firstPacket)
	t := min(most, 4096)
	if j.rate > 0 && !j.rough { // else there is nothing to go by
		t = min(j.units(s.cfg.Packet), most)
	}
	if tail := j.waiting() / int64(tailPackets*max(s.cfg.Slots, 1)); tail < t {
		t = max(tail, j.units(s.cfg.MinPacket))
	}
	return max(t, 1)
}

// units is how many units a slot processes in d.
func (j *job) units(d time.Duration) int64 { return int64(j.rate * d.Seconds()) }

// endLease ends the lease of a packet and returns the generation that had it; nil if it has none of it.
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
		g.job.pool = g.job.pool.Union(tasks.Cover{rest}.Minus(g.job.done))
	}
	if g.job.done.Intersects(tasks.CoverOf(done)) {
		s.kill(g)
		return
	}
	s.sealIfDrained(g)
}

// packetRefused takes a packet, and what of the same task is to blame, from a generation that goes on.
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

// measure moves the rate towards that of a finished packet, by the packet's weight in time. Packets that
// opened a file count only as long as there are no others.
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
				g.cut, g.since = true, s.now // once more if it goes on: it may not have started when cut
			}
		}
	}
}

// late reports whether g's running packet is to be cut; a suspect alone has all the time it needs.
func (g *gen) late(now, packet time.Duration) bool {
	return len(g.leases) > 0 && !g.solo && now-g.since > overdue*packet
}

// seal lets g take no more work; Seal follows at once or when its last lease is back.
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
}
