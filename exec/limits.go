package exec

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bound what one generation may take of its host. Zero values take the defaults. Memory and file size are the
// kernel's limits; the others are looked at a few times a second, in what the kernel tells of the process. A Stall of
// tasks.NoLimit is none.
type Limits struct {
	Memory    int64         // bytes of data the child may hold; default 80 % of the host's memory
	FileSize  int64         // bytes of any one file that user code writes; default none
	Scratch   int64         // bytes of all files in the working folder; default a quarter of what is free there
	Within    string        // the working folder, if Scratch is that default; set by WithDefaults alone
	Processes int           // processes started by user code that run at once; default DefaultProcesses
	Stall     time.Duration // an entry, or SlaveBegin, may take this long; default DefaultStall
	EntryCPU  time.Duration // CPU time of one entry, over all its threads and processes; default none
	Open      time.Duration // opening a file may take this long; default DefaultOpen
}

// The defaults of Limits.
const (
	DefaultStall     = 5 * time.Minute
	DefaultOpen      = 30 * time.Second
	DefaultProcesses = 256
)

// WithDefaults fills in what is not set, for a child that works in dir.
func (l Limits) WithDefaults(dir string) Limits {
	if l.Memory == 0 {
		l.Memory = HostMemory() / 5 * 4
	}
	if l.Stall == 0 {
		l.Stall = DefaultStall
	}
	if l.Open == 0 {
		l.Open = DefaultOpen
	}
	if l.Processes == 0 {
		l.Processes = DefaultProcesses
	}
	if l.Scratch == 0 && dir != "" {
		l.Scratch, l.Within = freeIn(dir)/4, dir
	}
	return l
}

// freeIn is what a user may still write into a folder, in bytes; 0 if unknown.
func freeIn(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}

// HostMemory is the host's memory in bytes, a guess where it cannot be read.
func HostMemory() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err == nil {
		for _, l := range strings.Split(string(b), "\n") {
			f := strings.Fields(l)
			if len(f) >= 2 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					return kb << 10
				}
			}
		}
	}
	return 8 << 30
}
