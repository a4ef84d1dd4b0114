package jobs

import (
	"fmt"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
)

// Bounds of what is kept of a job's output.
const (
	maxLogBytes    = 256 << 10
	maxClientLines = 10_000
)

// Printed is what a job has printed on this node. Both lists are bounded: of Lines the first ones are kept, of Log the
// last ones.
type Printed struct {
	Lines    []string // printed by Begin and Terminate
	Log      []string // printed by the generations that run on this node
	LogBytes int      // bytes in Log, with an end of line for each
	LogLost  int      // how many lines were dropped from the beginning of Log
}

// clientLine keeps a line that Begin or Terminate printed.
func (j *Job) clientLine(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.s.Lines) < maxClientLines {
		j.s.Lines = append(j.s.Lines, line)
	}
}

// linesFrom returns the lines of Begin and Terminate from the n-th on.
func (j *Job) linesFrom(n int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.s.Lines[min(n, len(j.s.Lines)):]...)
}

// Printed keeps a line that a child printed here, and drops the oldest lines if there are too many.
func (j *Job) Printed(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.s.Log = append(j.s.Log, line)
	j.s.LogBytes += len(line) + 1
	for j.s.LogBytes > maxLogBytes && len(j.s.Log) > 1 {
		j.s.LogBytes -= len(j.s.Log[0]) + 1
		j.s.Log = j.s.Log[1:]
		j.s.LogLost++
	}
}

// crashed adds the failure of a child to the log of what the children printed, where users look for the reason: a child
// that crashes may have printed nothing. It leaves out failures of this host alone, since other nodes run that work.
func (j *Job) crashed(node string, f *exec.Failure) {
	if f.Host != "" {
		return
	}
	for i, line := range strings.Split(strings.TrimSpace(f.Error()+"\n"+f.Stack), "\n") {
		if i == 0 {
			line = fmt.Sprintf("dtpnode: failed on %s: %s", node, line)
		} else {
			line = "    " + line
		}
		j.Printed(line)
	}
}

// logFrom returns what children printed, from line n on, counted from the job's start, and the number
// of the next line.
func (j *Job) logFrom(n int) (lines []string, next int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := min(max(n-j.s.LogLost, 0), len(j.s.Log))
	return append([]string(nil), j.s.Log[from:]...), j.s.LogLost + len(j.s.Log)
}
