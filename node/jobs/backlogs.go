package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/backlog"
	"github.com/dtpnode/dtpnode/node/members"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// Calls that a program has handed over, and has not appended yet, are kept in its job's folder (node/backlog), and go
// with it. When the program has ended they are appended here, to whoever leads the job, again and again until that has
// gone well; the job is closed only after that (attended.go).

// backlogs are those of the open jobs of this node's user, by the jobs' names.
type backlogs struct {
	mu       sync.Mutex
	of       map[string]*backlog.Backlog
	draining map[string]bool // those of which calls are just being appended
}

// get finds the backlog of a job, nil if nothing is known of one.
func (b *backlogs) get(name string) *backlog.Backlog {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of[name]
}

// waiting is how many calls of a job are kept.
func (b *backlogs) waiting(name string) int64 {
	if of := b.get(name); of != nil {
		return of.Waiting()
	}
	return 0
}

// open finds or begins the backlog of a job, with what is on disk of it.
func (r *grower) openBacklog(name string) (*backlog.Backlog, error) {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	if b := r.kept.of[name]; b != nil {
		return b, nil
	}
	if err := os.MkdirAll(r.results.FolderOf(name), 0o700); err != nil {
		return nil, fmt.Errorf("could not keep calls that wait: %w", err)
	}
	b, err := backlog.Open(r.backlogPath(name), r.log.With("job", api.Short(name)))
	if err != nil {
		return nil, fmt.Errorf("could not read the calls that wait: %w", err)
	}
	if by := r.attended.of(name); len(by) > 0 {
		b.Come(by[0])
	}
	r.kept.set(name, b)
	return b, nil
}

// set enters a backlog; mu is held.
func (b *backlogs) set(name string, of *backlog.Backlog) {
	if b.of == nil {
		b.of, b.draining = map[string]*backlog.Backlog{}, map[string]bool{}
	}
	b.of[name] = of
}

func (r *base) backlogPath(name string) string {
	return filepath.Join(r.results.FolderOf(name), backlog.Name)
}

// restoreBacklogs finds what is on disk from before a restart.
func (r *grower) restoreBacklogs() {
	for _, name := range r.results.Names() {
		if _, err := os.Stat(r.backlogPath(name)); err != nil {
			continue
		}
		if _, err := r.openBacklog(name); err != nil {
			r.log.Error("calls that wait cannot be appended", "job", api.Short(name), "reason", err)
		}
	}
}

// ownOpen finds an open job of this node's user, by its whole name.
func (r *grower) ownOpen(name string) error {
	j := r.book.Named(name)
	if j == nil || !j.isOwn() {
		return NoJob(name)
	}
	st := r.StatusOf(j)
	if st.State.Final() {
		return overFor(st)
	}
	if _, closed := r.book.growths.told(j.ID()); closed {
		return appendFailed(http.StatusConflict, "the job is closed")
	}
	return nil
}

// Keep keeps calls of a job that are not appended yet, and tells the number behind the last one that is kept.
func (r *grower) Keep(name string, k *api.ExchangeKeep) (after uint64, err error) {
	if err := r.ownOpen(name); err != nil {
		return 0, err
	}
	b, err := r.openBacklog(name)
	if err != nil {
		return 0, err
	}
	return b.Keep(k)
}

// CancelKept has calls never run that are not in their job.
func (r *grower) CancelKept(name string, req api.CancelKept) (api.KeptCalls, error) {
	if err := r.ownOpen(name); err != nil {
		return api.KeptCalls{}, err
	}
	b, err := r.openBacklog(name)
	if err != nil {
		return api.KeptCalls{}, err
	}
	calls := make([]backlog.Span, len(req.Calls))
	for i, c := range req.Calls {
		calls[i] = backlog.Span{First: c[0], Last: c[1]}
	}
	err = b.Cancel(calls)
	return api.KeptCalls{Waiting: b.Waiting(), After: b.After()}, err
}

