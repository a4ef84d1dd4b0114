package child

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

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
// it (each fork is the reaper of its own: see the package comment).
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
