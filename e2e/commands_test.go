package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestCommands goes through a daemon's life by the commands alone.
func TestCommands(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	a, b := c.nodes[0], c.nodes[1]
	dir := t.TempDir()
	do := func(n *node, code int, says string, args ...string) string {
		t.Helper()
		r := n.dtpnode(t, dir, args...)
		if r.code != code || !strings.Contains(r.stdout+r.stderr, says) {
			t.Errorf("dtpnode %s on %s: want exit %d and %q: %+v", strings.Join(args, " "), n.name, code, says, r)
		}
		return r.stdout
	}
	do(a, 0, "ROOT", "status")
	do(a, 0, "worker,submitter", "members")
	do(a, 0, "linux/", "version")
	do(a, 0, "bash completion", "completion", "bash")
	do(a, 0, "", "doctor", "--root", suite.root)
	do(a, 1, "running already", "up", "--detach")
	do(a, 1, `no job "ffff`, "status", "ffffffff")
	do(a, 1, `no job "ffff`, "get", "ffffffff", "-o", "x.root")
	do(a, 2, "unknown command", "nonsense")

	j := paced(t, 300)
	j.args = []string{"--detach"}
	id := firstLine(do(a, 0, "", withoutEmpty(j.arguments(""))...))
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		t.Fatalf("run --detach printed %q", id)
	}
	do(b, 0, id[:12], "ps")
	do(b, 1, "cancel --keep", "get", id[:8], "-o", "early.root")
	logs := do(b, 0, "== a\npaced by 300 us", "logs", "-f", id[:8]) // waits for the end
	if !strings.Contains(logs, "== b\npaced by 300 us") {
		t.Errorf("the logs lack a node's: %q", logs)
	}
	do(b, 0, "80,000 of 80,000", "status", id[:8])
	do(b, 1, "ended already", "cancel", id)
	do(b, 0, "", "get", id[:8], "-o", "got.root")
	out := outcome{out: filepath.Join(dir, "got.root")}
	out.st, _ = a.client.Job(t.Context(), id)
	out.wantWhole(t)

	j = paced(t, 500)
	j.args = []string{"--detach"}
	id = firstLine(do(a, 0, "", withoutEmpty(j.arguments(""))...))
	do(b, 0, "", "cancel", id)
	do(a, 0, "cancelled", "status", id)
	a.wantIdle(t)
	b.wantIdle(t)

	do(b, 0, "", "down")
	<-b.ended
	do(b, 1, "dtpnode up", "status")
	do(b, 0, "no daemon was running", "down")
}

// withoutEmpty drops an empty -o.
func withoutEmpty(args []string) []string {
	if i := slices.Index(args, "-o"); i >= 0 && args[i+1] == "" {
		return slices.Delete(args, i, i+2)
	}
	return args
}

// TestExitStatus ends jobs in all ways.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	n := c.nodes[0]
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		r := n.begin(t, paced(t, 500)) // no terminal: cancels
		r.part(t, 0.05)
		signal(t, sig, r.cmd.Process.Pid)
		o := r.end(t)
		if o.code != 130 || !strings.Contains(o.err, "cancelled") {
			t.Errorf("%s: want exit 130 and that it was cancelled: %s", sig, o.describe())
		}
		if _, err := os.Stat(o.out); err == nil {
			t.Errorf("%s: there is an output", sig)
		}
	}
	r := n.begin(t, paced(t, 500))
	st := r.part(t, 0.1)
	if stop := n.dtpnode(t, t.TempDir(), "cancel", "--keep", st.ID); stop.code != 0 {
		t.Errorf("could not stop: %+v", stop)
	}
	o := r.end(t)
	var missing int64
	for _, m := range o.st.Missing {
		missing += m.Last - m.First
	}
	if o.code != 3 || o.st.State != api.Partial || o.st.Committed == 0 || missing != o.st.Units-o.st.Committed {
		t.Errorf("want a partial result and %d units missing, got %d: %s", o.st.Units-o.st.Committed, missing, o.describe())
	}
	if entries := rootEntries(t, o.out); entries != o.st.Committed {
		t.Errorf("the output counts %d entries, the status %d", entries, o.st.Committed)
	}
	for _, n := range c.nodes {
		n.wantIdle(t)
	}
}

