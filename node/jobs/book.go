package jobs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// Book is all jobs that this node knows: those that it leads or works for, those of whose ledgers it has a copy, and
// those that have ended and are still told of. A job that the engine has is found by its id; users find it by its name,
// under which no job stands that another one led here is hidden by. Its methods may be called from any goroutine.
type Book struct {
	ctx     context.Context // of all jobs
	self    tasks.PeerID
	keep    int // so many jobs of other nodes are remembered after their end
	ledgers *store.Ledgers
	results *store.Results
	growths *growths

	mu     sync.Mutex // guards what follows, and is held for moments; a job's own lock may be taken under it
	byID   map[tasks.JobID]*Job
	byName map[string]*Job
	past   []string              // names of jobs of other nodes that have ended, the oldest first
	packed map[string]tasks.Ship // what was packed of code, by its key
	rates  map[string]float64    // units a second and slot, by code, from earlier jobs
}

// NewBook knows no job yet. Jobs end with ctx.
func NewBook(ctx context.Context, self tasks.PeerID, keep int, ledgers *store.Ledgers, results *store.Results) *Book {
	return &Book{
		ctx:     ctx,
		self:    self,
		keep:    keep,
		ledgers: ledgers,
		results: results,
		growths: &growths{of: map[tasks.JobID]*growth{}},
		byID:    map[tasks.JobID]*Job{},
		byName:  map[string]*Job{},
		packed:  map[string]tasks.Ship{},
		rates:   map[string]float64{},
	}
}

// New is a job of which only the name is known; the book does not have it yet.
func (b *Book) New(name string) *Job { return newJob(b.ctx, b.self, name) }

// Add has a job be found by its name.
func (b *Book) Add(j *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byName[j.Name] = j
}

// Identify has a job be found by its id, which it has from now on, and by its name as before.
func (b *Book) Identify(id tasks.JobID, j *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byID[id] = j
}

// ByID is the job with an id, nil if there is none.
func (b *Book) ByID(id tasks.JobID) *Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byID[id]
}

// IDs are the jobs that have an id.
func (b *Book) IDs() map[tasks.JobID]*Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.byID)
}

// Over has a job be found by its id no more, and returns it, nil if there is none. By its name it is found as before.
func (b *Book) Over(id tasks.JobID) *Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	j := b.byID[id]
	delete(b.byID, id)
	return j
}

// Named is the job with a whole name, nil if there is none.
func (b *Book) Named(name string) *Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.byName[name]
}

// Find looks for jobs by their name or a beginning of it, of at least four characters.
func (b *Book) Find(prefix string) []*Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*Job
	for name, j := range b.byName {
		if len(prefix) >= 4 && strings.HasPrefix(name, prefix) {
			out = append(out, j)
		}
	}
	return out
}

// Told finds the one job of which this node tells others by its name or a beginning of it.
func (b *Book) Told(name string) (*Job, error) {
	found := slices.DeleteFunc(b.Find(name), func(j *Job) bool { return !j.leads() })
	switch len(found) {
	case 0:
		return nil, NoJob(name)
	case 1:
		return found[0], nil
	}
	return nil, &api.Error{
		Status:  409,
		Message: fmt.Sprintf("%d jobs begin with %q", len(found), name),
		Hint:    "give more of the name",
	}
}

// AllTold are the jobs of which this node tells others, the oldest first.
func (b *Book) AllTold() []*Job {
	type dated struct {
		job *Job
		at  time.Time
	}
	var led []dated
	b.mu.Lock()
	for _, j := range b.byName {
		if at, ok := j.ledSince(); ok {
			led = append(led, dated{j, at})
		}
	}
	b.mu.Unlock()
	slices.SortFunc(led, func(a, b dated) int { return a.at.Compare(b.at) })
	out := make([]*Job, len(led))
	for i, l := range led {
		out[i] = l.job
	}
	return out
}

// Meet makes a prepared job known. It may be known already: by its ledger, or as it was prepared twice; then what it
// was prepared with goes to the one that is known. Its submitter chose its name, which must not hide a job that is led
// here.
func (b *Book) Meet(j *Job) (rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rate = b.rates[j.s.CodeKey]
	if old := b.byID[j.s.ID]; old != nil {
		old.takeFrom(j)
		b.growths.grow(old)
		return rate
	}
	b.claim(j)
	b.byID[j.s.ID] = j
	b.growths.grow(j)
	if o := b.byName[j.Name]; o == nil || !o.leads() {
		b.byName[j.Name] = j
	}
	return rate
}

