package jobs

import (
	"fmt"
	"regexp"
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
	Lines    []string     // printed by Begin and Terminate
	Log      []logLine    // printed by the generations that run on this node
	LogBytes int          // bytes in Log
	LogPast  int64        // bytes of what was in Log before its beginning
	LogLost  exec.Dropped // what was printed before the beginning of Log
	LogAll   exec.Dropped // what was printed in all
}

// logLine is a line of a log, with its end, and what was printed for it: itself, or all that it says was dropped.
type logLine struct {
	text string
	of   exec.Dropped
	own  bool // it is the node's word of a process that has failed
}

// failedMark begins the node's word of a process that has failed; failedMore begins the lines of it that follow.
const (
	failedMark = "dtpnode: failed on "
	failedMore = "    "
)

// quote begins a line that is printed by a process and looks like one that the node itself puts into a log. Who passes
// on what calls have printed, and nothing else, takes one quote off each such line, so that those which begin with some
// already have one more here.
const quote = "| "

// ownWords are what the node's own lines look like, behind any quotes.
var ownWords = regexp.MustCompile(`^(?:\| )*(?:` + failedMark + `|\.\.\. [\d,]+ lines? \([\d,]+ bytes\) of )`)

// quoted is a printed line as it stands in a log. after says that it follows the node's word of a failure, which it
// must not seem to go on.
func quoted(line string, after bool) string {
	if ownWords.MatchString(line) || after && more(line) {
		return quote + line
	}
	return line
}

// more reports whether a line looks, behind any quotes, as if it went on with the node's word of a failure.
func more(line string) bool {
	for strings.HasPrefix(line, quote) {
		line = line[len(quote):]
	}
	return strings.HasPrefix(line, failedMore)
}

// Reasons why lines are dropped.
const (
	pastReader = "printed faster than it could be read"
	pastPace   = "more than the 256 KiB that a node keeps" // maxLogBytes, which followers read each logEvery
)

// clientLine keeps a line that Begin or Terminate printed.
func (j *Job) clientLine(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if d, ok := exec.DroppedIn(line); ok {
		line = d.Text("this process", pastReader)
	}
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

// Printed keeps a line that a child printed on this node, which has that name, and drops the oldest lines if there are
// too many.
func (j *Job) Printed(node, line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if d, ok := exec.DroppedIn(line); ok {
		j.logged(logLine{text: d.Text(node, pastReader) + "\n", of: d})
		return
	}
	n := len(j.s.Log)
	j.logged(newLine(quoted(line, n > 0 && j.s.Log[n-1].own)))
}

func newLine(line string) logLine {
	return logLine{text: line + "\n", of: exec.Dropped{Lines: 1, Bytes: int64(len(line)) + 1}}
}

// logged adds a line to the log. j.mu is held.
func (j *Job) logged(l logLine) {
	j.s.LogAll = j.s.LogAll.Add(l.of)
	j.s.Log = append(j.s.Log, l)
	j.s.LogBytes += len(l.text)
	for j.s.LogBytes > maxLogBytes && len(j.s.Log) > 1 {
		first := j.s.Log[0]
		j.s.LogBytes -= len(first.text)
		j.s.LogPast += int64(len(first.text))
		j.s.LogLost = j.s.LogLost.Add(first.of)
		j.s.Log = j.s.Log[1:]
	}
}

// crashed adds the failure of a child to the log of what the children printed, where users look for the reason: a child
// that crashes may have printed nothing. unit is what it was at, -1 if that is not known, and is named where no
// file names it. It leaves out failures of this host alone, since other nodes run that work.
func (j *Job) crashed(node string, f *exec.Failure, unit int64) {
	if f.Host != "" {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, line := range strings.Split(strings.TrimSpace(f.Error()+"\n"+f.Stack), "\n") {
		if i == 0 {
			at := ""
			if f.File == "" && unit >= 0 {
				at = fmt.Sprintf(" at item %d", unit)
			}
			line = fmt.Sprintf("%s%s%s: %s", failedMark, node, at, line)
		} else {
			line = failedMore + line
		}
		l := newLine(line)
		l.own = true
		j.logged(l)
	}
}

// log is what children printed here, as far as it is kept.
func (j *Job) log() logText {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, l := range j.s.Log {
		b.WriteString(l.text)
	}
	return logText{began: j.began, at: j.s.LogPast, lost: j.s.LogLost, all: j.s.LogAll, text: b.String()}
}
