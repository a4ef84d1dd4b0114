package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/internal/failpoint"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// alone is a user of a host without a daemon, with a temporary folder of its own.
func alone(t *testing.T, bin string, env ...string) (n *node, temp string) {
	t.Helper()
	temp, state := t.TempDir(), filepath.Join(t.TempDir(), "state")
	wrap := append([]string{"env", "TMPDIR=" + temp}, env...)
	return &node{name: "alone", bin: bin, state: state, log: filepath.Join(state, "none"), wrap: wrap}, temp
}

// withDaemon starts a daemon in the state folder of a user who had none, until the test ends.
func (n *node) withDaemon(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"up", "--detach"}, args...)
	if r := n.dtpnode(t, t.TempDir(), args...); r.code != 0 {
		t.Fatalf("no daemon: %+v", r)
	}
	t.Cleanup(func() {
		if r, err := n.command(context.WithoutCancel(t.Context()), os.TempDir(), "down"); err != nil || r.code != 0 {
			t.Errorf("the daemon does not end: %v %+v", err, r)
		}
	})
}

// wantKept fails the test unless the folders of kept jobs are these.
func (n *node) wantKept(t *testing.T, jobs ...string) {
	t.Helper()
	entries, _ := os.ReadDir(filepath.Join(n.state, "kept"))
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, jobs) {
		t.Errorf("kept are %q, want %q", got, jobs)
	}
}

// wantEmpty fails the test if runs have left anything in a temporary folder.
func wantEmpty(t *testing.T, temp string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(temp, "dtpnode-*"))
	check(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestRunKeepsWhatItCannotFinish has Terminate crash in a run that has started its own node. What it says works: the
// merged output and the partials are handed out, and finish goes on from there, in the user's folder, once what
// Terminate lacks is there; all that without a daemon and beside one.
func TestRunKeepsWhatItCannotFinish(t *testing.T) {
	t.Parallel()
	threeNodes.get(t) // has the child built
	n, temp := alone(t, suite.binary)
	dir := t.TempDir()
	j := needsFile(t, "calibration") // in the working folder
	j.Dir, j.Params, j.args = dir, map[string]string{"x": "1"}, []string{"--root", suite.root, "--slots", "2"}
	o := n.run(t, j)
	o.wantCannotFinish(t, "Terminate", "SIGSEGV", "the calibration is missing")
	id := o.st.ID
	n.wantKept(t, id)
	wantEmpty(t, temp)
	if at := filepath.Join(n.state, "kept", id); !strings.Contains(o.hint, at) {
		t.Errorf("does not say that all is in %s: %s", at, o.hint)
	}
	elsewhere := t.TempDir()
	goesOn := func() {
		if r := n.dtpnode(t, elsewhere, "status", id[:12]); r.code != 0 || !strings.Contains(r.stdout, "cannot finish") {
			t.Errorf("status: %+v", r)
		}
		if r := n.dtpnode(t, elsewhere, "get", id[:12], "-o", "merged.root"); r.code != 0 {
			t.Errorf("get: %+v", r)
		} else if k := keys(t, filepath.Join(elsewhere, "merged.root")); k["entries"] != 1 {
			t.Errorf("the merged output holds %v, want the histogram", k)
		}
		n.wantPartials(t, id[:12], o.st.Units)
		if r := n.dtpnode(t, elsewhere, "finish", id[:12]); r.code != 1 ||
			!strings.Contains(r.stderr, "the calibration is missing") || !strings.Contains(r.stderr, "dtpnode finish "+id[:12]) {
			t.Errorf("finished though nothing has changed: %+v", r)
		}
		n.wantKept(t, id)
	}
	goesOn()
	n.withDaemon(t, "--root", suite.root, "--slots", "1")
	goesOn()
	check(t, os.WriteFile(filepath.Join(dir, "calibration"), nil, 0o644))
	if r := n.dtpnode(t, elsewhere, "finish", id[:12], "-o", "here.root"); r.code != 0 ||
		!strings.Contains(r.stdout, "calibrated") {
		t.Fatalf("not finished: %+v", r)
	}
	for _, path := range []string{filepath.Join(elsewhere, "here.root"), o.out} {
		if k := keys(t, path); k["entries"] != 1 {
			t.Errorf("%s holds %v, want the histogram", path, k)
		}
	}
	n.wantKept(t)
	wantEmpty(t, temp)
}

// arguments are those of `dtpnode run` for a job of the executor that sleeps and counts.
func (j fakeJob) arguments(t *testing.T, out string) []string {
	t.Helper()
	req := j.request(t)
	args := []string{"run", req.Title, "--tree", "T", "--slots", "2", "-o", out}
	for _, f := range req.Files {
		args = append(args, "--files", f.URL)
	}
	return args
}

// wantCount fails the test unless a file is the job's exact result.
func (j fakeJob) wantCount(t *testing.T, path string) {
	t.Helper()
	got, err := fakeexec.ReadOutput(path)
	check(t, err)
	if got.Units != j.units() || !slices.Equal(got.Bins, fakeexec.Serial(tasks.R(0, j.units()), j.Bins)) {
		t.Errorf("%s counts %d units, want %d, or its bins are wrong", path, got.Units, j.units())
	}
}

// keptJob is the only job that is kept.
func (n *node) keptJob(t *testing.T) string {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(n.state, "kept", "*"))
	if len(dirs) != 1 {
		t.Fatalf("want one job kept, got %q", dirs)
	}
	return filepath.Base(dirs[0])
}