// MoveKept has the calls of a job kept for another one. If they were before, that is well.
func (r *grower) MoveKept(name string, req api.MoveKept) (out api.KeptCalls, err error) {
	if err := r.ownOpen(name); err != nil {
		return out, err
	}
	if err := r.ownOpen(req.From); err != nil {
		return out, err
	}
	from, err := r.openBacklog(req.From)
	if err != nil {
		return out, err
	}
	to, err := r.openBacklog(name)
	if err != nil {
		return out, err
	}
	if err = to.TakeFrom(from); err != nil && !errors.Is(err, backlog.ErrMoved) {
		return out, err
	}
	return api.KeptCalls{Waiting: to.Waiting(), After: to.After()}, nil
}

// Kept tells how many calls of a job are kept. The node on which it was submitted is asked, which alone keeps any.
func (r *teller) Kept(ctx context.Context, name string) (out api.KeptCalls, err error) {
	_, _, st, err := r.granted(ctx, name, members.ForLook)
	if err != nil {
		return out, err
	}
	if st.Submitter == r.net.ID() {
		return r.keptHere(st.ID), nil
	}
	answer, err := r.cluster.Ask(ctx, st.Submitter, "backlog", st.ID)
	if err == nil {
		err = wire.ReadJSON(answer, members.MostNumbers, &out)
	}
	if err != nil {
		return out, &api.Error{
			Status:  http.StatusServiceUnavailable,
			Message: fmt.Sprintf("could not ask %s which calls wait: %v", r.cluster.NameOf(st.Submitter), err),
			Hint:    "calls that are not in the job yet wait there until it is back",
		}
	}
	return out, nil
}

func (r *teller) keptHere(name string) (out api.KeptCalls) {
	if b := r.kept.get(name); b != nil {
		if j := r.book.Named(name); j != nil {
			r.settle(j.ID(), b)
		}
		out = api.KeptCalls{Waiting: b.Waiting(), After: b.After()}
	}
	return out
}

// ServeKept answers the request "backlog".
func (r *teller) ServeKept(name string) ([]byte, error) { return json.Marshal(r.keptHere(name)) }

// Attend notes that a program is connected that appends to a job, which runs as a process. leave is to be called when
// it has gone.
func (r *grower) Attend(name string, by backlog.Process) (kept uint64, leave func()) {
	left := r.attended.come(name, by)
	// A daemon that has just come back may have to hear of the job first, but it knows what is on its disk.
	if b := r.kept.get(name); b != nil {
		b.Come(by)
		kept = b.After()
	}
	return kept, func() {
		left()
		if b := r.kept.get(name); b != nil && len(r.attended.of(name)) == 0 {
			b.Leave()
		}
	}
}

// sends notes an append that is about to be given to the engine, if calls have numbers.
func (r *grower) sends(j *Job, req api.AppendRequest, files []tasks.File) error {
	if req.Upto == 0 || req.Seq == 0 || len(files) != 1 {
		return nil
	}
	b, err := r.openBacklog(j.Name)
	if err != nil {
		return err
	}
	return b.Sends(backlog.Send{Seq: req.Seq, Items: files[0].Items, Upto: req.Upto, Own: req.OfKept})
}

// sent notes that an append is in the ledger.
func (r *grower) sent(j *Job, req api.AppendRequest, files []tasks.File) {
	b := r.kept.get(j.Name)
	switch {
	case b == nil:
	case req.Close:
		r.dropBacklog(j.Name, b)
	case req.Upto > 0 && len(files) == 1:
		b.Counted(req.Seq, files[0].Items)
	}
}

// dropBacklog ends the backlog of a job to which nothing can be appended any more.
func (r *grower) dropBacklog(name string, b *backlog.Backlog) {
	if n := b.Waiting(); n > 0 {
		r.log.Warn("calls that wait are given up, since their job takes no more", "job", api.Short(name), "calls", n)
	}
	if err := b.Remove(); err != nil {
		r.log.Warn("could not remove calls that were kept", "job", api.Short(name), "reason", err)
	}
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	if r.kept.of[name] == b {
		delete(r.kept.of, name)
	}
}

