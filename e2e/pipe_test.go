package e2e

import (
	"encoding/json"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec/roottest"
)

// TestOutputThatNobodyReads closes what run prints into, as ssh does that has lost its connection, and `| head` that
// has seen enough: with a daemon the job goes on in it, without one what is committed is kept, and finish goes on from
// there.
func TestOutputThatNobodyReads(t *testing.T) {
	t.Parallel()
	bin := fakeBinary(t)
	for name, tc := range map[string]struct{ daemon, stderr bool }{
		"standard output alone":        {},
		"both":                         {stderr: true},
		"with a daemon":                {daemon: true, stderr: true},
		"with a daemon, output alone ": {daemon: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := paceOf(2, 8_000_000_000)
			// a node that has seen failures commits often
			j.Fail = map[int64]exec.Kind{0: exec.KindSignal, 1000: exec.KindSignal}
			n, temp := alone(t, bin)
			out := filepath.Join(t.TempDir(), "wanted")
			args := append(j.arguments(t, out), "--output", "json")
			if tc.daemon {
				n.withDaemon(t, "--slots", "2")
				n.client = api.NewClient(api.SocketPath(n.state))
				i := slices.Index(args, "--slots")
				args = slices.Delete(args, i, i+2)
			}
			all := slices.Concat(n.wrap, []string{n.bin}, args)
			cmd := osexec.CommandContext(t.Context(), all[0], all[1:]...)
			cmd.Env = append(os.Environ(), "DTPNODE_STATE="+n.state, "DTPNODE_CACHE="+suite.cache)
			cmd.Dir = t.TempDir()
			read, write, err := os.Pipe()
			check(t, err)
			cmd.Stdout = write
			if tc.stderr {
				cmd.Stderr = write
			}
			check(t, cmd.Start())
			check(t, write.Close())
			var st api.JobStatus
			for dec := json.NewDecoder(read); st.State != api.Running || st.Committed == 0; {
				var ev api.Event
				check(t, dec.Decode(&ev))
				if ev.Status != nil {
					st = *ev.Status
				}
			}
			own := below(cmd.Process.Pid)
			check(t, read.Close())
			_ = cmd.Wait() // by SIGPIPE, or since it could not print
			if tc.daemon {
				n.until(t, st.ID, "it has ended", func(st api.JobStatus) bool { return st.State == api.Partial })
				check(t, poll(settleLimit, func() (bool, error) { _, err := os.Stat(out); return err == nil, nil }))
			} else {
				wantGone(t, own)
				if p := n.dtpnode(t, temp, "ps"); p.code != 0 || !strings.Contains(p.stdout, "dtpnode finish "+st.ID[:12]) {
					t.Errorf("ps: %+v", p)
				}
				n.wantKept(t, st.ID)
				wantEmpty(t, temp)
				if f := n.dtpnode(t, temp, "finish", st.ID[:12]); f.code != 3 ||
					!strings.Contains(f.stdout, "Missing from the result (2)") {
					t.Fatalf("finish: %+v", f)
				}
				n.wantKept(t, st.ID) // for a retry
			}
			if got, err := fakeexec.ReadOutput(out); err != nil || got.Units != j.units()-2 {
				t.Errorf("%d units are counted, want all but two (%v)", got.Units, err)
			}
		})
	}
}

// TestAbortInSlaveBegin has a selector give up in SlaveBegin on a host that lacks what it needs: that host is set aside
// with the reason, the other does all; and where all hosts lack it the job fails with it.
func TestAbortInSlaveBegin(t *testing.T) {
	t.Parallel()
	lacks := []string{"DTPNODE_TEST_LACKS=1"}
	c := ownCluster(t, nodeSpec{name: "a"}, nodeSpec{name: "b", env: lacks})
	j := tally(t, fourFiles(t)...)
	j.Selector = roottest.Selector(t, "bad/AbortSlaveBegin.C")
	r := c.nodes[0].begin(t, j)
	r.until(t, "b was set aside", func(st api.JobStatus) bool { return outcome{st: st}.work(t, "b").Problem != "" })
	o := r.end(t)
	o.wantWhole(t)
	if w := o.work(t, "b"); w.Units > 0 || !strings.Contains(w.Problem, "SlaveBegin") {
		t.Errorf("b lacks what the selector needs: %+v", w)
	}
	alone := ownCluster(t, nodeSpec{name: "c", env: lacks})
	o = alone.nodes[0].run(t, j)
	o.wantError(t, "SlaveBegin", "Abort")
	o.wantNoWork(t)
}
