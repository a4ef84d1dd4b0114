package steal

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// job is what the scheduler knows of one job that this node is ready to run.
type job struct {
	id       tasks.JobID
	home     tasks.PeerID
	data     *tasks.Dataset
	want     tasks.Range // all units that are known here
	open     bool        // there may be more
	needs    []string
	able     []tasks.PeerID    // peers with a runtime that meets needs, sorted
	pool     tasks.Cover       // waiting here, begun by nobody
	blind    tasks.Cover       // what this host cannot read
	unseen   tasks.Cover       // of that, what waits here for others to take it
	solo     []tasks.Range     // suspects, each for a generation of its own
	gens     []*gen            // in order of start
	last     GenID             // that was started, here
	pending  []*pending        // given away, not acknowledged
	seen     map[grantKey]bool // grants answered, and how
	done     tasks.Cover       // committed, as far as this node was told
	rate     float64           // units/s a slot, 0 while unknown
	rough    bool              // rate is of packets that opened a file
	settled  float64           // how much of rate has been measured here, and is not what it began with: 0 to 1
	ranFor   time.Duration     // that all finished packets took
	finished int64             // units in them
	largest  int64             // longest packet finished so far; the next may be eight times longer
	paused   time.Duration
	handAt   time.Duration            // nothing is handed back before
	quiet    time.Duration            // nothing is stolen before: work is being dealt
	given    []given                  // away, and taken
	credits  map[tasks.PeerID]*credit // of those that have taken work from here
	dealt    time.Duration            // when this node last dealt work of its pool; 0 for never
	stopped  bool                     // no new work, wind up
	shunned  bool
	failures int           // of units, here
	sealTook time.Duration // until the last output was sealed, here
}

// gen is one running generation.
type gen struct {
	id      GenID
	job     *job
	solo    bool
	sealing bool          // takes no more work; sealed when its last lease is back
	sealed  bool          // Seal was emitted
	since   time.Duration // when the first of leases began to run; or since when it is being sealed
	cut     bool          // Preempt was emitted, and no lease has come back yet
	started time.Duration
	idle    time.Duration // since when it has had nothing to do
	task    tasks.Range   // its own, not yet leased
	leases  []tasks.Range // out, in order
	cover   tasks.Cover   // processed
}

type pending struct {
	id     uint64
	to     tasks.PeerID
	ranges tasks.Cover
	until  time.Duration // taken back then
	again  time.Duration // repeated then
	grant  Grant
}

// dealing reports whether others are about to be dealt what waits here; a thief would take their share.
func (j *job) dealing(now time.Duration) bool { return j.dealt > 0 && now < j.dealt+dealtWait/2 }

// given is work that another node has taken.
type given struct {
	to     tasks.PeerID
	ranges tasks.Cover
	at     time.Duration
}

type grantKey struct {
	from tasks.PeerID
	id   uint64
}

func (s *Scheduler) job(id tasks.JobID) *job {
	for _, j := range s.jobs {
		if j.id == id {
			return j
		}
	}
	return nil
}

// dealtWait is how long a node that is to be dealt work waits for it before it steals.
const dealtWait = 250 * time.Millisecond

func (s *Scheduler) open(ev Open) {
	if s.job(ev.Job) != nil {
		return
	}
	if ev.Want.Empty() {
		ev.Want = ev.Data.Space()
	}
	j := &job{
		id:      ev.Job,
		home:    ev.Home,
		data:    ev.Data,
		want:    ev.Want,
		open:    ev.Open,
		needs:   ev.Needs,
		rate:    ev.Rate,
		seen:    map[grantKey]bool{},
		credits: map[tasks.PeerID]*credit{},
	}
	if ev.Dealt {
		j.quiet = s.now + dealtWait
	}
	s.findAble(j)
	s.jobs = append(s.jobs, j)
	s.thief.wake(s.now)
}

func (s *Scheduler) close(id tasks.JobID) {
	j := s.job(id)
	if j == nil {
		return
	}
	for _, g := range j.gens {
		s.emit(Kill{Gen: g.id})
		delete(s.gens, g.id)
	}
	s.jobs = slices.DeleteFunc(s.jobs, func(o *job) bool { return o == j })
}

func (s *Scheduler) stop(id tasks.JobID) {
	j := s.job(id)
	if j == nil || j.stopped {
		return
	}
	j.stopped, j.pool, j.unseen, j.solo, j.pending, j.given = true, nil, nil, nil, nil, nil
	s.windUp(j)
}

// forgetAll drops all work of a job that needs no more of it.
func (s *Scheduler) forgetAll(id tasks.JobID) {
	j := s.job(id)
	if j == nil {
		return
	}
	j.pool, j.unseen, j.solo, j.pending, j.given = nil, nil, nil, nil, nil
	for _, g := range slices.Clone(j.gens) {
		if !g.sealed {
			s.emit(Kill{Gen: g.id})
			s.endGen(g.id)
		}
	}
}

