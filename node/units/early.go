package units

import (
	"sync"

	"github.com/dtpnode/dtpnode/exec"
)

// Early hands values of units that have just run to those that follow their job, before any partial with them is
// committed. Little is kept for who comes later: what is missed here is in a partial soon. The zero value is ready.
type Early struct {
	mu   sync.Mutex
	ears map[string]map[*ear]bool // by the names of jobs

	recent []recent // the oldest first
	kept   int      // bytes of recent
}

// recent is a run that was told, for who begins to listen now. Some of it may be committed.
type recent struct {
	job    string
	run    run
	weight int
}

// Bounds of what is kept for who comes later, of all jobs together: maxRecent bytes, of which each run costs some more
// than its values, as does each value.
const maxRecent, runCosts, valueCosts = 4 << 20, 128, 24

// ear is one listener of a job.
type ear struct {
	of   *Early
	job  string
	wake chan struct{} // of capacity one: there is something to take

	values    []run
	weight    int  // bytes of values
	committed bool // something was committed since
}

// run is values of consecutive units.
type run struct {
	first  int64
	values exec.Early
}

// maxEar bounds the values that wait for one listener, in bytes: one that does not read them has them from partials.
const maxEar = 64 << 20

// Tell hands the values of consecutive units of a job, from first on, to all that listen. It does not wait for them.
func (e *Early) Tell(job string, first int64, values exec.Early) {
	weight := values.InMemory()
	e.mu.Lock()
	defer e.mu.Unlock()
	if list, ok := values.(exec.EarlyList); ok { // a file is closed when its generation ends
		e.keep(recent{job, run{first, list}, weight + runCosts + valueCosts*len(list)})
	}
	for l := range e.ears[job] {
		if l.weight+weight > maxEar {
			continue
		}
		l.weight += weight
		l.values = append(l.values, run{first, values})
		l.nudge()
	}
}

// keep keeps a run in place of the oldest ones, as far as there is room. The caller holds mu.
func (e *Early) keep(r recent) {
	if r.weight > maxRecent {
		return
	}
	e.recent, e.kept = append(e.recent, r), e.kept+r.weight
	for e.kept > maxRecent {
		e.kept -= e.recent[0].weight
		e.recent[0] = recent{}
		e.recent = e.recent[1:]
	}
}

// Recent calls each with values of a job that were told lately. Each must not call e.
func (e *Early) Recent(job string, each func(first int64, values exec.EarlyList)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.recent {
		if list, ok := r.run.values.(exec.EarlyList); ok && r.job == job {
			each(r.run.first, list)
		}
	}
}

// Heard reports whether somebody listens to a job.
func (e *Early) Heard(job string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ears[job]) > 0
}

// Committed has all that listen to a job look for what is committed.
func (e *Early) Committed(job string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.ears[job] {
		l.committed = true
		l.nudge()
	}
}

// listen begins to listen to a job, to what was told lately first. The caller calls close.
func (e *Early) listen(job string) *ear {
	l := &ear{of: e, job: job, wake: make(chan struct{}, 1)}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ears == nil {
		e.ears = map[string]map[*ear]bool{}
	}
	if e.ears[job] == nil {
		e.ears[job] = map[*ear]bool{}
	}
	e.ears[job][l] = true
	for _, r := range e.recent {
		if r.job == job {
			l.values, l.weight = append(l.values, r.run), l.weight+r.run.values.InMemory()
		}
	}
	if len(l.values) > 0 {
		l.nudge()
	}
	return l
}

func (l *ear) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns the values that have come since, and whether something was committed.
func (l *ear) take() (values []run, committed bool) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	values, committed = l.values, l.committed
	l.values, l.weight, l.committed = nil, 0, false
	return values, committed
}

func (l *ear) close() {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	delete(l.of.ears[l.job], l)
	if len(l.of.ears[l.job]) == 0 {
		delete(l.of.ears, l.job)
	}
}
