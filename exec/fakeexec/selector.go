package fakeexec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/node"
	"github.com/dtpnode/dtpnode/rootexec"
)

// EndVariable is set in the environment of a daemon on which the end of every job fails, to the kind of failure.
const EndVariable = "DTPNODE_FAKE_END"

// Left is the file that Terminate leaves in its working folder, if it is given one.
const Left = "terminated.txt"

// selector is a loaded Spec. It keeps no process, so it never dies before its daemon.
type selector struct {
	e    *executor
	spec Spec
}

func (s *selector) Alive() bool { return true }

func (s *selector) Release() {}

// fails is the failure that the selector has in store for a step.
func (s *selector) fails(step string) error {
	kind, ok := s.spec.Steps[step]
	if !ok {
		return nil
	}
	return &exec.Failure{Kind: kind, Op: step, Entry: -1, Msg: "failed on order"}
}

// Probe runs the first entry of a file.
func (s *selector) Probe(ctx context.Context, spec exec.GenSpec, file, tree string) error {
	sink := &probeSink{result: make(chan error, 1)}
	g, err := s.Start(ctx, spec, sink)
	if err != nil {
		return err
	}
	defer g.Kill()
	// A SlaveBegin that fails at once ends the generation before the lease: the sink has why.
	if err := g.Lease(exec.Packet{ID: 1, File: file, Tree: tree, Last: 1}); err != nil && !errors.Is(err, exec.ErrEnded) {
		return err
	}
	select {
	case err := <-sink.result:
		return err
	case <-s.e.ctx.Done():
		return fmt.Errorf("could not try the selector on %q: the executor was closed", file)
	case <-ctx.Done():
		return fmt.Errorf("could not try the selector on %q: %w", file, ctx.Err())
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

func (s *selector) Merge(_ context.Context, inputs []string, out string) (exec.Partial, error) {
	if err := s.fails("merge"); err != nil {
		return exec.Partial{}, err
	}
	sum, err := sumOf(inputs, s.spec.Bins)
	if err != nil {
		return exec.Partial{}, err
	}
	return sum.store(out, s.spec.Size)
}

// Save writes the result of a job whose Terminate failed; without a path it only adds up.
func (s *selector) Save(_ context.Context, partials []string, outPath string) (exec.Finished, error) {
	sum, err := sumOf(partials, s.spec.Bins)
	if err != nil {
		return exec.Finished{}, err
	}
	if outPath != "" {
		_, err = sum.store(outPath, 0)
	}
	objects := []exec.Object{{Name: "bins", Class: "bins", Entries: float64(sum.Units)}}
	return exec.Finished{Units: sum.Units, Canary: sum.Canary, Keys: 1, Objects: objects}, err
}

func (s *selector) StartClient(_ context.Context, spec rootexec.ClientSpec, out func(string)) (node.Client, error) {
	return &client{s: s, dir: spec.Dir, out: out}, nil
}

// client is the submitting side.
type client struct {
	s   *selector
	dir string
	out func(string)
}

func (c *client) Begin(context.Context) ([]byte, error) {
	c.out("Begin")
	return nil, c.s.fails("Begin")
}

func (c *client) Finish(ctx context.Context, partials []string, outPath string) (exec.Finished, error) {
	if err := c.s.fails("Terminate"); err != nil {
		return exec.Finished{}, err
	}
	if kind := os.Getenv(EndVariable); kind != "" {
		return exec.Finished{}, &exec.Failure{Kind: exec.Kind(kind), Op: "write", Entry: -1, Msg: "failed on order of this node"}
	}
	fin, err := c.s.Save(ctx, partials, outPath)
	if err == nil && c.dir != "" {
		err = os.WriteFile(filepath.Join(c.dir, Left), nil, 0o600)
	}
	if err == nil {
		c.out(fmt.Sprintf("Terminate: %d entries", fin.Units))
	}
	return fin, err
}

func (c *client) Close() {}
