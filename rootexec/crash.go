package rootexec

import (
	"fmt"
	osexec "os/exec"
	"strings"

	"github.com/dtpnode/dtpnode/exec"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/tasks"
)

// failure turns a "failed" frame into the user's failure. The process has reported it and leaves, all
// but a planner; its output is what it printed so far.
func (p *process) failure(r *reply) *exec.Failure {
	if p.role != "planner" {
		_ = p.conn.CloseWrite()
		p.settle()
	}
	return p.told(r)
}

// told is the failure of which a child's frame tells.
func (p *process) told(r *reply) *exec.Failure {
	f := &exec.Failure{
		Kind: exec.Kind(r.Kind), Op: r.What, File: r.File, Entry: r.Entry,
		Blame: tasks.R(r.First, r.Last), Exit: r.Exit, Msg: r.Msg, Tail: p.out.last(),
	}
	if f.Blame.Empty() {
		f.Blame = tasks.Range{}
	}
	if f.Kind == exec.KindMemory {
		f.Msg += p.memoryLimit()
	}
	if f.Kind == exec.KindOpen {
		if f.Host = causeOf(r.Errno, r.Msg, r.File); f.Host == exec.CauseProtocol {
			f.Msg = noPlugin(r.File)
		}
	}
	return blameEntry(f)
}

// crash tells why a process ended without a word.
func (p *process) crash() *exec.Failure {
	p.settle()
	s := p.page.read()
	f := &exec.Failure{Op: s.phase.String(), Entry: s.entry, Tail: p.out.last()}
	if s.phase == phaseIdle {
		f.Op = p.role
	}
	p.mu.Lock()
	killed, verdict := p.killed, p.verdict
	p.mu.Unlock()
	sig := signalOf(p.exit.status, s)
	switch {
	case verdict != nil:
		f.Kind, f.Host, f.Msg = verdict.kind, verdict.host, verdict.msg
		f.Stack = tidyStack(p.page.stack())
	case killed, !p.exit.known:
		f.Kind, f.Msg = exec.KindKilled, "killed"
	case p.exit.status.Exited():
		f.Kind, f.Exit = exec.KindExit, p.exit.status.ExitStatus()
		f.Msg = fmt.Sprintf("left with exit status %d", f.Exit)
	default:
		p.signalled(f, s, sig)
	}
	return blameEntry(f)
}

func (p *process) signalled(f *exec.Failure, s pageState, sig unix.Signal) {
	f.Signal = int(sig)
	f.Msg = fmt.Sprintf("killed by signal %d (%s)", int(sig), unix.SignalName(sig))
	f.Stack = tidyStack(p.page.stack())
	switch {
	case sig == unix.SIGXFSZ:
		f.Kind, f.Msg = exec.KindLimit, fmt.Sprintf("wrote a file of more than %s (--max-file-size)", size(p.limits.FileSize))
	case sig == unix.SIGKILL && p.exit.maxRSS > exec.HostMemory()/2:
		f.Kind = exec.KindMemory
		f.Msg = fmt.Sprintf("killed while it held %d MB: most likely by the kernel, short of memory", p.exit.maxRSS>>20)
	case sig == unix.SIGKILL, sig == unix.SIGTERM, sig == unix.SIGINT, sig == unix.SIGHUP:
		f.Kind = exec.KindKilled
	case strings.Contains(f.Tail, "std::bad_alloc"):
		f.Kind, f.Msg = exec.KindMemory, "out of memory (std::bad_alloc)"+p.memoryLimit()
	case s.fault.noMemory(p.limits.Memory):
		f.Kind, f.Msg = exec.KindMemory, "out of memory: an allocation failed, and a null pointer was used ("+unix.SignalName(sig)+")"+p.memoryLimit()
	case s.trouble.kind != "":
		f.Kind, f.Msg = s.trouble.kind, s.trouble.text+"; then "+f.Msg
		if f.Kind == exec.KindData {
			f.Blame = s.cluster
		}
	case s.phase.wholeJob():
		f.Kind = exec.KindCode
	default:
		f.Kind = exec.KindSignal
	}
}

