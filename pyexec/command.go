package pyexec

import (
	"bytes"
	"context"
	"errors"
	osexec "os/exec"
	"runtime"
	"syscall"
	"time"
)

// A command that this process starts beside its interpreters, such as pip, or an interpreter that is asked what it is,
// is in a group of its own, which is killed when nobody waits for the command any more. So one that starts others,
// which keep its output open, holds up nobody. Should this process be killed the command is, too: it would write to a
// folder that the next daemon takes for its own.

// outputOf runs a command, and returns what it prints. The error has what it prints as errors (osexec.ExitError).
func outputOf(cmd *osexec.Cmd) ([]byte, error) {
	undo := alone(cmd)
	defer undo()
	out, err := cmd.Output()
	return out, ended(err)
}

// runAll runs a command, and returns all that it prints.
func runAll(cmd *osexec.Cmd) ([]byte, error) {
	undo := alone(cmd)
	defer undo()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.Bytes(), ended(err)
}

// ended is the error of a command, which has none if it ended well and something that it started keeps its output open.
func ended(err error) error {
	if errors.Is(err, osexec.ErrWaitDelay) {
		return nil
	}
	return err
}

// alone has a command be in a group of its own. It is to be run by this goroutine, before undo: the kernel kills it
// with the thread that has started it.
func alone(cmd *osexec.Cmd) (undo func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return runtime.UnlockOSThread
}

// until is a context that ends with the runtime, too.
func (r *Runtime) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
