package child

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/exec"
)

// Zygote is the parent's side of a process that forks others: the base, or a fork that has loaded user code. Its one
// goroutine, readLoop, ends when the process closes its socket; Close makes it do so.
type Zygote struct {
	cfg  *Config
	conn *net.UnixConn
	gone chan struct{} // closed when readLoop has ended

	wmu sync.Mutex // held while a frame is written, so that frames do not mix

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*forkCall
	procs   map[int]*Process
	closed  bool
}

type forkCall struct {
	proc *Process
	done chan error
}

func newZygote(cfg *Config, conn *net.UnixConn) *Zygote {
	z := &Zygote{
		cfg:     cfg,
		conn:    conn,
		gone:    make(chan struct{}),
		pending: map[uint64]*forkCall{},
		procs:   map[int]*Process{},
	}
	go z.readLoop()
	return z
}

func (z *Zygote) readLoop() {
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

func (z *Zygote) handle(r *Reply) {
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

// fail tells everybody who waits for this zygote, or for one of its forks, that it is gone: the forks die with it.
func (z *Zygote) fail() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.closed = true
	for id, c := range z.pending {
		delete(z.pending, id)
		c.done <- exec.ErrGone
	}
	for pid, p := range z.procs {
		delete(z.procs, pid)
		p.setExit(exit{})
	}
}

// Alive reports whether forks may still be asked for. It is false before anybody hears of a fork that died with the
// zygote.
func (z *Zygote) Alive() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return !z.closed
}

// Gone is closed when the zygote has ended, and its forks with it.
func (z *Zygote) Gone() <-chan struct{} { return z.gone }

// Fork makes a child of the given role. The caller owns it and must Close it. The error is exec.ErrGone, under
// errors.Is, if the zygote did not live to answer.
func (z *Zygote) Fork(ctx context.Context, role Role) (*Process, error) {
	p, far, err := newProcess(z, role)
	if err != nil {
		return nil, err
	}
	call := &forkCall{proc: p, done: make(chan error, 1)}
	err = z.askFork(call, role.Name, far)
	for _, f := range far {
		_ = f.Close() // the zygote has its own copies
	}
	if err == nil {
		select {
		case err = <-call.done:
		case <-ctx.Done():
			err = ctx.Err()
			// The zygote may still make the process, which finds its socket closed then and leaves at once.
		}
	}
	if err != nil {
		p.discard()
		return nil, fmt.Errorf("could not fork a %s: %w", role.Name, err)
	}
	return p, nil
}

func (z *Zygote) askFork(call *forkCall, role string, far []*os.File) error {
	z.mu.Lock()
	if z.closed {
		z.mu.Unlock()
		return exec.ErrGone
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
		z.mu.Lock()
		z.closed = true // readLoop will notice too
		z.mu.Unlock()
		return exec.ErrGone
	}
	return nil
}

// signal sends sig to a child that is not reaped yet; SIGKILL goes to its whole group.
func (z *Zygote) signal(pid int, sig unix.Signal) {
	b, err := frame(signalFrame{Op: "signal", PID: pid, Sig: int(sig)})
	if err != nil {
		return
	}
	z.wmu.Lock()
	defer z.wmu.Unlock()
	_, _ = z.conn.Write(b) // a failure means that the zygote is gone, and its forks with it
}

// Close tells the zygote to leave, which ends its forks, and waits until it has, or for 5 s: whoever forked it kills it
// then.
func (z *Zygote) Close() {
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
