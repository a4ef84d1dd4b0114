package child

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"
)

// Process is one fork: its socket, its shared page, its output and, once known, how it ended. One goroutine at a
// time may Call it; the other methods may be called at any time.
type Process struct {
	cfg  *Config
	z    *Zygote // that forked it
	role Role
	pid  int // set before Fork returns

	conn *net.UnixConn
	page *page
	out  *capture

	exited chan struct{} // closed when the exit is known
	once   sync.Once
	exit   exit // valid once exited is closed

	limits exec.Limits // of a generation

	mu     sync.Mutex
	killed bool    // by this driver, not by somebody else
	breach *breach // the limit for which this driver ended it; nil if there was none
}

// exit is how a process ended. It is not known if its zygote died first.
type exit struct {
	status unix.WaitStatus
	known  bool
	maxRSS int64 // bytes
}

const (
	outputPatience = 500 * time.Millisecond // for output after the exit
	stackGrace     = 2 * time.Second        // between SIGABRT, which writes a stack, and SIGKILL
)

// newProcess makes the descriptors of a process that is still to be forked. Those that the fork gets are in far.
func newProcess(z *Zygote, role Role) (p *Process, far []*os.File, err error) {
	conn, sock, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	pg, err := newPage()
	if err != nil {
		_ = conn.Close()
		return nil, nil, closing(sock, err)
	}
	out, w, err := newCapture()
	if err != nil {
		_ = conn.Close()
		pg.close()
		return nil, nil, closing(sock, err)
	}
	p = &Process{cfg: z.cfg, z: z, role: role, conn: conn, page: pg, out: out, exited: make(chan struct{})}
	// The fork gets a copy of the descriptor of its page: far is closed once it is sent, and this side needs its own.
	fd, err := unix.FcntlInt(pg.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = w.Close()
		p.discard()
		return nil, nil, closing(sock, fmt.Errorf("could not share memory with a child: %w", err))
	}
	return p, []*os.File{sock, w, os.NewFile(uintptr(fd), "page")}, nil
}

// socketPair returns this side's end of a new pair, and the fork's.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("could not make a socket pair: %w", err)
	}
	near, far := os.NewFile(uintptr(fds[0]), "parent"), os.NewFile(uintptr(fds[1]), "child")
	conn, err := net.FileConn(near) // a copy
	_ = near.Close()
	if err != nil {
		return nil, nil, fmt.Errorf("could not use a socket pair: %w", closing(far, err))
	}
	return conn.(*net.UnixConn), far, nil
}

func (p *Process) setExit(e exit) {
	p.once.Do(func() {
		p.exit = e
		close(p.exited)
	})
}

// discard releases what was made for a process that could not be forked.
func (p *Process) discard() {
	_ = p.conn.Close()
	p.out.close(0)
	p.page.close()
}

// PID is the process id.
func (p *Process) PID() int { return p.pid }

// Output is what the process printed: the first and the last 64 KiB of it.
func (p *Process) Output() string { return p.out.text() }

// ForgetOutput drops what the process has printed so far, so that the failure of its next task shows nothing of the one
// before.
func (p *Process) ForgetOutput() { p.out.forget() }

// Lines are what the process prints, line by line. Lines are lost while nobody takes them; the channel is closed when
// the process, and whatever it started, has closed its output, and by Close.
func (p *Process) Lines() <-chan string { return p.out.lines }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Zygote makes a zygote of a process that has said that it is one now. Nobody may Call it any more. The
// process is closed after its zygote.
func (p *Process) Zygote() *Zygote { return newZygote(p.cfg, p.conn) }

// send writes one frame.
func (p *Process) send(v any) error {
	b, err := frame(v)
	if err != nil {
		return err
	}
	if _, err := p.conn.Write(b); err != nil {
		return fmt.Errorf("could not write to a %s: %w", p.role.Name, err)
	}
	return nil
}

// Call sends a request, a struct with the string "op", and waits for its reply. That is never "failed": it comes as
// *exec.Failure, and so does a crash. If ctx ends first the process is killed, and the error is that of ctx.
func (p *Process) Call(ctx context.Context, request any) (*Reply, error) {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	r, err := p.exchange(request)
	if ctx.Err() != nil { // context.Cause may be the failure of another process, which this one must not be blamed for
		return nil, fmt.Errorf("could not finish in a %s: %w", p.role.Name, ctx.Err())
	}
	if err != nil {
		return nil, p.crash()
	}
	if r.Op == "failed" {
		return nil, p.lastFailure(r)
	}
	return r, nil
}

func (p *Process) exchange(request any) (*Reply, error) {
	if err := p.send(request); err != nil {
		return nil, err
	}
	return readReply(p.conn)
}

// kill ends the process and all that it started. crash does not take its end for a failure of user code then.
func (p *Process) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	p.z.signal(p.pid, unix.SIGKILL)
}

// abort ends a process that went beyond a limit. SIGABRT lets it write its stack, which tells the user where it was; it
// is killed if that takes too long, or if the limit wants it dead at once.
func (p *Process) abort(v breach) {
	p.mu.Lock()
	p.breach = &v
	p.mu.Unlock()
	if v.now {
		p.z.signal(p.pid, unix.SIGKILL)
		return
	}
	p.z.signal(p.pid, unix.SIGABRT)
	t := time.NewTimer(stackGrace)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.z.signal(p.pid, unix.SIGKILL)
	}
}

// Close kills the process if it still runs, waits for it and releases what it held. What it printed can still be
// read.
func (p *Process) Close() {
	_ = p.conn.Close()
	select {
	case <-p.exited:
	default:
		p.kill()
		<-p.exited
	}
	p.out.close(outputPatience)
	p.page.close()
}

// awaitExit waits for the exit of a process whose socket is at its end, and for its last output.
func (p *Process) awaitExit() {
	t := time.NewTimer(stackGrace + time.Second)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.z.signal(p.pid, unix.SIGKILL)
		<-p.exited
	}
	p.out.close(outputPatience)
}

// RemoveTemp removes what the process has left of a file at path that it was to write and did not: the package comment
// says under which names. Most often there is nothing.
func (p *Process) RemoveTemp(path string) {
	temp := path + ".tmp" + strconv.Itoa(p.pid)
	_ = os.Remove(temp)
	dir := filepath.Dir(path)
	beside := fmt.Sprintf(".dtpnode-%d.", p.pid)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(temp)+".") || strings.HasPrefix(e.Name(), beside) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
