package child

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// page is the memory that a child writes while it runs and that outlives it: the package comment has its layout. Its
// methods may be called at any time, also after close.
type page struct {
	mu   sync.RWMutex
	file *os.File
	mem  []byte // nil once closed
	last pageState
}

// idle is the phase of a process that waits for a request.
const idle = 0

// pageState is one reading of the page.
type pageState struct {
	packet    uint64
	entry     int64
	progress  uint64
	phase     uint32
	signal    int
	cluster   tasks.Range // of entry
	readError readError
	fault     fault // of a crash
}

// fault is the address that a process could not use when it crashed by SIGSEGV or SIGBUS, with the state of its memory
// at that moment.
type fault struct {
	known bool
	addr  uint64
	errno unix.Errno
	data  int64 // bytes that the limit of memory counts; 0 if unknown
}

// readError is the first error of reading that the runtime noticed in a process. User code often crashes soon after it.
type readError struct {
	kind exec.Kind // "", KindSchema or KindData
	text string
}

const (
	pageSize    = 4096 // the text of a stack follows
	maxStack    = 64 << 10
	offPacket   = 0
	offEntry    = 8
	offProgress = 16
	offStop     = 24
	offPhase    = 32
	offSignal   = 36

	offClusterFirst  = 40
	offClusterLast   = 48
	offReadErrorKind = 56
	offReadErrorSize = 60
	offReadError     = 64
	maxReadError     = 1024
	offFault         = offReadError + maxReadError
	offDataUsed      = offFault + 8
	offError         = offFault + 16
	offHasFault      = offFault + 20
)

func newPage() (*page, error) {
	fd, err := unix.MemfdCreate("dtpnode-page", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("could not make shared memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "page")
	if err := unix.Ftruncate(fd, pageSize); err != nil {
		return nil, fmt.Errorf("could not make shared memory: %w", closing(f, err))
	}
	mem, err := unix.Mmap(fd, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("could not map shared memory: %w", closing(f, err))
	}
	return &page{file: f, mem: mem}, nil
}

func (p *page) u64(off int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&p.mem[off])) }
func (p *page) u32(off int) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&p.mem[off])) }

// read takes a reading; after close, the last one.
func (p *page) read() pageState {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.mem == nil {
		return p.last
	}
	return p.state()
}

func (p *page) state() pageState {
	return pageState{
		packet:    p.u64(offPacket).Load(),
		entry:     int64(p.u64(offEntry).Load()),
		progress:  p.u64(offProgress).Load(),
		phase:     p.u32(offPhase).Load(),
		signal:    int(p.u32(offSignal).Load()),
		cluster:   tasks.R(int64(p.u64(offClusterFirst).Load()), int64(p.u64(offClusterLast).Load())),
		readError: p.readError(),
		fault: fault{known: p.u32(offHasFault).Load() != 0, addr: p.u64(offFault).Load(),
			errno: unix.Errno(p.u32(offError).Load()), data: int64(p.u64(offDataUsed).Load())},
	}
}

func (p *page) readError() readError {
	kind := exec.KindSchema
	switch p.u32(offReadErrorKind).Load() {
	case 0:
		return readError{}
	case 2:
		kind = exec.KindData
	}
	n := min(p.u32(offReadErrorSize).Load(), maxReadError)
	return readError{kind: kind, text: string(p.mem[offReadError : offReadError+n])}
}

// stop ends packets with sequence numbers up to seq.
func (p *page) stop(seq uint64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.mem != nil {
		p.u64(offStop).Store(seq)
	}
}

// stack is what the crash handler wrote.
func (p *page) stack() string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.mem == nil {
		return ""
	}
	b := make([]byte, maxStack)
	n, _ := p.file.ReadAt(b, pageSize) // it reads to the end of the file, so io.EOF is no error
	return string(bytes.Trim(b[:n], "\x00\n"))
}

func (p *page) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mem == nil {
		return
	}
	p.last = p.state()
	_ = unix.Munmap(p.mem) // fails only for memory that is not ours
	_ = p.file.Close()     // nothing to lose: memory
	p.mem = nil
}

// closing closes f and returns err, which matters more than an error of Close.
func closing(f *os.File, err error) error {
	_ = f.Close()
	return err
}