// TestRunWithoutDaemon has run start a node for the time of a job, and leave nothing behind.
func TestRunWithoutDaemon(t *testing.T) {
	t.Parallel()
	threeNodes.get(t) // has the child built
	state, temp := filepath.Join(t.TempDir(), "state"), t.TempDir()
	n := &node{name: "none", bin: suite.binary, state: state, log: filepath.Join(state, "none")}
	env := []string{"env", "TMPDIR=" + temp}
	n.wrap = env
	j := paced(t, 20)
	j.args = []string{"--root", suite.root, "--slots", "2"}
	o := n.run(t, j)
	o.wantWhole(t)
	if r := n.dtpnode(t, t.TempDir(), j.arguments("-")...); r.code != 0 || !strings.HasPrefix(r.stdout, "root") ||
		!strings.Contains(r.stderr, "Output: standard output\n") {
		t.Errorf("want the file on standard output and the summary beside it: exit %d, %.20q…, %s", r.code, r.stdout,
			r.stderr)
	}
	r := n.begin(t, pacedWith(t, 500, j.args))
	r.part(t, 0.05)
	own := below(r.cmd.Process.Pid)
	if len(own) < 4 {
		t.Errorf("want the node and its children below the command, got %v", own)
	}
	kill(t, r.cmd.Process.Pid) // all else leaves by itself
	_ = r.cmd.Wait()
	wantGone(t, own)
	noOut := withoutEmpty(pacedWith(t, 20, j.args).arguments(""))
	if r := n.dtpnode(t, t.TempDir(), noOut...); r.code != 2 || !strings.Contains(r.stderr, "-o") {
		t.Errorf("want exit 2, since nobody would keep the output: %+v", r)
	}
}

func pacedWith(t *testing.T, us int, args []string) job {
	j := paced(t, us)
	j.args = args
	return j
}

// TestInterruptOnTerminal presses Ctrl-C on a terminal and answers the question in all ways.
func TestInterruptOnTerminal(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	n := c.nodes[0]
	for _, tc := range []struct {
		keys  string
		code  int
		state api.JobState
		says  string
	}{
		{"s", 3, api.Partial, "partial"},
		{"c", 130, api.Cancelled, "cancelled"},
		{"d", 130, api.Done, "detached"},
		{"x", 0, api.Done, "done"},
		{"\x03", 130, api.Cancelled, "cancelled"},
	} {
		t.Run(fmt.Sprintf("%q", tc.keys), func(t *testing.T) {
			before, err := n.client.Jobs(t.Context())
			check(t, err)
			tty := openTerminal(t)
			out := filepath.Join(t.TempDir(), "out.root")
			cmd := n.onTerminal(t, tty, []string{"TERM=xterm"}, paced(t, 60).arguments(out)...)
			tty.wait(t, "events/s")
			tty.press(t, "\x03")
			tty.wait(t, "[d]etach")
			tty.press(t, tc.keys)
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != tc.code {
				t.Errorf("exit %d, want %d:\n%s", code, tc.code, tty.text())
			}
			tty.wait(t, tc.says)
			after, err := n.client.Jobs(t.Context())
			check(t, err)
			if len(after) != len(before)+1 {
				t.Fatalf("%d jobs after %d", len(after), len(before))
			}
			id := after[len(after)-1].ID
			var st api.JobStatus
			check(t, poll(commandLimit, func() (bool, error) {
				st, err = n.client.Job(t.Context(), id)
				return st.State.Final(), err
			}))
			if st.State != tc.state {
				t.Errorf("the job is %s, want %s", st.State, tc.state)
			}
			if _, err := os.Stat(out); (err == nil) != (tc.state != api.Cancelled) {
				t.Errorf("output of a job that is %s: %v", tc.state, err)
			}
		})
	}
}

