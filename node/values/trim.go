package values

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

const (
	trimEvery = 2 * time.Second
	trimIdle  = 5 // rounds after which it is asked though nothing has come
	// trimFrom is how many bytes of a job's values are kept without asking whether they are needed.
	trimFrom = 64 << 20
)

// trimOften removes what is spent of a job, as long as much is kept, until it is dropped.
func (s *Store) trimOften(k *kept) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for was, rounds := int64(0), 0; ; {
		select {
		case <-k.ctx.Done():
			return
		case <-tick.C:
		}
		k.mu.Lock()
		s.sweep(k) // a process may have ended that had a pack open without values that count
		is := k.bytes
		k.mu.Unlock()
		if rounds++; is < trimFrom || is == was && rounds < trimIdle { // then little can be spent that was not
			continue
		}
		rounds = 0
		if err := s.trim(k.ctx, k); err != nil {
			s.log.Debug("could not learn which values of a job are spent", "job", k.id.Short(), "reason", err)
			continue
		}
		k.mu.Lock()
		was = k.bytes
		k.mu.Unlock()
	}
}

// trim forgets values that are spent. A process that has opened a pack reads it to its end, since only the name goes.
func (s *Store) trim(ctx context.Context, k *kept) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	spent, err := s.peers.Spent(ctx, k.id)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s.forget(k, spent.Union(k.done).Minus(k.held))
	return nil
}

// forget forgets values of some units, and removes packs of which no value counts any more. The caller holds the lock.
func (s *Store) forget(k *kept, units tasks.Cover) {
	for unit := range k.units {
		if units.Has(unit) {
			k.leave(unit)
		}
	}
	k.cover = k.cover.Minus(units)
	s.sweep(k)
}

// sweep removes packs of which no value counts. The caller holds the lock.
func (s *Store) sweep(k *kept) {
	left := k.packs[:0]
	for _, p := range k.packs {
		if p.values > 0 || p == k.foreign || isWritten(p.path) {
			left = append(left, p)
			continue
		}
		delete(k.byPath, p.from)
		if err := os.Remove(p.path); err != nil {
			s.log.Warn("could not remove values of a job that are spent", "job", k.id.Short(), "reason", err)
		}
	}
	clear(k.packs[len(left):])
	k.packs = left
}

// isWritten reports whether a pack has the name yet under which a process writes it.
func isWritten(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	about, ok := info.Sys().(*syscall.Stat_t)
	return ok && about.Nlink > 1
}
