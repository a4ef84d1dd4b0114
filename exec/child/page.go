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
	packet   uint64
	entry    int64
	progress uint64
	phase    uint32
	signal   int
	cluster  tasks.Range // of entry
	trouble  trouble
	fault    fault // of a crash
}

// fault says what a process could not use that crashed by SIGSEGV or SIGBUS, and how things stood then.
type fault struct {
	known bool
	addr  uint64
	errno unix.Errno
	data  int64 // bytes that the limit of memory counts; 0 if unknown
}

// trouble is the first error of reading that the runtime noticed. User code often crashes soon after.
type trouble struct {
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

	offClusterFirst = 40
	offClusterLast  = 48
	offTroubleKind  = 56
	offTroubleSize  = 60
	offTrouble      = 64
	maxTrouble      = 1024
	offFault        = offTrouble + maxTrouble
	offDataUsed     = offFault + 8
	offError        = offFault + 16
	offHasFault     = offFault + 20
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
		packet:   p.u64(offPacket).Load(),
		entry:    int64(p.u64(offEntry).Load()),
		progress: p.u64(offProgress).Load(),
		phase:    p.u32(offPhase).Load(),
		signal:   int(p.u32(offSignal).Load()),
		cluster:  tasks.R(int64(p.u64(offClusterFirst).Load()), int64(p.u64(offClusterLast).Load())),
		trouble:  p.trouble(),
		fault: fault{known: p.u32(offHasFault).Load() != 0, addr: p.u64(offFault).Load(),
			errno: unix.Errno(p.u32(offError).Load()), data: int64(p.u64(offDataUsed).Load())},
	}
}

func (p *page) trouble() trouble {
	kind := exec.KindSchema
	switch p.u32(offTroubleKind).Load() {
	case 0:
		return trouble{}
	case 2:
		kind = exec.KindData
	}
	n := min(p.u32(offTroubleSize).Load(), maxTrouble)
	return trouble{kind: kind, text: string(p.mem[offTrouble : offTrouble+n])}
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
	n, _ := p.file.ReadAt(b, pageSize) // to the end of the file: io.EOF is the rule
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

// closing closes f and returns err.
func closing(f *os.File, err error) error {
	_ = f.Close()
	return err
}
