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
	open     bool        // the job may still grow
	needs    []string
	able     []tasks.PeerID    // peers with a runtime that meets needs, sorted
	pool     tasks.Cover       // units that wait here and are in no generation's task
	blind    tasks.Cover       // units that this host cannot read
	unseen   tasks.Cover       // units in blind that wait here until a thief takes them
	kept     []kept            // units that wait here for the nodes near them
	near     tasks.Cover       // units that this node is near, whether they are still here or not
	nearCost time.Duration     // what one of these takes longer elsewhere
	solo     []tasks.Range     // suspects that wait here, each for a generation of its own
	gens     []*gen            // generations of the job, in the order in which they were started
	last     GenID             // the generation that was started last
	had      time.Duration     // for which its generations have had slots, as charge counts it
	pending  []*pending        // grants that are not acknowledged yet
	seen     map[grantKey]bool // answers to the grants that came here
	done     tasks.Cover       // units that are committed, as far as this node was told
	rate     float64           // units a second for each slot, 0 while unknown
	rough    bool              // rate was measured by packets that opened a file
	settled  float64           // the part of rate that was measured here, and is not what it began with: 0 to 1
	ranFor   time.Duration     // run time of all finished packets
	finished int64             // units in all finished packets
	largest  int64             // units of the longest finished packet; the next may be packetGrowth times longer
	paused   time.Duration     // no generation is started before
	handAt   time.Duration     // nothing is handed back before
	quiet    time.Duration     // nothing is stolen before, since work is being dealt
	given    []given           // what other nodes took from here lately
	credits  map[tasks.PeerID]*credit
	dealt    time.Duration // when this node last dealt work of its pool; 0 for never
	stopped  bool          // the job is being wound up, and gets no new work
	shunned  bool          // the home has the job's work handed back, and this node runs no more of it
	failures int           // how many failures here have blamed units
	sealTook time.Duration // how long it took to seal the last output here
}

// gen is one running generation.
type gen struct {
	id      GenID
	job     *job
	solo    bool
	sealing bool          // it takes no more work, and is sealed when its last lease has ended
	sealed  bool          // Seal was emitted
	since   time.Duration // when the first of leases began to run or, once sealed is set, when Seal was emitted
	cut     bool          // Preempt was emitted, and no lease has ended since
	started time.Duration
	idle    time.Duration // when it last had something to do
	task    tasks.Range   // its units that are not leased yet
	leases  []tasks.Range // the packets that its child has, in their order
	cover   tasks.Cover   // the units that its child has processed
}

// pending is a grant that its receiver has not acknowledged yet.
type pending struct {
	id     uint64
	to     tasks.PeerID
	ranges tasks.Cover   // what is left of the grant's ranges
	until  time.Duration // when the ranges are taken back
	again  time.Duration // when the grant is repeated
	grant  Grant
}

// dealing reports whether what waits here is just being dealt, so that a thief would take the share of another node.
func (j *job) dealing(now time.Duration) bool { return j.dealt > 0 && now < j.dealt+dealtWait/2 }

// given is work that another node has taken from this one.
type given struct {
	to     tasks.PeerID
	ranges tasks.Cover
	at     time.Duration // when the grant was acknowledged
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
		had:     s.least,
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
	j.stopped, j.pool, j.unseen, j.kept, j.solo, j.pending, j.given = true, nil, nil, nil, nil, nil, nil
	s.windUp(j)
}

// forgetAll drops all work of a job, since no more of it is needed.
func (s *Scheduler) forgetAll(id tasks.JobID) {
	j := s.job(id)
	if j == nil {
		return
	}
	j.pool, j.unseen, j.kept, j.solo, j.pending, j.given = nil, nil, nil, nil, nil, nil
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
	s.keepFor(j, ev.Near)
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
			s.preempt(g) // its child may not have come to those units yet
		}
	}
}

