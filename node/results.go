package node

import (
	"github.com/dtpnode/dtpnode/node/members"

	"errors"
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

// fetched says here and to the other nodes that a job's user has its result. Who does not hear of it keeps the
// result until it expires. A copy that a member took which may only look is no reason for any node to keep it for less.
func (d *Daemon) fetched(name string, submitter tasks.PeerID) {
	if !d.cluster.May(d.net.ID(), submitter, members.ForRule) {
		return
	}
	if d.results.Has(name) {
		d.results.NoteFetched(name)
	}
	d.spawn(func() {
		var g errgroup.Group
		g.SetLimit(16)
		for _, id := range d.cluster.Up() {
			g.Go(func() error {
				_, err := d.cluster.Ask(d.ctx, id, "fetched", name)
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
	if d.results.Has(name) {
		d.results.NoteFetched(name)
	}
}

// sweep removes what is kept of finished jobs and has expired, as store.Retention says.
func (d *Daemon) sweep() {
	d.expireUnfinished()
	d.asides.Prune()
	forget, drop := d.cfg.retention().Expired(time.Now(), d.finishedJobs())
	for _, f := range drop {
		d.results.RemoveOutput(f.Name)
	}
	for _, f := range forget {
		d.forgetJob(f.Name)
	}
}

func (c Config) retention() store.Retention {
	return store.Retention{KeepJobs: c.KeepJobs, KeepWhole: c.KeepWhole, KeepFor: c.KeepFor, KeepBytes: c.KeepBytes}
}

// finishedJobs are those that are over and told of here, those first whose end this node has seen last: when they were
// submitted others' clocks say.
func (d *Daemon) finishedJobs() (all []store.Finished) {
	for _, j := range d.book.AllTold() {
		if !j.final() {
			continue
		}
		f := store.Finished{
			Name:    j.name,
			Fetched: d.results.FetchedAt(j.name),
			Result:  d.results.Has(j.name),
			Owed:    d.owed(j) != "",
			Bytes:   store.FolderBytes(d.results.FolderOf(j.name)),
		}
		j.mu.Lock()
		f.Ended, f.Partial = j.ended, j.status.State == api.Partial
		j.mu.Unlock()
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b store.Finished) int { return b.Ended.Compare(a.Ended) })
	return all
}

// forgetJob removes all that is known of a finished job.
func (d *Daemon) forgetJob(name string) {
	d.book.Forget(name)
	d.results.RemoveJob(name)
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
	st.Kept = open + store.FolderBytes(d.ledgersDir()) + store.FolderBytes(d.results.Dir) + store.FolderBytes(d.asides.Dir)
	st.KeptMax = d.cfg.KeepBytes
	st.Ledgers = len(d.ledgers.All())
}
