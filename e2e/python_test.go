package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/pyexec"
	"github.com/dtpnode/dtpnode/wire"
)

// whereVariable is an environment variable of the daemons of these tests, which their Python code sees: their name.
const whereVariable = "DTPNODE_TEST_WHERE"

// pythonSpecs are daemons that run Python and not ROOT.
func pythonSpecs(names ...string) (specs []nodeSpec) {
	for _, name := range names {
		specs = append(specs, nodeSpec{
			name: name, args: []string{"--root", "none"}, env: []string{whereVariable + "=" + name},
		})
	}
	return specs
}

// pythonJob is a job whose code is a Python source.
func pythonJob(t testing.TB, source string) api.JobRequest {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "code.py")
	check(t, os.WriteFile(path, []byte(source), 0o600))
	spec, err := json.Marshal(pyexec.Spec{Code: path})
	check(t, err)
	return api.JobRequest{Kind: pyexec.Kind, Title: path, Spec: spec, N: -1, Dir: dir}
}

// pickled is what a partial holds of an item whose call has returned these bytes, fewer than 256.
func pickled(b string) string {
	body := append([]byte{'C', byte(len(b))}, b...)
	body = append(body, 0x94, '.')  // MEMOIZE, STOP
	out := []byte{0, 0x80, 5, 0x95} // of a call that returned; PROTO, FRAME
	out = binary.LittleEndian.AppendUint64(out, uint64(len(body)))
	return string(append(out, body...))
}

// exchanger is a program that appends to a job over an exchange and follows it there, over connection after connection.
type exchanger struct {
	id, socket string

	mu     sync.Mutex
	conn   net.Conn              // nil between connections
	sent   []*api.ExchangeAppend // not answered yet, by their numbers
	early  map[int64]string      // values that were told early
	values map[int64]string      // of committed units
	lost   map[int64]api.Missing // by their units
	over   bool                  // all is told
	news   chan struct{}         // of room for one
	ended  chan error            // why it does not go on
}

