package node

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
)

// sweepEvery is how often results are looked at that may have expired.
const sweepEvery = time.Hour

// fetchedFile marks, beside a result, that its user has it.
const fetchedFile = "fetched"

// resultPath is where a job's output is kept.
func (d *Daemon) resultPath(name string) string {
	return filepath.Join(d.jobsDir(), name, "result.root")
}

func (d *Daemon) jobsDir() string { return filepath.Join(d.cfg.StateDir, "jobs") }

// wasFetched notes that a job's user has its result.
func (d *Daemon) wasFetched(name string) {
	if err := os.WriteFile(filepath.Join(d.jobsDir(), name, fetchedFile), nil, 0o600); err != nil {
		d.log.Warn("could not note that a result was fetched", "job", name[:12], "reason", err)
	}
}

// sweep removes finished jobs: those older than KeepFor, and beyond the newest KeepJobs those whose result was
// fetched or that have none.
func (d *Daemon) sweep() {
	var final []*job
	for _, o := range d.ledJobs() {
		if o.final() {
			final = append(final, o)
		}
	}
	slices.Reverse(final) // the newest first
	for i, j := range final {
		dir := filepath.Join(d.jobsDir(), j.name)
		_, err := os.Stat(filepath.Join(dir, fetchedFile))
		done := err == nil || sizeOf(d.resultPath(j.name)) < 0
		j.mu.Lock()
		old := time.Since(j.ended) > d.cfg.KeepFor
		j.mu.Unlock()
		if !old && !(done && i >= d.cfg.KeepJobs) {
			continue
		}
		d.mu.Lock()
		delete(d.byName, j.name)
		d.mu.Unlock()
		d.blobs.removeUnder(dir)
		if err := os.RemoveAll(dir); err != nil {
			d.log.Warn("could not remove an old job", "job", j.name[:12], "reason", err)
		}
	}
}

// sweepOften sweeps until the daemon closes.
func (d *Daemon) sweepOften() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-tick.C:
			d.sweep()
		}
	}
}

// storage fills in what is kept here for jobs.
func (d *Daemon) storage(st *api.NodeStatus) {
	var open int64
	d.ask(func(p *engine.Peer) { open = p.Kept() })
	st.Kept = open + bytesUnder(d.ledgersDir()) + bytesUnder(d.jobsDir())
	st.KeptMax = d.cfg.KeepBytes
	d.mu.Lock()
	st.Ledgers = len(d.copies)
	d.mu.Unlock()
}

// bytesUnder is the size of all files in a folder.
func bytesUnder(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil // what goes away meanwhile counts no more
	})
	return n
}

// keepBytes is the default bound of uncommitted partial results: a quarter of what is free where they go.
func keepBytes(dir string) int64 {
	const least, most = 256 << 20, 64 << 30
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return least
	}
	return min(max(int64(fs.Bavail)*fs.Bsize/4, least), most)
}
