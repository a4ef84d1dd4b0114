package pyexec

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// program is code that was loaded, in a process that forks. It is an exec.Program.
type program struct {
	r        *Runtime
	key      string
	mode     mode
	finishes bool // the code has a finish
	proc     *child.Process
	zygote   *child.Zygote
	spare    spare
	folder   string // of the program alone, which goes with it
	once     sync.Once
}

// load has a process load code.
func (r *Runtime) load(ctx context.Context, w work, code []byte) (*program, error) {
	folder, err := os.MkdirTemp(r.scratch, "code-")
	if err != nil {
		return nil, &exec.Failure{Kind: exec.KindDisk, Op: "load", Entry: -1, Msg: err.Error()}
	}
	proc, err := r.base.Fork(ctx, loader)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	reply, err := proc.Call(ctx, struct {
		Op   string `msgpack:"op"`
		Form string `msgpack:"form"`
		Name string `msgpack:"name"`
		Code []byte `msgpack:"code"`

		Folder string `msgpack:"folder"`
	}{"load", w.Form, w.Name, code, folder})
	var loaded struct {
		Mode     string `msgpack:"mode"`
		Finishes bool   `msgpack:"finishes"`
	}
	if err == nil {
		err = reply.Decode(&loaded)
	}
	if err != nil {
		proc.Close()
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %x", w.Form, w.Name, sha256.Sum256(code)))
	p := &program{
		r: r, key: hex.EncodeToString(sum[:]), proc: proc, zygote: proc.Zygote(), folder: folder,
		mode: modeValues, finishes: loaded.Finishes,
	}
	p.spare.wait = r.spare
	p.spare.fork = func(ctx context.Context) (*child.Process, error) { return p.zygote.Fork(ctx, generation) }
	if loaded.Mode == "sum" {
		p.mode = modeSum
	}
	r.mu.Lock()
	closed := r.closed
	if !closed {
		r.programs[p] = true
	}
	r.mu.Unlock()
	if closed {
		p.Release()
		return nil, exec.ErrClosed
	}
	return p, nil
}

// Key names the code.
func (p *program) Key() string { return p.key }

// Release ends the processes of the program.
func (p *program) Release() {
	p.once.Do(func() {
		p.r.mu.Lock()
		delete(p.r.programs, p)
		p.r.mu.Unlock()
		p.spare.close()
		p.zygote.Close()
		p.proc.Close()
		if err := os.RemoveAll(p.folder); err != nil && p.r.log != nil {
			p.r.log.Warn("could not remove the folder of code", "folder", p.folder, "err", err)
		}
	})
}

// Start begins a generation.
func (p *program) Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (exec.Generation, error) {
	proc, err := p.spare.take(ctx)
	if err != nil {
		return nil, err
	}
	g, err := child.Begin(proc, spec, nil, sink)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// Try runs the first item of a blob, or the number 0, in a process that is thrown away.
func (p *program) Try(ctx context.Context, spec exec.GenSpec, file, _ string) error {
	proc, err := p.zygote.Fork(ctx, generation)
	if err != nil {
		return err
	}
	_, err = child.Try(ctx, proc, spec, nil, exec.Packet{ID: 1, File: file, Last: 1})
	return err
}

// Merge makes one partial of several: values without a process, sums in one that knows how to reduce.
func (p *program) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	if p.mode == modeValues {
		return mergeValues(ctx, inputs, out)
	}
	proc, err := p.zygote.Fork(ctx, merger)
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
		return exec.Partial{}, err
	}
	return child.ReadPartial(out, reply)
}
