package pyexec

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/tasks"
)

// run is the submitting side of a job. It is an exec.Session.
type run struct {
	p    *program
	proc *child.Process
	spec exec.SessionSpec
	wg   sync.WaitGroup
}

// Session starts the process of the submitting side.
func (p *program) Session(ctx context.Context, spec exec.SessionSpec) (exec.Session, error) {
	proc, err := p.fork(ctx, session)
	if err != nil {
		return nil, err
	}
	s := &run{p: p, proc: proc, spec: spec}
	s.wg.Go(func() { // ends with the process's output
		for line := range proc.Lines() {
			spec.Out(line)
		}
	})
	return s, nil
}

// Begin runs the code's begin, whose result goes to each generation as a file.
func (s *run) Begin(ctx context.Context) (string, error) {
	f, err := os.CreateTemp(s.p.r.scratch, "begun-")
	if err != nil {
		return "", &exec.Failure{Kind: exec.KindDisk, Op: "begin", Entry: -1, Msg: err.Error()}
	}
	path := f.Name()
	_ = f.Close() // nothing was written
	reply, err := s.proc.Call(ctx, struct {
		Op   string   `msgpack:"op"`
		Dir  string   `msgpack:"dir"`
		Env  []string `msgpack:"env"`
		Path string   `msgpack:"path"`
	}{"enter", s.spec.Dir, s.spec.Env, path})
	var begun struct {
		Made bool `msgpack:"made"`
	}
	if err == nil {
		err = reply.Decode(&begun)
	}
	if err != nil || !begun.Made {
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}

// Finish merges partials, and runs the code's finish.
func (s *run) Finish(ctx context.Context, partials []string, out string) (exec.Finished, error) {
	var taken tasks.Cover
	if s.spec.Taken != nil {
		taken = s.spec.Taken()
	}
	return s.p.finish(ctx, s.proc, partials, out, taken, true)
}

// Close ends the process.
func (s *run) Close() {
	s.proc.Close()
	s.wg.Wait()
}

// Save merges partials alone.
func (p *program) Save(ctx context.Context, partials []string, out string) (exec.Finished, error) {
	if p.mode == modeValues {
		return p.finish(ctx, nil, partials, out, nil, false)
	}
	proc, err := p.fork(ctx, session)
	if err != nil {
		return exec.Finished{}, err
	}
	defer proc.Close()
	return p.finish(ctx, proc, partials, out, nil, false)
}

// finish merges partials to out, which may be empty, without values that were taken, and has the user's code finish.
func (p *program) finish(
	ctx context.Context, proc *child.Process, partials []string, out string, taken tasks.Cover, user bool,
) (exec.Finished, error) {
	if p.mode == modeValues {
		return p.finishValues(ctx, proc, partials, out, taken, user)
	}
	fin, err := callFinish(ctx, proc, partials, out, user)
	return fin, p.addsFailed(err)
}

// finishValues merges values without Python, after the code's finish, which is given none.
func (p *program) finishValues(
	ctx context.Context, proc *child.Process, partials []string, out string, taken tasks.Cover, user bool,
) (fin exec.Finished, err error) {
	if user && p.finishes {
		if _, err := callFinish(ctx, proc, nil, "", true); err != nil {
			return fin, err
		}
	}
	return finishValues(ctx, partials, out, taken)
}

// finishValues merges values alone.
func finishValues(
	ctx context.Context, partials []string, out string, taken tasks.Cover,
) (fin exec.Finished, err error) {
	if out == "" {
		for _, path := range partials {
			pf, err := openPartial(path)
			if err != nil {
				return fin, err
			}
			fin.Units, fin.Canary = fin.Units+pf.units, fin.Canary+pf.canary
			pf.close()
		}
		fin.Keys = 1
		return fin, nil
	}
	if len(partials) == 1 && taken.Empty() {
		if pf, err := openPartial(partials[0]); err == nil {
			defer pf.close()
			if pf.mode == modeValues && linked(partials[0], out) {
				return exec.Finished{Units: pf.units, Canary: pf.canary, Keys: 1}, nil
			}
		}
	}
	merged, err := mergeValues(ctx, partials, out, taken)
	if err != nil {
		return fin, err
	}
	return exec.Finished{Units: merged.Units, Canary: merged.Canary, Keys: 1}, nil
}

// linked has a file under another name, too, if it can: partials are never changed, and values may be GBs.
func linked(path, out string) bool {
	temp := out + ".link"
	if err := errors.Join(durable.RemoveIfThere(temp), os.Link(path, temp)); err != nil {
		return false
	}
	defer func() { _ = durable.RemoveIfThere(temp) }() // it is left where out was that file already
	return os.Rename(temp, out) == nil
}

func callFinish(
	ctx context.Context, proc *child.Process, partials []string, out string, user bool,
) (exec.Finished, error) {
	reply, err := proc.Call(ctx, struct {
		Op       string   `msgpack:"op"`
		Partials []string `msgpack:"partials"`
		Path     string   `msgpack:"path"`
		User     bool     `msgpack:"user"`
	}{"finish", append([]string{}, partials...), out, user})
	if err != nil {
		if out != "" {
			proc.RemoveTemp(out)
		}
		return exec.Finished{}, err
	}
	var fin exec.Finished
	if err := reply.Decode(&fin); err != nil {
		return fin, err
	}
	return fin, nil
}