// windUp cuts the running packets of j and seals its generations.
func (s *Scheduler) windUp(j *job) {
	for _, g := range slices.Clone(j.gens) {
		if !j.stopped {
			j.pool = j.pool.Add(g.task)
		}
		g.task = tasks.Range{}
		if len(g.leases) > 0 {
			s.preempt(g)
		}
		s.seal(g)
	}
}

func (s *Scheduler) work(ev Work) {
	j := s.job(ev.Job)
	if j == nil || j.stopped {
		return
	}
	if ev.Solo {
		for _, r := range ev.Ranges {
			if !slices.Contains(j.solo, r) {
				j.solo = append(j.solo, r)
			}
		}
		return
	}
	s.lostWork(j, ev.Ranges, 0)
	j.add(ev.Ranges)
}

func (s *Scheduler) drop(ev Drop) {
	j := s.job(ev.Job)
	if j == nil {
		return
	}
	j.done = j.done.Union(ev.Cover)
	s.forget(j, ev.Cover)
	j.pending = slices.DeleteFunc(j.pending, func(p *pending) bool {
		p.ranges = p.ranges.Minus(ev.Cover)
		return p.ranges.Empty()
	})
	for _, g := range slices.Clone(j.gens) {
		switch {
		case g.sealed:
		case g.cover.Intersects(ev.Cover):
			s.kill(g)
		case tasks.CoverOf(g.leases...).Intersects(ev.Cover):
			s.preempt(g) // perhaps it has not come to those units yet
		}
	}
}

// forget takes c out of what waits here.
func (s *Scheduler) forget(j *job, c tasks.Cover) {
	j.pool, j.unseen = j.pool.Minus(c), j.unseen.Minus(c)
	j.solo = slices.DeleteFunc(j.solo, func(r tasks.Range) bool { return c.Covers(tasks.Cover{r}) })
	for _, g := range j.gens {
		if task := tasks.CoverOf(g.task); task.Intersects(c) {
			g.task = tasks.Range{}
			if rest := task.Minus(c); len(rest) > 0 {
				g.task = rest[0]
				j.pool = j.pool.Union(rest[1:])
			}
		}
	}
}

// kill ends a generation that has done units committed by others; what else it did runs again, for a
// merge cannot be undone.
func (s *Scheduler) kill(g *gen) {
	s.emit(Kill{Gen: g.id})
	s.endGen(g.id)
	if j := g.job; !j.stopped {
		j.pool = j.pool.Union(g.units().Minus(j.done))
	}
}

func (s *Scheduler) preempt(g *gen) {
	if !g.cut {
		g.cut = true
		s.emit(Preempt{Gen: g.id})
	}
}

// units is all that g owes a partial for.
func (g *gen) units() tasks.Cover {
	return tasks.CoverOf(append(append([]tasks.Range{g.task}, g.leases...), g.cover...)...)
}

func (s *Scheduler) shun(id tasks.JobID) {
	if j := s.job(id); j != nil && !j.shunned {
		j.shunned = true
		s.windUp(j)
	}
}

func (s *Scheduler) leave() {
	s.leaving = true
	for _, j := range s.jobs {
		s.windUp(j)
	}
}

// handBack gives what waits here to the jobs' homes, if this node is to run no more of it; later, if a
// home is not connected now.
func (s *Scheduler) handBack() {
	for _, j := range s.jobs {
		if s.leaving || j.shunned {
			s.handBackJob(j)
		}
	}
}

func (s *Scheduler) handBackJob(j *job) {
	if j.home == s.cfg.Self { // others steal it, what it was to try by itself, too
		j.pool, j.solo = j.pool.Union(tasks.CoverOf(j.solo...)), nil
		return
	}
	rest := j.pool.Union(j.unseen).Union(tasks.CoverOf(j.solo...))
	if rest.Empty() || !s.connected(j.home) || s.now < j.handAt {
		return
	}
	j.pool, j.unseen, j.solo = nil, nil, nil
	s.grant(j, j.home, Grant{Ranges: rest})
}

// Held is every unit of a job that this node still owes a partial for, those given away but not
// acknowledged included; units in sealed partials are not.
func (s *Scheduler) Held(id tasks.JobID) tasks.Cover {
	j := s.job(id)
	if j == nil {
		return nil
	}
	held := j.here()
	for _, p := range j.pending {
		held = append(held, p.ranges...)
	}
	return tasks.CoverOf(held...)
}

// Here is Held without what was given away and is not acknowledged.
func (s *Scheduler) Here(id tasks.JobID) tasks.Cover {
	if j := s.job(id); j != nil {
		return tasks.CoverOf(j.here()...)
	}
	return nil
}

