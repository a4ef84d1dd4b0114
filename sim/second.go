package sim

import (
	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/tasks"
)

// A run may have a second job, whose submitter and home lies. The other nodes take part in it, and get any orders for
// it; nothing more of it is modelled. The check is that the first job does not suffer.

// submitSecond lets a liar submit the second job.
func (w *world) submitSecond(n *node) {
	if !w.cfg.Second {
		return
	}
	job := *w.job
	job.Submitter, job.Nonce = n.id, []byte("second")
	w.second, w.secondJob = tasks.NameOf([]byte("second")), &job
	w.step(n, engine.Submit{ID: w.second, Job: &job})
}

// jobOf is one of the run's jobs, nil for any other.
func (w *world) jobOf(id tasks.JobID) *tasks.Job {
	switch {
	case id == w.id:
		return w.client.desc
	case id == w.second && id != "":
		return w.secondJob
	}
	if s := w.side(id); s != nil {
		return s.job
	}
	return nil
}

// ofSecond carries out an effect for the second job, as far as that is modelled: its blobs and ledgers are stored
// nowhere. It returns false for effects of the first job, and for those that are the same for both.
func (w *world) ofSecond(n *node, e engine.Effect) bool {
	switch e := e.(type) {
	case engine.FoundLedger:
		if e.ID == w.second {
			w.reply(n, w.syncTime(), engine.Founded{ID: e.ID, Voter: e.Log.Self.ID, Reason: "no room"})
			return true
		}
	case engine.FetchBlob:
		if e.Partial.Job == w.second {
			w.reply(n, w.cfg.Latency, engine.NotStored{Partial: e.Partial, Seq: e.Seq})
			return true
		}
	case engine.KeepBlob:
		if e.Partial.Job == w.second {
			w.reply(n, w.cfg.Latency, engine.BlobKept{Asked: e})
			return true
		}
	case engine.FoldBlobs:
		if e.Job == w.second {
			w.reply(n, w.cfg.Latency, engine.NotFolded{Job: e.Job})
			return true
		}
	case engine.ForgetBlob:
		if e.Job == w.second {
			delete(n.blobs, e.ID)
			return true
		}
	default:
		return w.secondsEnd(e)
	}
	return false
}

// secondsEnd reports whether an effect is about the end of the second job or of its ledger.
func (w *world) secondsEnd(e engine.Effect) bool {
	var id tasks.JobID
	switch e := e.(type) {
	case engine.KeepResult:
		id = e.ID
	case engine.WriteLedger:
		id = e.ID
	case engine.DropLedger:
		id = e.ID
	case engine.FinishJob:
		id = e.ID
	case engine.FailJob:
		id = e.ID
	case engine.JobEnded:
		id = e.ID
	case engine.EndSealed:
		id = e.ID
	case engine.Reopened:
		id = e.ID
	case engine.FreeBlob:
		id = e.Partial.Job
	case engine.SweepBlobs:
		id = e.Job
	}
	return id != "" && id == w.second
}
