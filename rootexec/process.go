package rootexec

import (
	"context"
	"errors"
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

// process is one forked child: its socket, its shared page, its output and, once known, how it ended.
type process struct {
	z    *zygote
	role string
	pid  int // set before fork returns

	conn *net.UnixConn
	page *page
	out  *capture

	exited chan struct{} // closed when the exit is known
	once   sync.Once
	exit   exit // valid once exited is closed

	limits exec.Limits // of a generation

	mu      sync.Mutex
	killed  bool     // by us
	verdict *verdict // went beyond a limit
}

// exit is how a process ended. It is not known if its zygote died first.
type exit struct {
	status unix.WaitStatus
	known  bool
	maxRSS int64
}

const (
	lastWords  = 500 * time.Millisecond // for output after the exit
	stackGrace = 2 * time.Second        // between SIGABRT, which writes a stack, and SIGKILL
)

// newProcess makes the descriptors of a process: ours in it, the child's in far.
func newProcess(z *zygote, role string) (p *process, far []*os.File, err error) {
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
	p = &process{z: z, role: role, conn: conn, page: pg, out: out, exited: make(chan struct{})}
	// The page's own file: it is not closed with far.
	fd, err := unix.FcntlInt(pg.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = w.Close()
		p.abandon()
		return nil, nil, closing(sock, fmt.Errorf("could not share memory with a child: %w", err))
	}
	return p, []*os.File{sock, w, os.NewFile(uintptr(fd), "page")}, nil
}

// socketPair returns our end and the child's.
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

func (p *process) setExit(e exit) {
	p.once.Do(func() {
		p.exit = e
		close(p.exited)
	})
}

// abandon releases a process that never came to be.
func (p *process) abandon() {
	_ = p.conn.Close()
	p.out.close(0)
	p.page.close()
}

// send writes one frame.
func (p *process) send(v any) error {
	b, err := frame(v)
	if err != nil {
		return err
	}
	if _, err := p.conn.Write(b); err != nil {
		return fmt.Errorf("could not write to a %s: %w", p.role, err)
	}
	return nil
}

// call sends a request and waits for its reply, which is never "failed": that comes as *Failure, and so
// does a crash. If ctx ends first the process is killed.
func (p *process) call(ctx context.Context, request any) (*reply, error) {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	r, err := p.exchange(request)
	if ctx.Err() != nil { // not its cause, which may be the failure of another process
		return nil, fmt.Errorf("could not finish in a %s: %w", p.role, ctx.Err())
	}
	if err != nil {
		return nil, p.crash()
	}
	if r.Op == "failed" {
		return nil, p.failure(r)
	}
	return r, nil
}

func (p *process) exchange(request any) (*reply, error) {
	if err := p.send(request); err != nil {
		return nil, err
	}
	return readReply(p.conn)
}

// kill ends the process and all it started. It is not reported as a failure.
func (p *process) kill() {
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	p.z.signal(p.pid, unix.SIGKILL)
}

// condemn ends a process that went beyond a limit. It may write its stack first, unless that takes too long or it
// is to die at once.
func (p *process) condemn(v verdict) {
	p.mu.Lock()
	p.verdict = &v
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

// close kills the process if it still runs, waits for it and releases what it held.
func (p *process) close() {
	_ = p.conn.Close()
	select {
	case <-p.exited:
	default:
		p.kill()
		<-p.exited
	}
	p.out.close(lastWords)
	p.page.close()
}

// settle waits for the exit of a process whose socket is at its end, and for its last output.
func (p *process) settle() {
	t := time.NewTimer(stackGrace + time.Second)
	defer t.Stop()
	select {
	case <-p.exited:
	case <-t.C:
		p.z.signal(p.pid, unix.SIGKILL)
		<-p.exited
	}
	p.out.close(lastWords)
}

// removeTemp removes what a process that died while it wrote path has left: the file itself, or batches of a merge.
// Most often there is nothing.
func (p *process) removeTemp(path string) {
	temp := path + ".tmp" + strconv.Itoa(p.pid)
	_ = os.Remove(temp)
	_ = os.Remove(filepath.Join(filepath.Dir(path), fmt.Sprintf(".dtpnode-%d.root", p.pid)))
	batches, _ := os.ReadDir(filepath.Dir(path))
	for _, e := range batches {
		if strings.HasPrefix(e.Name(), filepath.Base(temp)+".") {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
}

// asFailure finds the *Failure in err, if there is one.
func asFailure(err error) *exec.Failure {
	var f *exec.Failure
	if errors.As(err, &f) {
		return f
	}
	return nil
}
