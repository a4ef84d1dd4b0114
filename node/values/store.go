package values

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/tasks"
)

// Job is what the store has to know of a job.
type Job interface {
	// Dir is the job's folder on this host. Who removes it has called Drop before.
	Dir() string
	// Item finds a unit's item: the blob of items at path, and the item's number there.
	Item(ctx context.Context, unit int64) (path string, at int64, err error)
}

// Peers are the members that may have values.
type Peers interface {
	// Workers are the other members that are up and may work.
	Workers() []tasks.PeerID
	// AskValues sends one of them a request that its Store serves (Serve).
	AskValues(ctx context.Context, id tasks.PeerID, request []byte) ([]byte, error)
	// Makers are the members that may have run some units of a job, and so have their values, with those of the units that
	// they may have run. known are the units of which that is known: any member may have run the others.
	Makers(ctx context.Context, job tasks.JobID, units tasks.Cover) (of map[tasks.PeerID]tasks.Cover, known tasks.Cover,
		err error)
	// Spent are the units of a job whose values no other unit of it needs any more, as its home knows.
	Spent(ctx context.Context, job tasks.JobID) (tasks.Cover, error)
	// Within calls do with the job of a name that is not over, as far as is known here, and returns before Drop is called
	// for it. It is an error that no such job is known.
	Within(name string, do func(id tasks.JobID, job Job)) error
}

// Store is the values on this node. Its methods may be called from any goroutine.
type Store struct {
	ctx   context.Context // of all that is fetched and served
	peers Peers
	log   *slog.Logger
	spawn func(func())

	mu   sync.Mutex
	jobs map[tasks.JobID]*kept
}

// New has no values. What it does ends with ctx; goroutines are started by spawn.
func New(ctx context.Context, peers Peers, spawn func(func()), log *slog.Logger) *Store {
	return &Store{ctx: ctx, peers: peers, log: log, spawn: spawn, jobs: map[tasks.JobID]*kept{}}
}

// kept is the values of one job.
type kept struct {
	job    Job
	id     tasks.JobID
	ctx    context.Context // until it is dropped
	cancel context.CancelFunc

	// The lock of the store guards where children are listened to.
	socket    string
	listening net.Listener

	mu      sync.Mutex
	packs   []*pack
	byPath  map[string]*pack // by the path under which a process writes it
	units   map[int64][]slot
	cover   tasks.Cover                  // the units
	held    tasks.Cover                  // those of them that are never spent
	done    tasks.Cover                  // units that were released, which are spent whenever they are made again
	others  map[tasks.PeerID]tasks.Cover // what members have said that they have
	makers  map[tasks.PeerID]tasks.Cover // what they may have run
	known   tasks.Cover                  // the units of which all makers are in makers
	flights map[int64]chan struct{}      // units that are being fetched; closed when that is over
	made    int                          // files in the folder of values
	bytes   int64                        // of all values
	// foreign is the pack of small values that come from other members, and foreignEnd is where its next one begins.
	foreign    *pack
	foreignEnd int64
}

// pack is a file with values. It is never changed but at its end.
type pack struct {
	path   string
	from   string // under which a process writes it; empty for one of what came from elsewhere
	values int    // that count
}

// slot is one value of a unit.
type slot struct {
	in   *pack
	at   int64
	size int64
	sum  [sha256.Size]byte
}

// Bounds of one unit's outcome.
const (
	maxSlots = 1 << 20
	maxSize  = 1 << 40 // bytes of one value
)

// of is what is kept of a job, nil if nothing ever was.
func (s *Store) of(id tasks.JobID) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[id]
}

// Drop forgets the values of a job, whose folder is about to be removed.
func (s *Store) Drop(id tasks.JobID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.jobs[id]
	if k == nil {
		return
	}
	delete(s.jobs, id)
	k.cancel()
	if k.listening != nil {
		k.remove(k.listening, k.socket)
	}
}

// begin is what is kept of a job, from now on if nothing ever was. The caller holds the lock of the store.
func (s *Store) begin(id tasks.JobID, job Job) *kept {
	k := s.jobs[id]
	if k != nil {
		return k
	}
	k = &kept{
		job: job, id: id, byPath: map[string]*pack{}, units: map[int64][]slot{},
		others: map[tasks.PeerID]tasks.Cover{}, makers: map[tasks.PeerID]tasks.Cover{}, flights: map[int64]chan struct{}{},
	}
	k.ctx, k.cancel = context.WithCancel(s.ctx)
	s.jobs[id] = k
	s.spawn(func() { s.trimOften(k) })
	return k
}