// dropBacklogs ends those of jobs that are over or closed.
func (r *grower) dropBacklogs() {
	r.kept.mu.Lock()
	all := make(map[string]*backlog.Backlog, len(r.kept.of))
	for name, b := range r.kept.of {
		all[name] = b
	}
	r.kept.mu.Unlock()
	for name, b := range all {
		j := r.book.Named(name)
		if j == nil {
			continue // it is yet to be heard of
		}
		_, closed := r.book.growths.told(j.ID())
		if closed || j.Final() {
			r.dropBacklog(name, b)
		}
	}
}

// drain appends what is kept of a job whose program is gone, unless that is being done.
func (r *grower) drain(j *Job, b *backlog.Backlog, patience time.Duration) {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	if r.kept.draining[j.Name] {
		return
	}
	r.kept.draining[j.Name] = true
	r.spawn(func() {
		defer func() {
			r.kept.mu.Lock()
			defer r.kept.mu.Unlock()
			delete(r.kept.draining, j.Name)
		}()
		n, some := b.Waiting(), false
		for r.ctx.Err() == nil && b.Waiting() > 0 && r.kept.get(j.Name) == b && b.Gone(time.Now(), patience) {
			made, err := r.appendKept(j, b, patience)
			if err != nil {
				r.log.Warn("could not append calls whose program is gone; it is tried again", "job", api.Short(j.Name),
					"calls", b.Waiting(), "reason", err)
			}
			if some = some || made; !made {
				Sleep(r.ctx, appendAgain)
			}
		}
		if left := b.Waiting(); some && left < n {
			r.log.Info("appended calls whose program is gone", "job", api.Short(j.Name), "calls", n-left)
		}
	})
}

// appendKept makes one append of calls that are kept; made is false where it is too early for that.
func (r *grower) appendKept(j *Job, b *backlog.Backlog, patience time.Duration) (made bool, err error) {
	_, id, err := r.openJob(r.ctx, j.Name)
	if err != nil {
		return false, err
	}
	known, next := r.settle(id, b), uint64(0)
	r.loop.Ask(func(p *engine.Peer) { next = p.NextAppend(id) })
	if next != known+1 {
		return false, nil // one of the program's own is on its way, or may be
	}
	if ok, err := b.Explained(known); !ok || err != nil {
		return false, err
	}
	st := r.StatusOf(j)
	items, upto, err := b.Next(backlog.Look{Patience: patience, Unfinished: max(st.Units-st.Done, 0)})
	if err != nil || len(items) == 0 {
		return false, err
	}
	defer b.Tried()
	_, err = r.AppendTo(r.ctx, j.Name, api.AppendRequest{Seq: next, Data: items, Upto: upto, OfKept: true})
	return err == nil, err
}

// settle has a backlog know which appends are in its job's ledger, as far as that is known here, and returns how many
// there are.
func (r *base) settle(id tasks.JobID, b *backlog.Backlog) uint64 {
	known := r.book.growths.hashes(id)
	b.Settle(func(seq uint64) (items string, ok bool) {
		if seq > uint64(len(known)) {
			return "", false
		}
		return known[seq-1], true
	})
	return uint64(len(known))
}

// drainFirst appends what is kept of a job before it is closed by somebody who knows that its program is gone.
func (r *grower) drainFirst(ctx context.Context, j *Job) error {
	b := r.kept.get(j.Name)
	if b == nil || b.Waiting() == 0 || !b.Orphan() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, appendWait)
	defer cancel()
	for b.Waiting() > 0 && ctx.Err() == nil {
		r.drain(j, b, time.Hour)
		Sleep(ctx, appendAgain)
	}
	if n := b.Waiting(); n > 0 {
		return &api.Error{
			Status:  http.StatusServiceUnavailable,
			Message: fmt.Sprintf("could not close the job yet: %d calls of its program are just being appended", n),
			Hint:    "the job is closed by itself after that; see `dtpnode status " + api.Short(j.Name) + "`",
		}
	}
	return nil
}
