package rootexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// The cache of compiled libraries is pruned, since each change of a source makes another library, with a copy of all
// that goes with it. When one was used last is the time of its libMeta.
const (
	keepUnused = 30 * 24 * time.Hour // what nobody has used for so long goes
	mostCached = 8 << 30             // bytes of all libraries; beyond, those go that were used longest ago
	surelyUsed = 2 * pruneEvery      // but none that was used since, as those are that some daemon has loaded now
	pruneEvery = 12 * time.Hour
)

// prunedFile is the file of the cache whose time says when it was pruned last, by whichever daemon of the user.
const prunedFile = "pruned"

// noteUse notes that a library is in use now. That it cannot be noted costs no more than a compilation, some day.
func noteUse(dir string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(dir, libMeta), now, now)
}

// noteUse notes that what is loaded is in use, however long ago it was found in the cache.
func (c *selectorCache) noteUse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.loaded {
		select {
		case <-s.ready:
			if s.err == nil {
				noteUse(filepath.Dir(s.data))
			}
		default: // it was found in the cache a moment ago
		}
	}
}

// pruneCache prunes the cache now and then, until ctx ends.
func (e *Executor) pruneCache(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		e.selectors.noteUse()
		if err := pruneLibraries(ctx, e.cfg.Cache, time.Now(), mostCached); err != nil && ctx.Err() == nil {
			e.cfg.Log.Warn("could not remove compiled code that is not used any more", "reason", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// pruneLibraries removes libraries that were not used for long, and beyond most bytes those that were used longest ago,
// unless a daemon has done so lately.
func pruneLibraries(ctx context.Context, cache string, now time.Time, most int64) error {
	mark := filepath.Join(cache, prunedFile)
	if info, err := os.Stat(mark); err == nil && now.Sub(info.ModTime()).Abs() < pruneEvery/2 {
		return nil
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return fmt.Errorf("could not write to the cache: %w", err)
	}
	if err := os.Chtimes(mark, now, now); err != nil {
		return fmt.Errorf("could not write to the cache: %w", err)
	}
	own, err := filepath.Glob(filepath.Join(cache, "lib", "*"))
	foreign, foreignErr := filepath.Glob(filepath.Join(cache, "foreign", "*", "*"))
	if err = errors.Join(err, foreignErr); err != nil {
		return err
	}
	type library struct {
		dir  string
		used time.Time
	}
	var all []library
	for _, dir := range append(own, foreign...) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			all = append(all, library{dir, usedAt(dir)})
		}
	}
	slices.SortFunc(all, func(a, b library) int { return b.used.Compare(a.used) })
	var bytes int64
	for _, l := range all {
		bytes += bytesIn(l.dir)
		if idle := now.Sub(l.used); idle > keepUnused || bytes > most && idle > surelyUsed {
			err = errors.Join(err, pruneLibrary(ctx, l.dir, l.used))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// usedAt is when a library was used last: one that is not whole, when it was begun.
func usedAt(dir string) time.Time {
	info, err := os.Stat(filepath.Join(dir, libMeta))
	if err != nil {
		info, err = os.Stat(dir)
	}
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// pruneLibrary removes one, unless somebody has used it meanwhile.
func pruneLibrary(ctx context.Context, dir string, used time.Time) error {
	return withLock(ctx, dir+".lock", func() error {
		if usedAt(dir).After(used) {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, libMeta)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("could not remove a compiled library: %w", err)
		}
		return os.RemoveAll(dir)
	})
}