// TestInterruptsAtOnce presses Ctrl-C twice at once, as a slow link brings them: the kernel may make one interrupt of
// them, and then the next one counts.
func TestInterruptsAtOnce(t *testing.T) {
	t.Parallel()
	n := ownCluster(t, fakeSpecs(t, 1)...).nodes[0]
	req := paceOf(1, time.Minute).request(t)
	args := []string{"run", req.Title, "--tree", req.Part, "-o", "out"}
	for _, f := range req.Files {
		args = append(args, "--files", f.URL)
	}
	for range 3 {
		tty := openTerminal(t)
		cmd := n.onTerminal(t, tty, []string{"TERM=xterm"}, args...)
		tty.wait(t, "events/s")
		tty.press(t, "\x03\x03")
		tty.wait(t, "[c]ancel", "cancelled") // the question or, if they were two, the outcome
		tty.press(t, "\x03")
		_ = cmd.Wait()
		<-tty.done
		if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(tty.text(), "the job was cancelled") {
			t.Errorf("exit %d, want 130 and the job cancelled:\n%s", code, tty.text())
		}
	}
}

// TestInterruptWhileTheDaemonHangs stops the daemon's process: the command that follows a job can be left all the same.
func TestInterruptWhileTheDaemonHangs(t *testing.T) {
	t.Parallel()
	n := ownCluster(t, fakeSpecs(t, 1)...).nodes[0]
	req := paceOf(1, time.Minute).request(t)
	args := []string{"run", req.Title, "--tree", req.Part, "--files", req.Files[0].URL, "-o", "out"}
	tty := openTerminal(t)
	cmd := n.onTerminal(t, tty, []string{"TERM=xterm"}, args...)
	tty.wait(t, "events/s")
	pid := n.cmd.Process.Pid
	check(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	tty.press(t, "\x03")
	tty.wait(t, "[c]ancel")
	tty.press(t, "c")
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	check(t, poll(settleLimit, func() (bool, error) { // the key may come to it after an interrupt
		tty.press(t, "\x03")
		select {
		case <-ended:
			return true, nil
		default:
			return false, nil
		}
	}))
	<-tty.done
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(tty.text(), "does not answer") {
		t.Errorf("exit %d, want 130 and why:\n%s", code, tty.text())
	}
}

// terminal is a pseudo-terminal; what is printed there is kept.
type terminal struct {
	master, slave *os.File
	done          chan struct{}
	printed       lockedBuffer
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	tty := bareTerminal(t)
	go func() { // ends when the last process lets go of the terminal
		_, _ = io.Copy(&tty.printed, tty.master)
		close(tty.done)
	}()
	t.Cleanup(func() {
		tty.slave.Close()
		<-tty.done
		tty.master.Close()
	})
	return tty
}

// bareTerminal is one whose master side the test reads and closes itself.
func bareTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	check(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	check(t, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check(t, err)
	check(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 160}))
	return &terminal{master: master, slave: slave, done: make(chan struct{})}
}

// onTerminal starts a command on a terminal of its own.
func (n *node) onTerminal(t *testing.T, tty *terminal, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), n.bin, args...)
	cmd.Env = append(append(os.Environ(), "DTPNODE_STATE="+n.state, "DTPNODE_CACHE="+suite.cache), env...)
	cmd.Dir = t.TempDir()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty.slave, tty.slave, tty.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	check(t, cmd.Start())
	tty.slave.Close()
	return cmd
}

func (tty *terminal) press(t *testing.T, keys string) {
	t.Helper()
	_, err := tty.master.WriteString(keys)
	check(t, err)
}

func (tty *terminal) text() string { return tty.printed.String() }

