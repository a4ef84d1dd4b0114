package backlog

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
)

// Name is that of the file in the folder of its job.
const Name = "backlog"

// Most is how many bytes of calls are kept for a job that are not in its ledger yet. The file may have twice as many,
// and three times while it is written anew.
const Most = 512 << 20

// slack is how many bytes of a file may be of calls that are in the ledger, before it is written anew, if these are
// also more than half of it.
const slack = 16 << 20

// ErrMoved says that calls are kept for another job now, with which the program goes on.
var ErrMoved = errors.New("the calls that wait are kept for another job now")

// ErrFull says that as many bytes are kept as may be.
var ErrFull = fmt.Errorf("%d MiB of calls that wait are kept, and no more may be", Most>>20)

// Backlog keeps the calls of one job. Its methods may be called from any goroutine.
type Backlog struct {
	log  *slog.Logger
	path string

	mu      sync.Mutex
	m       Machine
	file    *file // nil while nothing is kept
	owner   Process
	moved   bool
	synced  time.Time
	syncing bool
}

// Open opens the backlog with a file of that path, which needs not be there.
func Open(path string, log *slog.Logger) (*Backlog, error) {
	b := &Backlog{log: log, path: path}
	if err := durable.RemoveIfThere(path + aside); err != nil {
		return nil, err
	}
	f, damaged, err := load(path, func(h *head, e Event) {
		if h != nil && h.Owner.PID != 0 {
			b.owner = h.Owner
		}
		if e != nil {
			b.m.Step(time.Time{}, e)
		}
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return nil, err
	}
	b.file = f
	if damaged.doubt {
		return b, b.distrust(damaged)
	}
	if damaged.records > 0 {
		log.Error("records of calls that wait are damaged: calls that they had are lost if their program has ended",
			"file", path, "records", damaged.records)
	}
	return b, nil
}

// distrust begins anew where nobody knows which of the calls that are on file have run or were cancelled: none runs a
// second time. A program that lives hands over again what waits.
func (b *Backlog) distrust(damaged damage) error {
	b.log.Error("the record of calls that wait is damaged, and does not tell which of them were cancelled or have run: "+
		"those that wait are lost if their program has ended", "file", b.path, "records", damaged.records,
		"calls", b.m.Waiting(), "numbers", fmt.Sprint(slices.Collect(b.m.wait())))
	b.m = Machine{}
	return b.clear()
}

// Explained reports whether it is known of all appends in the ledger, which has so many, which calls are in them. If it
// is not, all calls that wait are given up, since any of them may have run.
func (b *Backlog) Explained(appends uint64) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.m.unexplained(appends) {
		return true, nil
	}
	lost := slices.Collect(b.m.wait())
	b.log.Error("nothing tells any more which of the calls that wait are in their job already: they are given up",
		"calls", b.m.Waiting(), "numbers", fmt.Sprint(lost), "appends", appends, "known", b.m.through)
	c := Cancelled{lost}
	if b.file != nil {
		if err := b.write('c', c); err != nil {
			return false, fmt.Errorf("could not note which calls are given up: %w", err)
		}
	}
	b.carryOut(b.m.Step(time.Now(), c))
	return false, nil
}

// Come notes that the program is connected, which runs as a process.
func (b *Backlog) Come(p Process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p != b.owner {
		b.owner = p
		if b.file != nil {
			if err := b.write('p', p); err != nil {
				b.log.Warn("could not note whose calls are kept", "reason", err)
			}
		}
	}
	b.m.Step(time.Now(), Came{})
}

// Leave notes that the program is not connected any more.
func (b *Backlog) Leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m.Step(time.Now(), Left{Dead: b.owner.Ended()})
}

// Orphan notes that the program has ended, as somebody says who must know. False if it is connected.
func (b *Backlog) Orphan() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m.present && !b.owner.Ended() {
		return false
	}
	b.m.Step(time.Now(), Left{Dead: true})
	return true
}

// Keep keeps calls, and returns the number behind the last one that is kept. Calls that are kept already count once.
func (b *Backlog) Keep(k *api.ExchangeKeep) (after uint64, err error) {
	n, err := count(k)
	if err != nil {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.moved {
		return b.m.After(), ErrMoved
	}
	calls := Span{max(k.First, b.m.After()), k.First + uint64(n)}
	if calls.empty() {
		return b.m.After(), nil
	}
	if b.live()+int64(len(k.Tails)) > Most {
		return b.m.After(), ErrFull
	}
	if err := b.room(); err != nil {
		return b.m.After(), err
	}
	if err := b.file.keep(calls, k); err != nil {
		return b.m.After(), fmt.Errorf("could not keep calls that wait: %w", err)
	}
	b.m.Step(time.Now(), Kept{Calls: calls, Most: max(k.Most, 0)})
	b.sync()
	return b.m.After(), nil
}

// After is the number behind the last call that is kept, or 0.
func (b *Backlog) After() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m.After()
}