// newExchanger follows a job on a node until all is told.
func newExchanger(t testing.TB, n *node, id string) *exchanger {
	x := &exchanger{
		id: id, socket: api.SocketPath(n.state), early: map[int64]string{}, values: map[int64]string{},
		lost: map[int64]api.Missing{}, news: make(chan struct{}, 1), ended: make(chan error, 1),
	}
	go func() { // ends with the job, or with the test
		for {
			err := x.connection()
			if x.isOver() || errors.Is(err, errWrong) || t.Context().Err() != nil {
				x.ended <- err
				return
			}
			select { // the daemon is dead, or does not know the job yet
			case <-t.Context().Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return x
}

func (x *exchanger) isOver() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.over
}

// connection exchanges over one connection until that ends.
func (x *exchanger) connection() error {
	conn, err := net.Dial("unix", x.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	x.mu.Lock()
	first := int64(0) // the first unit that was not told
	for x.isTold(first) {
		first++
	}
	x.mu.Unlock()
	fmt.Fprintf(conn, "GET /v1/jobs/%s/exchange?first=%d HTTP/1.1\r\nHost: dtpnode\r\nConnection: Upgrade\r\n"+
		"Upgrade: %s\r\n\r\n", x.id, first, api.ExchangeProtocol)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		return errors.Join(fmt.Errorf("the exchange is answered with %s", answer.Status), answer.Body.Close())
	}
	x.mu.Lock()
	x.conn = conn
	for _, a := range x.sent { // their answers were lost
		_ = sayTo(conn, a)
	}
	x.mu.Unlock()
	told := map[int64]bool{}
	for {
		b, err := wire.ReadFrame(in, 1<<28)
		var a api.ExchangeAnswer
		if err == nil {
			err = wire.Unmarshal(b, &a)
		}
		if err == nil {
			err = x.hear(a, told)
		}
		if err != nil {
			x.mu.Lock()
			x.conn = nil
			x.mu.Unlock()
			return err
		}
	}
}

func (x *exchanger) isTold(unit int64) bool {
	_, value := x.values[unit]
	_, lost := x.lost[unit]
	return value || lost
}

// hear takes an answer. Each unit must be told once by each connection, and early before it is committed.
func (x *exchanger) hear(a api.ExchangeAnswer, told map[int64]bool) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var rest api.UnitsEvent
	if len(a.Failed) > 0 {
		return fmt.Errorf("%w: append %d is refused: %s", errWrong, a.Seq, a.Failed)
	}
	if len(a.Rest) > 0 {
		if err := json.Unmarshal(a.Rest, &rest); err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
	}
	x.sent = slices.DeleteFunc(x.sent, func(s *api.ExchangeAppend) bool { return s.Seq == a.Seq })
	values := map[int64]string{}
	for _, runs := range [][]api.ValueRun{a.Early, a.Values} {
		for _, r := range runs {
			for i, v := range r.Values {
				values[r.First+int64(i)] = string(v)
			}
		}
	}
	for _, r := range a.Early {
		for unit := r.First; unit < r.First+int64(len(r.Values)); unit++ {
			if told[unit] {
				return fmt.Errorf("%w: unit %d is told early after it was committed", errWrong, unit)
			}
			x.early[unit] = values[unit]
		}
	}
	for _, u := range a.Units {
		for unit := u[0]; unit < u[1]; unit++ {
			value, ok := values[unit]
			if !ok {
				value, ok = x.early[unit]
			}
			if before, again := x.values[unit]; told[unit] || !ok || again && before != value {
				return fmt.Errorf("%w: unit %d is told twice, or as %q after %q", errWrong, unit, value, before)
			}
			told[unit], x.values[unit] = true, value
		}
	}
	for _, m := range rest.Lost {
		for unit := m.Units[0]; unit < m.Units[1]; unit++ {
			if told[unit] {
				return fmt.Errorf("%w: unit %d is told, and then lost", errWrong, unit)
			}
			told[unit], x.lost[unit] = true, m
		}
	}
	x.over = x.over || rest.Over != nil
	select {
	case x.news <- struct{}{}:
	default:
	}
	if rest.Failed != nil {
		return rest.Failed
	}
	return nil
}

func sayTo(conn net.Conn, a *api.ExchangeAppend) error {
	b, err := wire.Marshal(a)
	if err != nil {
		return err
	}
	return wire.WriteFrame(conn, b)
}

// append appends items, now or over the next connection.
func (x *exchanger) append(a api.ExchangeAppend) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.sent = append(x.sent, &a)
	if x.conn != nil {
		_ = sayTo(x.conn, &a) // the next connection says it again
	}
}

// until waits until what the exchange has told is so.
func (x *exchanger) until(t testing.TB, what string, so func() bool) {
	t.Helper()
	late := time.After(commandLimit)
	for {
		x.mu.Lock()
		ok := so()
		x.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-x.news:
		case err := <-x.ended:
			t.Fatalf("the exchange ended before %s: %v", what, err)
		case <-late:
			t.Fatalf("the exchange does not tell that %s: %d values, %d of them early, %v lost", what, len(x.values),
				len(x.early), x.lost)
		}
	}
}

// end waits until all is told, and compares it with what it must be and with what the node tells of it then.
func (x *exchanger) end(t testing.TB, n *node, want map[int64]string, lost ...int64) {
	t.Helper()
	select {
	case err := <-x.ended:
		if errors.Is(err, errWrong) || !x.isOver() {
			t.Fatal(err)
		}
	case <-time.After(commandLimit):
		t.Fatal("the exchange does not end")
	}
	again := newReader(n, x.id)
	check(t, again.follow(t.Context()))
	for unit, value := range want {
		if got, committed := x.values[unit], again.values[unit]; got != value || committed != value {
			t.Errorf("unit %d is told as %q, committed as %q, want %q", unit, got, committed, value)
		}
		if early, ok := x.early[unit]; ok && early != value {
			t.Errorf("unit %d is told early as %q, want %q", unit, early, value)
		}
	}
	if len(x.values) != len(want) || len(again.values) != len(want) || len(x.lost) != len(lost) {
		t.Errorf("told %d values, committed %d, want %d; lost %v, want %v", len(x.values), len(again.values), len(want),
			x.lost, lost)
	}
	for _, unit := range lost {
		if _, ok := x.lost[unit]; !ok {
			t.Errorf("unit %d is not told as lost", unit)
		}
	}
}