// wait waits until something has been printed, one thing of several.
func (tty *terminal) wait(t *testing.T, whats ...string) {
	t.Helper()
	so := func(what string) bool { return strings.Contains(tty.text(), what) }
	if err := poll(settleLimit, func() (bool, error) { return slices.ContainsFunc(whats, so), nil }); err != nil {
		t.Fatalf("the terminal does not show %q: %v\n%s", whats, err, tty.text())
	}
}

// TestJSON checks that --output json of each command is JSON of documented fields, and errors are too.
func TestJSON(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	n, dir := c.nodes[0], t.TempDir()
	docs, err := os.ReadFile(filepath.Join("..", "docs", "json.md"))
	check(t, err)
	o := n.run(t, paced(t, 10))
	o.wantDone(t)
	detached := pacedWith(t, 10, []string{"--detach", "--output", "json"})
	for _, args := range [][]string{
		{"status"}, {"members"}, {"ps"}, {"status", o.st.ID}, {"invite"}, {"doctor", "--root", suite.root}, {"version"},
		{"get", o.st.ID, "-o", "x.root"},
		withoutEmpty(detached.arguments("")),
		paced(t, 10).arguments("y.root"),
		{"revoke", "b"},
	} {
		r := n.dtpnode(t, dir, append(args, "--output", "json")...)
		if r.code != 0 {
			t.Errorf("%q: %+v", args, r)
			continue
		}
		wantDocumented(t, docs, args, r.stdout)
	}
	for code, args := range map[int][]string{1: {"get", "ffffffff", "-o", "z.root"}, 2: {"ps", "--nonsense"}} {
		r := n.dtpnode(t, dir, append(args, "--output", "json")...)
		var f struct {
			Error, Hint string
			Exit        int
		}
		if err := json.Unmarshal([]byte(r.stderr), &f); err != nil || r.code != code || f.Exit != code || f.Error == "" ||
			r.stdout != "" {
			t.Errorf("%q: want exit %d and JSON that says so: %v %+v", args, code, err, r)
		}
	}
}

// wantDocumented reads one or more JSON values and looks for all their fields in the documentation.
func wantDocumented(t *testing.T, docs []byte, args []string, text string) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	values := 0
	for ; ; values++ {
		var v any
		if err := dec.Decode(&v); err == io.EOF {
			break
		} else if err != nil {
			t.Errorf("%q printed no JSON: %v\n%s", args, err, text)
			return
		}
		for _, field := range fields(v) {
			if !bytes.Contains(docs, []byte("`"+field+"`")) && !bytes.Contains(docs, []byte(`"`+field+`"`)) {
				t.Errorf("%q prints a field %q that is not documented", args, field)
			}
		}
	}
	if values == 0 {
		t.Errorf("%q printed nothing", args)
	}
}

func fields(v any) (names []string) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			names = append(append(names, name), fields(inner)...)
		}
	case []any:
		for _, inner := range v {
			names = append(names, fields(inner)...)
		}
	}
	return names
}

// TestFigures shows what a user reads of the daemons' cost. They are not judged here: other tests run
// beside this one, and the bench has its own.
func TestFigures(t *testing.T) {
	t.Parallel()
	c := ownCluster(t, abc[:2]...)
	idle, err := c.nodes[0].status()
	check(t, err)
	c.nodes[0].run(t, paced(t, 20)).wantWhole(t)
	busy, err := c.nodes[0].status()
	check(t, err)
	if idle.RSS <= 0 || idle.RSS > 60<<20 || busy.RSS > 100<<20 {
		t.Errorf("the daemon takes %d MB idle and %d MB after a job", idle.RSS>>20, busy.RSS>>20)
	}
	if busy.Packet.Count == 0 || busy.Packet.P50 <= 0 || busy.Packet.P99 < busy.Packet.P50 {
		t.Errorf("packets: %+v", busy.Packet)
	}
	t.Logf("packet %+v, steal %+v", busy.Packet, busy.Steal)
}