// Cancel has calls never run, whether they are kept already or come later; those that are in the ledger do.
func (b *Backlog) Cancel(calls []Span) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := Cancelled{calls}
	if b.file != nil {
		if err := b.write('c', c); err != nil {
			return fmt.Errorf("could not note which calls are cancelled: %w", err)
		}
	}
	b.carryOut(b.m.Step(time.Now(), c))
	return nil
}

// Sends notes an append that is about to be given to the engine. That outlives the host: if the ledger had the append
// and nothing said so here, its calls would run twice.
func (b *Backlog) Sends(s Send) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil {
		err := b.write('s', s)
		if err == nil {
			err = b.file.f.Sync()
		}
		if err != nil {
			return fmt.Errorf("could not note what is appended: %w", err)
		}
	}
	b.m.Step(time.Now(), Sends{s})
	return nil
}

// Counted notes an append that is in the ledger.
func (b *Backlog) Counted(seq uint64, items string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.carryOut(b.m.Step(time.Now(), Counted{Seq: seq, Items: items}))
}

// Settle notes which of the appends are in the ledger that may be: of tells the hash of the items of one that is.
func (b *Backlog) Settle(of func(seq uint64) (items string, ok bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.m.state().Sends {
		if items, ok := of(s.Seq); ok {
			b.carryOut(b.m.Step(time.Now(), Counted{Seq: s.Seq, Items: items}))
		}
	}
}

// Waiting is how many calls are kept and not known to be in the job.
func (b *Backlog) Waiting() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m.Waiting()
}

// Gone reports whether the program has ended, or was away for longer than patience.
func (b *Backlog) Gone(now time.Time, patience time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
	b.m.patience = patience
	return b.m.Gone(now)
}

// look sees whether the program has ended, of which a connection may be left to a fork.
func (b *Backlog) look() {
	if (b.m.present || !b.m.dead) && b.owner.Ended() {
		b.m.Step(time.Now(), Left{Dead: true})
	}
}

// Next is the next append, if one is to be made: its items, and the number of the call behind its last one. Tried is to
// be called when that was tried.
func (b *Backlog) Next(l Look) (items [][]byte, upto uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.look()
	for _, e := range b.m.Step(time.Now(), l) {
		if a, ok := e.(Append); ok {
			if items, upto, err = b.make(a); err != nil {
				b.m.Step(time.Now(), Tried{})
			}
		}
	}
	return items, upto, err
}

// Tried notes that an append was tried.
func (b *Backlog) Tried() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m.Step(time.Now(), Tried{})
}

// make makes the items of an append.
func (b *Backlog) make(a Append) ([][]byte, uint64, error) {
	out := batch{heads: map[string]int{}, most: maxCalls}
	if a.Most > 0 {
		out.most = int(min(a.Most, maxCalls))
	}
	first := a.Calls[0].First
	for _, fr := range b.file.frames {
		if fr.calls.Last <= first {
			continue
		}
		k, err := b.file.calls(fr)
		if err != nil {
			b.log.Error("calls that wait cannot be read: they are lost", "first", fr.calls.First, "last", fr.calls.Last,
				"reason", err)
			b.m.Step(time.Now(), Cancelled{[]Span{fr.calls}})
			continue
		}
		if !out.addAll(k, clip(a.Calls, fr.calls)) {
			break
		}
	}
	if len(out.items) == 0 {
		return nil, 0, fmt.Errorf("none of the calls from number %d on can be read", first)
	}
	return out.items, out.upto, nil
}

// clip is what of spans is within another one.
func clip(spans []Span, in Span) (out []Span) {
	for _, s := range spans {
		if s = (Span{max(s.First, in.First), min(s.Last, in.Last)}); !s.empty() {
			out = append(out, s)
		}
	}
	return out
}

// Remove ends the backlog, with its file: what is in it is not needed, or nobody can append it any more.
func (b *Backlog) Remove() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved = true
	b.m.kept = nil
	return b.clear()
}

var moves sync.Mutex