// TestPythonValuesEarly: values of items that another node has run come before they are committed, while the node of
// the user runs an item of its own, and are the same when they are.
func TestPythonValuesEarly(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, pythonSpecs("a", "b")...)
	gate := filepath.Join(t.TempDir(), "gate")
	req := pythonJob(t, fmt.Sprintf(`
import os, time

MODE = "values"
HERE = os.environ[%q]

def process(item):
    while HERE == "a" and not os.path.exists(%q):
        time.sleep(0.001)
    return HERE.encode() + b" " + item
`, whereVariable, gate))
	req.StaysOpen = true
	at := c.nodes[0]
	x := newExchanger(t, at, at.submit(t, req).ID)
	want, early := map[int64]string{}, false
	for seq := uint64(1); !early; seq++ { // not all are told early, and the first ones may wait for the other node
		if seq > 200 {
			t.Fatalf("no value came early: %d are committed", len(x.values))
		}
		x.append(api.ExchangeAppend{Seq: seq, Data: [][]byte{fmt.Append(nil, seq-1)}})
		unit := int64(seq - 1)
		want[unit] = pickled(fmt.Sprint("b ", unit))
		if seq == 1 {
			want[unit] = "" // whichever node takes it
			continue
		}
		x.until(t, fmt.Sprintf("unit %d has a value", unit), func() bool {
			_, told := x.early[unit]
			early = early || told
			return told || x.isTold(unit)
		})
	}
	check(t, os.WriteFile(gate, nil, 0o600))
	x.append(api.ExchangeAppend{Seq: uint64(len(want)) + 1, Close: true})
	x.until(t, "all is told", func() bool { return x.over })
	for unit, value := range want {
		if value == "" {
			want[unit] = x.values[unit]
		}
	}
	x.end(t, at, want)
	_, st := c.waitFinal(t, x.id, commandLimit)
	if st.State != api.Done || !slices.Contains(workers(st), "b") {
		t.Errorf("ended as %s, by %v: %s", st.State, workers(st), st.Error)
	}
	c.wantSettled(t, x.id)
}

// TestPythonOutlivesKills: items that were appended over an exchange, and by requests of their own, run once each while
// a generation, a worker and the home are killed, and the values are those that are committed.
func TestPythonOutlivesKills(t *testing.T) {
	t.Parallel()
	specs := pythonSpecs("a", "b", "c")
	c := ownCluster(t, specs...)
	req := pythonJob(t, `
import time

def process(item):
    time.sleep(0.002)
    return item.upper()
`)
	req.StaysOpen = true
	at := c.nodes[1]
	x := newExchanger(t, at, at.submit(t, req).ID)
	const batch = 200
	want := map[int64]string{}
	items := func(seq uint64) (data [][]byte) {
		for unit := int64(seq-1) * batch; unit < int64(seq)*batch; unit++ {
			data = append(data, fmt.Append(nil, "item ", unit))
			want[unit] = pickled(fmt.Sprint("ITEM ", unit))
		}
		return data
	}
	grow := func(seq uint64) { x.append(api.ExchangeAppend{Seq: seq, Data: items(seq)}) }
	known := func(n int) func() bool {
		return func() bool {
			told := len(x.values)
			for unit := range x.early {
				if !x.isTold(unit) {
					told++
				}
			}
			return told >= n
		}
	}
	grow(1)
	g := &growing{t: t, id: x.id}
	x.until(t, "the first item has run", known(1))
	g.appendRequest(c, at, api.AppendRequest{Seq: 2, Data: items(2)})
	at.killGeneration(t)
	x.until(t, "all items have run of which some were lost with a generation", known(2*batch))
	grow(3)
	x.until(t, "more items have run", known(2*batch+1))
	kill(t, c.nodes[2].cmd.Process.Pid)
	<-c.nodes[2].ended
	x.until(t, "all items have run of which some were lost with a worker", known(3*batch))
	c.nodes[2].relaunch(t, specs[2])
	check(t, c.nodes[2].waitReady())
	grow(4)
	x.until(t, "more items have run", known(3*batch+1))
	kill(t, at.cmd.Process.Pid)
	<-at.ended
	grow(5) // to nobody, at first
	at.relaunch(t, specs[1])
	check(t, at.waitReady())
	x.append(api.ExchangeAppend{Seq: 6, Close: true})
	x.end(t, at, want)
	_, st := c.waitFinal(t, x.id, commandLimit)
	if st.State != api.Done || st.Units != 5*batch {
		t.Errorf("ended as %s with %d units: %s", st.State, st.Units, st.Error)
	}
	c.wantSettled(t, x.id)
}

