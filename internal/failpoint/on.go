//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Enabled is whether Hit can kill the process.
const Enabled = true

// Number returns the number in an environment variable, or def. Tests use it to reach a bound soon.
func Number(variable string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return def
}

var (
	name, nth = chosen()
	hits      atomic.Int64
)

func chosen() (Step, int64) {
	s, count, found := strings.Cut(os.Getenv("DTPNODE_FAILPOINT"), ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !found || err != nil {
		n = 1
	}
	return Step(s), n
}

// Hit kills the process by SIGKILL if s is the chosen step and is reached for the chosen time.
func Hit(s Step) {
	if s != name || hits.Add(1) != nth {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens in this process
}
