package pyexec

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
	"github.com/dtpnode/dtpnode/tasks"
)

// program is code that was loaded. It is an exec.Program. The process that has it loaded, and forks, leaves when others
// were used later and there are too many, and the code is loaded again when it is used.
type program struct {
	r        *Runtime
	w        work
	place    *place
	files    *laying // that stand in working folders
	key      string
	mode     mode
	adds     string   // the user's own name of what adds two results
	finishes bool     // the code has a finish
	notes    []string // see Notes
	folder   string   // of the program alone, which goes with it; codeFile in it is the code
	spare    spare
	apart    apart

	loading sync.Mutex // held while the code is loaded, so that one process is made

	// These are guarded by the runtime's mu.
	loaded   *loaded // nil while no process has the code
	users    int     // forks of it that run: it stays as long
	used     uint64  // when it was last used, by the runtime's count of uses
	released bool
}

// loaded is a process that has loaded code, and forks.
type loaded struct {
	proc   *child.Process
	zygote *child.Zygote
	closed atomic.Bool // it has ended, or will, since it is not needed
	left   func()      // says that its parent is not needed by it any more; nil where that is the base
}

func (l *loaded) close() {
	l.closed.Store(true)
	l.zygote.Close()
	l.proc.Close()
	if l.left != nil {
		l.left()
	}
}

// codeFile is the name of the code in a program's folder.
const codeFile = "code"

// mostLoaded is how many programs a runtime has processes for, beside those in use: one has some MB of its own, and
// what its user's code imports.
const mostLoaded = 32

