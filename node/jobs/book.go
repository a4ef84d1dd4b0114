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
// those that have ended and that it still tells others about. The engine's jobs are found by id, and users find jobs by
// name. Where two jobs have one name, the name finds the one that this node leads, so that a submitter cannot hide
// another's job behind a name of its choice. The methods may be called from any goroutine.
type Book struct {
	ctx     context.Context // ends all jobs when the daemon closes
	self    tasks.PeerID
	keep    int // how many jobs of other nodes are remembered after their end
	ledgers *store.Ledgers
	results *store.Results
	growths *growths

	mu     sync.Mutex // guards what follows, and is held for moments; a job's own lock may be taken under it
	byID   map[tasks.JobID]*Job
	byName map[string]*Job
	past   []string              // names of jobs of other nodes that have ended, the oldest first
	packed map[string]tasks.Ship // packed code that earlier jobs have shipped, by the key of the code
	rates  map[string]float64    // units a second and slot that earlier jobs have reached, by the key of the code
}

// NewBook makes a book without jobs. The jobs that come into it end with ctx.
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

// New makes a job of which only the name is known. The book does not find it before Add or Identify.
func (b *Book) New(name string) *Job { return newJob(b.ctx, b.self, name) }

// Add enters a job under its name.
func (b *Book) Add(j *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byName[j.Name] = j
}

// Identify enters a job under its id, which becomes known when the job's description is complete. Its name finds it as
// before.
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

// IDs returns the jobs that have an id, by id.
func (b *Book) IDs() map[tasks.JobID]*Job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.byID)
}

// Over removes a job from those that are found by id, since the engine has forgotten it, and returns the job, nil if
// there is none. Its name finds it as before, since users still ask for it.
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

// Find returns the jobs whose names begin with prefix. It finds none by a prefix of fewer than four characters, which
// would fit too many.
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

// Told finds the one job that this node tells others about and whose name begins with name. The error is an *api.Error
// if there is no such job, or if there are several.
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

// AllTold returns the jobs that this node tells others about, in the order of their submission.
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

// Meet enters a job that was prepared here, and returns the rate that earlier jobs reached with its code, 0 if that is
// not known. The book may know the job already, by its ledger or because it was prepared twice. Then the known one
// takes over what was prepared. The job's submitter chose its name, which must not hide a job that is led here.
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

// claim gives a job back what is on disk of it, if it was submitted on this node and has not ended: its status, and the
// path to which its output must still be written. Such a job becomes known anew after a restart of the daemon, or when
// the engine has forgotten it and comes to it again. Its user is owed what was promised before. The caller holds mu.
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
	j.s.Req.OutputDir, j.s.Req.Spares = saved.OutputDir, saved.Spares
	j.s.OutDone = b.results.Delivered(j.Name)
}

// OfCopy returns the job of a copy of a ledger, and enters it if the book does not have it under its id. Its name may
// find it even then, since the work that this node did for the job may be over.
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

// Candidates returns the jobs whose names begin with prefix, also those of which this node has no more than a copy of
// the ledger.
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
		j := b.New(name) // it is from an earlier life of the daemon, and nobody has led it since
		j.cancel()
		j.s.ID, j.s.Desc = c.ID, b.growths.whole(c.ID, c.Job)
		out = append(out, j)
	}
	return out
}

// Meant is Candidates for a prefix that a user gave. A prefix of fewer than four characters means no job.
func (b *Book) Meant(prefix string) []*Job {
	if len(prefix) < 4 {
		return nil
	}
	return b.Candidates(prefix)
}

// ownOpen is the one job that a user means who has submitted it on this node, and may append to it. It is nil for a job
// of others, or one that takes no appends.
func (b *Book) ownOpen(name string) (*Job, error) {
	found := b.Meant(name)
	if len(found) != 1 {
		return nil, NoJob(name)
	}
	j := found[0]
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.own() || j.s.Desc == nil || !j.s.Desc.Open {
		return nil, nil
	}
	return j, nil
}

// KeepsFor returns an error, under ErrTaken, if another job than the one with this id and submitter is known here under
// the name. What is kept in the folder of that name then belongs to the other job. An empty id or submitter fits any.
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

// Forget removes a job from those that are found by name.
func (b *Book) Forget(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byName, name)
}

// Past notes that a job of another node has ended. The newest of these jobs, up to the number keep, are remembered so
// that their logs can still be asked for; the older ones are forgotten.
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

// Rate is how many units a second one slot has processed with a code in earlier jobs, 0 if that is not known.
func (b *Book) Rate(code string) float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rates[code]
}

// SetRate remembers how many units a second one slot has processed with a code, for the next job with that code.
func (b *Book) SetRate(code string, rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rates[code] = rate
}

// Packed returns the code that was packed under a key for an earlier job; ok is false if none was.
func (b *Book) Packed(key string) (ship tasks.Ship, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ship, ok = b.packed[key]
	return ship, ok
}

// SetPacked remembers the code that was packed under a key, so that the next job ships the same blob.
func (b *Book) SetPacked(key string, ship tasks.Ship) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packed[key] = ship
}

// Whole returns a job's description together with all appends that are known here.
func (b *Book) Whole(id tasks.JobID, desc *tasks.Job) *tasks.Job { return b.growths.whole(id, desc) }

// ForgetGrowth drops what is known of a job's growth.
func (b *Book) ForgetGrowth(id tasks.JobID) { b.growths.forget(id) }