// TestRunKeepsForLater ends runs without a daemon in all the ways in which something stays, and goes on with each
// command that they name.
func TestRunKeepsForLater(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 100_000_000)
	bin := fakeBinary(t)
	fails := fakeexec.EndVariable + "=disk"
	for name, tc := range map[string]struct {
		daemon bool
		apart  bool     // the temporary folder is on a file system of its own
		then   []string // with the job's name added
		code   int
		out    string // holds the result then
	}{
		"finish":             {then: []string{"finish"}, out: "wanted"},
		"finish beside up":   {daemon: true, then: []string{"finish", "-o", "here"}, out: "here"},
		"get":                {then: []string{"get", "-o", "here"}, out: "here"},
		"cancel":             {then: []string{"cancel"}},
		"copied":             {apart: true, then: []string{"finish"}, out: "wanted"},
		"attach says it too": {then: []string{"attach"}, code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			n, temp := alone(t, bin, fails)
			dir, user := t.TempDir(), n.wrap
			if tc.apart {
				wrap, _ := smallDisk(t, temp, "64m")
				n.wrap = slices.Concat(wrap, user)
			}
			r := n.dtpnode(t, dir, j.arguments(t, "wanted")...)
			n.wrap = user
			if r.code != 1 || !strings.Contains(r.stderr, "cannot finish: ") {
				t.Fatalf("want a job that cannot be finished: %+v", r)
			}
			id := n.keptJob(t)
			wantEmpty(t, temp)
			n.wrap = n.wrap[:2] // the disk has room again
			if tc.daemon {
				n.withDaemon(t)
			}
			if r := n.dtpnode(t, dir, append(tc.then, id[:8])...); r.code != tc.code {
				t.Fatalf("%v: %+v", tc.then, r)
			}
			if tc.out != "" {
				j.wantCount(t, filepath.Join(dir, tc.out))
			}
			if stays := name == "get" || tc.code != 0; stays {
				n.wantKept(t, id) // the job is still to be finished
			} else {
				n.wantKept(t)
			}
		})
	}
}

// TestCannotFinishTellsWhatIsMissing gives entries up in a job that cannot be finished either: run, status and get say
// so.
func TestCannotFinishTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 100_000_000)
	j.Fail = map[int64]exec.Kind{7: exec.KindSignal}
	n, _ := alone(t, fakeBinary(t), fakeexec.EndVariable+"=disk")
	dir := t.TempDir()
	lists := func(r result, what string) {
		t.Helper()
		for _, s := range []string{"Missing from the result (1)", "entry 7\n", "failed on order"} {
			if !strings.Contains(r.stdout, s) {
				t.Errorf("%s does not say %q: %+v", what, s, r)
			}
		}
	}
	r := n.dtpnode(t, dir, j.arguments(t, "wanted")...)
	if lists(r, "run"); r.code != 1 || !strings.Contains(r.stderr, "cannot finish: only 1999 of 2000 events") {
		t.Errorf("run: %+v", r)
	}
	id := n.keptJob(t)[:12]
	if r = n.dtpnode(t, dir, "status", id); r.code != 0 {
		t.Errorf("status: %+v", r)
	}
	lists(r, "status")
	if r = n.dtpnode(t, dir, "get", id, "-o", "here"); r.code != 3 ||
		!strings.Contains(r.stderr, "1999 of 2000 events are in it") {
		t.Errorf("get: %+v", r)
	}
	lists(r, "get")
	got, err := fakeexec.ReadOutput(filepath.Join(dir, "here"))
	if check(t, err); got.Units != 1999 {
		t.Errorf("get writes %d units, want those that are done", got.Units)
	}
}

