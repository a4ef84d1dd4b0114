//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

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

// Hit ends the process by SIGKILL if s is the chosen step, reached for the chosen time.
func Hit(s Step) {
	if s != name || hits.Add(1) != nth {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens in this process
}