// TestPythonItemsLost: an item at which Python crashes, leaves or hangs is lost alone, and named with what went wrong.
// One that raises has that as its value; so has one that asks for too much memory, or it is lost where not even the
// exception finds some.
func TestPythonItemsLost(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, pythonSpecs("a", "b")...)
	req := pythonJob(t, `
import ctypes, os, sys

def process(item):
    if item == b"crash":
        ctypes.string_at(8)
    if item == b"leave":
        os._exit(3)
    if item == b"exit":
        sys.exit(4)
    while item == b"hang":
        pass
    if item == b"hoard":
        hoard = []
        while True:
            hoard.append(b"x" * (16 << 20))
    if item == b"raise":
        raise ValueError("no such item")
    return item.upper()
`)
	req.StaysOpen, req.Stall, req.Memory = true, 3, 256<<20
	at := c.nodes[0]
	x := newExchanger(t, at, at.submit(t, req).ID)
	bad := []string{"crash", "leave", "hang", "hoard"}
	var data [][]byte
	want, lost := map[int64]string{}, []int64{}
	for i, how := range bad {
		for _, item := range []string{fmt.Sprint("before ", i), how, fmt.Sprint("behind ", i)} {
			if unit := int64(len(data)); item == how {
				lost = append(lost, unit)
			} else {
				want[unit] = pickled(strings.ToUpper(item))
			}
			data = append(data, []byte(item))
		}
	}
	raised, left := int64(len(data)), int64(len(data)+1)
	data = append(data, []byte("raise"), []byte("exit"))
	x.append(api.ExchangeAppend{Seq: 1, Data: data, Close: true})
	x.until(t, "all is told", func() bool { return x.over })
	for unit, says := range map[int64]string{raised: "ValueError: no such item", left: "SystemExit: 4"} {
		if got := x.values[unit]; !strings.Contains(got, says) {
			t.Errorf("unit %d is told as %q, want %q", unit, got, says)
		}
		want[unit] = x.values[unit]
	}
	hoard := lost[3]
	if told := x.values[hoard]; strings.Contains(told, "MemoryError") {
		want[hoard], lost, bad = told, lost[:3], bad[:3]
	}
	x.end(t, at, want, lost...)
	for i, says := range []struct{ reason, stack string }{
		{"SIGSEGV", "in process"},
		{"status 3", ""},
		{"no progress for", "in process"},
		{"memory", ""},
	}[:len(bad)] {
		m := x.lost[lost[i]]
		if !strings.Contains(m.Reason, says.reason) || len(m.Nodes) == 0 || !strings.Contains(m.Stack, says.stack) {
			t.Errorf("of the item %q is told %+v, want %+v", bad[i], m, says)
		}
	}
	_, st := c.waitFinal(t, x.id, commandLimit)
	if st.State != api.Partial || len(st.Missing) != len(bad) {
		t.Errorf("ended as %s, missing %+v", st.State, st.Missing)
	}
}

// otherPython is a program that is a Python of another minor version, for who asks which it is.
func otherPython(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python3.99")
	check(t, os.WriteFile(path, []byte(`#!/bin/sh
case "$*" in
-I*) echo '{"exe": "", "version": [3, 99, 0], "name": "cpython", "tag": "other", "platform": "other"}' ;;
*) exec python3 "$@" ;;
esac
`), 0o700))
	return path
}