// earlier is what is kept of a job whose values a unit of another one takes, or has made again. This node may have had
// nothing to do with it until now.
func (s *Store) earlier(name string) (k *kept, err error) {
	err = s.peers.Within(name, func(id tasks.JobID, job Job) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ctx.Err() == nil {
			k = s.begin(id, job)
		}
	})
	if err == nil && k == nil {
		err = s.ctx.Err()
	}
	return k, err
}

// Release forgets what units of the job of a name have made, also if it was held: nobody takes it any more. It may be
// made again here, also where nothing of the job is kept yet, on the way to something else that is lost. So that this
// does not stay until the job ends, it is not held then, and is spent; a daemon that has begun anew does not know that.
func (s *Store) Release(name string, units tasks.Cover) error {
	k, err := s.earlier(name)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.held, k.done = k.held.Minus(units), k.done.Union(units)
	s.forget(k, units)
	return nil
}

// folder is where packs of the job have names of the node's own.
func (k *kept) folder() string { return filepath.Join(k.job.Dir(), "values") }

// keep takes a unit's outcome, of a file that a process has written below a folder. What is held is never spent, unless
// it was released before.
func (k *kept) keep(unit int64, path, below string, values []slot, hold bool) error {
	if unit < 0 || unit >= tasks.MaxUnits || len(values) > maxSlots {
		return fmt.Errorf("the unit %d has %d values, want up to %d", unit, len(values), maxSlots)
	}
	p, err := k.packOf(path, below)
	if err != nil {
		return err
	}
	info, err := os.Stat(p.path)
	if err != nil {
		return err
	}
	for i := range values {
		v := &values[i]
		if v.at < 0 || v.size < 0 || v.size > maxSize || v.at > info.Size()-v.size {
			return fmt.Errorf("value %d of the unit %d is said to be at %d, of %d bytes, in a file of %d", i, unit, v.at,
				v.size, info.Size())
		}
		v.in = p
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.enter(unit, values); hold && !k.done.Has(unit) {
		k.held = k.held.Add(tasks.R(unit, unit+1))
	}
	return nil
}

// enter has a unit's outcome be found. The caller holds the lock.
func (k *kept) enter(unit int64, values []slot) {
	k.leave(unit)
	k.units[unit] = values
	k.cover = k.cover.Add(tasks.R(unit, unit+1))
	for _, v := range values {
		k.count(v, 1)
	}
}

// leave has a unit's outcome be found no more. The caller holds the lock.
func (k *kept) leave(unit int64) {
	for _, v := range k.units[unit] {
		k.count(v, -1)
	}
	delete(k.units, unit)
}

// count counts a value that is there, or is no more.
func (k *kept) count(v slot, n int) {
	if v.in != nil {
		v.in.values += n
		k.bytes += int64(n) * v.size
	}
}

// packOf gives a file that a process writes a name of the node's own, unless it has one.
func (k *kept) packOf(path, below string) (*pack, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	clean := filepath.Clean(path)
	info, err := os.Lstat(clean)
	if p := k.byPath[path]; err == nil && p != nil {
		if was, err := os.Stat(p.path); err == nil && os.SameFile(was, info) {
			return p, nil
		}
	}
	switch {
	case err != nil:
		return nil, err
	case !strings.HasPrefix(clean, below+string(filepath.Separator)) || !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file below the job's folder", path)
	}
	name, err := k.name()
	if err != nil {
		return nil, err
	}
	if err := os.Link(clean, name); err != nil {
		return nil, err
	}
	p := &pack{path: name, from: path}
	k.byPath[path], k.packs = p, append(k.packs, p)
	return p, nil
}

// name makes the name of another file in the folder of values. The caller holds the lock.
func (k *kept) name() (string, error) {
	if err := os.MkdirAll(k.folder(), 0o700); err != nil {
		return "", err
	}
	k.made++
	return filepath.Join(k.folder(), fmt.Sprintf("pack-%d", k.made)), nil
}

// here finds values that are on this host. Places of others are nil.
func (k *kept) here(want [][2]int64, found []*slot) (lacking int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, w := range want {
		if found[i] != nil {
			continue
		}
		if of := k.units[w[0]]; w[1] >= 0 && w[1] < int64(len(of)) && of[w[1]].in != nil {
			found[i] = &of[w[1]]
		} else {
			lacking++
		}
	}
	return lacking
}

// read reads a part of a value.
func (v *slot) read(from, most int64) ([]byte, error) {
	out := make([]byte, min(v.size-from, most))
	f, err := os.Open(v.in.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.ReadAt(out, v.at+from); err != nil {
		return nil, fmt.Errorf("could not read %d bytes at %d of %s: %w", len(out), v.at+from, v.in.path, err)
	}
	return out, nil
}
