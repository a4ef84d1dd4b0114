package worker

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// Shot is what a generation had of some named objects between two packets.
type Shot struct {
	Path  string      // of a file in the format of a partial; it stays until the next shot but one
	Cover tasks.Cover // the units in it
	Left  []string    // names of objects that are too large, or cannot be copied
	Late  bool        // it is of an earlier call, since the generation runs a long entry now
}

// shots are those of one generation.
type shots struct {
	of    map[string]*namedShots // by the names that were asked for
	count int
}

// namedShots are those of one set of names: several may be watched at once. Two are kept, since somebody may be reading
// the last one when there is a new one.
type namedShots struct{ last, prior *Shot }

// Snapshots asks all generations of a job for named objects, and waits for those that are between two packets before
// ctx ends. Of others that were asked before, it returns what they had then. Generations that cannot are left out.
func (w *Workers) Snapshots(ctx context.Context, job tasks.JobID, ask exec.SnapshotAsk) (out []Shot) {
	w.mu.Lock()
	var of []*generation
	for _, g := range w.gens {
		if g.job == job {
			of = append(of, g)
		}
	}
	w.mu.Unlock()
	slices.SortFunc(of, func(a, b *generation) int { return cmp.Compare(a.id, b.id) })
	names := strings.Join(ask.Names, "\x00")
	var wg sync.WaitGroup
	for _, g := range of {
		answered := make(chan struct{})
		if !g.snapshot(names, ask, func() { close(answered) }) {
			close(answered)
		}
		wg.Go(func() {
			select {
			case <-answered:
			case <-ctx.Done():
			}
		})
	}
	wg.Wait()
	for _, g := range of {
		if s, ok := g.shot(names); ok {
			out = append(out, s)
		}
	}
	return out
}

// snapshot asks the generation's process, and reports whether answered will be called.
func (g *generation) snapshot(names string, ask exec.SnapshotAsk, answered func()) bool {
	child, ok := g.started().(exec.Snapshotter)
	if !ok {
		return false
	}
	g.mu.Lock()
	g.shots.count++
	ask.Path = filepath.Join(g.w.Blobs.JobDir(g.job), fmt.Sprintf("shot-%d-%d", g.id, g.shots.count))
	if of := g.shots.of[names]; of != nil {
		of.last.Late = true
	}
	g.mu.Unlock()
	return child.Snapshot(ask, func(s exec.Snapshot, err error) {
		g.shotTaken(names, ask.Path, s, err)
		answered()
	}) == nil
}

// shotTaken is called by the child's reader, so that the packets which are done are those in the snapshot.
func (g *generation) shotTaken(names, path string, s exec.Snapshot, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil || s.Units != g.cover.Len() {
		_ = os.Remove(path)
		return
	}
	of := g.shots.of[names]
	if of == nil {
		of = &namedShots{}
		if g.shots.of == nil {
			g.shots.of = map[string]*namedShots{}
		}
		g.shots.of[names] = of
	}
	if of.prior != nil {
		_ = os.Remove(of.prior.Path)
	}
	of.prior, of.last = of.last, &Shot{Path: path, Cover: slices.Clone(g.cover), Left: s.Left}
}

// shot is the last one of these names.
func (g *generation) shot(names string) (Shot, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if of := g.shots.of[names]; of != nil {
		return *of.last, true
	}
	return Shot{}, false
}

// dropShots removes the files when the generation has ended.
func (g *generation) dropShots() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, of := range g.shots.of {
		for _, s := range []*Shot{of.last, of.prior} {
			if s != nil {
				_ = os.Remove(s.Path)
			}
		}
	}
	g.shots = shots{}
}
