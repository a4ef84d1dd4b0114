//go:build failpoints

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Enabled says that Hit may end the process.
const Enabled = true

// Number is that of an environment variable, or def: a bound that tests are to reach soon.
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

// Hit ends the process by SIGKILL if s is the chosen step, reached for the chosen time.
func Hit(s Step) {
	if s != name || hits.Add(1) != nth {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing more happens in this process
}