// claim has a job that becomes known anew be what its user was promised, if it was submitted on this node: in an earlier
// life of the daemon, or before the engine had done with it and came to it again. The output is owed as it was.
func (b *Book) claim(j *Job) {
	if j.s.SubmittedHere || !j.own() {
		return
	}
	saved, err := b.results.Status(j.Name)
	if err != nil || !saved.Ours || saved.State.Final() {
		return
	}
	j.s.SubmittedHere, j.s.Status = true, saved.JobStatus
	j.s.Req.Output, j.s.Req.Dir, j.s.Req.Env = saved.Owed, saved.Dir, saved.Env
	j.s.OutDone = b.results.Delivered(j.Name)
}

// OfCopy is the job of whose ledger this node has a copy. It may be known, and over for its children.
func (b *Book) OfCopy(c *store.Copy) *Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	if j := b.byID[c.ID]; j != nil {
		return j
	}
	name := c.Name()
	j := b.byName[name]
	if j == nil || j.ID() != c.ID {
		hides := j != nil && j.leads()
		j = b.New(name)
		j.s.ID, j.s.Desc, j.s.OutDone = c.ID, b.growths.whole(c.ID, c.Job), b.results.Delivered(name)
		b.claim(j)
		if !hides {
			b.byName[name] = j
		}
	}
	b.byID[c.ID] = j
	return j
}

// Candidates are the jobs that this node knows by a beginning of their name, be it by a copy of their ledger alone.
func (b *Book) Candidates(prefix string) (out []*Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, j := range b.byName {
		if strings.HasPrefix(name, prefix) {
			out = append(out, j)
		}
	}
	for _, c := range b.ledgers.All() {
		name := c.Name()
		if b.byName[name] != nil || b.byID[c.ID] != nil || !strings.HasPrefix(name, prefix) {
			continue
		}
		j := b.New(name) // of an earlier life, which nobody has led since
		j.cancel()
		j.s.ID, j.s.Desc = c.ID, b.growths.whole(c.ID, c.Job)
		out = append(out, j)
	}
	return out
}

// Meant are the jobs that a user may mean by the beginning of a name; too short a one means none.
func (b *Book) Meant(prefix string) []*Job {
	if len(prefix) < 4 {
		return nil
	}
	return b.Candidates(prefix)
}

// KeepsFor says why what is kept here under a name is not for the job with an id and a submitter, if so: another job of
// that name is known here.
func (b *Book) KeepsFor(name string, id tasks.JobID, submitter tasks.PeerID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	differs := func(o tasks.JobID, of tasks.PeerID) bool {
		return o != "" && id != "" && o != id || of != "" && submitter != "" && of != submitter
	}
	taken := false
	if j := b.byName[name]; j != nil {
		taken = differs(j.ID(), j.submitter())
	}
	for _, j := range b.byID {
		taken = taken || j.Name == name && differs(j.ID(), j.submitter())
	}
	for _, c := range b.ledgers.All() {
		taken = taken || c.Name() == name && differs(c.ID, c.Job.Submitter)
	}
	if taken {
		return fmt.Errorf("job %s of %s: %w that is known here", id.Short(), submitter, ErrTaken)
	}
	return nil
}

// Forget has a job be found by its name no more.
func (b *Book) Forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byName, name)
}

// Past notes that a job of another node has ended, and forgets the oldest of those: their logs are kept here for as
// many as results are of the jobs that this node tells of.
func (b *Book) Past(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.past = append(slices.DeleteFunc(b.past, func(o string) bool { return o == name }), name)
	for len(b.past) > b.keep {
		if j := b.byName[b.past[0]]; j != nil && !j.leads() {
			delete(b.byName, b.past[0])
		}
		b.past = b.past[1:]
	}
}

// Rate is how many units a second one slot has done with a code in earlier jobs, 0 if that is not known.
func (b *Book) Rate(code string) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rates[code]
}

// SetRate remembers that for the next job with the code.
func (b *Book) SetRate(code string, rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rates[code] = rate
}

// Packed is what was packed under a key for an earlier job; false if nothing was.
func (b *Book) Packed(key string) (tasks.Ship, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ship, known := b.packed[key]
	return ship, known
}

// SetPacked remembers what was packed under a key.
func (b *Book) SetPacked(key string, ship tasks.Ship) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packed[key] = ship
}

// Whole is a job's description with all that the job is known to have grown by.
func (b *Book) Whole(id tasks.JobID, desc *tasks.Job) *tasks.Job { return b.growths.whole(id, desc) }

// ForgetGrowth drops what is known of a job's growth.
func (b *Book) ForgetGrowth(id tasks.JobID) { b.growths.forget(id) }
