package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestInterruptWhileSubmitting: an interrupt does not abort a submission, since the daemon may have accepted the job,
// but applies to the job. With --detach, by which a user wants the job to go on, the output says that it does, with its
// name.
func TestInterruptWhileSubmitting(t *testing.T) {
	for _, tc := range []struct {
		args []string
		says []string
		call string
	}{
		{nil, []string{"the job was cancelled"}, "cancel"},
		{[]string{"--detach"}, []string{"interrupted before job running", "it goes on", "`dtpnode cancel running`"}, ""},
	} {
		d := startDaemon(t)
		d.held = make(chan struct{})
		dir := workdir(t)
		cmd := command(t, dir, d.state,
			append([]string{"run", "DiMuon.C+", "--tree", "T", "--files", "a.root", "-o", "x.root", "--option", "running"},
				tc.args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-d.calls // the job is being submitted
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		close(d.held)
		_ = cmd.Wait()
		for _, want := range tc.says {
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stderr.String(), want) {
				t.Errorf("%q: exit %d, want %q: %s", tc.args, code, want, stderr.String())
			}
		}
		call := ""
		select {
		case call = <-d.calls:
		default:
		}
		if call != tc.call {
			t.Errorf("%q: the daemon was asked to %q, want %q", tc.args, call, tc.call)
		}
	}
}