// TestFinishedPartialIsRetried has a run without a daemon end with a job that cannot be finished and lacks an entry:
// once it is finished, what that says works, the retry of what is missing.
func TestFinishedPartialIsRetried(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 100_000_000)
	mended := j.request(t).Title
	j.Fail = map[int64]exec.Kind{7: exec.KindSignal}
	n, temp := alone(t, fakeBinary(t), fakeexec.EndVariable+"=disk")
	dir := t.TempDir()
	if r := n.dtpnode(t, dir, j.arguments(t, "wanted")...); r.code != 1 || !strings.Contains(r.stderr, "cannot finish") {
		t.Fatalf("run: %+v", r)
	}
	id := n.keptJob(t)
	n.wrap = n.wrap[:2] // the disk has room again
	retry := []string{"retry", id[:12]}
	check(t, os.Mkdir(filepath.Join(dir, "wanted"), 0o700))
	if r := n.dtpnode(t, dir, "finish", id[:12]); r.code != 1 ||
		!strings.Contains(r.stderr, "its output could not be written: ") || strings.Contains(r.stdout+r.stderr, "daemon") {
		t.Errorf("finish, with a folder in the output's place: %+v", r)
	}
	n.wantKept(t, id)
	check(t, os.Remove(filepath.Join(dir, "wanted")))
	if r := n.dtpnode(t, dir, "attach", id[:12]); r.code != 3 ||
		!strings.Contains(r.stdout, "dtpnode "+strings.Join(retry, " ")) {
		t.Fatalf("attach: %+v", r)
	}
	n.wantKept(t, id)
	if r := n.dtpnode(t, dir, "ps"); r.code != 0 || !strings.Contains(r.stdout, "partial") {
		t.Errorf("ps: %+v", r)
	}
	if r := n.dtpnode(t, dir, append(retry, "--selector", mended)...); r.code != 0 {
		t.Fatalf("%v: %+v", retry, r)
	}
	j.wantCount(t, filepath.Join(dir, "wanted"))
	n.wantKept(t)
	wantEmpty(t, temp)
}

// TestOwnNodeKilled kills the node that run has started, in the middle of the job. What is committed is kept,
// everything says so, and the command that it names goes on from there; so does attach, and that can be broken off.
func TestOwnNodeKilled(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 8_000_000_000)
	bad := tasks.CoverOf(tasks.R(0, 1), tasks.R(1000, 1001), tasks.R(2000, 2001))
	j.Fail = map[int64]exec.Kind{}
	for _, r := range bad {
		j.Fail[r.First] = exec.KindSignal // a node that has seen failures commits often
	}
	n, temp := alone(t, fakeBinary(t))
	out := filepath.Join(t.TempDir(), "wanted")
	r := n.beginArgs(t, out, j.arguments(t, out)...)
	r.until(t, "something is committed", func(st api.JobStatus) bool {
		return st.State == api.Running && st.Committed > 0
	})
	own := below(r.cmd.Process.Pid)
	kill(t, own...)
	o := r.end(t)
	wantGone(t, own)
	if o.code != 1 || !strings.Contains(o.err, "was killed") {
		t.Fatalf("want exit 1, and why: %s", o.describe())
	}
	id := n.keptJob(t)
	wantEmpty(t, temp)
	for _, args := range [][]string{{"ps"}, {"status", id[:12]}} {
		if r := n.dtpnode(t, temp, args...); r.code != 0 || !strings.Contains(r.stdout, "waiting") ||
			!strings.Contains(r.stdout, "dtpnode finish "+id[:12]) {
			t.Errorf("%v: %+v", args, r)
		}
	}
	if r := n.dtpnode(t, temp, "logs", id[:12]); r.code != 1 ||
		!strings.Contains(r.stderr, filepath.Join(n.state, "kept", id)) {
		t.Errorf("logs: %+v", r)
	}
	attach := n.beginArgs(t, out, "attach", id[:12])
	before := attach.until(t, "it goes on", func(st api.JobStatus) bool {
		return st.State == api.Running && st.Done > st.Committed
	})
	if before.Committed == 0 {
		t.Errorf("nothing is left of what was committed: %+v", before)
	}
	check(t, attach.cmd.Process.Signal(os.Interrupt))
	if o := attach.end(t); o.code != 130 || !strings.Contains(o.hint, "dtpnode finish "+id[:12]) {
		t.Errorf("attach was broken off: %s", o.describe())
	}
	n.wantKept(t, id)
	named := regexp.MustCompile("`dtpnode ([a-z]+ [0-9a-f]+)`").FindStringSubmatch(o.hint)
	if named == nil {
		t.Fatalf("names no command: %s", o.hint)
	}
	if r := n.dtpnode(t, temp, strings.Fields(named[1])...); r.code != 3 ||
		!strings.Contains(r.stdout, "Missing from the result (3)") {
		t.Fatalf("%s: %+v", named[0], r)
	}
	got, err := fakeexec.ReadOutput(out)
	check(t, err)
	want := make([]int64, j.Bins)
	for _, r := range tasks.CoverOf(tasks.R(0, j.units())).Minus(bad) {
		for i, n := range fakeexec.Serial(r, j.Bins) {
			want[i] += n
		}
	}
	if got.Units != j.units()-bad.Len() || !slices.Equal(got.Bins, want) {
		t.Errorf("%d units are counted, want %d, or the bins are wrong", got.Units, j.units()-bad.Len())
	}
	n.wantKept(t, id) // for a retry
	wantEmpty(t, temp)
}

