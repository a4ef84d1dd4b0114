package fakeexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"
)

// codeBlob is the blob with the text of the user's Spec.
const codeBlob = "code"

// Request is what a user asks of this kind, as JSON; what else a request says is for other kinds.
type Request struct {
	// path of a file with a Spec; in a retry empty for that of before. The commands call all code a selector.
	Code   string            `json:"selector,omitempty"`
	Params map[string]string `json:"params,omitempty"` // of no effect, but shown
}

// work is what a description carries of it (tasks.Work.Spec), as JSON.
type work struct {
	Name   string            `json:"name"` // of the file
	Params map[string]string `json:"params,omitempty"`
}

// Describe reads the user's file.
func (r *runtime) Describe(ctx context.Context, req exec.Request) (out exec.Description, err error) {
	if err := r.closed(); err != nil {
		return out, err
	}
	var ask Request
	if err := json.Unmarshal(req.Spec, &ask); err != nil {
		return out, fmt.Errorf("could not read what the job wants: %w", err)
	}
	w := work{Params: map[string]string{}}
	var text []byte
	if req.Earlier != nil {
		if err := json.Unmarshal(req.Earlier.Work.Spec, &w); err != nil {
			return out, fmt.Errorf("could not read what the earlier job wanted: %w", err)
		}
		if text, err = req.Earlier.Fetch(ctx, codeBlob); err != nil {
			return out, err
		}
	}
	if ask.Code != "" {
		w.Name = filepath.Base(ask.Code)
		if text, err = os.ReadFile(ask.Code); err != nil {
			return out, fmt.Errorf("could not read source %q: %w", ask.Code, err)
		}
	}
	if w.Params == nil {
		w.Params = map[string]string{}
	}
	maps.Copy(w.Params, ask.Params)
	req.Tell("compiling " + w.Name)
	req.Tell("loading " + w.Name)
	p, err := r.program(w, text)
	if err != nil {
		return out, err
	}
	spec, err := json.Marshal(w)
	if err != nil {
		return out, err
	}
	out = exec.Description{
		Program: p, Items: p.spec.Items,
		Work:  tasks.Work{Kind: Kind, Needs: []string{exec.Needed(Kind, info().Version)}, Spec: spec},
		Blobs: []exec.Blob{{Name: codeBlob, Keep: true, Pack: func() ([]byte, error) { return text, nil }}},
	}
	for _, name := range slices.Sorted(maps.Keys(w.Params)) {
		out.Params = append(out.Params, tasks.Param{Name: name, Value: w.Params[name]})
	}
	return out, nil
}