// TakeFrom has the calls kept here that are kept for another job, which keeps none from then on. Nothing may be kept
// here yet. No append to the other job may be on its way: what it has not counted now it never does.
func (b *Backlog) TakeFrom(o *Backlog) error {
	if o == b {
		return errors.New("calls cannot be moved to where they are")
	}
	moves.Lock() // so that no two of them wait for each other
	defer moves.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.moved || b.moved {
		return ErrMoved
	}
	if o.m.After() == 0 && b.m.After() > 0 { // they were moved before a restart
		o.moved = true
		return nil
	}
	if b.m.After() > 0 {
		return fmt.Errorf("calls up to number %d are kept for the next job already", b.m.After())
	}
	// The appends of the old job say nothing of the new one, whose numbers begin anew. One file alone has the calls at
	// any time: it is written anew where it is, and then renamed.
	o.m.sends, o.m.through, o.m.based = nil, 0, true
	if o.file != nil {
		if err := o.shorten(); err != nil {
			return err
		}
		err := os.Rename(o.path, b.path)
		if err == nil {
			err = errors.Join(durable.Sync(filepath.Dir(b.path)), durable.Sync(filepath.Dir(o.path)))
		}
		if err != nil {
			return fmt.Errorf("could not keep the calls that wait for the next job: %w", err)
		}
		b.file = o.file
	}
	b.m.kept, b.m.cancelled, b.m.upto, b.m.most = o.m.kept, o.m.cancelled, o.m.upto, o.m.most
	b.m.based = true
	if b.owner == (Process{}) { // it may be killed before it connects to the next job
		b.owner = o.owner
	}
	o.moved, o.m.kept, o.file = true, nil, nil
	return nil
}

// live is how many bytes the calls take that are not in the ledger.
func (b *Backlog) live() (n int64) {
	if b.file == nil {
		return 0
	}
	for _, fr := range b.file.frames {
		if fr.calls.Last > b.m.upto {
			n += int64(fr.size)
		}
	}
	return n
}

// room has a file there to which more can be added: a new one, or one that is not mostly of calls in the ledger.
func (b *Backlog) room() (err error) {
	if b.file == nil {
		b.file, err = create(b.path, b.head())
		return err
	}
	if live := b.live(); b.file.size < slack+2*live {
		return nil
	}
	return b.shorten()
}

// shorten writes the file anew, with what is needed of it.
func (b *Backlog) shorten() error {
	f, err := b.rewrite(b.path + aside)
	if err == nil {
		err = errors.Join(f.f.Sync(), os.Rename(b.path+aside, b.path))
	}
	if err != nil {
		return fmt.Errorf("could not shorten the file of calls that wait: %w", err)
	}
	old := b.file
	b.file = f
	// After a power cut the old one could be back otherwise.
	return errors.Join(old.f.Close(), durable.Sync(filepath.Dir(b.path)))
}

// aside ends the name of a file that is to take the place of another.
const aside = ".new"

// head is what the file begins with if it is written now.
func (b *Backlog) head() *head {
	s := b.m.state()
	return &head{Upto: s.Upto, Most: s.Most, Cancelled: s.Cancelled, Sends: s.Sends, Owner: b.owner,
		Through: s.Through, Based: s.Based}
}

// rewrite writes what is needed of the file to another path.
func (b *Backlog) rewrite(path string) (f *file, err error) {
	if f, err = create(path, b.head()); err != nil {
		return nil, err
	}
	for _, fr := range b.file.frames {
		if fr.calls.Last <= b.m.upto {
			continue
		}
		buf := make([]byte, fr.size)
		if _, err = b.file.f.ReadAt(buf, fr.at); err == nil {
			fr.at = f.size
			err = f.append(buf)
		}
		if err != nil {
			return nil, errors.Join(err, f.f.Close(), os.Remove(path))
		}
		f.frames = append(f.frames, fr)
	}
	return f, nil
}

// write adds a record of a value.
func (b *Backlog) write(kind byte, v any) error {
	r, err := recordOf(kind, v)
	if err == nil {
		err = b.file.append(r)
	}
	b.sync()
	return err
}

// carryOut carries out effects other than appends.
func (b *Backlog) carryOut(effects []Effect) {
	for _, e := range effects {
		if _, ok := e.(Clear); ok {
			if err := b.clear(); err != nil {
				b.log.Warn("could not remove calls that are in their job", "reason", err)
			}
		}
	}
}

// clear removes the file.
func (b *Backlog) clear() error {
	if b.file == nil {
		return nil
	}
	err := errors.Join(durable.RemoveIfThere(b.path), b.file.f.Close())
	b.file = nil
	return err
}

// sync has what was written outlive the host, about once a second: that it outlives processes needs nothing. What tells
// of appends does not wait for it.
func (b *Backlog) sync() {
	if b.file == nil || b.syncing || time.Since(b.synced) < time.Second {
		return
	}
	b.syncing = true
	f := b.file.f
	go func() {
		_ = f.Sync() // it may be closed, with nothing in it that is needed
		b.mu.Lock()
		defer b.mu.Unlock()
		b.syncing, b.synced = false, time.Now()
	}()
}
