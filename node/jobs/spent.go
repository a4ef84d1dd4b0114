package jobs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// What a unit has made for others is spent when all that take it are committed: nobody needs it any more, unless one of
// these is lost. Nodes that keep much of a job ask its home what is spent, and remove that, so that a graph may make
// far more than disks hold as long as it does not need all of that at once.

// links is what units of a job take of others, as far as it was read here.
type links struct {
	mu    sync.Mutex
	upto  uint64 // the last append that was read
	first int64  // the unit behind it
	takes []taken
}

// taken is what the units of one append take: unit i, counted from First, takes On[at[i]:at[i+1]].
type taken struct {
	units tasks.Range
	at    []uint32
	on    []int64
}

// spentTold is the answer to the request "spent".
type spentTold struct {
	Units tasks.Cover `msgpack:"u"`
}

// maxSpent bounds the ranges of such an answer. The rest is told another time, when those are gone.
const maxSpent = 50_000

// ServeSpent answers the request "spent" of a member that may work.
func (r *copies) ServeSpent(from tasks.PeerID, name string) ([]byte, error) {
	if !r.net.HasRight(from, p2p.Worker) {
		return nil, fmt.Errorf("what is spent of jobs is for members that may work, and %s may not", r.cluster.NameOf(from))
	}
	j := r.book.ByID(tasks.JobID(name))
	if j == nil {
		return nil, NoJob(name)
	}
	spent, err := r.spent(j)
	if err != nil {
		return nil, err
	}
	return wire.Marshal(&spentTold{spent})
}

// spent is what is spent of a job, of which this node has a copy of the ledger.
func (r *copies) spent(j *Job) (tasks.Cover, error) {
	id := j.ID()
	c := r.ledgers.Of(id)
	if c == nil {
		return nil, NoJob(j.Name)
	}
	var g engine.GrowthView
	ok := false
	r.loop.Ask(func(p *engine.Peer) { g, ok = p.Growth(id) })
	if !ok {
		return nil, ErrOver
	}
	l := &j.links
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.upto == 0 {
		l.first = c.Job.Data.Entries()
	}
	for _, a := range g.Grown {
		if a.Seq != l.upto+1 {
			continue
		}
		units := tasks.R(l.first, l.first+a.Units())
		if a.Depends() {
			read, err := r.linksOf(engine.ReadLinks{ID: id, Append: a})
			if err == nil && read.Flaw != "" {
				err = errors.New(read.Flaw)
			}
			if err != nil {
				return nil, fmt.Errorf("could not read what units of job %s take: %w", id.Short(), err)
			}
			l.takes = append(l.takes, taken{units, read.First, read.On})
		}
		l.upto, l.first = a.Seq, units.Last
	}
	return l.spent(g.Committed), nil
}

// spent finds the units of which all that take them are committed. What nobody takes is not spent: it is the user's.
func (l *links) spent(done tasks.Cover) (spent tasks.Cover) {
	const unused, used, needed = 0, 1, 2
	lowest, highest := int64(math.MaxInt64), int64(0)
	for _, t := range l.takes {
		for _, on := range t.on {
			lowest, highest = min(lowest, on), max(highest, on+1)
		}
	}
	if lowest >= highest {
		return nil
	}
	state := make([]uint8, highest-lowest)
	for _, t := range l.takes {
		for u := t.units.First; u < t.units.Last; u++ {
			as := uint8(used)
			if !done.Has(u) {
				as = needed
			}
			i := u - t.units.First
			for _, on := range t.on[t.at[i]:t.at[i+1]] {
				state[on-lowest] = max(state[on-lowest], as)
			}
		}
	}
	for i := 0; i < len(state) && len(spent) < maxSpent; {
		begin := i
		for i < len(state) && state[i] == used {
			i++
		}
		if i > begin {
			spent = append(spent, tasks.R(lowest+int64(begin), lowest+int64(i)))
		} else {
			i++
		}
	}
	return spent
}

// Spent asks a job's home what is spent (values.Peers).
func (p peersOfValues) Spent(ctx context.Context, id tasks.JobID) (tasks.Cover, error) {
	j := p.book.ByID(id)
	if j == nil {
		return nil, NoJob(id.Short())
	}
	home := j.homeNow()
	if home == p.net.ID() {
		return p.spent(j)
	}
	answer, err := p.net.Request(ctx, home, "spent", []byte(id))
	var told spentTold
	if err == nil {
		err = wire.Unmarshal(answer, &told)
	}
	if err == nil && !told.Units.Valid(tasks.R(0, tasks.MaxUnits)) {
		err = errors.New("the units that it tells are none")
	}
	return told.Units, err
}