// Given is what was given away: all that is not acknowledged, and what was taken since a time; what was taken
// earlier is forgotten.
func (s *Scheduler) Given(id tasks.JobID, since time.Duration) tasks.Cover {
	j := s.job(id)
	if j == nil {
		return nil
	}
	j.given = slices.DeleteFunc(j.given, func(g given) bool { return g.at < since })
	var rs []tasks.Range
	for _, p := range j.pending {
		rs = append(rs, p.ranges...)
	}
	for _, g := range j.given {
		rs = append(rs, g.ranges...)
	}
	return tasks.CoverOf(rs...)
}

// Gift is work that was given to another node.
type Gift struct {
	To     tasks.PeerID
	Ranges tasks.Cover
	Taken  bool // it has said so
}

// Gifts are what Given is of: the newest first.
func (s *Scheduler) Gifts(id tasks.JobID, since time.Duration) (out []Gift) {
	j := s.job(id)
	if j == nil {
		return nil
	}
	for _, p := range slices.Backward(j.pending) {
		out = append(out, Gift{To: p.to, Ranges: p.ranges})
	}
	for _, g := range slices.Backward(j.given) {
		if g.at >= since {
			out = append(out, Gift{To: g.to, Ranges: g.ranges, Taken: true})
		}
	}
	return out
}

// here is all that waits or runs on this node: not what was given away, even if that is still to be
// acknowledged, for the taker may give it back before its word comes.
func (j *job) here() []tasks.Range {
	here := append([]tasks.Range{}, j.pool...)
	here = append(append(here, j.unseen...), j.solo...)
	for _, g := range j.gens {
		here = append(append(append(here, g.task), g.leases...), g.cover...)
	}
	return here
}

// add puts in the pool what of c is not done and not here already.
func (j *job) add(c tasks.Cover) {
	j.pool = j.pool.Union(c.Minus(j.done).Minus(tasks.CoverOf(j.here()...)))
}

// Ran is the number of units processed in generations of a job that are not yet sealed.
func (s *Scheduler) Ran(id tasks.JobID) (n int64) {
	if j := s.job(id); j != nil {
		for _, g := range j.gens {
			n += g.cover.Len()
		}
	}
	return n
}

// Idle reports whether this node has neither work nor a generation of a job.
func (s *Scheduler) Idle(id tasks.JobID) bool {
	j := s.job(id)
	return j == nil || (len(j.gens) == 0 && j.pool.Empty() && j.unseen.Empty() && len(j.solo) == 0 && len(j.pending) == 0)
}

// AtRest reports whether nothing of a job runs here, and nothing that was given away is still to be acknowledged. What
// waits here may go on waiting.
func (s *Scheduler) AtRest(id tasks.JobID) bool {
	j := s.job(id)
	return j == nil || len(j.gens) == 0 && len(j.pending) == 0
}

// Draining reports whether a job's generations here are all being sealed, with no work left for a new
// one: partials sealed meanwhile had best wait for each other.
func (s *Scheduler) Draining(id tasks.JobID) bool {
	j := s.job(id)
	if j == nil || len(j.gens) == 0 || !j.pool.Empty() || len(j.solo) > 0 {
		return false
	}
	for _, g := range j.gens {
		if !g.task.Empty() || len(g.leases) > 0 {
			return false
		}
	}
	return true
}

// Rate is units/s a slot of a job, as measured here; 0 if nothing has been. Until packets have worn off the rate with
// which the job began, which may be that of another job with the same code, it is that of all units so far.
func (s *Scheduler) Rate(id tasks.JobID) float64 {
	const enough = 1 - 1e-6
	j := s.job(id)
	switch {
	case j == nil || j.ranFor <= 0:
		return 0
	case j.settled < enough:
		return float64(j.finished) / j.ranFor.Seconds()
	}
	return j.rate
}

// Busy is the number of running generations.
func (s *Scheduler) Busy() int { return len(s.gens) }

// Left is the run time of a job's waiting work here.
func (s *Scheduler) Left(id tasks.JobID) time.Duration {
	j := s.job(id)
	if j == nil {
		return 0
	}
	return s.timeFor(j, j.waiting()+j.unseen.Len())
}

// timeFor is how long this whole node takes for n units; a guess of 1 ms a unit while unmeasured.
func (s *Scheduler) timeFor(j *job, n int64) time.Duration {
	rate := j.rate
	if rate == 0 {
		rate = 1000
	}
	return time.Duration(float64(n) / (rate * float64(max(s.cfg.Slots, 1))) * float64(time.Second))
}

// waiting counts the units that could be run here, or given away.
func (j *job) waiting() int64 {
	n := j.pool.Len()
	for _, g := range j.gens {
		n += g.task.Len()
	}
	return n
}

// running counts the units that are out in leases.
func (j *job) running() (n int64) {
	for _, g := range j.gens {
		for _, r := range g.leases {
			n += r.Len()
		}
	}
	return n
}