// TestOwnNodeKilledAtTheEnd has the node of a run die in the last steps of its job, when all is committed: what the
// error names ends the job, with its output where it was wanted.
func TestOwnNodeKilledAtTheEnd(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 200_000_000)
	bin := fakeBinary(t, "failpoints")
	for _, step := range []failpoint.Step{failpoint.EndBefore, failpoint.ResultBefore, failpoint.EndAfter} {
		t.Run(string(step), func(t *testing.T) {
			n, temp := alone(t, bin, "DTPNODE_FAILPOINT="+string(step))
			out := filepath.Join(t.TempDir(), "wanted")
			o := n.beginArgs(t, out, j.arguments(t, out)...).end(t)
			if o.code != 1 || !strings.Contains(o.err, "was killed") {
				t.Fatalf("want exit 1, and why: %s", o.describe())
			}
			id := n.keptJob(t)
			wantEmpty(t, temp)
			n.wrap = n.wrap[:2]
			if r := n.dtpnode(t, temp, "finish", id[:12]); r.code != 0 || !strings.Contains(r.stdout, "4,000 of 4,000 events") {
				t.Fatalf("finish: %+v", r)
			}
			j.wantCount(t, out)
			n.wantKept(t)
			wantEmpty(t, temp)
		})
	}
}

// TestOwnNodeKilledEarly has the node of a run die before the first word of its job is on disk: nothing is kept.
func TestOwnNodeKilledEarly(t *testing.T) {
	t.Parallel()
	n, temp := alone(t, fakeBinary(t, "failpoints"), "DTPNODE_FAILPOINT="+string(failpoint.JournalBeforeWrite))
	out := filepath.Join(t.TempDir(), "wanted")
	r := n.beginArgs(t, out, paceOf(2, 8_000_000_000).arguments(t, out)...)
	if o := r.end(t); o.code != 1 || o.hint != "nothing of it is kept: run it again" ||
		!strings.Contains(o.err, "was killed before the job had begun") {
		t.Errorf("want it said that nothing is kept, and no command that has nothing to go on from: %s", o.describe())
	}
	n.wantKept(t)
	wantEmpty(t, temp)
}