// load makes a program of code, with what else it needs. asked says that it is made for a user of this host.
func (r *Runtime) load(ctx context.Context, w work, code []byte, more *source, asked bool) (_ *program, err error) {
	folder, err := os.MkdirTemp(r.scratch, "code-")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, codeFile), code, 0o600)
	}
	if err != nil {
		return nil, ofDisk("load", err)
	}
	p := &program{r: r, w: w, folder: folder, mode: modeValues}
	p.apart.ctx, p.apart.cancel = context.WithCancel(r.ctx)
	defer func() {
		if err != nil {
			p.apart.cancel()
			if p.place != nil {
				r.left(p.place)
			}
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	if err := more.keepFiles(folder); err != nil {
		return nil, ofDisk("load", err)
	}
	if p.place, err = r.placeOf(ctx, w, *more, asked); err != nil {
		return nil, lacking(err, asked)
	}
	p.files = newLaying(*more, folder, func(what error) { r.warn("a job changes what it is to read", what) })
	if !asked { // who submits may never run an item
		if err := p.files.lay(ctx); err != nil {
			return nil, notLaid(err)
		}
	}
	l, says, err := p.loadCode(ctx, code)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %x %v %v", w.Form, w.Name, sha256.Sum256(code), p.place.key, more.sums))
	p.key, p.finishes, p.notes, p.adds = hex.EncodeToString(sum[:]), says.Finishes, says.Notes, says.Reducer
	if says.Mode == "sum" {
		p.mode = modeSum
	}
	p.spare.wait = r.spare
	p.spare.fork = func(ctx context.Context) (*child.Process, error) { return p.fork(ctx, generation) }
	if !r.keep(p, l) {
		l.close()
		return nil, exec.ErrClosed
	}
	return p, nil
}

// ofDisk makes an error of this node's disk a failure of that.
func ofDisk(op string, err error) error {
	return &exec.Failure{Kind: exec.KindDisk, Op: op, Entry: -1, Msg: err.Error()}
}

// notLaid says that files could not be laid, which others may be able to.
func notLaid(err error) error {
	var f *exec.Failure
	if errors.As(err, &f) || !isOfDisk(err) {
		return err
	}
	return ofDisk("prepare", err)
}

func (r *Runtime) warn(what string, err error) {
	if r.log != nil {
		r.log.Warn(what, "reason", err)
	}
}

// loadedCode is what a process says of code that it has loaded.
type loadedCode struct {
	Mode     string   `msgpack:"mode"`
	Finishes bool     `msgpack:"finishes"`
	Reducer  string   `msgpack:"reducer"` // what the user calls the code's reduce
	Notes    []string `msgpack:"notes"`

	// Stale says of a process that had modules imported why it has not loaded the code: staleShadowed or staleChanged.
	Stale string `msgpack:"stale"`
}

const (
	staleShadowed = "shadowed" // the code brings modules of its own that others have found elsewhere
	staleChanged  = "changed"  // the modules are not what they were
)

// loadCode has a process load code: one that has imported what the code names, where that comes to the same.
func (p *program) loadCode(ctx context.Context, code []byte) (*loaded, loadedCode, error) {
	if names := importsOf(p.w.Form, code); len(names) > 0 {
		for range 2 { // the second time after modules were changed, or the process that had them was killed
			l, says, err := p.loadWarm(ctx, code, names)
			if l != nil || ctx.Err() != nil {
				return l, says, err
			}
			if says.Stale != staleChanged && !errors.Is(err, exec.ErrGone) {
				break // An error is told by a process of which nothing else can be the reason.
			}
		}
	}
	return p.loadOn(ctx, p.place.base, code)
}

// loadOn has a process of an interpreter load code.
func (p *program) loadOn(ctx context.Context, base *child.Base, code []byte) (*loaded, loadedCode, error) {
	proc, err := base.Fork(ctx, loader)
	if err != nil {
		return nil, loadedCode{}, err
	}
	return p.loadIn(ctx, proc, code)
}

// loadWarm has a process load code that has imported some modules. It may refuse.
func (p *program) loadWarm(ctx context.Context, code []byte, names []string) (*loaded, loadedCode, error) {
	proc, parent, err := p.place.warm.fork(ctx, names)
	if err != nil {
		return nil, loadedCode{}, err
	}
	l, says, err := p.loadIn(ctx, proc, code)
	if err == nil && says.Stale == "" {
		l.left = func() { p.place.warm.left(parent) }
		return l, says, nil
	}
	if l != nil {
		l.close()
	}
	if says.Stale == staleChanged {
		p.place.warm.drop(parent)
	}
	p.place.warm.left(parent)
	return nil, says, err
}

// loadIn has a process load code, and closes it if it cannot.
func (p *program) loadIn(ctx context.Context, proc *child.Process, code []byte) (*loaded, loadedCode, error) {
	var says loadedCode
	reply, err := proc.Call(ctx, struct {
		Op   string `msgpack:"op"`
		Form string `msgpack:"form"`
		Name string `msgpack:"name"`
		Code []byte `msgpack:"code"`

		Folder string   `msgpack:"folder"`
		Files  []placed `msgpack:"files"`
	}{"load", p.w.Form, p.w.Name, code, p.folder, p.files.placed()})
	if err == nil {
		err = reply.Decode(&says)
	}
	if err != nil {
		proc.Close()
		return nil, says, err
	}
	return &loaded{proc: proc, zygote: proc.Zygote()}, says, nil
}

// keep takes note of a process that has the code of a program, and has others leave. It reports false, and takes none,
// if the runtime was closed or the program released.
func (r *Runtime) keep(p *program, l *loaded) bool {
	r.mu.Lock()
	if r.closed || p.released {
		r.mu.Unlock()
		return false
	}
	r.programs[p], p.loaded = true, l
	go r.mourn(p.key, l) // ends with l
	r.uses++
	p.used = r.uses
	idle := r.leaving(p)
	r.mu.Unlock()
	for _, l := range idle {
		l.close()
	}
	return true
}

// begins has the files of a program be there for a process that is about to begin.
func (p *program) begins(ctx context.Context) error {
	if err := p.files.lay(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return ofDisk("start", err)
	}
	return nil
}

// leaving takes, from the programs but one, the processes that are to leave: of those that nobody uses the ones that
// were used longest ago. r.mu is held.
func (r *Runtime) leaving(but *program) (out []*loaded) {
	var idle []*program
	n := 0
	for p := range r.programs {
		if p.loaded == nil {
			continue
		}
		n++
		if p.users == 0 && p != but {
			idle = append(idle, p)
		}
	}
	slices.SortFunc(idle, func(a, b *program) int { return cmp.Compare(a.used, b.used) })
	for _, p := range idle[:min(len(idle), max(0, n-r.mostLoaded))] {
		out, p.loaded = append(out, p.loaded), nil
		go p.dropFiles()
	}
	return out
}

// dropFiles gives back the room of the files of a program that nobody uses. It makes them anew if it is used again.
func (p *program) dropFiles() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	if p.users > 0 {
		return
	}
	if err := p.files.drop(); err != nil && p.r.log != nil {
		p.r.log.Warn("could not remove files of code that is not used now", "reason", err)
	}
}

// fork makes a process with the code, which is loaded for it if it is not.
func (p *program) fork(ctx context.Context, role child.Role) (*child.Process, error) {
	p.r.mu.Lock()
	p.users++
	p.r.uses++
	p.used = p.r.uses
	p.r.mu.Unlock()
	var proc *child.Process
	l, err := p.again(ctx)
	if err == nil {
		proc, err = l.zygote.Fork(ctx, role)
	}
	if err != nil {
		p.unused()
		return nil, err
	}
	go func() { // ends with the process, which ends at the latest with the program
		<-proc.Exited()
		p.unused()
	}()
	return proc, nil
}

// unused says that a fork is gone, or was not made.
func (p *program) unused() {
	p.r.mu.Lock()
	defer p.r.mu.Unlock()
	p.users--
}

