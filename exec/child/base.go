package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"
)

const (
	startLimit = time.Minute     // for a program to load from a slow, shared file system
	leaveLimit = 5 * time.Second // for zygotes to leave before they are killed
)

// Base is a program that runs, warm, and that forks whatever is asked for. Should it be killed, another is started. Its
// methods may be called from several goroutines.
type Base struct {
	cfg Config

	mu     sync.Mutex
	live   *baseProcess // nil before the first start, and after one that failed
	closed bool
}

// baseProcess is one life of the program.
type baseProcess struct {
	*Zygote
	cmd    *osexec.Cmd
	out    *capture
	waited chan struct{} // closed when cmd is reaped
}

// Open starts the program and returns once it has said that it is ready. Close must be called.
func Open(ctx context.Context, cfg Config) (*Base, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("could not start %s: %w", cfg.Name, err)
	}
	b := &Base{cfg: cfg}
	if _, err := b.process(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Another starts the same program once more, for forks that are to share no process with those of b. It must be closed,
// too.
func (b *Base) Another(ctx context.Context) (*Base, error) { return Open(ctx, b.cfg) }

// Close kills and reaps the program and all its forks. What they were asked for fails with KindKilled.
func (b *Base) Close() {
	b.mu.Lock()
	b.closed = true
	p := b.live
	b.live = nil
	b.mu.Unlock()
	if p != nil {
		p.stop()
	}
}

// Fork makes a child of the program. The caller owns it and must Close it. The error is, under errors.Is,
// exec.ErrClosed after Close, and exec.ErrGone if the program dies again and again.
func (b *Base) Fork(ctx context.Context, role Role) (*Process, error) {
	p, err := b.process(ctx)
	if err != nil {
		return nil, err
	}
	fork, err := p.Fork(ctx, role)
	if !errors.Is(err, exec.ErrGone) {
		return fork, err
	}
	// It was killed, and nobody knew of it yet. That another one dies as soon is no accident.
	if p, err = b.process(ctx); err != nil {
		return nil, err
	}
	return p.Fork(ctx, role)
}

// PID is the process id of the program; 0 if it does not run.
func (b *Base) PID() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live == nil {
		return 0
	}
	return b.live.cmd.Process.Pid
}

// process returns the program as it runs, started anew if it has died.
func (b *Base) process(ctx context.Context) (*baseProcess, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("could not use %s: %w", b.cfg.Name, exec.ErrClosed)
	}
	if b.live != nil && b.live.Alive() {
		return b.live, nil
	}
	if b.live != nil {
		b.cfg.Log.Warn("the base process died; starting another", "of", b.cfg.Name, "output", b.live.out.last())
		b.live.stop()
		b.live = nil
	}
	p, err := start(ctx, &b.cfg)
	if err != nil {
		return nil, err
	}
	b.live = p
	return p, nil
}

func start(ctx context.Context, cfg *Config) (*baseProcess, error) {
	conn, sock, err := socketPair()
	if err != nil {
		return nil, err
	}
	out, w, err := newCapture()
	if err != nil {
		_ = conn.Close()
		return nil, closing(sock, err)
	}
	cmd := osexec.Command(cfg.Exe, cfg.Args...)
	cmd.Dir, cmd.Env = cfg.Dir, cfg.Env
	cmd.Stdout, cmd.Stderr = w, w
	cmd.ExtraFiles = []*os.File{sock}
	// A session of its own: Ctrl-C on the terminal is for the daemon, which ends its children itself, and what user code
	// signals as its session has no daemon in it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = w.Close()
	_ = sock.Close()
	if err != nil {
		_ = conn.Close()
		out.close(0)
		return nil, fmt.Errorf("could not start %q: %w", cfg.Exe, err)
	}
	p := &baseProcess{cmd: cmd, out: out, waited: make(chan struct{})}
	go p.wait()
	hello, err := readHello(ctx, conn)
	if err != nil {
		_ = conn.Close()
		_ = cmd.Process.Kill()
		<-p.waited
		out.close(outputPatience)
		return nil, fmt.Errorf("could not start %s: %w\n%s", cfg.Name, err, out.last())
	}
	cfg.Log.Debug("the base process is warm", "of", cfg.Name, "version", hello.Version, "pid", cmd.Process.Pid)
	p.Zygote = newZygote(cfg, conn)
	return p, nil
}

// wait reaps the program; it ends with it.
func (p *baseProcess) wait() {
	defer close(p.waited)
	_ = p.cmd.Wait() // how it ended does not matter: the end of its socket tells that it has
}

// readHello waits until the program is ready.
func readHello(ctx context.Context, conn *net.UnixConn) (*Reply, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.SetReadDeadline(time.Now().Add(startLimit)); err != nil {
		return nil, err
	}
	r, err := readReply(conn)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("it did not report ready: %w", err)
	}
	if r.Op != "hello" {
		return nil, errors.New("it did not report ready, but something else")
	}
	if r.Protocol != Protocol {
		return nil, fmt.Errorf("it speaks protocol %d, not %d: it was made for another dtpnode", r.Protocol, Protocol)
	}
	return r, conn.SetReadDeadline(time.Time{})
}

// stop ends the program and with it every fork.
func (p *baseProcess) stop() {
	_ = p.conn.CloseWrite()
	t := time.NewTimer(leaveLimit)
	defer t.Stop()
	select {
	case <-p.waited:
	case <-t.C:
		_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
		_ = p.cmd.Process.Kill()
		<-p.waited
	}
	_ = p.conn.Close()
	<-p.gone
	p.out.close(outputPatience)
}