// TestRunKeepsUnwrittenOutput has no room for the output of a run without a daemon.
func TestRunKeepsUnwrittenOutput(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 100_000_000)
	n, temp := alone(t, fakeBinary(t))
	dir := t.TempDir()
	small := filepath.Join(t.TempDir(), "small")
	wrap, _ := smallDisk(t, small, "64k")
	user := n.wrap
	fill := []string{"sh", "-c", `cat /dev/zero >"$0/filler" 2>/dev/null; exec "$@"`, small}
	n.wrap = slices.Concat(wrap, fill, user)
	r := n.dtpnode(t, dir, j.arguments(t, filepath.Join(small, "out"))...)
	if r.code != 1 || !strings.Contains(r.stderr, "no space left on") || !strings.Contains(r.stderr, "dtpnode get ") {
		t.Fatalf("want the reason, and what to do: %+v", r)
	}
	id := n.keptJob(t)
	n.wrap = user
	if r := n.dtpnode(t, dir, "doctor", "--root", suite.root, "--output", "json"); !strings.Contains(r.stdout,
		filepath.Join(n.state, "kept", id)) {
		t.Errorf("doctor does not name the job: %+v", r)
	}
	for range 2 { // whoever fetched it may have lost it
		if r := n.dtpnode(t, dir, "get", id[:12], "-o", "here"); r.code != 0 {
			t.Fatalf("get: %+v", r)
		}
		j.wantCount(t, filepath.Join(dir, "here"))
		check(t, os.Remove(filepath.Join(dir, "here")))
		n.wantKept(t, id)
	}
	if r := n.dtpnode(t, dir, "get", id[:3]); r.code != 1 || !strings.Contains(r.stderr, "give four letters") {
		t.Errorf("get by a name that is too short: %+v", r)
	}
	if r := n.dtpnode(t, dir, "doctor", "--root", suite.root, "--output", "json"); strings.Contains(r.stdout, id) {
		t.Errorf("doctor names a job that is fetched as if it were owed: %+v", r)
	}
	before := time.Now().Add(-25 * time.Hour)
	check(t, os.Chtimes(filepath.Join(n.state, "kept", id, "for-retry"), before, before))
	if r := n.dtpnode(t, dir, paceOf(2, 50_000_000).arguments(t, "next")...); r.code != 0 {
		t.Fatalf("run: %+v", r)
	}
	n.wantKept(t)
	for _, command := range []string{"get", "status", "finish", "retry", "attach", "cancel", "logs"} {
		if r := n.dtpnode(t, dir, command, id[:12]); r.code != 1 ||
			!strings.Contains(r.stderr, "no dtpnode daemon is running") ||
			!strings.Contains(r.stderr, "no run without a daemon has kept it") {
			t.Errorf("%s of a job that is gone: %+v", command, r)
		}
	}
	wantEmpty(t, temp)
}

// TestRunLeft ends runs without a daemon in the middle of their jobs as a lost connection, a host that is shut down and
// the kernel do it. What is committed is kept: ps lists it, and finish goes on from there.
func TestRunLeft(t *testing.T) {
	t.Parallel()
	bin := fakeBinary(t)
	for name, tc := range map[string]struct {
		end  func(t *testing.T, r *running)
		says string // why, in the words of the command and of the node's log; empty if it could say nothing
	}{
		"SIGHUP": {func(t *testing.T, r *running) {
			signal(t, syscall.SIGHUP, r.cmd.Process.Pid)
		}, "the terminal was closed"},
		"SIGTERM": {func(t *testing.T, r *running) {
			signal(t, syscall.SIGTERM, r.cmd.Process.Pid)
		}, "interrupted by SIGTERM"},
		"SIGKILL": {func(t *testing.T, r *running) { kill(t, r.cmd.Process.Pid) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := paceOf(2, 8_000_000_000)
			// a node that has seen failures commits often
			j.Fail = map[int64]exec.Kind{0: exec.KindSignal, 1000: exec.KindSignal}
			n, temp := alone(t, bin)
			out := filepath.Join(t.TempDir(), "wanted")
			r := n.beginArgs(t, out, j.arguments(t, out)...)
			st := r.until(t, "something is committed", func(st api.JobStatus) bool {
				return st.State == api.Running && st.Committed > 0
			})
			own := below(r.cmd.Process.Pid)
			tc.end(t, r)
			if o := r.end(t); tc.says != "" &&
				(o.code != 130 || !strings.Contains(o.err, tc.says) || !strings.Contains(o.err, "kept") ||
					!strings.Contains(o.hint, "dtpnode finish "+st.ID[:12])) {
				t.Errorf("want exit 130, why, and what to do: %s", o.describe())
			}
			wantGone(t, own)
			if p := n.dtpnode(t, temp, "ps"); p.code != 0 || !strings.Contains(p.stdout, "waiting") ||
				!strings.Contains(p.stdout, "dtpnode finish "+st.ID[:12]) {
				t.Errorf("ps: %+v", p)
			}
			n.wantKept(t, st.ID)
			wantEmpty(t, temp)
			log, err := os.ReadFile(filepath.Join(n.state, "kept", st.ID, "dtpnode.log"))
			if check(t, err); !strings.Contains(string(log), tc.says) {
				t.Errorf("the node's log does not say %q: %s", tc.says, log)
			}
			if s := n.dtpnode(t, temp, "status", st.ID[:12], "--output", "json"); !strings.Contains(s.stdout,
				fmt.Sprintf(`"units": %d`, j.units())) {
				t.Errorf("status does not tell how the job stood: %+v", s)
			}
			f := n.dtpnode(t, temp, "finish", st.ID[:12])
			if f.code != 3 || !strings.Contains(f.stdout, "Missing from the result (2)") {
				t.Fatalf("finish: %+v", f)
			}
			if got, err := fakeexec.ReadOutput(out); err != nil || got.Units != j.units()-2 {
				t.Errorf("%d units are counted, want all but two (%v)", got.Units, err)
			}
			n.wantKept(t, st.ID) // for a retry
			wantEmpty(t, temp)
		})
	}
}

