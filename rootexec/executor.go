package rootexec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"
)

// Config says what an Executor works with.
type Config struct {
	Exe          string       // the built child, from BuildChild
	Root         *Root        // the ROOT it was built with
	Scratch      string       // folder for working directories of children; must exist
	Cache        string       // folder for compiled selectors, shared by the user's daemons
	Log          *slog.Logger // default: nothing is logged
	MaxSelectors int          // libraries kept loaded between jobs, default 4
	Planners     int          // files planned at once, default twice the cores

	// CompileLimit ends a compilation that takes longer; default 10 min. After SyntaxAfter, default 20 s, the compiler alone
	// is asked whether the source ends where it should.
	CompileLimit, SyntaxAfter time.Duration
}

func (c *Config) validate() error {
	if c.Exe == "" || c.Root == nil {
		return errors.New("could not start ROOT: no child executable, or no ROOT named")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxSelectors <= 0 {
		c.MaxSelectors = 4
	}
	if c.CompileLimit <= 0 {
		c.CompileLimit = 10 * time.Minute
	}
	if c.SyntaxAfter <= 0 {
		c.SyntaxAfter = 20 * time.Second
	}
	if c.Planners <= 0 {
		c.Planners = 2 * runtime.GOMAXPROCS(0)
	}
	for _, dir := range []string{c.Scratch, c.Cache} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("could not make folder %q: %w", dir, err)
		}
	}
	return nil
}

// Executor runs user code. It owns the base zygote, and starts another should that one be killed. Its
// methods may be called from several goroutines.
type Executor struct {
	cfg Config
	log *slog.Logger

	mu     sync.Mutex
	base   *base
	closed bool

	planners  chan struct{} // semaphore
	idle      []*process    // planners without work
	selectors selectorCache
}

// base is the base zygote's process.
type base struct {
	*zygote
	cmd    *osexec.Cmd
	out    *capture
	waited chan struct{} // closed when cmd is reaped
}

const (
	startLimit = time.Minute     // for ROOT to load on a slow, shared file system
	leaveLimit = 5 * time.Second // for the zygotes to leave before they are killed
)

// Open starts the base zygote and returns once it is warm. Close must be called.
func Open(ctx context.Context, cfg Config) (*Executor, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Executor{cfg: cfg, log: cfg.Log, planners: make(chan struct{}, cfg.Planners)}
	e.selectors.init(cfg.MaxSelectors)
	if _, err := e.zygote(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// Close kills and reaps every process of e. Generations and clients in use fail with KindKilled.
func (e *Executor) Close() error {
	e.mu.Lock()
	e.closed = true
	b, idle := e.base, e.idle
	e.base, e.idle = nil, nil
	e.mu.Unlock()
	e.selectors.closeAll()
	for _, p := range idle {
		p.close()
	}
	if b != nil {
		b.stop()
	}
	return nil
}

// fork makes a child of the base zygote.
func (e *Executor) fork(ctx context.Context, role string) (*process, error) {
	b, err := e.zygote(ctx)
	if err != nil {
		return nil, err
	}
	return b.fork(ctx, role)
}

// zygote returns the base zygote, a new one if there is none or the last one died.
func (e *Executor) zygote(ctx context.Context) (*base, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fmt.Errorf("could not use ROOT: %w", exec.ErrClosed)
	}
	if e.base != nil && e.base.alive() {
		return e.base, nil
	}
	if e.base != nil {
		e.log.Warn("the base ROOT process died; starting another", "output", e.base.out.last())
		e.base.stop()
		e.base = nil
	}
	b, err := startBase(ctx, &e.cfg)
	if err != nil {
		return nil, err
	}
	e.base = b
	return b, nil
}

func startBase(ctx context.Context, cfg *Config) (*base, error) {
	conn, sock, err := socketPair()
	if err != nil {
		return nil, err
	}
	out, w, err := newCapture()
	if err != nil {
		_ = conn.Close()
		return nil, closing(sock, err)
	}
	cmd := osexec.Command(cfg.Exe)
	cmd.Dir = cfg.Scratch
	cmd.Env = childEnv(cfg.Root, os.Environ())
	cmd.Stdout, cmd.Stderr = w, w
	cmd.ExtraFiles = []*os.File{sock}
	// Its own group: Ctrl-C on the terminal is for dtpnode, which ends its children itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = w.Close()
	_ = sock.Close()
	if err != nil {
		_ = conn.Close()
		out.close(0)
		return nil, fmt.Errorf("could not start %q: %w", cfg.Exe, err)
	}
	b := &base{cmd: cmd, out: out, waited: make(chan struct{})}
	go b.wait()
	hello, err := b.hello(ctx, conn)
	if err != nil {
		_ = conn.Close()
		_ = cmd.Process.Kill()
		<-b.waited
		out.close(lastWords)
		return nil, fmt.Errorf("could not start ROOT in %q: %w\n%s", cfg.Root.Dir, err, out.last())
	}
	cfg.Log.Debug("ROOT is warm", "pid", cmd.Process.Pid, "root", hello.Root)
	b.zygote = newZygote(conn)
	return b, nil
}

// wait reaps the base process; it ends with it.
func (b *base) wait() {
	defer close(b.waited)
	_ = b.cmd.Wait() // its socket's end tells what matters
}

func (b *base) hello(ctx context.Context, conn interface {
	Read([]byte) (int, error)
	SetReadDeadline(time.Time) error
}) (*reply, error) {
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
	if r.Op != "hello" || r.Protocol != protocolVersion {
		return nil, fmt.Errorf("it speaks protocol %d, not %d: it was built by another dtpnode", r.Protocol, protocolVersion)
	}
	return r, conn.SetReadDeadline(time.Time{})
}

// stop ends the base zygote and with it every child.
func (b *base) stop() {
	_ = b.conn.CloseWrite()
	t := time.NewTimer(leaveLimit)
	defer t.Stop()
	select {
	case <-b.waited:
	case <-t.C:
		_ = unix.Kill(-b.cmd.Process.Pid, unix.SIGKILL)
		_ = b.cmd.Process.Kill()
		<-b.waited
	}
	_ = b.conn.Close()
	<-b.gone
	b.out.close(lastWords)
}

// childEnv is the environment of ROOT processes: the user's, but for this ROOT.
func childEnv(root *Root, env []string) []string {
	var out []string
	path := ""
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "PATH":
			path = value
		case "ROOTSYS":
			if same, _ := filepath.EvalSymlinks(value); same == root.Dir {
				out = append(out, v)
			}
		default:
			out = append(out, v)
		}
	}
	// ACLiC calls rootcling and root-config by name.
	return append(out, "PATH="+root.Bin+string(os.PathListSeparator)+path)
}
