package sim

import (
	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/tasks"
)

// The second job of a run is one whose submitter, and home, lies. The others take part in it, and are given any orders
// for it; no more of it is modelled than that. What is checked is that the first job does not suffer.

// submitSecond has a liar submit it.
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
		return w.job
	case id == w.second && id != "":
		return w.secondJob
	}
	return nil
}

// ofSecond carries out what a node wants for the second job, as far as that is modelled: blobs and ledgers of it are
// kept nowhere. False for what is of the first, or alike for both.
func (w *world) ofSecond(n *node, e engine.Effect) bool {
	switch e := e.(type) {
	case engine.FoundLedger:
		if e.ID == w.second {
			w.reply(n, w.syncTime(), engine.Founded{ID: e.ID, Member: e.Log.Self.ID, Reason: "no room"})
			return true
		}
	case engine.FetchBlob:
		if e.Partial.Job == w.second {
			w.reply(n, w.cfg.Latency, engine.NotStored{Job: e.Partial.Job, ID: e.Partial.ID})
			return true
		}
	case engine.KeepBlob:
		if e.Partial.Job == w.second {
			w.reply(n, w.cfg.Latency, engine.BlobKept{Partial: e.Partial, To: e.To, Term: e.Term, Seq: e.Seq})
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

// secondsEnd reports whether something is about the second job's end, or its ledger's.
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