// TestPythonOnSomeNodes: a job runs on the nodes whose Python is of the minor version of its user's. Which are not, and
// why, is said before the first item runs; on a node that has none, and for a job of ROOT on a node that has only
// Python, the error says what is missing and where there is some.
func TestPythonOnSomeNodes(t *testing.T) {
	t.Parallel()
	specs := pythonSpecs("same", "other", "root")
	specs[1].args = append(specs[1].args, "--python", otherPython(t), "--python", "/bin/false")
	specs[2].args = []string{"--python", "none"}
	c := &cluster{}
	for _, spec := range specs {
		n, err := launchNode(t.TempDir(), spec)
		check(t, err)
		c.nodes = append(c.nodes, n)
		t.Cleanup(func() { check(t, n.stop()) })
		if spec.name != "other" { // which has a problem: one of those that were named
			check(t, n.waitReady())
		}
	}
	check(t, poll(settleLimit, func() (bool, error) { _, err := c.nodes[1].status(); return err == nil, nil }))
	check(t, c.join())
	same, other, root := c.nodes[0], c.nodes[1], c.nodes[2]
	gate := filepath.Join(t.TempDir(), "gate")
	req := pythonJob(t, fmt.Sprintf(`
import os, time

def process(item):
    while not os.path.exists(%q):
        time.sleep(0.001)
    return b"x"
`, gate))
	req.StaysOpen = true
	x := newExchanger(t, same, same.submit(t, req).ID)
	var st api.JobStatus
	same.until(t, x.id, "the job runs", func(now api.JobStatus) bool {
		st = now
		return now.State == api.Running
	})
	notes := strings.Join(st.Notes, "\n")
	for _, says := range []string{"2 members take no part, since they lack Python 3.", "other has Python 3.99",
		"root has ROOT 6."} {
		if !strings.Contains(notes, says) {
			t.Errorf("before the first item the notes are %q, want %q", notes, says)
		}
	}
	x.append(api.ExchangeAppend{Seq: 1, Data: [][]byte{nil, nil, nil}, Close: true})
	check(t, os.WriteFile(gate, nil, 0o600))
	x.end(t, same, map[int64]string{0: pickled("x"), 1: pickled("x"), 2: pickled("x")})
	if _, st = c.waitFinal(t, x.id, commandLimit); st.State != api.Done || !slices.Equal(workers(st), []string{"same"}) {
		t.Errorf("ended as %s, by %v", st.State, workers(st))
	}
	_, st = c.waitFinal(t, root.submit(t, pythonJob(t, "def process(item): pass")).ID, commandLimit)
	for _, says := range []string{"the job needs Python, this node has ROOT", "--python none",
		"dtpnode config set python FILE", "same has Python 3."} {
		if !strings.Contains(st.Error+"\n"+st.Hint, says) {
			t.Errorf("on a node without Python the error is %q, %q, want %q", st.Error, st.Hint, says)
		}
	}
	r := same.dtpnode(t, t.TempDir(), paced(t, 0).arguments("x.root")...)
	for _, says := range []string{"the job needs ROOT, this node has Python 3.", "--root none", "root has ROOT 6."} {
		if r.code != 1 || !strings.Contains(r.stdout+r.stderr, says) {
			t.Errorf("a job of ROOT on a node with Python: %+v, want %q", r, says)
		}
	}
	other.says(t, []string{"status"}, "3.99 in ", "could not use \"/bin/false\" as Python")
	same.says(t, []string{"members"}, "Python 3.99", "ROOT 6.")
}

// TestPythonWithoutItsModules: where a Python lacks what the child needs, and there is no network, that is said with
// the module, the reason and a way out, by status and to who submits.
func TestPythonWithoutItsModules(t *testing.T) {
	t.Parallel()
	python := filepath.Join(t.TempDir(), "python")
	r, err := osexec.CommandContext(t.Context(), "python3", "-m", "venv", python).CombinedOutput()
	if err != nil {
		t.Fatalf("could not make an environment: %v: %s", err, r)
	}
	exe := filepath.Join(python, "bin", "python3")
	n, err := launchNode(t.TempDir(), nodeSpec{
		name: "bare", args: []string{"--root", "none", "--python", exe, "--cache", t.TempDir()},
		env: []string{"PIP_NO_INDEX=1"},
	})
	check(t, err)
	t.Cleanup(func() { check(t, n.stop()) })
	check(t, poll(startLimit, func() (bool, error) {
		st, err := n.status()
		return err == nil && st.Problem != "", nil
	}))
	advice := exe + " -m pip install cloudpickle msgpack"
	n.says(t, []string{"status"}, "lacks cloudpickle and msgpack", "No matching distribution", advice)
	c := &cluster{nodes: []*node{n}}
	_, st := c.waitFinal(t, n.submit(t, pythonJob(t, "def process(item): pass")).ID, commandLimit)
	if st.State != api.Failed || !strings.Contains(st.Error, advice) {
		t.Errorf("a job there ended as %s: %q", st.State, st.Error)
	}
}

