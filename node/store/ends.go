package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/wire"
)

// How a job ended is kept beside its result, as an engine.Remember in msgpack, with the seal that proves it once that
// is there. The proof outlives all else that is kept of the job, in a folder of its own: a member that was away when
// the job ended comes back with a copy of its ledger, or a part in it, and asks.

// maxPastEnds bounds the proofs that are kept of jobs of which nothing else is: as many as the engine remembers, of
// some kilobytes each.
const maxPastEnds = 4096

// SaveEnd keeps how a job ended; its proof, once it is there, stays.
func (r *Results) SaveEnd(name string, e engine.Remember) {
	r.ends.Lock()
	defer r.ends.Unlock()
	if old, err := r.End(name); err == nil && e.Ended.Seal == nil && old.Ended.Seal != nil {
		return
	}
	b, err := wire.Marshal(&e)
	if err == nil {
		err = durable.Write(filepath.Join(r.FolderOf(name), endFile), b)
	}
	if err != nil {
		r.Log.Warn("could not save how a job ended", "job", api.Short(name), "reason", err)
	}
}

// End is how the job with that name ended, as long as its folder is kept.
func (r *Results) End(name string) (engine.Remember, error) {
	return readEnd(filepath.Join(r.FolderOf(name), endFile))
}

func readEnd(path string) (e engine.Remember, err error) {
	b, err := os.ReadFile(path)
	if err == nil {
		err = wire.Unmarshal(b, &e)
	}
	if err == nil && !e.ID.Valid() {
		err = fmt.Errorf("could not read how a job ended in %q: it names no job", path)
	}
	return e, err
}

// Ends are how jobs ended of which something is kept, those first of which nothing but the proof is.
func (r *Results) Ends() (out []engine.Remember) {
	files, _ := filepath.Glob(filepath.Join(r.Dir, "*", endFile))
	for _, file := range append(r.pastEnds(), files...) {
		if e, err := readEnd(file); err == nil {
			out = append(out, e)
		}
	}
	return out
}

// pastEnds are the files of proofs that outlive their jobs, named like those, the oldest first.
func (r *Results) pastEnds() (files []string) {
	type dated struct {
		path string
		at   time.Time
	}
	var all []dated
	entries, _ := os.ReadDir(r.EndsDir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, dated{filepath.Join(r.EndsDir, e.Name()), info.ModTime()})
		}
	}
	slices.SortStableFunc(all, func(a, b dated) int { return a.at.Compare(b.at) })
	for _, f := range all {
		files = append(files, f.path)
	}
	return files
}

// keepEnd keeps the proof of a job's end, before all else that is known of the job goes: that it is over, not what its
// result is. There is none of a job that never had a ledger that others know of.
func (r *Results) keepEnd(name string) {
	e, err := r.End(name)
	if err != nil || e.Ended.Seal == nil {
		return
	}
	e.Ended.Result = nil
	b, err := wire.Marshal(&e)
	if err == nil {
		err = durable.Write(filepath.Join(r.EndsDir, name), b)
	}
	if err != nil {
		r.Log.Warn("could not keep the proof of how a job ended", "job", api.Short(name), "reason", err)
	}
	files := r.pastEnds()
	for _, file := range files[:max(len(files)-maxPastEnds, 0)] {
		_ = os.Remove(file)
	}
}
