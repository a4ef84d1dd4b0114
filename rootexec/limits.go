package rootexec

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	phase     phase
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
		return verdict{kind: exec.KindLimit, now: true, msg: fmt.Sprintf("runs %d processes, the limit is %d (--max-processes)", r.processes, l.Processes)}, true
	case l.Scratch > 0 && r.scratch > l.Scratch:
		return verdict{kind: exec.KindLimit, msg: fmt.Sprintf("its working folder holds %s, the limit is %s (--max-scratch)", size(r.scratch), size(l.Scratch))}, true
	case r.progress != w.progress || !r.busy:
		w.progress, w.since, w.cpu = r.progress, r.at, r.cpu
		return verdict{}, false
	}
	took := r.at.Sub(w.since)
	switch {
	case r.phase == phaseOpen && took >= l.Open:
		return verdict{kind: exec.KindOpen, host: exec.CauseUnreachable, msg: tooLong(l.Open)}, true
	case l.EntryCPU > 0 && r.cpu-w.cpu >= l.EntryCPU:
		return verdict{kind: exec.KindLimit, msg: fmt.Sprintf("one entry used %v of CPU time, the limit is %v (--max-cpu)", (r.cpu - w.cpu).Round(time.Millisecond), l.EntryCPU)}, true
	case took >= l.Stall:
		return verdict{kind: exec.KindStall, msg: fmt.Sprintf("no progress for %v: an endless loop, or a call that does not return (--stall)", l.Stall)}, true
	}
	return verdict{}, false
}

// tooLong is what is told of a file that could not be opened within a time.
func tooLong(limit time.Duration) string {
	return fmt.Sprintf("opening takes longer than %v: its server, or the file system, does not answer (--open-timeout)", limit)
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

// clockTick is how the kernel counts CPU time in /proc: USER_HZ, which is 100 on every Linux platform that Go knows.
const clockTick = time.Second / 100

// cpuTime is what a process has used, with its reaped children; 0 if it is gone.
func cpuTime(pid int) time.Duration {
	fields := procStat(pid)
	if len(fields) < 15 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime: fields 14 to 17 of proc(5)
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}

// procStat are the fields of /proc/PID/stat behind the name, from the state on.
func procStat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	_, after, _ := strings.Cut(string(b[max(strings.LastIndexByte(string(b), ')'), 0):]), ")")
	return strings.Fields(after)
}

// descendants counts the processes below one that have not ended, up to a bound. What leaves its session stays below
// it (child/zygote.cc makes each child the reaper of its own).
func descendants(pid, bound int) (n int) {
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, file := range tasks {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(f)
			if err != nil || n > bound {
				return n
			}
			if st := procStat(child); len(st) > 0 && st[0] != "Z" {
				n++
			}
			n += descendants(child, bound-n)
		}
	}
	return n
}

// bytesIn sums what the files in a folder take on its disk, sparse files as they are. What goes away meanwhile does
// not count.
func bytesIn(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}
