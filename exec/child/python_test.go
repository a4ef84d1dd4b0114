package child_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
	"github.com/dtpnode/dtpnode/tasks"
)

// What follows is a runtime that drives testdata/zygote.py: the least that a language other than C++ needs beside the
// driver. It is an exec.Finder, exec.Runtime, and so on.

const (
	pythonKind = "python"
	sourceBlob = "source"
)

var (
	pyPlanner    = child.Role{Name: "planner", GoesOn: true}
	pyLoader     = child.Role{Name: "loader"}
	pyGeneration = child.Role{Name: "generation"}
	pyMerger     = child.Role{Name: "merger"}
	pySession    = child.Role{Name: "session"}

	// pyPhases are PHASES of zygote.py.
	pyPhases = []child.Phase{
		{Name: "idle"},
		{Name: "load", Code: true},
		{Name: "begin", Code: true},
		{Name: "start", Code: true, Stage: exec.StageStart},
		{Name: "open", Opens: true},
		{Name: "process"},
		{Name: "seal"},
		{Name: "merge"},
		{Name: "finish", Code: true},
		{Name: "plan"},
	}
)

// zygoteVariable is an environment variable of this test binary: the path of another program in the zygote's place.
const zygoteVariable = "DTPNODE_TEST_ZYGOTE"

type pyFinder struct{}

func (pyFinder) Kind() string { return pythonKind }

func (pyFinder) Find(context.Context) ([]exec.Info, error) {
	exe, err := osexec.LookPath("python3")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", exec.ErrNone, err)
	}
	return []exec.Info{{Kind: pythonKind, Version: "3", Platform: runtime.GOOS, Dir: exe}}, nil
}

func (pyFinder) Suffix() string { return "" }

func (pyFinder) Counted(path string) (units int64, canary uint64, err error) {
	p, err := readPartial(path)
	return p.Units, p.Canary, err
}

func (pyFinder) Open(ctx context.Context, info exec.Info, cfg exec.Config) (exec.Runtime, error) {
	script, err := filepath.Abs(cmp.Or(os.Getenv(zygoteVariable), "testdata/zygote.py"))
	if err != nil {
		return nil, err
	}
	base, err := child.Open(ctx, child.Config{
		Name:     "Python",
		Exe:      info.Dir,
		Args:     []string{script},
		Env:      append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1"),
		Dir:      cfg.Scratch,
		Log:      cfg.Log,
		Phases:   pyPhases,
		NoMemory: []string{"MemoryError"},
	})
	if err != nil {
		return nil, err
	}
	return &pyRuntime{info: info, base: base, programs: map[*pyProgram]bool{}}, nil
}

// pyPartial is a partial, or an output.
type pyPartial struct {
	Units  int64
	Canary uint64
	Counts map[string]int64
}

func readPartial(path string) (p pyPartial, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err = dec.Decode(&p); err == nil && p.Counts == nil {
		err = io.ErrUnexpectedEOF
	}
	return p, err
}

// samePartials compares what was counted; the canary depends on the packets.
func samePartials(a, b string) error {
	x, err := readPartial(a)
	if err != nil {
		return err
	}
	y, err := readPartial(b)
	if err != nil {
		return err
	}
	var counted int64
	for _, n := range x.Counts {
		counted += n
	}
	if counted != x.Units {
		return fmt.Errorf("%d units count %d", x.Units, counted)
	}
	if x.Units != y.Units || !maps.Equal(x.Counts, y.Counts) {
		return fmt.Errorf("%+v and %+v differ", x, y)
	}
	return nil
}

type pyRuntime struct {
	info exec.Info
	base *child.Base

	mu       sync.Mutex
	closed   bool
	programs map[*pyProgram]bool
}

func (r *pyRuntime) Info() exec.Info       { return r.info }
func (r *pyRuntime) Complaint(string) bool { return false }
func (r *pyRuntime) Forget(string) error   { return nil }

func (r *pyRuntime) Close() error {
	r.mu.Lock()
	r.closed = true
	all := maps.Clone(r.programs)
	r.mu.Unlock()
	for p := range all {
		p.Release()
	}
	r.base.Close()
	return nil
}

func (r *pyRuntime) Plan(ctx context.Context, file, _ string, _ time.Duration) (exec.Plan, error) {
	p, err := r.base.Fork(ctx, pyPlanner)
	if err != nil {
		return exec.Plan{}, err
	}
	defer p.Close()
	reply, err := p.Call(ctx, struct {
		Op   string `msgpack:"op"`
		File string `msgpack:"file"`
	}{"plan", file})
	var out struct {
		Entries int64 `msgpack:"entries"`
	}
	if err == nil {
		err = reply.Decode(&out)
	}
	if err != nil {
		return exec.Plan{}, err
	}
	return exec.Plan{File: file, Entries: out.Entries, Clusters: []int64{0}}, nil
}

