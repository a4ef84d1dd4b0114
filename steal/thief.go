package steal

import (
	"math/bits"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// roundLength is how many victims are asked in vain before a thief rests, and waits for its lifelines to push work.
const roundLength = 6

// lifelineAgain is after how long a resting thief asks its lifelines again, since they may have missed the request.
const lifelineAgain = 4 * time.Second

// thief is the state of this node as a thief: at most one request is out.
type thief struct {
	rng     uint64
	id      uint64                         // the request that is not answered yet, 0 for none
	victim  tasks.PeerID                   // whom it asks
	since   time.Duration                  // when it was sent
	next    time.Duration                  // nobody is asked before
	round   int                            // how many rounds have ended in vain
	refused map[tasks.PeerID]bool          // the victims that have refused in this round
	busy    map[tasks.PeerID]time.Duration // peers that are known to have work, and how long it lasts
	waiters []waiter                       // thieves that wait for work from here, in the order in which they began to
	rested  bool                           // the last round ended in vain
	narrow  bool                           // requests name only jobs that are left out here (isLeftOut)
	armed   time.Duration                  // when the lifelines were last asked to push work
	answer  struct {                       // the request that was answered last, to measure how long it took
		from  tasks.PeerID
		id    uint64
		since time.Duration
	}
}

// waiter is a thief that waits for this node to push work to it, and its request.
type waiter struct {
	id  tasks.PeerID
	req Request
}

// random is splitmix64 (Steele, Lea, Flood 2014).
func (t *thief) random(n int) int {
	t.rng += 0x9e3779b97f4a7c15
	x := t.rng
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	hi, _ := bits.Mul64(x^x>>31, uint64(n))
	return int(hi)
}

func (t *thief) wake(now time.Duration) {
	t.next, t.round, t.rested, t.armed = now, 0, false, -lifelineAgain
	clear(t.refused)
}

func (t *thief) succeeded() {
	t.round, t.rested, t.next, t.armed = 0, false, 0, -lifelineAgain
	clear(t.refused)
}

func (t *thief) answered(from tasks.PeerID, id uint64) {
	if id != 0 && id == t.id && from == t.victim {
		t.answer.from, t.answer.id, t.answer.since = from, id, t.since
		t.id = 0
	}
}

func (t *thief) asked(from tasks.PeerID, id uint64) (since time.Duration, ok bool) {
	return t.answer.since, id != 0 && t.answer.id == id && t.answer.from == from
}

func (t *thief) refuse(victim tasks.PeerID) {
	t.id = 0
	t.refused[victim] = true
	delete(t.busy, victim)
}

func (t *thief) wait(from tasks.PeerID, req Request) {
	t.unwait(from)
	req.ID = 0
	t.waiters = append(t.waiters, waiter{from, req})
}

func (t *thief) unwait(id tasks.PeerID) {
	t.waiters = slices.DeleteFunc(t.waiters, func(w waiter) bool { return w.id == id })
}

func (t *thief) forget(id tasks.PeerID) {
	t.unwait(id)
	delete(t.busy, id)
	delete(t.refused, id)
	if t.victim == id {
		t.id = 0
	}
}

func (s *Scheduler) onRefuse(from tasks.PeerID, id uint64) {
	if t := &s.thief; id != 0 && id == t.id && from == t.victim {
		t.refuse(from)
	}
}

func (s *Scheduler) setBusy(ev Busy) {
	clear(s.thief.busy)
	for i, id := range ev.Peers {
		if i < len(ev.Left) && ev.Left[i] > 0 {
			s.thief.busy[id] = ev.Left[i]
		}
	}
	if len(s.thief.busy) > 0 && s.thief.rested {
		s.thief.next = s.now // one of them is asked at once; the number of rounds in vain is kept
	}
}

// isIdle reports whether g has nothing to do and is not being sealed.
func (s *Scheduler) isIdle(g *gen) bool {
	return !g.sealing && g.task.Empty() && len(g.leases) == 0
}

// hungry reports whether stolen work could run here: in a slot without work, or in one that makes way for a job that is
// left out.
func (s *Scheduler) hungry() bool {
	return s.hasRoom() || !s.leaving && !s.full && s.cfg.Slots > 0 && slices.ContainsFunc(s.jobs, s.isLeftOut)
}

// hasRoom reports whether a slot here has no work, and there is a job for which it could run stolen work.
func (s *Scheduler) hasRoom() bool {
	if s.leaving || s.full || s.cfg.Slots == 0 || !slices.ContainsFunc(s.jobs, s.wantsMore) {
		return false
	}
	if len(s.gens) < s.cfg.Slots {
		return true
	}
	for _, j := range s.jobs {
		if s.wantsMore(j) && slices.ContainsFunc(j.gens, s.isIdle) {
			return true
		}
	}
	return false
}

// asksFor reports whether a request is to name a job. While all slots have work, requests name only jobs that are left
// out here.
func (s *Scheduler) asksFor(j *job) bool {
	return s.wantsMore(j) && (!s.thief.narrow || s.isLeftOut(j))
}

// widen chooses which jobs requests name. When a slot has become free after rounds that were only for jobs that are
// left out, the thief begins a new round, since refusals in those rounds say nothing of the other jobs.
func (s *Scheduler) widen() {
	t := &s.thief
	switch room := s.hasRoom(); {
	case room && t.narrow:
		t.wake(s.now)
		t.narrow = false
	case !room && slices.ContainsFunc(s.jobs, s.isLeftOut):
		t.narrow = true
	}
}

func (s *Scheduler) wantsMore(j *job) bool {
	return !j.stopped && !j.shunned && s.now >= j.paused && s.now >= j.quiet && !j.blind.Covers(tasks.Cover{j.want})
}

// stealOrRest is the thief's part of every step: it asks the next victim, or ends the round and rests. It also seals
// generations that are not getting any more work.
func (s *Scheduler) stealOrRest() {
	t := &s.thief
	s.widen()
	if s.hungry() && t.id == 0 && s.now >= t.next {
		if v, ok := s.victim(); ok {
			s.ask(v, false)
		} else {
			s.endRound()
		}
	}
	for _, j := range s.jobs {
		for _, g := range slices.Clone(j.gens) {
			// What is appended to an open job comes soon or late: who waits for each unit before it appends the next one
			// finds the generation that ran the last.
			none := !j.open && (t.rested || len(s.peers) == 0)
			if s.isIdle(g) && (none || s.now-g.idle >= s.cfg.IdleSeal) {
				s.seal(g)
			}
		}
	}
}

// victim chooses among the peers that have not refused in this round. It prefers peers that are known to be busy,
// those with more work left more often. After a round in vain, a round is a single request.
func (s *Scheduler) victim() (tasks.PeerID, bool) {
	t := &s.thief
	if len(t.refused) >= roundLength || (t.round > 0 && len(t.refused) > 0) {
		return "", false
	}
	able := s.victims()
	if len(t.busy) > 0 && t.random(4) > 0 {
		if p, ok := s.busyVictim(able); ok {
			return p, true
		}
	}
	n := len(able)
	if n == 0 {
		return "", false
	}
	for i, start := 0, t.random(n); i < n; i++ {
		if p := able[(start+i)%n]; !t.refused[p] {
			return p, true
		}
	}
	return "", false
}

// busyVictim draws one of the busy peers, weighted by the time each has left.
func (s *Scheduler) busyVictim(able []tasks.PeerID) (tasks.PeerID, bool) {
	t := &s.thief
	var ids []tasks.PeerID
	var total time.Duration
	for p, left := range t.busy {
		if _, may := slices.BinarySearch(able, p); may && !t.refused[p] {
			ids, total = append(ids, p), total+min(left, time.Hour)/time.Millisecond+1
		}
	}
	if len(ids) == 0 {
		return "", false
	}
	slices.Sort(ids) // the order of the map is random, and the choice must depend on the seed alone
	at := time.Duration(t.random(int(total)))
	for _, p := range ids {
		if at -= min(t.busy[p], time.Hour)/time.Millisecond + 1; at < 0 {
			return p, true
		}
	}
	return ids[0], true
}

func (s *Scheduler) connected(id tasks.PeerID) bool {
	_, ok := slices.BinarySearch(s.peers, id)
	return ok
}

func (s *Scheduler) ask(victim tasks.PeerID, wait bool) {
	s.nextID++
	req := &Request{ID: s.nextID, Slots: max(s.cfg.Slots, 1), Wait: wait}
	for _, j := range s.jobs {
		if s.asksFor(j) && s.isSource(j, victim) && len(req.Jobs) < MaxJobs {
			req.Jobs = append(req.Jobs, j.id)
			req.Rates = append(req.Rates, j.rate*float64(s.cfg.Slots))
			req.Blind = append(req.Blind, j.notFor())
		}
	}
	if !slices.ContainsFunc(req.Blind, func(c tasks.Cover) bool { return !c.Empty() }) {
		req.Blind = nil // most nodes can read everything, and need not say so
	}
	if !wait {
		s.thief.id, s.thief.victim, s.thief.since = req.ID, victim, s.now
	}
	s.send(victim, Message{Request: req})
}

// notFor is what this node is not to be given of a job: the units that it cannot read, and those of appends that it
// does not know yet.
func (j *job) notFor() tasks.Cover {
	if !j.open {
		return j.blind[:min(len(j.blind), MaxBlind)]
	}
	return j.blind[:min(len(j.blind), MaxBlind-1)].Add(tasks.R(j.want.Last, maxUnit))
}

// Only is the request reduced to some of its jobs, which are given by their places in it.
func (r Request) Only(places []int) Request {
	jobs, rates, blind := r.Jobs, r.Rates, r.Blind
	r.Jobs, r.Rates, r.Blind = nil, nil, nil
	for _, i := range places {
		r.Jobs = append(r.Jobs, jobs[i])
		if i < len(rates) {
			r.Rates = append(r.Rates, rates[i])
		}
		if i < len(blind) {
			r.Blind = append(r.Blind, blind[i])
		}
	}
	return r
}

// endRound ends a round in vain: the thief rests, longer after each such round, and its lifelines are asked to push
// work.
func (s *Scheduler) endRound() {
	t := &s.thief
	t.rested = true
	clear(t.refused)
	t.next = s.now + min(10*time.Millisecond<<min(t.round, 10), s.cfg.RestMax)
	if s.now-t.armed >= lifelineAgain {
		t.armed = s.now
		for _, p := range s.lifelines() {
			s.ask(p, true)
		}
	}
	t.round++
}

// lifelines are this node's neighbours in a hypercube over the peers that may have work for it, sorted: distance 1, 2,
// 4, ...
func (s *Scheduler) lifelines() (out []tasks.PeerID) {
	able := s.victims()
	i, _ := slices.BinarySearch(able, s.cfg.Self)
	n := len(able)
	for d := 1; d <= n; d *= 2 {
		if p := able[(i+d-1)%n]; !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}
