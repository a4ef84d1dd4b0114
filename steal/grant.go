package steal

import (
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// maxSeen bounds how many grants of a job are remembered, so that a repeated one is known.
const maxSeen = 4096

// maxRate is a rate, in units a second, above that of any node. A thief that claims more is not believed.
const maxRate = 1e12

// onRequest answers a thief. It grants units of the job that has the most run time left here, so many that both should
// end at the same time, or refuses.
func (s *Scheduler) onRequest(from tasks.PeerID, req Request) {
	if s.giveTo(from, req) {
		s.thief.unwait(from)
		return
	}
	if req.Wait { // the thief is pushed work as soon as there is some
		s.thief.wait(from, req)
		return
	}
	if s.cutFor(from, req) { // the rest of the packet that is cut will be pushed to the thief
		s.thief.wait(from, req)
	}
	s.send(from, Message{Refuse: &Refuse{Request: req.ID}})
}

// cutAbove is how much longer than Config.MinPacket a packet must still have to run to be cut for a thief.
const cutAbove = 8

// cutFor cuts a running packet for a thief, if there is one that would last far longer than a steal takes. It is called
// when nothing else is left to give.
func (s *Scheduler) cutFor(from tasks.PeerID, req Request) bool {
	for i, id := range req.Jobs[:min(len(req.Jobs), MaxJobs)] {
		j := s.job(id)
		if j == nil || j.stopped || j.rate == 0 || j.dealing(s.now) || !j.isAble(from) || s.allows(j, from, 1, j.rate) <= 0 {
			continue
		}
		for _, g := range j.gens {
			if s.leased(g) > s.cutFrom(g) && !g.solo && !g.cut &&
				!req.blindFor(i).Covers(tasks.CoverOf(g.leases...)) {
				s.preempt(g)
				return true
			}
		}
	}
	return false
}

// cutFrom is how long a packet of g must still have to run to be cut for a thief, for which the rest may be dearer.
func (s *Scheduler) cutFrom(g *gen) time.Duration {
	if g.job.near.Intersects(tasks.CoverOf(g.leases...)) {
		return max(cutAbove*s.cfg.MinPacket, g.job.nearCost)
	}
	return cutAbove * s.cfg.MinPacket
}

// leased is how long the leased packets of g still have to run.
func (s *Scheduler) leased(g *gen) time.Duration {
	n := int64(0)
	for _, r := range g.leases {
		n += r.Len()
	}
	if n == 0 || g.job.rate == 0 {
		return 0
	}
	return time.Duration(float64(n)/g.job.rate*float64(time.Second)) - (s.now - g.since)
}

func (s *Scheduler) giveTo(from tasks.PeerID, req Request) bool {
	if !s.connected(from) {
		return false // the acknowledgement of a grant would not arrive
	}
	var best *job
	var rate float64
	var blind tasks.Cover
	most := time.Duration(-1)
	for i, id := range req.Jobs {
		if i >= MaxJobs {
			break
		}
		j := s.job(id)
		if j == nil || j.stopped || j.dealing(s.now) || !j.isAble(from) {
			continue
		}
		not := req.blindFor(i)
		near, _ := j.waitsFor(from, not)
		left := s.timeFor(j, j.waitingFor(not)+j.unseen.Minus(not).Len()+near.Len())
		if left <= most {
			continue
		}
		best, most, rate, blind = j, left, 0, not
		if i < len(req.Rates) && req.Rates[i] > 0 && req.Rates[i] < maxRate {
			rate = req.Rates[i]
		}
	}
	if best == nil {
		return false
	}
	if ranges, cost := s.collect(best, from, blind); !ranges.Empty() {
		s.grant(best, from, Grant{Request: req.ID, Ranges: ranges, Near: cost})
		return true
	}
	slots := s.slotsKnown(from, req.Slots)
	rate = best.believed(slots, rate)
	allowed := s.allows(best, from, slots, rate)
	if allowed < best.units(2*s.cfg.MinPacket) {
		return false
	}
	ranges := s.handOn(best, blind, allowed)
	if ranges.Empty() {
		not := blind.Union(best.near)
		n := min(s.share(best, slots, rate, best.waitingFor(not)), allowed)
		ranges = s.carve(best, n, n/4, not)
	}
	if ranges.Empty() && !best.near.Empty() {
		ranges = s.carve(best, min(s.nearShare(best, slots), allowed), 0, blind)
	}
	if ranges.Empty() {
		return false
	}
	s.lend(best, from, ranges.Len(), rate)
	s.grant(best, from, Grant{Request: req.ID, Ranges: ranges})
	return true
}

// share is how many of j's waiting units to give a thief so that thief and victim end at the same time. It is at most
// may, and 0 if so few units are not worth a steal.
func (s *Scheduler) share(j *job, slots int, rate float64, may int64) int64 {
	waiting, running := j.waiting(), j.running()
	mine := j.rate * float64(s.cfg.Slots)
	if j.shunned || s.leaving || s.full || s.now < j.paused {
		mine = 0
	}
	if rate == 0 {
		rate = j.rate * float64(slots)
	}
	part := float64(slots) / float64(slots+s.cfg.Slots)
	if rate > 0 {
		part = rate / (rate + mine)
	}
	n := min(int64(float64(waiting+running/2)*part), may)
	least := j.units(2 * s.cfg.MinPacket)
	if mine > 0 && (2*n < least || s.timeFor(j, waiting+running/2) < 3*s.cfg.MinPacket) {
		return 0 // this node is done sooner than a thief could be; but a node that runs none of it gives the least bit
	}
	return min(max(n, least), may)
}

// carve takes n waiting units of j that are not in not, or up to slack more or less, first from the end of the pool and
// then from the ends of tasks.
func (s *Scheduler) carve(j *job, n, slack int64, not tasks.Cover) (out tasks.Cover) {
	if n <= 0 {
		return nil
	}
	out = tailOf(j.data, j.pool.Minus(not), n, slack)
	n -= out.Len()
	j.pool = j.pool.Minus(out)
	tasksLeft := j.waitingFor(not) - j.pool.Minus(not).Len()
	if n <= 0 || tasksLeft == 0 {
		return out
	}
	share := min(float64(n)/float64(tasksLeft), 1)
	for _, g := range j.gens {
		if g.solo || g.task.Empty() || n <= 0 {
			continue
		}
		may := g.task
		if !not.Empty() {
			if may = lastOf(tasks.CoverOf(g.task).Minus(not)); may.Empty() {
				continue
			}
		}
		most := min(int64(math.Ceil(float64(may.Len())*share)), n) // rounded up: few units are to be given, but not none
		r := tail(j.data, may, most, min(slack, most/4))
		if r.Empty() {
			continue
		}
		n -= r.Len()
		j.pool = j.pool.Add(tasks.R(r.Last, g.task.Last))
		g.task.Last = r.First
		out = out.Add(r)
	}
	return out
}

// tail is n units from the end of r, or up to slack more or less if that avoids a cut through a file or a cluster.
func tail(d *tasks.Dataset, r tasks.Range, n, slack int64) tasks.Range {
	if n <= 0 {
		return tasks.Range{}
	}
	if n >= r.Len()-slack/2 {
		return r
	}
	if d.Whole {
		return wholeTail(d, r, n)
	}
	return tasks.R(d.Cut(r, r.Last-n, slack), r.Last)
}

// wholeTail is about n units from the end of r that begin with a file: all of r if that is nearer than the next file.
func wholeTail(d *tasks.Dataset, r tasks.Range, n int64) tasks.Range {
	at := r.Last - n
	i, _ := d.Locate(at)
	before, behind := max(d.Units(i).First, r.First), min(d.Units(i).Last, r.Last)
	if at-before <= behind-at {
		return tasks.R(before, r.Last)
	}
	return tasks.R(behind, r.Last)
}

// grant gives the ranges of g, which the caller has taken out of j, to a peer. They stay pending until it acknowledges
// them.
func (s *Scheduler) grant(j *job, to tasks.PeerID, g Grant) {
	s.nextID++
	g.ID, g.Job, g.Left = s.nextID, j.id, s.timeFor(j, j.waiting())
	p := &pending{id: g.ID, to: to, ranges: g.Ranges, until: s.now + s.cfg.AckWait, again: s.now + s.cfg.Resend, grant: g}
	j.pending = append(j.pending, p)
	s.sendGrant(p)
}

func (s *Scheduler) sendGrant(p *pending) {
	g := p.grant
	s.send(p.to, Message{Grant: &g})
}

// tailOf is n units from the end of c, or up to slack more or less.
func tailOf(d *tasks.Dataset, c tasks.Cover, n, slack int64) (out tasks.Cover) {
	for i := len(c) - 1; i >= 0 && n > 0; i-- {
		r := tail(d, c[i], n, min(slack, n/4))
		out, n = out.Add(r), n-r.Len()
	}
	return out
}

// onGrant takes work that this node has stolen, or was pushed or dealt. A repeated grant gets the same answer as the
// first time, and is not taken again.
func (s *Scheduler) onGrant(from tasks.PeerID, g Grant) {
	s.thief.answered(from, g.Request)
	j := s.job(g.Job)
	ok := j != nil && !j.stopped && len(g.Others) <= maxOthers && g.Ranges.Valid(j.want) && !g.Ranges.Empty() &&
		(j.home == s.cfg.Self || (!s.leaving && !j.shunned))
	known := false
	if j != nil {
		ok, known = j.remember(grantKey{from, g.ID}, ok)
	}
	s.send(from, Message{Ack: &Ack{ID: g.ID, Job: g.Job, OK: ok}})
	if !ok || known {
		return
	}
	work := g.Ranges
	if g.Dealt {
		work = s.passOn(j, work.Minus(j.done).Minus(tasks.CoverOf(j.here()...)), g)
		if g.Above == "" {
			g.Above = from
		}
		s.emit(Dealt{Job: j.id, Above: g.Above})
	}
	j.back(work, s.now)
	j.add(work)
	if g.Near > 0 && from == j.home {
		j.mark(work, min(g.Near, MaxNear))
	}
	j.quiet = 0
	if delete(s.thief.busy, from); g.Left > cutAbove*s.cfg.MinPacket { // with less left any other victim is as good
		s.thief.busy[from] = g.Left
	}
	if since, asked := s.thief.asked(from, g.Request); asked {
		s.emit(Stolen{Job: j.id, From: from, Wait: s.now - since})
	}
	s.thief.succeeded()
}

// remember returns the answer to a grant, which is ok if the grant is new, and whether it was answered before.
func (j *job) remember(key grantKey, ok bool) (answer, known bool) {
	if was, known := j.seen[key]; known {
		return was, true
	}
	if len(j.seen) >= maxSeen {
		clear(j.seen)
	}
	j.seen[key] = ok
	return ok, false
}

// handAgain is the pause before a node hands work back again that the home did not take.
const handAgain = 500 * time.Millisecond

func (s *Scheduler) onAck(from tasks.PeerID, a Ack) {
	j := s.job(a.Job)
	if j == nil {
		return
	}
	for i, p := range j.pending {
		if p.id == a.ID && p.to == from {
			j.pending = slices.Delete(j.pending, i, i+1)
			if !a.OK {
				s.takeBack(j, p)
				if from == j.home { // the home may still be loading the job's code
					j.handAt = s.now + handAgain
				}
			} else {
				j.given = append(j.given, given{p.to, p.ranges, s.now})
				j.took(p.to, p.ranges, s.now)
				s.emit(Taken{Job: j.id})
			}
			return
		}
	}
}

// takeBack returns an unacknowledged grant to the pool.
func (s *Scheduler) takeBack(j *job, p *pending) {
	if !j.stopped {
		j.add(p.ranges)
	}
	s.thief.unwait(p.to)
}

// expire repeats grants that were not acknowledged, since after a lost acknowledgement two nodes would do the same
// work. It takes grants back that were repeated for too long, and gives up a request that was not answered.
func (s *Scheduler) expire() {
	for _, j := range s.jobs {
		j.pending = slices.DeleteFunc(j.pending, func(p *pending) bool {
			if s.now >= p.until || (s.now >= p.again && mutant.On(mutant.LostAckRefusal)) {
				s.takeBack(j, p)
				return true
			}
			if s.now >= p.again {
				p.again = s.now + s.cfg.Resend
				s.sendGrant(p)
			}
			return false
		})
	}
	if t := &s.thief; t.id != 0 && s.now-t.since >= s.cfg.StealWait {
		t.refuse(t.victim)
	}
}

func (s *Scheduler) peerDown(id tasks.PeerID) {
	if i, ok := slices.BinarySearch(s.peers, id); ok {
		s.peers = slices.Delete(s.peers, i, i+1)
	}
	delete(s.known, id)
	for _, j := range s.jobs {
		j.setAble(id, false)
		for _, p := range j.pending {
			if p.to == id {
				p.until = s.now
			}
		}
	}
	s.thief.forget(id)
}

// feedWaiters pushes work to thieves that wait for it here, if there is enough again.
func (s *Scheduler) feedWaiters() {
	if len(s.thief.waiters) == 0 ||
		!slices.ContainsFunc(s.jobs, func(j *job) bool { return j.waiting() > 0 || !j.unseen.Empty() || len(j.kept) > 0 }) {
		return
	}
	s.thief.waiters = slices.DeleteFunc(s.thief.waiters, func(w waiter) bool { return s.giveTo(w.id, w.req) })
}

// Wake is the latest time by which Step must be called again for a time-out, or -1 if there is none.
func (s *Scheduler) Wake() time.Duration {
	next := time.Duration(-1)
	at := func(t time.Duration) {
		if next < 0 || t < next {
			next = t
		}
	}
	if s.thief.id != 0 {
		at(s.thief.since + s.cfg.StealWait)
	} else if s.hungry() {
		at(s.thief.next)
	} else if turn := s.nextTurn(); turn >= 0 {
		at(turn)
	}
	for _, j := range s.jobs {
		for _, p := range j.pending {
			at(min(p.again, p.until))
		}
		for _, g := range j.gens {
			if s.isIdle(g) {
				at(g.idle + s.cfg.IdleSeal)
			} else if len(g.leases) > 0 && !g.solo {
				at(g.since + overdue*s.cfg.Packet + time.Millisecond)
			}
		}
		for _, k := range j.kept {
			at(k.until)
		}
		if j.paused > s.now {
			at(j.paused)
		}
		if j.quiet > s.now {
			at(j.quiet)
		}
		if j.handAt > s.now {
			at(j.handAt)
		}
	}
	return next
}