// Prepare fetches the code of a job.
func (r *runtime) Prepare(ctx context.Context, o exec.Order) (exec.Program, error) {
	var w work
	if err := json.Unmarshal(o.Work.Spec, &w); err != nil || o.Work.Kind != Kind {
		return nil, fmt.Errorf("could not read what a job of the kind %q wants: %w", o.Work.Kind, err)
	}
	if err := r.closed(); err != nil {
		return nil, err
	}
	text, err := o.Fetch(ctx, codeBlob)
	if err != nil {
		return nil, err
	}
	p, err := r.program(w, text)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (r *runtime) program(w work, text []byte) (*program, error) {
	spec, err := parseSpec(text)
	if err != nil {
		return nil, &exec.Failure{
			Kind:  exec.KindCode,
			Op:    "compile " + w.Name,
			Entry: -1,
			Msg:   err.Error(),
			Tail:  err.Error(),
		}
	}
	return &program{r: r, spec: spec, key: string(text)}, nil
}

// EndVariable is set in the environment of a daemon on which the end of every job fails, to the kind of failure.
const EndVariable = "DTPNODE_FAKE_END"

// Left is the file that Terminate leaves in its working folder, if it is given one.
const Left = "terminated.txt"

// program is a Spec made ready. It keeps no process, so it never dies before its daemon.
type program struct {
	r    *runtime
	spec Spec
	key  string
}

func (p *program) Key() string { return p.key }

func (p *program) Release() {}

// fails is the failure that the program has in store for a step.
func (p *program) fails(step string) error {
	kind, ok := p.spec.Steps[step]
	if !ok {
		return nil
	}
	return &exec.Failure{Kind: kind, Op: step, Entry: -1, Msg: "failed on order"}
}

// Try runs the first entry of a file.
func (p *program) Try(ctx context.Context, spec exec.GenSpec, file, part string) error {
	sink := &probeSink{result: make(chan error, 2)} // a packet that is done, and the end: it must not block
	g, err := p.Start(ctx, spec, sink)
	if err != nil {
		return err
	}
	defer g.Kill()
	// A SlaveBegin that fails at once ends the generation before the lease: the sink has why.
	if err := g.Lease(exec.Packet{ID: 1, File: file, Part: part, Last: 1}); err != nil && !errors.Is(err, exec.ErrEnded) {
		return err
	}
	select {
	case err := <-sink.result:
		return err
	case <-p.r.ctx.Done():
		return fmt.Errorf("could not try the code on %q: the executor was closed", file)
	case <-ctx.Done():
		return fmt.Errorf("could not try the code on %q: %w", file, ctx.Err())
	}
}

type probeSink struct{ result chan error }

func (s *probeSink) PacketDone(d exec.Done) {
	if d.Refused != nil {
		s.result <- d.Refused
		return
	}
	s.result <- nil
}
func (s *probeSink) Failed(f *exec.Failure) { s.result <- f }
func (s *probeSink) Output(string)          {}

func (p *program) Merge(_ context.Context, inputs []string, out string) (exec.Partial, error) {
	if err := p.fails("merge"); err != nil {
		return exec.Partial{}, err
	}
	sum, err := sumOf(inputs, p.spec)
	if err != nil {
		return exec.Partial{}, err
	}
	return sum.store(out, p.spec.Size)
}

// Save writes the result of a job whose Terminate failed; without a path it only adds up.
func (p *program) Save(_ context.Context, partials []string, outPath string) (exec.Finished, error) {
	sum, err := sumOf(partials, p.spec)
	if err != nil {
		return exec.Finished{}, err
	}
	if outPath != "" {
		_, err = sum.store(outPath, 0)
	}
	objects := []exec.Object{{Name: "bins", Class: "bins", Entries: float64(sum.Units)}}
	return exec.Finished{Units: sum.Units, Canary: sum.Canary, Keys: 1, Objects: objects}, err
}

func (p *program) Session(_ context.Context, spec exec.SessionSpec) (exec.Session, error) {
	s := &session{p: p, dir: spec.Dir, out: spec.Out}
	s.ctx, s.cancel = context.WithCancel(p.r.ctx)
	return s, nil
}

// session is the submitting side.
type session struct {
	p      *program
	dir    string
	out    func(string)
	ctx    context.Context // ended by Close, or with the runtime
	cancel context.CancelFunc
}

func (c *session) Begin(ctx context.Context) (string, error) {
	c.out("Begin")
	return "", c.step(ctx, "Begin")
}

// step waits, or fails, as it was told to in a step.
func (c *session) step(ctx context.Context, name string) error {
	if path := c.p.spec.HoldSteps[name]; path != "" {
		c.out(mark + "holding")
		both, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
		waitForFile(both, path)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("could not finish in a session: %w", err)
	}
	if c.ctx.Err() != nil {
		return &exec.Failure{Kind: exec.KindKilled, Op: name, Entry: -1, Msg: "killed"}
	}
	return c.p.fails(name)
}

func (c *session) Finish(ctx context.Context, partials []string, outPath string) (exec.Finished, error) {
	if err := c.step(ctx, "Terminate"); err != nil {
		return exec.Finished{}, err
	}
	if kind := os.Getenv(EndVariable); kind != "" {
		return exec.Finished{}, &exec.Failure{
			Kind:  exec.Kind(kind),
			Op:    "write",
			Entry: -1,
			Msg:   "failed on order of this node",
		}
	}
	fin, err := c.p.Save(ctx, partials, outPath)
	if err == nil && c.dir != "" {
		err = os.WriteFile(filepath.Join(c.dir, Left), nil, 0o600)
	}
	if err == nil {
		c.out(fmt.Sprintf("Terminate: %d entries", fin.Units))
	}
	return fin, err
}

func (c *session) Close() { c.cancel() }