// forget removes units from what waits here.
func (s *Scheduler) forget(j *job, c tasks.Cover) {
	j.pool, j.unseen = j.pool.Minus(c), j.unseen.Minus(c)
	j.unkeep(c)
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

// kill ends a generation that has processed units which others have committed. What else it has processed runs again,
// since nothing can be subtracted from its output.
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

// units are all units that the partial of g will have.
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

// handBack gives what waits here to the homes of jobs of which this node is to run no more. If a home is not connected
// now, a later step does it.
func (s *Scheduler) handBack() {
	for _, j := range s.jobs {
		if s.leaving || j.shunned {
			s.handBackJob(j)
		}
	}
}

func (s *Scheduler) handBackJob(j *job) {
	if j.home == s.cfg.Self { // other nodes steal the work, including the suspects that were to be tried here
		j.pool, j.solo = j.pool.Union(tasks.CoverOf(j.solo...)), nil
		return
	}
	rest := j.pool.Union(j.unseen).Union(j.allKept()).Union(tasks.CoverOf(j.solo...))
	if rest.Empty() || !s.connected(j.home) || s.now < j.handAt {
		return
	}
	j.pool, j.unseen, j.kept, j.solo = nil, nil, nil, nil
	s.grant(j, j.home, Grant{Ranges: rest})
}

// Held are the units of a job of which this node has yet to make a partial. They include what was given away and is not
// acknowledged, and not what is in sealed partials.
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

// Here are the units in Held without those that were given away and are not acknowledged.
func (s *Scheduler) Here(id tasks.JobID) tasks.Cover {
	if j := s.job(id); j != nil {
		return tasks.CoverOf(j.here()...)
	}
	return nil
}

// Given are the units that were given away: those of all grants that are not acknowledged, and of those that were
// acknowledged since a time. It forgets grants that were acknowledged earlier.
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
	Taken  bool // the other node has acknowledged it
}

// Gifts are the grants whose units Given returns, the newest first.
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

// here are all units that wait or run on this node. It leaves out what was given away and is not acknowledged: the
// receiver may give such units back before its acknowledgement arrives, and they must then be added.
func (j *job) here() []tasks.Range {
	here := append([]tasks.Range{}, j.pool...)
	here = append(append(append(here, j.unseen...), j.allKept()...), j.solo...)
	for _, g := range j.gens {
		here = append(append(append(here, g.task), g.leases...), g.cover...)
	}
	return here
}

// add puts those units of c into the pool that are neither committed nor here already.
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

// Idle reports whether this node has nothing of a job: no units that wait, run, or are given away and not acknowledged.
func (s *Scheduler) Idle(id tasks.JobID) bool {
	j := s.job(id)
	return j == nil || (len(j.gens) == 0 && j.pool.Empty() && j.unseen.Empty() && len(j.kept) == 0 && len(j.solo) == 0 &&
		len(j.pending) == 0)
}

// AtRest reports whether nothing of a job runs here, and nothing that was given away is still to be acknowledged. What
// waits here may go on waiting.
func (s *Scheduler) AtRest(id tasks.JobID) bool {
	j := s.job(id)
	return j == nil || len(j.gens) == 0 && len(j.pending) == 0
}

// Draining reports whether all generations of a job here are about to be sealed, and no work is left for another one.
// Their partials then had best wait for each other, to be merged.
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

// Rate is how many units of a job a slot processes in a second, as measured here; 0 if nothing was measured. The moving
// average starts from the rate that came with Open, which may be that of an earlier job with the same code. As long as
// that weighs in, Rate is the plain average over all finished packets.
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

// Left is how long this whole node would take for a job's waiting units.
func (s *Scheduler) Left(id tasks.JobID) time.Duration {
	j := s.job(id)
	if j == nil {
		return 0
	}
	return s.timeFor(j, j.waiting()+j.unseen.Len()+j.allKept().Len())
}

// timeFor is how long this whole node takes for n units. While the rate is unknown it guesses 1 ms for each unit.
func (s *Scheduler) timeFor(j *job, n int64) time.Duration {
	rate := j.rate
	if rate == 0 {
		rate = 1000
	}
	return time.Duration(float64(n) / (rate * float64(max(s.cfg.Slots, 1))) * float64(time.Second))
}

// waiting counts the units that wait here and can be run here or be given away.
func (j *job) waiting() int64 {
	n := j.pool.Len()
	for _, g := range j.gens {
		n += g.task.Len()
	}
	return n
}

// running counts the units in leased packets.
func (j *job) running() (n int64) {
	for _, g := range j.gens {
		for _, r := range g.leases {
			n += r.Len()
		}
	}
	return n
}
