package worker

import (
	"errors"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// Failure is what a job's record says of what a runtime says, where no unit is to blame and others may do better.
func Failure(f *exec.Failure) ledger.Failure {
	return ledger.Failure{Kind: string(f.Kind), Reason: reason(f), Stack: f.Stack, Tail: f.Tail}
}

// failureOf is what a job's home is told of a failure in a packet. job is nil if its description is not known; running
// is empty if no packet was.
func failureOf(job *tasks.Job, f *exec.Failure, running exec.Packet) ledger.Failure {
	out := Failure(f)
	if job != nil {
		out.Blame = blame(job, f, running.Units(), running.Base)
	}
	switch f.Kind {
	case exec.KindOpen:
		out.Here, out.Data, out.Host = f.Host == "", true, string(f.Host)
	case exec.KindData, exec.KindSchema:
		out.Data = true
	case exec.KindAbort:
		// A program that gives up before any input says that it cannot work on this host, where something that it opens
		// may be missing, and not that the job makes no sense.
		out.Fatal, out.Reason = f.Stage != exec.StageStart, f.Error() // with file and entry: nothing else tells them
	}
	return out
}

// reason is a failure in one line, without the file and entry, which are told beside it.
func reason(f *exec.Failure) string {
	if f.Op == "" {
		return f.Msg
	}
	return f.Op + ": " + f.Msg
}

// blame is the units that a failure is about: one entry for crashing code, a cluster or file for bad
// data, none for anything else.
func blame(job *tasks.Job, f *exec.Failure, running tasks.Range, base int64) tasks.Range {
	if running.Empty() {
		return tasks.Range{}
	}
	file, _ := job.Data.Locate(running.First)
	units := job.Data.Units(file)
	var out tasks.Range
	switch f.Kind {
	case exec.KindSignal, exec.KindExit, exec.KindException, exec.KindStall, exec.KindMemory, exec.KindLimit:
		if f.Entry < 0 {
			return tasks.Range{}
		}
		out = tasks.R(base+f.Entry, base+f.Entry+1)
	case exec.KindData:
		out = tasks.R(base+f.Blame.First, base+f.Blame.Last)
		if f.Blame.Empty() {
			out = job.Data.Cluster(base + min(max(f.Entry, running.First-base), running.Last-base-1))
		}
	case exec.KindOpen, exec.KindSchema:
		out = units
	default:
		return tasks.Range{}
	}
	return out.Intersect(units).Intersect(job.Want)
}

func asFailure(err error, op string) *exec.Failure {
	var f *exec.Failure
	if errors.As(err, &f) {
		return f
	}
	kind := exec.KindInternal
	if errors.Is(err, exec.ErrGone) { // who killed it did not mean the job
		kind = exec.KindKilled
	}
	return &exec.Failure{Kind: kind, Op: op, Entry: -1, Msg: err.Error()}
}
