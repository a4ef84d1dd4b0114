package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// sweepEvery is how often results are looked at that may have expired.
const sweepEvery = time.Hour

// fetchedFile marks, beside a result, that its user has it; when, says the time of the file.
const fetchedFile = "fetched"

// keepFetched is how long a result is kept that was fetched: it may be wanted once more. All nodes that keep the
// result are told of it, or know by the job's status, if the output was written before the end.
const keepFetched = 24 * time.Hour

// resultPath is where a job's output is kept.
func (d *Daemon) resultPath(name string) string {
	return filepath.Join(d.jobsDir(), name, api.ResultFile)
}

func (d *Daemon) jobsDir() string { return api.JobsDir(d.cfg.StateDir) }

// fetched says here and to the other nodes that a job's user has its result. Who does not hear of it keeps the
// result until it expires. A copy that a member took which may only look is no reason for any node to keep it for less.
func (d *Daemon) fetched(name string, submitter tasks.PeerID) {
	if !d.may(d.net.ID(), submitter, forRule) {
		return
	}
	if store.SizeOf(d.resultPath(name)) >= 0 {
		d.wasFetched(name)
	}
	d.spawn(func() {
		var g errgroup.Group
		g.SetLimit(16)
		for _, id := range d.upPeers() {
			g.Go(func() error {
				_, err := d.askPeer(d.ctx, id, "fetched", name)
				if err != nil && !errors.Is(err, p2p.ErrRemote) { // else it knows of no such job, say
					d.log.Debug("could not tell that a result was fetched", "job", api.Short(name), "node", id, "reason", err)
				}
				return nil
			})
		}
		_ = g.Wait()
	})
}

// heardFetched takes the word of a member that a job's user has its result. It may come before that of the job's
// end, when the result is here already.
func (d *Daemon) heardFetched(name string) {
	if store.SizeOf(d.resultPath(name)) >= 0 {
		d.wasFetched(name)
	}
}

// fetchedAt is when a job's result was fetched last, as far as this node knows; zero if it was not.
func (d *Daemon) fetchedAt(name string) time.Time {
	info, err := os.Stat(filepath.Join(d.jobsDir(), name, fetchedFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// wasFetched notes that a job's user has its result.
func (d *Daemon) wasFetched(name string) {
	if err := os.WriteFile(filepath.Join(d.jobsDir(), name, fetchedFile), nil, 0o600); err != nil {
		d.log.Warn("could not note that a result was fetched", "job", api.Short(name), "reason", err)
	}
}

// finished is what sweep knows of a job that is over.
type finished struct {
	job     *job
	ended   time.Time
	result  bool      // it is kept here
	fetched time.Time // the last time; zero for never
	owed    bool      // the output is still to be written where its user wants it
	partial bool      // what the result is made of is kept for a retry
	bytes   int64     // that are kept of it
}

// promised reports whether a job's result is kept for as long as users are told: a day after it was fetched or written, and
// for keepFor if it never was. No number of other jobs takes that from it.
func (f finished) promised(now time.Time, keepFor time.Duration) bool {
	if !f.fetched.IsZero() && f.result && now.Sub(f.fetched) <= keepFetched {
		return true
	}
	return now.Sub(f.ended) <= keepFor && (f.owed || f.result && f.fetched.IsZero())
}

// sweep removes results that were fetched keepFetched ago, and finished jobs: those older than KeepFor, and beyond
// the newest KeepJobs those that have no result any more. The room is bounded by results whose output is whole and that
// their users have: those beyond the newest KeepWhole, and what takes more than KeepBytes, go sooner. A result that is still
// to be fetched, or written where its user wants it, and what a retry of a partial one needs, go by their age alone.
func (d *Daemon) sweep() {
	d.expireUnfinished()
	d.asides.Prune()
	forget, drop := d.cfg.expired(time.Now(), d.finishedJobs())
	for _, f := range drop {
		d.dropResult(f.job)
	}
	for _, f := range forget {
		d.forgetJob(f.job)
	}
}

// finishedJobs are those that are over and told of here, those first whose end this node has seen last: when they were
// submitted others' clocks say.
func (d *Daemon) finishedJobs() (all []finished) {
	for _, j := range d.ledJobs() {
		if !j.final() {
			continue
		}
		f := finished{job: j, fetched: d.fetchedAt(j.name), result: store.SizeOf(d.resultPath(j.name)) >= 0, owed: d.owed(j) != "",
			bytes: store.FolderBytes(filepath.Join(d.jobsDir(), j.name))}
		j.mu.Lock()
		f.ended, f.partial = j.ended, j.status.State == api.Partial
		j.mu.Unlock()
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b finished) int { return b.ended.Compare(a.ended) })
	return all
}

// expired are the jobs to be forgotten, and those whose result alone is to go, of all that are over, the newest first.
func (c Config) expired(now time.Time, all []finished) (forget, drop []finished) {
	var past, whole int
	var bytes int64
	for _, f := range all {
		switch {
		case f.promised(now, c.KeepFor):
			if f.partial || f.owed || f.fetched.IsZero() {
				continue
			}
			whole++
			if bytes += f.bytes; whole > c.KeepWhole || bytes > c.KeepBytes {
				drop = append(drop, f)
			}
		case now.Sub(f.ended) > c.KeepFor:
			forget = append(forget, f)
		default:
			if past++; past > c.KeepJobs {
				forget = append(forget, f)
			} else if f.result {
				drop = append(drop, f)
			}
		}
	}
	return forget, drop
}

// forgetJob removes all that is known of a finished job.
func (d *Daemon) forgetJob(j *job) {
	dir := filepath.Join(d.jobsDir(), j.name)
	d.mu.Lock()
	delete(d.byName, j.name)
	d.mu.Unlock()
	d.blobs.ForgetFolder(dir)
	d.dropParts(j.name)
	d.keepEnd(j.name)
	if err := os.RemoveAll(dir); err != nil {
		d.log.Warn("could not remove an old job", "job", api.Short(j.name), "reason", err)
	}
}

// dropResult removes a job's result, what it was made of if that was kept, and leaves the rest.
func (d *Daemon) dropResult(j *job) {
	d.dropParts(j.name)
	d.blobs.ForgetFolder(filepath.Join(d.jobsDir(), j.name))
	if err := os.Remove(d.resultPath(j.name)); err != nil && !errors.Is(err, fs.ErrNotExist) { // another sweep was faster
		d.log.Warn("could not remove a result that was fetched", "job", api.Short(j.name), "reason", err)
	}
}

// sweepOften sweeps until the daemon closes.
func (d *Daemon) sweepOften() {
	d.spawn(d.deliverOften)
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
	st.KeptOpen = open
	st.Kept = open + store.FolderBytes(d.ledgersDir()) + store.FolderBytes(d.jobsDir()) + store.FolderBytes(d.asides.Dir)
	st.KeptMax = d.cfg.KeepBytes
	d.mu.Lock()
	st.Ledgers = len(d.ledgers.All())
	d.mu.Unlock()
}