func (r *pyRuntime) Describe(ctx context.Context, req exec.Request) (exec.Description, error) {
	var path string
	if err := json.Unmarshal(req.Spec, &path); err != nil {
		return exec.Description{}, err
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return exec.Description{}, err
	}
	p, err := r.load(ctx, source)
	if err != nil {
		return exec.Description{}, err
	}
	return exec.Description{
		Program: p,
		Work:    tasks.Work{Kind: pythonKind, Needs: []string{exec.Needed(pythonKind, r.info.Version)}},
		Blobs:   []exec.Blob{{Name: sourceBlob, Keep: true, Pack: func() ([]byte, error) { return source, nil }}},
	}, nil
}

func (r *pyRuntime) Prepare(ctx context.Context, o exec.Order) (exec.Program, error) {
	source, err := o.Fetch(ctx, sourceBlob)
	if err != nil {
		return nil, err
	}
	p, err := r.load(ctx, source)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (r *pyRuntime) load(ctx context.Context, source []byte) (*pyProgram, error) {
	proc, err := r.base.Fork(ctx, pyLoader)
	if err != nil {
		return nil, err
	}
	_, err = proc.Call(ctx, struct {
		Op     string `msgpack:"op"`
		Source string `msgpack:"source"`
	}{"load", string(source)})
	if err != nil {
		proc.Close()
		return nil, err
	}
	sum := sha256.Sum256(source)
	p := &pyProgram{r: r, key: hex.EncodeToString(sum[:]), proc: proc, z: proc.Zygote()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		go p.Release()
		return nil, exec.ErrClosed
	}
	r.programs[p] = true
	return p, nil
}

type pyProgram struct {
	r    *pyRuntime
	key  string
	proc *child.Process
	z    *child.Zygote
	once sync.Once
}

func (p *pyProgram) Key() string { return p.key }

func (p *pyProgram) Release() {
	p.once.Do(func() {
		p.r.mu.Lock()
		delete(p.r.programs, p)
		p.r.mu.Unlock()
		p.z.Close()
		p.proc.Close()
	})
}

func (p *pyProgram) Start(ctx context.Context, spec exec.GenSpec, sink exec.Sink) (exec.Generation, error) {
	proc, err := p.z.Fork(ctx, pyGeneration)
	if err != nil {
		return nil, err
	}
	g, err := child.Begin(proc, spec, nil, sink)
	if err != nil {
		return nil, err
	}
	return g, nil
}

func (p *pyProgram) Try(ctx context.Context, spec exec.GenSpec, file, _ string) error {
	proc, err := p.z.Fork(ctx, pyGeneration)
	if err != nil {
		return err
	}
	_, err = child.Try(ctx, proc, spec, nil, exec.Packet{ID: 1, File: file, Last: 1})
	return err
}

func (p *pyProgram) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	proc, err := p.z.Fork(ctx, pyMerger)
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

func (p *pyProgram) Save(ctx context.Context, partials []string, out string) (exec.Finished, error) {
	proc, err := p.z.Fork(ctx, pySession)
	if err != nil {
		return exec.Finished{}, err
	}
	defer proc.Close()
	return finish(ctx, proc, partials, out, false)
}

func finish(ctx context.Context, p *child.Process, partials []string, out string, user bool) (exec.Finished, error) {
	reply, err := p.Call(ctx, struct {
		Op       string   `msgpack:"op"`
		Partials []string `msgpack:"partials"`
		Path     string   `msgpack:"path"`
		User     bool     `msgpack:"user"`
	}{"finish", append([]string{}, partials...), out, user})
	if err != nil {
		p.RemoveTemp(out)
		return exec.Finished{}, err
	}
	return exec.Finished{Units: reply.Units, Canary: reply.Canary, Keys: 1}, nil
}

func (p *pyProgram) Session(ctx context.Context, spec exec.SessionSpec) (exec.Session, error) {
	proc, err := p.z.Fork(ctx, pySession)
	if err != nil {
		return nil, err
	}
	s := &pySessionOf{p: proc, spec: spec}
	s.wg.Go(func() { // ends with the process's output
		for line := range proc.Lines() {
			spec.Out(line)
		}
	})
	return s, nil
}

type pySessionOf struct {
	p    *child.Process
	spec exec.SessionSpec
	wg   sync.WaitGroup
}

func (s *pySessionOf) Begin(ctx context.Context) (string, error) {
	reply, err := s.p.Call(ctx, struct {
		Op  string   `msgpack:"op"`
		Dir string   `msgpack:"dir"`
		Env []string `msgpack:"env"`
	}{"enter", s.spec.Dir, s.spec.Env})
	var out struct {
		Input []byte `msgpack:"input"`
	}
	if err == nil {
		err = reply.Decode(&out)
	}
	if err != nil || len(out.Input) == 0 {
		return "", err
	}
	f, err := os.CreateTemp("", "begun-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(out.Input)
	return f.Name(), errors.Join(err, f.Close())
}

func (s *pySessionOf) Finish(ctx context.Context, partials []string, out string) (exec.Finished, error) {
	return finish(ctx, s.p, partials, out, true)
}

func (s *pySessionOf) Close() {
	s.p.Close()
	s.wg.Wait()
}