// memoryLimit says in a message about memory what the limit is, if the process has one, and how to raise it.
func (p *process) memoryLimit() string {
	if p.limits.Memory <= 0 {
		return ""
	}
	return fmt.Sprintf("; the limit is %s (--memory)", size(p.limits.Memory))
}

// Below nullAbove no memory is ever mapped: an address there is a null pointer, or an element of an array at one. After a
// failed allocation the array may be a large one.
const (
	nullAbove = 64 << 10
	arrayEnd  = 1 << 40
)

// noMemory reports whether a crash is that of code which does not look whether an allocation has failed: by a null
// pointer, and errno as malloc leaves it, or next to no memory left below the limit.
func (f fault) noMemory(limit int64) bool {
	switch {
	case !f.known || limit <= 0:
		return false
	case f.errno == unix.ENOMEM:
		return f.addr < arrayEnd
	}
	return f.addr < nullAbove && f.data >= limit-limit/16
}

// signalOf prefers the signal that the crash handler noted: it may itself have been cut off.
func signalOf(st unix.WaitStatus, s pageState) unix.Signal {
	if s.signal != 0 {
		return unix.Signal(s.signal)
	}
	if st.Signaled() {
		return st.Signal()
	}
	return 0
}

// blameEntry blames the entry that ran, if nothing else is blamed and the kind is about entries.
func blameEntry(f *exec.Failure) *exec.Failure {
	switch f.Kind {
	case exec.KindSignal, exec.KindExit, exec.KindException, exec.KindStall, exec.KindMemory, exec.KindLimit:
		if f.Entry >= 0 && f.Blame.Empty() {
			f.Blame = tasks.R(f.Entry, f.Entry+1)
		}
	}
	return f
}

// tidyStack drops the frames of the crash handler itself, finds the lines of the source where a library was compiled with
// -g, and demangles the names where the host has c++filt.
func tidyStack(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		// The first frame in libc is where the kernel delivered the signal.
		if strings.Contains(l, "libc.so") && i < 3 {
			lines = lines[i+1:]
			break
		}
	}
	for i, l := range lines {
		if strings.Contains(l, childName+"(") { // from here on it is how we came to user code
			lines = lines[:i]
			break
		}
	}
	s = strings.Join(lines, "\n")
	if s == "" {
		return ""
	}
	cmd := osexec.Command("c++filt")
	s = unwrapSymbols(s)
	cmd.Stdin = strings.NewReader(s)
	if out, err := cmd.Output(); err == nil {
		s = string(out)
	}
	return strings.TrimSpace(s)
}

// unwrapSymbols turns "lib.so(_ZSym+0x1)[0x2]" into "_ZSym +0x1 in lib.so", which c++filt can read, or into "_ZSym at
// Sel.C:7 in lib.so" where the line is known.
func unwrapSymbols(s string) string {
	var out strings.Builder
	lines := newLineFinder()
	for i, l := range strings.Split(s, "\n") {
		open, end := strings.LastIndexByte(l, '('), strings.LastIndexByte(l, ')')
		if open < 0 || end < open {
			out.WriteString(l + "\n")
			continue
		}
		path := l[:open]
		lib := path[strings.LastIndexByte(path, '/')+1:]
		sym, off, _ := strings.Cut(l[open+1:end], "+")
		// All frames but the first are where a call returns to, which may be the next line.
		where := lines.find(path, sym, off, i > 0)
		if sym == "" {
			sym = "?"
		}
		if where != "" {
			fmt.Fprintf(&out, "%s at %s in %s\n", sym, where, lib)
			continue
		}
		fmt.Fprintf(&out, "%s +%s in %s\n", sym, off, lib)
	}
	return out.String()
}
