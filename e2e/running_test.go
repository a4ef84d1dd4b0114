package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go-hep.org/x/hep/groot"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// paced is a job over 80,000 events that sleeps so many microseconds at each: tests have time to do
// things to its nodes, and leave the processors to other tests.
func paced(t testing.TB, us int) job {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", "Paced.C"))
	check(t, err)
	return job{Job: roottest.Job{
		Selector: path,
		Tree:     "Events",
		Files:    fourFiles(t),
		Params:   map[string]string{"us": fmt.Sprint(us)},
	}}
}

// running is a `dtpnode run` under way.
type running struct {
	cmd    *exec.Cmd
	out    outcome
	events *bufio.Scanner
	stderr bytes.Buffer
}

// begin starts `dtpnode run`.
func (n *node) begin(t testing.TB, j job) *running {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.root")
	return n.beginArgs(t, out, j.arguments(out)...)
}

// beginArgs starts `dtpnode run` as these arguments say.
func (n *node) beginArgs(t testing.TB, out string, args ...string) *running {
	t.Helper()
	r := &running{out: outcome{out: out}}
	all := append(append([]string{}, n.wrap...), n.bin)
	all = append(append(all, args...), "--output", "json")
	r.cmd = exec.CommandContext(t.Context(), all[0], all[1:]...)
	r.cmd.Env = append(os.Environ(), "DTPNODE_STATE="+n.state, "DTPNODE_CACHE="+suite.cache)
	r.cmd.Dir = t.TempDir()
	r.cmd.Stderr = &r.stderr
	pipe, err := r.cmd.StdoutPipe()
	check(t, err)
	check(t, r.cmd.Start())
	r.events = bufio.NewScanner(pipe)
	r.events.Buffer(nil, 16<<20)
	return r
}

// next reads one status; false at the end of them.
func (r *running) next(t testing.TB) bool {
	t.Helper()
	for r.events.Scan() {
		var ev api.Event
		check(t, json.Unmarshal(r.events.Bytes(), &ev))
		if ev.Type == "log" {
			r.out.lines = append(r.out.lines, ev.Line)
		}
		if ev.Status != nil {
			r.out.st = *ev.Status
			return true
		}
	}
	check(t, r.events.Err())
	return false
}

// until reads statuses until one is so; the job must not end before.
func (r *running) until(t testing.TB, what string, so func(api.JobStatus) bool) api.JobStatus {
	t.Helper()
	for r.next(t) {
		if so(r.out.st) {
			return r.out.st
		}
		if r.out.st.State.Final() {
			break
		}
	}
	t.Fatalf("the job ended before %s: %s", what, r.out.describe())
	return api.JobStatus{}
}

// part waits until so much of the units is done.
func (r *running) part(t testing.TB, fraction float64) api.JobStatus {
	t.Helper()
	return r.until(t, fmt.Sprintf("%.0f%% were done", 100*fraction), func(st api.JobStatus) bool {
		return st.State == api.Running && st.Units > 0 && float64(st.Done) >= fraction*float64(st.Units)
	})
}

// partBy waits until so much of the units is done, some of it by a node: on a busy host others may have done much
// before it has loaded the selector.
func (r *running) partBy(t testing.TB, fraction float64, name string) api.JobStatus {
	t.Helper()
	return r.until(t, fmt.Sprintf("%.0f%% were done, some by %s", 100*fraction, name), func(st api.JobStatus) bool {
		return st.State == api.Running && st.Units > 0 && float64(st.Done) >= fraction*float64(st.Units) &&
			r.out.work(t, name).Units > 0
	})
}

// end waits for the command's end.
func (r *running) end(t testing.TB) outcome {
	t.Helper()
	for r.next(t) { // the last one stays
	}
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	r.out.result = result{code: r.cmd.ProcessState.ExitCode(), stderr: r.stderr.String()}
	r.out.readErrors()
	return r.out
}

// readErrors takes the error and the hint out of standard error.
func (o *outcome) readErrors() {
	for line := range strings.Lines(o.stderr) {
		var f struct{ Error, Hint string }
		if json.Unmarshal([]byte(line), &f) == nil {
			o.err, o.hint = f.Error, f.Hint
		}
	}
}

// work is what a node did.
func (o outcome) work(t testing.TB, name string) api.NodeWork {
	t.Helper()
	i := slices.IndexFunc(o.st.Nodes, func(w api.NodeWork) bool { return w.Name == name })
	if i < 0 {
		return api.NodeWork{Name: name}
	}
	return o.st.Nodes[i]
}

// processed is the sum of what the nodes processed, counted twice where it was done twice.
func processed(st api.JobStatus) (n int64) {
	for _, w := range st.Nodes {
		n += w.Units
	}
	return n
}

// pid is the daemon's own, which is not that of the command that started it if something wraps it.
func (n *node) pid(t testing.TB) int {
	t.Helper()
	st, err := n.status()
	check(t, err)
	return st.PID
}

