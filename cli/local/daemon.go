package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/dtpnode/dtpnode/node/api"
)

// These are the times that a daemon may take to answer after its start, to leave its cluster, and to end after a
// signal.
const (
	startLimit = 60 * time.Second
	leaveLimit = 20 * time.Second
	endLimit   = 5 * time.Second
)

// Daemon is a daemon that this process started.
type Daemon struct {
	Paths  Paths
	Client *api.Client

	cmd   *exec.Cmd
	stdin io.Closer     // the daemon ends when it is closed; nil for one in the background
	ended chan struct{} // closed when the process has ended
	err   error         // how it ended; read only after ended is closed
	temp  string        // folder to remove at the end
	owner *flock.Flock  // lock of that folder, held to the end; nil without one
	log   int64         // offset in the log at which this daemon's lines begin
}

// Start starts `dtpnode up` with args as a child in a process group of its own, so that Ctrl-C on the
// terminal reaches only this process. The child ends with this process, however that ends. Its log goes
// to the state folder. Start returns when the daemon answers.
func Start(ctx context.Context, paths Paths, args ...string) (*Daemon, error) {
	return start(ctx, paths, "", args)
}

// StartTemporary is Start with a temporary state folder, which is removed at the end unless Keep moves it.
func StartTemporary(ctx context.Context, cache string, args ...string) (*Daemon, error) {
	temp, lock, err := makeTemporary(args)
	if err != nil {
		return nil, err
	}
	d, err := start(ctx, Paths{State: temp, Cache: cache}, temp, args)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(temp), lock.Unlock())
	}
	d.owner = lock
	return d, nil
}

func start(ctx context.Context, paths Paths, temp string, args []string) (*Daemon, error) {
	cmd, logFile, err := command(paths, append([]string{"--ephemeral"}, args...))
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("could not start a daemon: %w", err)
	}
	return launch(ctx, &Daemon{Paths: paths, cmd: cmd, stdin: stdin, temp: temp, log: size(logFile)})
}

// StartBackground starts `dtpnode up` with args in a session of its own; it outlives this process.
func StartBackground(ctx context.Context, paths Paths, args ...string) (*Daemon, error) {
	cmd, logFile, err := command(paths, args)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return launch(ctx, &Daemon{Paths: paths, cmd: cmd, log: size(logFile)})
}

// command prepares `dtpnode up` with its output going to the log.
func command(paths Paths, args []string) (*exec.Cmd, *os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("could not find the dtpnode binary: %w", err)
	}
	if err := os.MkdirAll(paths.State, 0o700); err != nil {
		return nil, nil, &api.Error{
			Message: fmt.Sprintf("could not make the state folder %q: %v", paths.State, err),
			Hint:    "choose another with --state",
		}
	}
	logFile, err := os.OpenFile(paths.Log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("could not open the daemon's log: %w", err)
	}
	all := append([]string{"up", "--state", paths.State, "--cache", paths.Cache}, args...)
	cmd := exec.Command(self, all...) // not CommandContext: Close lets the daemon leave the cluster first
	cmd.Stdout, cmd.Stderr = logFile, logFile
	return cmd, logFile, nil
}

// launch starts d and waits until it answers.
func launch(ctx context.Context, d *Daemon) (*Daemon, error) {
	d.Client = d.Paths.Client()
	d.ended = make(chan struct{})
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("could not start a daemon: %w", err)
	}
	go func() { // ends with the daemon; Close waits for it
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	if err := d.answering(ctx); err != nil {
		return nil, errors.Join(err, d.kill())
	}
	return d, nil
}

// answering waits for the daemon's first answer, which must come from the process that was just started.
func (d *Daemon) answering(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		st, err := d.Client.Status(ctx)
		if err == nil && st.PID == d.cmd.Process.Pid {
			return nil
		}
		select {
		case <-d.ended:
			return d.diedEarly()
		case <-ctx.Done():
			return fmt.Errorf("could not wait for the daemon to answer on %q: %w; its log is %s",
				d.Client.Socket(), ctx.Err(), d.Paths.Log())
		case <-time.After(pause):
		}
	}
}

// diedEarly is the error of a daemon that ended before it answered, with the last lines of its log.
func (d *Daemon) diedEarly() error {
	e := &api.Error{
		Message: fmt.Sprintf("could not start the daemon: %v: %s", d.err, tail(d.Paths.Log(), d.log, 5)),
		Hint:    "see `dtpnode doctor`",
	}
	if d.temp == "" {
		e.Hint = fmt.Sprintf("see %s, and `dtpnode doctor`", d.Paths.Log())
	}
	return e
}

// Ended is closed when the daemon's process has ended.
func (d *Daemon) Ended() <-chan struct{} { return d.ended }

// Close lets the daemon leave its cluster, kills it if it does not end in time, and waits for it.
func (d *Daemon) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	if err := d.Client.Shutdown(ctx); err == nil {
		select {
		case <-d.ended:
		case <-ctx.Done():
		}
	}
	return d.kill()
}

// kill ends the process, first by closing its input and SIGTERM, then by SIGKILL, and cleans up.
func (d *Daemon) kill() error {
	d.Client.Close()
	if d.stdin != nil {
		d.stdin.Close()
	}
	select {
	case <-d.ended:
	default:
		// The process has not been waited for, or Signal would return an error, so its pid belongs to no other process.
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-d.ended:
	case <-time.After(endLimit):
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
	if d.owner != nil { // while the lock is held nobody starts another daemon there
		api.RemoveSocket(d.Client.Socket())
	}
	if d.temp == "" {
		return nil
	}
	err := os.RemoveAll(d.temp)
	if d.owner != nil {
		err = errors.Join(err, d.owner.Unlock())
	}
	return err
}

func size(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail returns the last lines of a file after the offset from, for messages.
func tail(path string, from int64, lines int) string {
	const most = 4096
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	_, _ = f.Seek(max(from, size(f)-most), io.SeekStart)
	text, _ := io.ReadAll(io.LimitReader(f, most))
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Connect returns a client for the daemon that runs, or api.ErrNoDaemon.
func Connect(ctx context.Context, paths Paths) (*api.Client, error) {
	client := paths.Client()
	if _, err := client.Status(ctx); err != nil {
		return nil, err
	}
	return client, nil
}

// closeLimit is how long a daemon that has stopped answering may take to release its folder.
const closeLimit = 30 * time.Second

// WaitReleased waits until no daemon holds the state folder. A daemon that has stopped answering still ends its
// processes and writes to that folder, and another cannot start there before it is done.
func (p Paths) WaitReleased(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeLimit)
	defer cancel()
	lock := flock.New(api.LockPath(p.State))
	ok, err := lock.TryLockContext(ctx, 20*time.Millisecond)
	switch {
	case ok:
		return lock.Unlock()
	case errors.Is(err, fs.ErrNotExist): // there is no such folder
		return nil
	}
	return &api.Error{
		Message: fmt.Sprintf("the daemon answers no more, but still holds %q: %v", lock.Path(), err),
		Hint:    "see the end of " + p.Log() + "; `dtpnode up` works when its process has ended",
		Err:     err,
	}
}
