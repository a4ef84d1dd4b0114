package child

import (
	"cmp"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// What a failed frame may say in place of an errno.
const (
	// Unopened is the errno of a file that could not be opened for a reason that only the message has.
	Unopened = -1
	// differs is that of a file that is not the one that was planned.
	differs = -2
)

// lastFailure turns a "failed" frame into the user's failure. The process has reported it and leaves, unless its role
// goes on; its output is what it printed so far.
func (p *Process) lastFailure(r *Reply) *exec.Failure {
	if !p.role.GoesOn {
		_ = p.conn.CloseWrite()
		p.awaitExit()
	}
	return p.failureIn(r)
}

// failureIn reads the failure in a frame of the kind failed or refused.
func (p *Process) failureIn(r *Reply) *exec.Failure {
	f := &exec.Failure{
		Kind: exec.Kind(r.Kind), Op: r.What, File: r.File, Entry: r.Entry,
		Blame: tasks.R(r.First, r.Last), Exit: r.Exit, Msg: r.Msg, Stack: r.Stack, Tail: p.out.last(),
		Adds: r.Adds, Cause: r.Cause,
	}
	f.Stage = p.cfg.stage(f.Op)
	if f.Blame.Empty() {
		f.Blame = tasks.Range{}
	}
	if f.Kind == exec.KindMemory {
		f.Msg += p.memoryLimit()
	}
	if f.Kind == exec.KindOpen {
		f.Host = hostCause(r.Errno)
	}
	if p.cfg.Explain != nil {
		p.cfg.Explain(f, r.Errno)
	}
	return blameEntry(f)
}

// hostCause is why this host does not see a file, as far as an errno tells.
func hostCause(errno int) exec.Cause {
	if errno == differs {
		return exec.CauseDiffers
	}
	return exec.CauseOf(unix.Errno(max(errno, 0)))
}

// crash finds out why a process ended without a frame that says so: by its exit status, its page and its output.
func (p *Process) crash() *exec.Failure {
	p.awaitExit()
	s := p.page.read()
	phase := p.cfg.phase(s.phase)
	f := &exec.Failure{Op: phase.Name, Stage: phase.Stage, Entry: s.entry, Tail: p.out.last()}
	if s.phase == idle {
		f.Op = p.role.Name
	}
	p.mu.Lock()
	killed, breach := p.killed, p.breach
	p.mu.Unlock()
	sig := signalOf(p.exit.status, s)
	switch {
	case breach != nil:
		f.Kind, f.Host, f.Msg = breach.kind, breach.host, breach.msg
		if breach.kind != exec.KindDisk { // then it shows only where the child was told to end
			f.Stack = p.stack()
		}
	case killed:
		f.Kind, f.Msg, f.Entry = exec.KindKilled, "killed", -1
	case !p.exit.known:
		f.Kind, f.Msg = exec.KindKilled, "killed with the process that it was forked from"
	case p.exit.status.Exited():
		f.Kind, f.Exit = exec.KindExit, p.exit.status.ExitStatus()
		f.Msg = cmp.Or(phase.Left, fmt.Sprintf("left with exit status %d", f.Exit))
	default:
		p.signalled(f, s, sig)
	}
	f.Adds = phase.Adds && f.Kind != exec.KindKilled && f.Kind != exec.KindDisk
	return blameEntry(f)
}

// stack is that of the crash, as the user is to see it.
func (p *Process) stack() string {
	text := p.page.stack()
	if text != "" && p.cfg.Stack != nil {
		return p.cfg.Stack(text)
	}
	return tidyStack(text, p.cfg.Exe)
}

func (p *Process) signalled(f *exec.Failure, s pageState, sig unix.Signal) {
	f.Signal = int(sig)
	f.Msg = fmt.Sprintf("killed by signal %d (%s)", int(sig), unix.SignalName(sig))
	f.Stack = p.stack()
	switch {
	case sig == unix.SIGXFSZ:
		f.Kind = exec.KindLimit
		f.Msg = fmt.Sprintf("wrote a file of more than %s (--max-file-size)", size(p.limits.FileSize))
	case sig == unix.SIGKILL && p.exit.maxRSS > exec.HostMemory()/2:
		f.Kind = exec.KindMemory
		f.Msg = fmt.Sprintf("killed while it held %d MB: most likely by the kernel, short of memory", p.exit.maxRSS>>20)
	case sig == unix.SIGKILL, sig == unix.SIGTERM, sig == unix.SIGINT, sig == unix.SIGHUP:
		f.Kind = exec.KindKilled
	case p.cfg.noMemory(f.Tail) != "":
		f.Kind, f.Msg = exec.KindMemory, "out of memory ("+p.cfg.noMemory(f.Tail)+")"+p.memoryLimit()
	case s.fault.noMemory(p.limits.Memory):
		f.Kind = exec.KindMemory
		const what = "out of memory: an allocation failed, and a null pointer was used"
		f.Msg = fmt.Sprintf("%s (%s)%s", what, unix.SignalName(sig), p.memoryLimit())
	case s.readError.kind != "":
		f.Kind, f.Msg = s.readError.kind, s.readError.text+"; then "+f.Msg
		if f.Kind == exec.KindData {
			f.Blame = s.cluster
		}
	case p.cfg.phase(s.phase).Code:
		f.Kind = exec.KindCode
	default:
		f.Kind = exec.KindSignal
	}
}

// noMemory is what the output of a process says of a lack of memory, empty if it says nothing of it.
func (c *Config) noMemory(output string) string {
	for _, word := range c.NoMemory {
		if strings.Contains(output, word) {
			return word
		}
	}
	return ""
}

// memoryLimit says in a message about memory what the limit is, if the process has one, and how to raise it.
func (p *Process) memoryLimit() string {
	if p.limits.Memory <= 0 {
		return ""
	}
	return fmt.Sprintf("; the limit is %s (--memory)", size(p.limits.Memory))
}

// Below nullAbove no memory is ever mapped, so that an address there is a null pointer, or an element of an array at
// one. After a failed allocation the array may be a large one: its elements are looked for up to arrayEnd.
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

// signalOf prefers the signal that the handler of crashes noted in the page: the handler may have died of another one.
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
		if f.Entry >= 0 && f.Blame.Empty() && !f.Adds {
			f.Blame = tasks.R(f.Entry, f.Entry+1)
		}
	}
	return f
}