// processTree is the processes of one daemon as they stand. Deeper ones come later.
type processTree struct {
	daemon int
	below  []int // all others
	base   int   // the base zygote
	sel    []int // zygotes with a selector
	leaves []int // those that fork nobody: generations, clients, planners
}

// processes looks at the daemon's processes.
func (n *node) processes(t testing.TB) processTree {
	t.Helper()
	tr := processTree{daemon: n.pid(t)}
	tr.below = below(tr.daemon)
	for _, pid := range tr.below {
		switch kids := children(pid); {
		case len(kids) == 0:
			tr.leaves = append(tr.leaves, pid)
		case parentOf(pid) == tr.daemon:
			tr.base = pid
		default:
			tr.sel = append(tr.sel, pid)
		}
	}
	return tr
}

// generation is the process that runs a generation: it waits for the selector's zygote to fork it, and
// is told from others, such as the submitting side's, by its command's cover.
func (n *node) generation(t testing.TB) int {
	t.Helper()
	found := 0
	err := poll(settleLimit, func() (bool, error) {
		for _, sel := range n.processes(t).sel {
			for _, pid := range children(sel) {
				dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
				if err == nil && strings.HasPrefix(filepath.Base(dir), "gen-") {
					found = pid
				}
			}
		}
		return found != 0, nil
	})
	if err != nil {
		t.Fatalf("%s runs no generation: %v", n.name, err)
	}
	return found
}

// killGeneration kills a process that runs a generation, or the next one if that one has just ended.
func (n *node) killGeneration(t testing.TB) {
	t.Helper()
	check(t, poll(settleLimit, func() (bool, error) {
		err := syscall.Kill(n.generation(t), syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return false, nil
		}
		return true, err
	}))
}

// below lists the processes under pid.
func below(pid int) (all []int) {
	for _, kid := range children(pid) {
		all = append(append(all, kid), below(kid)...)
	}
	return all
}

func children(pid int) (kids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread that has ended has none
		for _, f := range strings.Fields(string(text)) {
			if kid, err := strconv.Atoi(f); err == nil {
				kids = append(kids, kid)
			}
		}
	}
	return kids
}

// stat is the fields of /proc/PID/stat behind the name; nil if there is no such process.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

func parentOf(pid int) int {
	f := stat(pid)
	if len(f) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(f[1])
	return parent
}

// lives reports whether a process runs. One that nobody has reaped yet does not.
func lives(pid int) bool {
	f := stat(pid)
	return len(f) > 0 && f[0] != "Z" && f[0] != "X"
}

func kill(t testing.TB, pids ...int) { signal(t, syscall.SIGKILL, pids...) }

// signal fails the test if a process had gone before, unless another of these killed it.
func signal(t testing.TB, sig syscall.Signal, pids ...int) {
	t.Helper()
	for i, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && (i == 0 || !errors.Is(err, syscall.ESRCH)) {
			t.Fatalf("could not send %s to process %d: %v", sig, pid, err)
		}
	}
}

// wantGone waits until none of these processes runs.
func wantGone(t testing.TB, pids []int) {
	t.Helper()
	var left []int
	err := poll(settleLimit, func() (bool, error) {
		left = slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return !lives(pid) })
		return len(left) == 0, nil
	})
	if err != nil {
		for _, pid := range left {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Errorf("process %d is left, below %d: %q %v", pid, parentOf(pid), text, stat(pid))
		}
	}
}

// restart starts a daemon that has ended again, with the same state. Its name in the cluster stays.
func (n *node) restart(t testing.TB, spec nodeSpec) {
	t.Helper()
	n.client.Close()
	_ = n.stdin.Close()
	<-n.ended
	spec.state = n.state
	again, err := launchNode(n.dir, spec)
	check(t, err)
	*n = *again
	check(t, n.waitReady())
}

// scratch lists what jobs have left in a daemon's scratch folder.
func (n *node) scratch(t testing.TB) (left []string) {
	t.Helper()
	dir := filepath.Join(n.state, "scratch")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "ship" { // sources and libraries: the folder stays
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	shipped, err := filepath.Glob(filepath.Join(dir, "ship", "*"))
	check(t, err)
	return append(left, shipped...)
}

// wantIdle waits until a daemon has nothing left of any job.
func (n *node) wantIdle(t testing.TB) {
	t.Helper()
	var left []string
	busy := -1
	err := poll(settleLimit+time.Minute, func() (bool, error) {
		st, err := n.status()
		left, busy = n.scratch(t), st.Busy
		return err == nil && len(left) == 0 && busy == 0, err
	})
	if err != nil {
		t.Errorf("%s has %d busy slots and keeps %q: %v", n.name, busy, left, err)
	}
}

// firstLine is what a command printed for scripts.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// rootEntries is how many entries a Paced output holds.
func rootEntries(t testing.TB, path string) int64 {
	t.Helper()
	f, err := groot.Open(path)
	check(t, err)
	defer f.Close()
	obj, err := f.Get("blocks")
	check(t, err)
	h, ok := obj.(interface{ Entries() float64 })
	if !ok {
		t.Fatalf("%s holds a %T", path, obj)
	}
	return int64(h.Entries())
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
