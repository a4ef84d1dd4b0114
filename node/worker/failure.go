package worker

import (
	"errors"
	"fmt"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/tasks"
)

// Failure converts a failure of a runtime to the form in which it stands in a job's record. It blames no unit, and
// another node may do better.
func Failure(f *exec.Failure) ledger.Failure {
	return ledger.Failure{
		Kind: string(f.Kind), Reason: reason(f), Stack: f.Stack, Tail: f.Tail, Adds: f.Adds, Cause: string(f.Cause),
	}
}

// failureOf is the report to a job's home about a failure of a generation. job is nil if its description is not known.
// running is the packet that ran, empty if none did.
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
	if f.Adds {
		out.Blame, out.Reason = tasks.Range{}, reason(f)
		if f.Entry >= 0 && f.Cause == nil { // the cause says where
			out.Reason += fmt.Sprintf("; the value that was being added is that of item %d", running.Base+f.Entry)
		}
	}
	return out
}

// AddingFailure is the failure of a merge by the user's code, as Failure.Adds tells of it; nil for any other error, and
// for what may be the node's own fault.
func AddingFailure(err error) *ledger.Failure {
	var f *exec.Failure
	if !errors.As(err, &f) || !f.Adds || f.Kind == exec.KindMemory {
		return nil
	}
	out := Failure(f)
	return &out
}

// reason is a failure in one line, without file and entry, which are shown beside it.
func reason(f *exec.Failure) string {
	if f.Op == "" {
		return f.Msg
	}
	return f.Op + ": " + f.Msg
}

// blame is the units that a failure is about: one entry for crashing code, a cluster or file for bad data, none for
// anything else. Where files are not divided it goes on to the end of the file, since nobody may begin behind an entry
// at which the code may give the file up when it is tried again; the home sets aside only what the failure is about.
func blame(job *tasks.Job, f *exec.Failure, running tasks.Range, base int64) tasks.Range {
	if running.Empty() {
		return tasks.Range{}
	}
	file, _ := job.Data.Locate(running.First)
	units := job.Data.Units(file)
	var out tasks.Range
	switch f.Kind {
	case exec.KindSignal, exec.KindExit, exec.KindException, exec.KindStall, exec.KindMemory, exec.KindLimit,
		exec.KindKilled:
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
	if job.Data.Whole {
		out.Last = units.Last
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
