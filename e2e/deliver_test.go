package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec/fakeexec"
	"github.com/dtpnode/dtpnode/node/api"
)

// TestOutputOfASuspendedSubmitter stops the node that a job was submitted on until another leads the job, as a
// laptop's lid does. Who follows the job there is told of its end when the output is written, or why it could not
// be; it is then written as soon as it can be, and where it was fetched the other nodes know.
func TestOutputOfASuspendedSubmitter(t *testing.T) {
	t.Parallel()
	for name, folder := range map[string]bool{"folder is there": true, "folder comes later": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := ownCluster(t, fakeSpecs(t, 3)...)
			submitter := c.nodes[1]
			j := paceOf(len(c.nodes), 12*time.Second)
			req := j.request(t)
			dir := filepath.Join(t.TempDir(), "out")
			req.Output = filepath.Join(dir, "out.json")
			if folder {
				check(t, os.Mkdir(dir, 0o700))
			}
			id := submitter.submit(t, req).ID
			submitter.until(t, id, "the job is safe", func(st api.JobStatus) bool { return st.Safe })
			ended := make(chan error, 1)
			var st api.JobStatus
			written := false
			go func() {
				var err error
				st, err = submitter.client.Follow(t.Context(), id, func(ev api.Event) error {
					written = ev.Status != nil && ev.Status.State.Final() && fileExists(req.Output)
					return nil
				})
				ended <- err
			}()
			submitter.suspended(t, func() { c.wantHome(t, c.nodes[0], id, submitter) })
			check(t, <-ended)
			switch {
			case st.State != api.Done:
				t.Fatalf("ended as %+v", st)
			case folder && (!written || st.Output != req.Output):
				t.Errorf("told of the end without an output: %+v", st)
			case !folder && (st.Output != "" || st.OutputError == ""):
				t.Errorf("does not say that there is no output: %+v", st)
			}
			if !folder {
				check(t, os.Mkdir(dir, 0o700))
			}
			check(t, poll(settleLimit, func() (bool, error) {
				st, err := submitter.job(t.Context(), id)
				return st.Output == req.Output, err
			}))
			got, err := fakeexec.ReadOutput(req.Output)
			if err != nil || got.Units != j.units() {
				t.Errorf("the output holds %d units of %d: %v", got.Units, j.units(), err)
			}
			for _, n := range c.nodes {
				n.wantMarked(t, id)
			}
		})
	}
}

// suspended runs f while the daemon is stopped.
func (n *node) suspended(t testing.TB, f func()) {
	t.Helper()
	pids := append([]int{n.cmd.Process.Pid}, below(n.cmd.Process.Pid)...)
	signalAll(syscall.SIGSTOP, pids)
	defer signalAll(syscall.SIGCONT, pids)
	f()
}

// wantMarked waits until a node that keeps a job's result knows that it was fetched.
func (n *node) wantMarked(t testing.TB, id string) {
	t.Helper()
	job := filepath.Join(n.state, "jobs", id)
	err := poll(settleLimit, func() (bool, error) {
		return !fileExists(filepath.Join(job, api.ResultFile)) || fileExists(filepath.Join(job, "fetched")), nil
	})
	if err != nil {
		t.Errorf("%s does not know that the result was fetched: %v", n.name, err)
	}
}

// TestOutputOfARestartedSubmitter restarts the daemon that a job was submitted on, politely, so that it hands its copy
// of the ledger to another node, and comes to the job again as any other node does. It writes the output all the same,
// and takes what the job grows by from its first moment on.
func TestOutputOfARestartedSubmitter(t *testing.T) {
	t.Parallel()
	specs := fakeSpecs(t, 4)
	c := ownCluster(t, specs...)
	submitter := c.nodes[1]
	g := &growing{t: t, fakeJob: paceOf(len(c.nodes), 3*time.Second)}
	req := g.request(t)
	req.Output, req.StaysOpen = filepath.Join(t.TempDir(), "out.json"), true
	g.id = submitter.submit(t, req).ID
	for life := range 2 {
		submitter.until(t, g.id, "the job is safe", func(st api.JobStatus) bool { return st.Safe })
		check(t, submitter.stop())
		submitter.relaunch(t, specs[1])
		check(t, submitter.waitReady())
		g.appendOnce(submitter, uint64(life+1))
		ready := func() (bool, error) {
			return strings.Contains(submitter.logTail(0), "ready for job"), nil
		}
		check(t, poll(settleLimit, ready))
	}
	g.files += 2
	if _, err := submitter.client.Append(t.Context(), g.id, api.AppendRequest{Close: true}); err != nil {
		t.Fatalf("could not close: %v", err)
	}
	submitter.until(t, g.id, "the job has ended", func(st api.JobStatus) bool { return st.State == api.Done })
	check(t, poll(settleLimit, func() (bool, error) {
		st, err := submitter.job(t.Context(), g.id)
		return st.Output == req.Output, err
	}))
	got, err := fakeexec.ReadOutput(req.Output)
	if err != nil || got.Units != g.units() {
		t.Errorf("the output holds %d units of %d: %v", got.Units, g.units(), err)
	}
}
