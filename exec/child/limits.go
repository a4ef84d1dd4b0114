package child

import (
	"cmp"
	"fmt"
	"time"

	"github.com/dtpnode/dtpnode/exec"
)

// breach says which limit a child went beyond, for which it is ended.
type breach struct {
	kind exec.Kind
	msg  string
	now  bool       // it is killed at once, without the time to write its stack
	host exec.Cause // why this host does not see the file, if kind is KindOpen
}

// littleRoom is how many bytes a disk must have free for its limit of Scratch to be one on the user's code.
const littleRoom = 64 << 20

// watch compares readings of a child with its limits. It knows no clock and no process, so that tests can make up both.
type watch struct {
	limits   exec.Limits
	stall    string // how the user allows more than limits.Stall
	progress uint64
	since    time.Time     // when progress last changed, or the child last was idle
	cpu      time.Duration // what the child had used by since
	fired    bool
}

// reading is the state of a child at one moment.
type reading struct {
	at        time.Time
	busy      bool // it works on a request
	progress  uint64
	opening   bool          // it is opening a file
	cpu       time.Duration // used so far, with what it started and has reaped
	processes int           // that it started and that run
	scratch   int64         // bytes in its working folder; the last known
}

// every is the interval between readings. It is positive, as a ticker needs it, whatever limits came with a job.
func (w *watch) every() time.Duration {
	return max(min(w.limits.Stall/4, lookEvery), time.Millisecond)
}

// look returns the limit that a reading is beyond; it does so once, for the child is ended then.
func (w *watch) look(r reading) (v breach, bad bool) {
	if w.fired {
		return v, false
	}
	v, bad = w.judge(r)
	w.fired = bad
	return v, bad
}

func (w *watch) judge(r reading) (breach, bool) {
	l := w.limits
	switch {
	case l.Processes > 0 && r.processes > l.Processes:
		msg := fmt.Sprintf("runs %d processes, the limit is %d (--max-processes)", r.processes, l.Processes)
		return breach{kind: exec.KindLimit, now: true, msg: msg}, true
	case l.Scratch > 0 && r.scratch > l.Scratch && l.Within != "" && l.Scratch < littleRoom/4:
		// The disk is to blame, and not what the user's code writes: the limit is that low since there was no room.
		msg := fmt.Sprintf("no space left on the disk of %s: %s were free there when it began, of which its working folder "+
			"holds %s", l.Within, size(4*l.Scratch), size(r.scratch))
		return breach{kind: exec.KindDisk, msg: msg}, true
	case l.Scratch > 0 && r.scratch > l.Scratch:
		msg := fmt.Sprintf("its working folder holds %s, the limit is %s (--max-scratch)", size(r.scratch), size(l.Scratch))
		return breach{kind: exec.KindLimit, msg: msg}, true
	case r.progress != w.progress || !r.busy:
		w.progress, w.since, w.cpu = r.progress, r.at, r.cpu
		return breach{}, false
	}
	took := r.at.Sub(w.since)
	switch {
	case r.opening && took >= l.Open:
		return breach{kind: exec.KindOpen, host: exec.CauseUnreachable, msg: TooLong(l.Open)}, true
	case l.EntryCPU > 0 && r.cpu-w.cpu >= l.EntryCPU:
		used := (r.cpu - w.cpu).Round(time.Millisecond)
		msg := fmt.Sprintf("one entry used %v of CPU time, the limit is %v (--max-cpu)", used, l.EntryCPU)
		return breach{kind: exec.KindLimit, msg: msg}, true
	case took >= l.Stall:
		msg := fmt.Sprintf("no progress for %v: an endless loop, or a call that does not return (%s)", l.Stall,
			cmp.Or(w.stall, "--stall"))
		return breach{kind: exec.KindStall, msg: msg}, true
	}
	return breach{}, false
}

// TooLong is the message of a failure to open a file within a time.
func TooLong(limit time.Duration) string {
	const why = "its server, or the file system, does not answer (--open-timeout)"
	return fmt.Sprintf("opening takes longer than %v: %s", limit, why)
}

// size formats a number of bytes for messages.
func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