// again is the process that has the code, which is loaded again if it has left.
func (p *program) again(ctx context.Context) (*loaded, error) {
	p.loading.Lock()
	defer p.loading.Unlock()
	p.r.mu.Lock()
	l, released := p.loaded, p.released
	p.r.mu.Unlock()
	if l != nil || released {
		if released {
			return nil, exec.ErrGone
		}
		return l, nil
	}
	code, err := os.ReadFile(filepath.Join(p.folder, codeFile))
	if err != nil {
		return nil, ofDisk("load", err)
	}
	l, _, err = p.loadCode(ctx, code)
	if err != nil {
		return nil, err
	}
	if !p.r.keep(p, l) {
		l.close()
		return nil, exec.ErrGone
	}
	return l, nil
}

// Key names the code.
func (p *program) Key() string { return p.key }

// Notes say how the modules here differ from those of the user, whose archive names them.
func (p *program) Notes() []string { return p.notes }

// Release ends the processes of the program.
func (p *program) Release() {
	p.r.mu.Lock()
	l, released := p.loaded, p.released
	p.loaded, p.released = nil, true
	delete(p.r.programs, p)
	p.r.mu.Unlock()
	if released {
		return
	}
	p.spare.close()
	p.apart.close()
	if l != nil {
		l.close()
	}
	p.r.left(p.place)
	if err := os.RemoveAll(p.folder); err != nil && p.r.log != nil {
		p.r.log.Warn("could not remove the folder of code", "folder", p.folder, "err", err)
	}
}

// beginFrame is child.BeginFrame with where the code runs, for whom, and where it may keep what is to outlast it.
type beginFrame struct {
	child.BeginFrame
	Node      string `msgpack:"node"` // its peer id
	Name      string `msgpack:"name"` // of the node
	Submitter string `msgpack:"submitter"`
	Kept      string `msgpack:"kept"`
	Values    string `msgpack:"values"` // exec.GenSpec.Values
}

// beginning makes the frame of a generation.
func beginning(spec exec.GenSpec) func(child.BeginFrame) any {
	return func(b child.BeginFrame) any {
		return beginFrame{b, spec.Host.ID, spec.Host.Name, spec.Submitter, spec.Host.Kept, spec.Values}
	}
}

// Start begins a generation.
func (p *program) Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (exec.Generation, error) {
	take := p.spare.take
	if spec.Alone && p.wasKilled() {
		take = p.forkApart
	}
	proc, err := take(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.begins(ctx); err != nil {
		proc.Close()
		return nil, err
	}
	g, err := child.Begin(proc, spec, beginning(spec), addsSink{sink, p})
	if err != nil {
		return nil, err
	}
	if p.mode == modeValues {
		return taker{g}, nil
	}
	return g, nil
}

// Try runs the first item of a blob, or the number 0, in a process that is thrown away.
func (p *program) Try(ctx context.Context, spec exec.GenSpec, file, _ string) error {
	proc, err := p.fork(ctx, generation)
	if err != nil {
		return err
	}
	if err := p.begins(ctx); err != nil {
		proc.Close()
		return err
	}
	_, err = child.Try(ctx, proc, spec, beginning(spec), exec.Packet{ID: 1, File: file, Last: 1})
	return err
}

// Merge makes one partial of several: values without a process, sums in one that knows how to reduce.
func (p *program) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	return p.MergeWithout(ctx, inputs, out, nil)
}

// MergeWithout is Merge without the values of some units. A sum has none.
func (p *program) MergeWithout(
	ctx context.Context, inputs []string, out string, taken tasks.Cover,
) (exec.Partial, error) {
	if p.mode == modeValues {
		return mergeValues(ctx, inputs, out, taken)
	}
	proc, err := p.fork(ctx, merger)
	if err != nil {
		return exec.Partial{}, err
	}
	defer proc.Close()
	reply, err := proc.Call(ctx, struct {
		Op     string   `msgpack:"op"`
		Inputs []string `msgpack:"inputs"`
		Path   string   `msgpack:"path"`
	}{"merge", inputs, out})
	if err != nil {
		proc.RemoveTemp(out)
		return exec.Partial{}, p.addsFailed(err)
	}
	return child.ReadPartial(out, reply)
}

// addsSink has its sink told in the user's words that results could not be added.
type addsSink struct {
	exec.Sink
	p *program
}

// Failed reports a failure.
func (s addsSink) Failed(f *exec.Failure) {
	_ = s.p.addsFailed(f) // it is changed in place
	s.Sink.Failed(f)
}

// addsFailed makes of a failure to add results one that says which code has failed: a process that is gone cannot.
func (p *program) addsFailed(err error) error {
	var f *exec.Failure
	if !errors.As(err, &f) || !f.Adds {
		return err
	}
	ended := ""
	if f.Kind == exec.KindExit || f.Kind == exec.KindSignal {
		ended = " ended its process"
	}
	switch {
	case f.Op == "read":
		f.Msg = "could not read a sum back from its pickle: the process was ended by it: " + f.Msg
	case f.Cause == nil:
		f.Msg = fmt.Sprintf("%s%s: %s", p.adds, ended, f.Msg)
	}
	f.Op = ""
	return err
}
