package tasks

import (
	"fmt"
	"math"
	"time"
)

// The least that a limit may be, where it is set at all. Watchers look at a child a few times a second, so that
// shorter times mean nothing; and with less room ROOT itself does not run, so that a job fails for its limit,
// whatever its code does.
const (
	LeastTime   = time.Second // of Stall, Open and EntryCPU
	LeastMemory = 256 << 20   // of Memory
	LeastSize   = 1 << 20     // of FileSize and Scratch
)

// NoLimit is a time that never passes, which a job has as its Stall whose user wants no limit, since 0 is the node's
// default. Nodes need not know of it: they wait, as for any other limit.
const NoLimit time.Duration = math.MaxInt64

// Limits bound what one child may do.
type Limits struct {
	Memory    int64         `msgpack:"m"` // bytes, 0 for the node's default
	Stall     time.Duration `msgpack:"s"` // longest time for one entry, 0 for the default; NoLimit
	Open      time.Duration `msgpack:"o"` // longest time to open a file, 0 for the default
	EntryCPU  time.Duration `msgpack:"c"` // CPU time of one entry, 0 for no limit
	Processes int           `msgpack:"p"` // started by user code at once, 0 for the default
	FileSize  int64         `msgpack:"f"` // bytes of any one file, 0 for no limit
	Scratch   int64         `msgpack:"d"` // bytes of all files in the working folder, 0 for the default
}

// Check refuses limits that no child can work with. Whoever takes a description from another calls it, as Job.Check
// does: limits come from whoever may submit, and go into timers and kernel limits of all hosts.
func (l Limits) Check() error {
	for _, t := range []struct {
		what string
		is   time.Duration
	}{
		{"one entry may take", l.Stall},
		{"opening a file may take", l.Open},
		{"one entry may use of the CPU", l.EntryCPU},
	} {
		if t.is != 0 && t.is < LeastTime {
			return fmt.Errorf("the time that %s is limited to %v, want at least %v", t.what, t.is, LeastTime)
		}
	}
	for _, s := range []struct {
		what      string
		is, least int64
	}{
		{"the memory of a process", l.Memory, LeastMemory},
		{"a file that is written", l.FileSize, LeastSize},
		{"the working folder", l.Scratch, LeastSize},
	} {
		if s.is != 0 && s.is < s.least {
			return fmt.Errorf("%s is limited to %d bytes, want at least %d", s.what, s.is, s.least)
		}
	}
	if l.Processes < 0 {
		return fmt.Errorf("the number of processes is limited to %d, want at least 1", l.Processes)
	}
	return nil
}
