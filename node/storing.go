package node

import (
	"path/filepath"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

func (d *Daemon) ledgersDir() string { return api.LedgersDir(d.cfg.StateDir) }

// openStore makes the stores of ledgers and results, when the node has its network.
func (d *Daemon) openStore() {
	d.asides = &store.Asides{
		Dir:       filepath.Join(d.cfg.StateDir, "superseded"),
		Blobs:     d.blobs,
		KeepFor:   d.cfg.KeepFor,
		KeepBytes: d.cfg.KeepBytes,
		Log:       d.log,
	}
	d.results = &store.Results{
		Dir:     api.JobsDir(d.cfg.StateDir),
		EndsDir: filepath.Join(d.cfg.StateDir, "ends"),
		Blobs:   d.blobs,
		Log:     d.log,
	}
	d.ledgers = store.NewLedgers(d.ctx, store.LedgersConfig{
		Dir:     d.ledgersDir(),
		Blobs:   d.blobs,
		Asides:  d.asides,
		Fetcher: d.net,
		Log:     d.log,
		Written: d.ledgerWritten,
	})
}

// ledgerWritten tells the engine that a write of a ledger's log was carried out, or why not.
func (d *Daemon) ledgerWritten(id tasks.JobID, seq uint64, err error) {
	out := engine.Written{ID: id, Seq: seq}
	if err != nil {
		out.Reason = err.Error()
	}
	d.loop.Post(out)
}

// foundLedger makes a copy of a ledger here and tells the engine.
func (d *Daemon) foundLedger(e engine.FoundLedger) {
	out := engine.Founded{ID: e.ID, Voter: e.Log.Self.ID}
	make := d.jobs.MakeCopy
	switch {
	case e.Aside:
		make = d.recoverAside
	case e.Log.Snapshot != nil:
		make = func(e engine.FoundLedger) (*store.Copy, error) { return d.ledgers.Recover(e.ID, e.Log) }
	}
	c, err := make(e)
	if err != nil {
		d.log.Warn("could not keep a copy of a job's ledger", "job", e.ID.Short(), "reason", err)
		out.Reason = err.Error()
	} else {
		out.Job = c.Job
	}
	d.loop.Post(out)
}

// restoreLedgers opens the copies of earlier lives, for the engine.
func (d *Daemon) restoreLedgers() (out []engine.Restore) {
	for _, r := range d.ledgers.Restore() {
		out = append(out, engine.Restore{ID: r.ID, Job: r.Job, Log: r.Log})
	}
	return out
}

// dropLedger gives up this node's copy of a ledger, and what the job holds here if the engine has forgotten it: the
// copy may have made the job known again after it was over, or is dropped before the engine says that the job is over.
// Only the engine's loop calls it.
func (d *Daemon) dropLedger(e engine.DropLedger) {
	if _, known := d.loop.peer.Jobs()[e.ID]; !known {
		d.jobs.JobOver(engine.JobOver{ID: e.ID})
	}
	c := d.ledgers.Of(e.ID)
	switch {
	case c == nil:
	case e.Superseded != nil:
		err := d.ledgers.Supersede(e.ID, *e.Superseded)
		d.log.Warn("gave up the copy of a job's ledger and put it aside: dtpnode recover "+api.Short(c.Name())+
			" --superseded goes on from it",
			"job", e.ID.Short(), "reason", e.Reason, "dir", d.asides.FolderOf(c.Name(), *e.Superseded),
			"kept for", d.cfg.KeepFor)
		if err != nil {
			d.log.Error("could not put the copy of a job's ledger aside", "dir", c.Dir, "reason", err)
		}
	case e.Reason != "":
		d.log.Error("gave up the copy of a job's ledger; another takes its place", "job", e.ID.Short(), "reason", e.Reason)
		d.ledgers.DropFailed(e.ID)
	default:
		d.ledgers.Drop(e.ID)
	}
	if d.jobs.Book().ByID(e.ID) == nil {
		d.jobs.Book().ForgetGrowth(e.ID)
	}
}
