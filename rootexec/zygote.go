package rootexec

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone is the reason of a fork that the forking process did not live to answer.
var ErrGone = errors.New("the ROOT process that forks children is gone")

// zygote is the parent's side of a forking child: base or selector. Its one goroutine, readLoop, ends
// when the zygote closes its socket; close makes it do so.
type zygote struct {
	conn *net.UnixConn
	gone chan struct{} // closed when readLoop has ended

	wmu sync.Mutex // one frame at a time

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*forkCall
	procs   map[int]*process
	closed  bool
}

type forkCall struct {
	proc *process
	done chan error
}

func newZygote(conn *net.UnixConn) *zygote {
	z := &zygote{
		conn:    conn,
		gone:    make(chan struct{}),
		pending: map[uint64]*forkCall{},
		procs:   map[int]*process{},
	}
	go z.readLoop()
	return z
}

func (z *zygote) readLoop() {
	defer close(z.gone)
	for {
		r, err := readReply(z.conn)
		if err != nil {
			break
		}
		z.handle(r)
	}
	_ = z.conn.Close() // the other end is closed
	z.fail()
}

func (z *zygote) handle(r *reply) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch r.Op {
	case "forked":
		if c := z.pending[r.ID]; c != nil {
			delete(z.pending, r.ID)
			c.proc.pid = r.PID
			z.procs[r.PID] = c.proc
			c.done <- nil
		}
	case "error":
		if c := z.pending[r.ID]; c != nil {
			delete(z.pending, r.ID)
			c.done <- errors.New(r.Msg)
		}
	case "exited":
		if p := z.procs[r.PID]; p != nil {
			delete(z.procs, r.PID)
			p.setExit(exit{status: unix.WaitStatus(r.Status), known: true, maxRSS: r.MaxRSS << 10})
		}
	}
}

// fail ends everything that waits for this zygote. Its children die with it.
func (z *zygote) fail() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.closed = true
	for id, c := range z.pending {
		delete(z.pending, id)
		c.done <- ErrGone
	}
	for pid, p := range z.procs {
		delete(z.procs, pid)
		p.setExit(exit{})
	}
}

// alive reports whether forks may still be asked for.
func (z *zygote) alive() bool {
	select {
	case <-z.gone:
		return false
	default:
		return true
	}
}

// fork makes a child of the given role. The caller owns it and must call its close.
func (z *zygote) fork(ctx context.Context, role string) (*process, error) {
	p, far, err := newProcess(z, role)
	if err != nil {
		return nil, err
	}
	call := &forkCall{proc: p, done: make(chan error, 1)}
	err = z.askFork(call, role, far)
	for _, f := range far {
		_ = f.Close() // the zygote has its own copies
	}
	if err == nil {
		select {
		case err = <-call.done:
		case <-ctx.Done():
			err = ctx.Err()
			// The process may yet come; its socket is closed then, and it leaves at once.
		}
	}
	if err != nil {
		p.abandon()
		return nil, fmt.Errorf("could not fork a %s: %w", role, err)
	}
	return p, nil
}

func (z *zygote) askFork(call *forkCall, role string, far []*os.File) error {
	z.mu.Lock()
	if z.closed {
		z.mu.Unlock()
		return ErrGone
	}
	z.next++
	id := z.next
	z.pending[id] = call
	z.mu.Unlock()

	b, err := frame(forkFrame{Op: "fork", ID: id, Role: role})
	if err != nil {
		return err
	}
	var fds []int
	for _, f := range far {
		fds = append(fds, int(f.Fd()))
	}
	z.wmu.Lock()
	defer z.wmu.Unlock()
	if _, _, err := z.conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil); err != nil {
		return ErrGone
	}
	return nil
}

// signal sends sig to a child that is not reaped yet; SIGKILL goes to its whole group.
func (z *zygote) signal(pid int, sig unix.Signal) {
	b, err := frame(signalFrame{Op: "signal", PID: pid, Sig: int(sig)})
	if err != nil {
		return
	}
	z.wmu.Lock()
	defer z.wmu.Unlock()
	_, _ = z.conn.Write(b) // if the zygote is gone, so is the child
}

// close tells the zygote to leave and waits until it has, or until leaveLimit: whoever forked it kills
// it then.
func (z *zygote) close() {
	_ = z.conn.CloseWrite() // it sees the end of its requests, kills its children and closes
	t := time.NewTimer(leaveLimit)
	defer t.Stop()
	select {
	case <-z.gone:
	case <-t.C:
		_ = z.conn.Close()
		<-z.gone
	}
}