// TestTerminalClosed closes the terminal of a run without a daemon, as a lost connection does: it keeps what is
// committed.
func TestTerminalClosed(t *testing.T) {
	t.Parallel()
	j := paceOf(2, 8_000_000_000)
	j.Fail = map[int64]exec.Kind{0: exec.KindSignal, 1000: exec.KindSignal}
	n, temp := alone(t, fakeBinary(t))
	out := filepath.Join(t.TempDir(), "wanted")
	tty := bareTerminal(t)
	cmd := n.onTerminal(t, tty, []string{"TERM=xterm", "TMPDIR=" + temp}, j.arguments(t, out)...)
	for screen := make([]byte, 4096); ; {
		_, err := tty.master.Read(screen)
		check(t, err)
		if partials, _ := filepath.Glob(filepath.Join(temp, "dtpnode-run-*", "ledgers", "*", "*-*.*")); len(partials) > 0 {
			break
		}
	}
	check(t, tty.master.Close())
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d, want 130", code)
	}
	id := n.keptJob(t)
	wantEmpty(t, temp)
	if f := n.dtpnode(t, temp, "finish", id[:12]); f.code != 3 ||
		!strings.Contains(f.stdout, "Missing from the result (2)") {
		t.Fatalf("finish: %+v", f)
	}
	n.wantKept(t, id) // for a retry
}

// TestKilledRunLeavesNothing kills runs without a daemon before they have committed anything: the next command of each
// kind removes what is left, and never what a run that lives needs.
func TestKilledRunLeavesNothing(t *testing.T) {
	t.Parallel()
	n, temp := alone(t, fakeBinary(t))
	long, short := paceOf(2, 600_000_000_000), paceOf(2, 50_000_000)
	begin := func() *running {
		before := folders(t, temp)
		out := filepath.Join(t.TempDir(), "x")
		r := n.beginArgs(t, out, long.arguments(t, out)...)
		r.until(t, "it runs", func(st api.JobStatus) bool { return st.State == api.Running && st.Done > 0 })
		if now := folders(t, temp); len(now) != len(before)+1 {
			t.Fatalf("the run has no folder of its own: %v, before %v", now, before)
		}
		return r
	}
	lives := begin()
	kept := folders(t, temp)
	for _, sweep := range []struct {
		by string
		do func()
	}{
		{"run", func() {
			if r := n.dtpnode(t, t.TempDir(), short.arguments(t, filepath.Join(t.TempDir(), "y"))...); r.code != 0 {
				t.Errorf("run: %+v", r)
			}
		}},
		{"doctor", func() { n.dtpnode(t, t.TempDir(), "doctor", "--root", suite.root) }},
		{"up", func() { n.withDaemon(t) }},
	} {
		killed := begin()
		own := below(killed.cmd.Process.Pid)
		kill(t, append(own, killed.cmd.Process.Pid)...)
		_ = killed.cmd.Wait()
		wantGone(t, own)
		if left := folders(t, temp); len(left) != len(kept)+1 {
			t.Errorf("before %s there are %v: want one that is left behind", sweep.by, left)
		}
		sweep.do()
		if left := folders(t, temp); !slices.Equal(left, kept) {
			t.Errorf("after %s there are %v, want %v", sweep.by, left, kept)
		}
	}
	own := below(lives.cmd.Process.Pid)
	kill(t, lives.cmd.Process.Pid)
	_ = lives.cmd.Wait()
	wantGone(t, own)
}

// folders are those of runs without a daemon.
func folders(t *testing.T, temp string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(temp, "dtpnode-run-*"))
	check(t, err)
	return all
}