// TestPythonFromTheCommandLine: run takes a file of Python with items, on a node of its own or on a cluster, and prints
// what comes of each, in order, or their sum; what it cannot do it says with a way out.
func TestPythonFromTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"job.py": "import fractions\n\ndef process(x):\n    if x == 3:\n        raise ValueError('three')\n" +
			"    return {'x': x, 'half': fractions.Fraction(x, 2)}\n",
		"sum.py":  "def process(x):\n    return len(x)\n\ndef reduce(a, b):\n    return a + b\n",
		"bad.py":  "def process(x:\n",
		"one.py":  "ONE = 1\n",
		"more.py": "import one\n\ndef process(x):\n    return x + one.ONE, open('words').read().split()\n",
		"lines":   "a\nbb\n\nccc\n",
		"lost.py": "import os\n\ndef process(x):\n    os._exit(x) if x else None\n",
	} {
		check(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	own, _ := alone(t, suite.binary, "DTPNODE_ROOT=none")
	c := ownCluster(t, pythonSpecs("a", "b")...)
	at := c.nodes[0]
	var lines []string
	for x := range 5 {
		lines = append(lines, fmt.Sprintf("%d\t{'x': %[1]d, 'half': Fraction(%d, %d)}", x, x/(2-x%2), 1+x%2))
	}
	lines[3] = "3\traised ValueError: three: the item is 3"
	for _, tc := range []struct {
		on     *node
		args   string
		code   int
		stdout string // how it ends
		stderr string
	}{
		{own, "job.py --items 5", 3, strings.Join(lines, "\n") + "\n", "raised an exception at 1 item"},
		{at, "job.py --items 5", 3, strings.Join(lines, "\n") + "\n", "raised an exception at 1 item"},
		{at, "sum.py --items lines", 0, "\n6\n", ""},
		{at, "lost.py --items 2", 3, "0\tNone\n1\tmissing: exit: process: left with exit status 1\n", ""},
		{at, "bad.py --items 2", 1, "", "bad.py\", line 1"},
		{at, "more.py --items 1 --modules one.py --files words=lines", 0, "0\t(1, ['a', 'bb', 'ccc'])\n", ""},
		{at, "more.py --items 1 --files words=lines", 1, "", "No module named 'one'"},
		{at, "job.py", 2, "", "--items N calls process"},
		{at, "job.py --tree T --files job.py", 2, "", "have each file be one"},
		{at, "job.py --items 2 --files x.root", 2, "", "--items"},
		{at, "job.py --items 2 --env some/folder", 2, "", "a lock file"},
		{at, "job.py --items 2 -o x", 2, "", "> FILE keeps that"},
		{at, "job.py --items 2 --param a=1", 2, "", "for selectors of ROOT"},
		{at, "job.py --items 0", 2, "", "at least 1"},
		{at, "no.py --items 2", 1, "", "no such file"},
		{at, "X.C --items 2", 2, "", "for code in Python"},
	} {
		r := tc.on.dtpnode(t, dir, append([]string{"run"}, strings.Fields(tc.args)...)...)
		if r.code != tc.code || !strings.HasSuffix(r.stdout, tc.stdout) || !strings.Contains(r.stderr, tc.stderr) {
			t.Errorf("run %s: %+v, want status %d, %q, %q", tc.args, r, tc.code, tc.stdout, tc.stderr)
		}
	}
	r := at.dtpnode(t, dir, "run", "job.py", "--items", "2", "--detach")
	id := strings.TrimSpace(r.stdout)
	c.waitFinal(t, id, commandLimit)
	if r := at.dtpnode(t, dir, "units", id, "1"); r.code != 0 || r.stdout != lines[1]+"\n" {
		t.Errorf("units prints %+v, want %q", r, lines[1])
	}
}
