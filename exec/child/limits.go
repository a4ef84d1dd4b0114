package child

import (
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// verdict is why a child is ended by its limits.
type verdict struct {
	kind exec.Kind
	msg  string
	now  bool       // without the time to write a stack
	host exec.Cause // of KindOpen
}

// watch notices when a child goes beyond its limits. It knows no clock and no process: look is given readings.
type watch struct {
	limits   exec.Limits
	progress uint64
	since    time.Time     // progress last changed, or the child was idle
	cpu      time.Duration // that the child had used by then
	fired    bool
}

// reading is what a watch is told of a child at one moment.
type reading struct {
	at        time.Time
	busy      bool // it owes an answer
	progress  uint64
	opening   bool          // it is opening a file
	cpu       time.Duration // used so far, with what it started and has reaped
	processes int           // that it started and that run
	scratch   int64         // bytes in its working folder; the last known
}

// every is how often a child is looked at. Whatever limits came with a job, it is a time that a ticker takes.
func (w *watch) every() time.Duration {
	return max(min(w.limits.Stall/4, lookEvery), time.Millisecond)
}

// look returns a verdict once, when r is beyond a limit.
func (w *watch) look(r reading) (v verdict, bad bool) {
	if w.fired {
		return v, false
	}
	v, bad = w.judge(r)
	w.fired = bad
	return v, bad
}

func (w *watch) judge(r reading) (verdict, bool) {
	l := w.limits
	switch {
	case l.Processes > 0 && r.processes > l.Processes:
		msg := fmt.Sprintf("runs %d processes, the limit is %d (--max-processes)", r.processes, l.Processes)
		return verdict{kind: exec.KindLimit, now: true, msg: msg}, true
	case l.Scratch > 0 && r.scratch > l.Scratch:
		msg := fmt.Sprintf("its working folder holds %s, the limit is %s (--max-scratch)", size(r.scratch), size(l.Scratch))
		return verdict{kind: exec.KindLimit, msg: msg}, true
	case r.progress != w.progress || !r.busy:
		w.progress, w.since, w.cpu = r.progress, r.at, r.cpu
		return verdict{}, false
	}
	took := r.at.Sub(w.since)
	switch {
	case r.opening && took >= l.Open:
		return verdict{kind: exec.KindOpen, host: exec.CauseUnreachable, msg: TooLong(l.Open)}, true
	case l.EntryCPU > 0 && r.cpu-w.cpu >= l.EntryCPU:
		used := (r.cpu - w.cpu).Round(time.Millisecond)
		msg := fmt.Sprintf("one entry used %v of CPU time, the limit is %v (--max-cpu)", used, l.EntryCPU)
		return verdict{kind: exec.KindLimit, msg: msg}, true
	case took >= l.Stall:
		msg := fmt.Sprintf("no progress for %v: an endless loop, or a call that does not return (--stall)", l.Stall)
		return verdict{kind: exec.KindStall, msg: msg}, true
	}
	return verdict{}, false
}

// TooLong is what is told of a file that could not be opened within a time.
func TooLong(limit time.Duration) string {
	const why = "its server, or the file system, does not answer (--open-timeout)"
	return fmt.Sprintf("opening takes longer than %v: %s", limit, why)
}

// size is a number of bytes as a user reads it.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
