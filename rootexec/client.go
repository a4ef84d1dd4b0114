package rootexec

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// ClientSpec says how the submitting side of a job runs.
type ClientSpec struct {
	Option string            // GetOption() of the selector
	Params map[string]string // parameters in fInput, by name or name:type
	Given  string            // path of the blob of objects that are in fInput besides; empty for none
	Dir    string            // working directory of Begin and Terminate
	Env    []string          // NAME=value, added to the environment
	Seed   *uint64           // of gRandom; nil: as ROOT has it
	// Session says that Begin and Terminate run in the user's process: here the output is only merged, and written
	// with what that process has to know.
	Session bool
	// Canvases are the formats in which Finish with a path saves all canvases that Terminate leaves, in Dir.
	Canvases  []string
	Away      bool            // as in exec.SessionSpec
	Inputs    func() []string // as in exec.SessionSpec
	OutputDir string          // as in exec.SessionSpec
	Mark      string          // as in exec.SessionSpec
	Hints     func() ([]byte, bool)
	Odd       bool // as in exec.SessionSpec
}

// Client is the submitting side of a job: a process with the one selector object that runs Begin and
// Terminate.
type Client struct {
	p    *child.Process
	e    *Executor
	spec ClientSpec
	wg   sync.WaitGroup // the goroutine that hands on lines
}

// finishedAs reads what a process says of the output that it has written to outPath, or has only looked at if that is
// empty.
func finishedAs(r *child.Reply, outPath string) (exec.Finished, error) {
	var f exec.Finished
	if err := r.Decode(&f); err != nil {
		return exec.Finished{}, err
	}
	if outPath == "" && len(f.Objects) == 0 {
		f.Notes = append(f.Notes, "the output list is empty: what SlaveBegin or Process makes must be added to fOutput")
	}
	return f, nil
}

// StartClient forks the client process. out receives each line it prints, from one goroutine. The
// caller must Close it.
func (s *Selector) StartClient(ctx context.Context, spec ClientSpec, out func(line string)) (*Client, error) {
	for _, v := range spec.Env {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return nil, fmt.Errorf("could not set environment %q: it is not of the form NAME=value", v)
		}
	}
	p, err := s.z.Fork(ctx, roleClient)
	if err != nil {
		return nil, err
	}
	c := &Client{p: p, e: s.e, spec: spec}
	c.wg.Go(func() { // ends with the process's output
		for line := range p.Lines() {
			out(line)
		}
	})
	return c, nil
}

// Begin runs the selector's Begin(nullptr) and returns the path of a file, of the caller's from then on, with what its
// input list is then: what the user has given, and what Begin has made of it. It is empty if the list is.
func (c *Client) Begin(ctx context.Context) (input string, err error) {
	path, err := c.e.tempName("input-")
	if err != nil {
		return "", err
	}
	env := slices.Clone(c.spec.Env)
	if exe, err := os.Executable(); err == nil {
		env = append(env, "DTPNODE_EXE="+exe) // by which gProof asks for what a session could
	}
	r, err := c.p.Call(ctx, startFrame{
		Op: "start", Option: c.spec.Option, Params: paramFrames(c.spec.Params), Given: c.spec.Given, Dir: c.spec.Dir,
		Env: env, Seed: c.spec.Seed, Session: c.spec.Session, Path: path,
	})
	if err != nil {
		c.p.RemoveTemp(path)
		_ = os.Remove(path)
		return "", err
	}
	var out begun
	if err := r.Decode(&out); err != nil || out.Objects == 0 {
		_ = os.Remove(path)
		return "", err
	}
	return path, nil
}

// Finish merges the partials (there may be none), binds the selector's members to the merged objects,
// runs Terminate and writes the output list to outPath, an absolute path, which appears whole or not
// at all; an empty outPath writes nothing. The partials stay. A full disk is KindDisk.
func (c *Client) Finish(ctx context.Context, partials []string, outPath string) (exec.Finished, error) {
	frame := finishFrame{
		Op: "finish", Partials: append([]string{}, partials...), Path: outPath, Away: c.spec.Away, Outputs: c.spec.OutputDir,
		Mark: c.spec.Mark,
	}
	if outPath != "" {
		frame.Canvases = c.spec.Canvases
	}
	if c.spec.Hints != nil {
		if hints, known := c.spec.Hints(); known {
			frame.Hints, frame.Strict = told(hints), !c.spec.Odd
		}
	}
	if c.spec.Inputs != nil {
		frame.Inputs = localPaths(c.spec.Inputs())
	}
	r, err := c.p.Call(ctx, frame)
	if err != nil {
		c.p.RemoveTemp(outPath)
		return exec.Finished{}, err
	}
	return finishedAs(r, outPath)
}

// localPaths are those of inputs that are files of this host.
func localPaths(inputs []string) (paths []string) {
	for _, url := range inputs {
		if path := strings.TrimPrefix(url, "file://"); !strings.Contains(path, "://") {
			paths = append(paths, path)
		}
	}
	return paths
}

// Save writes what Finish would have written had Terminate done nothing: the merged output of a job
// whose Terminate crashed. It runs no Begin.
func (s *Selector) Save(ctx context.Context, partials []string, outPath string) (exec.Finished, error) {
	p, err := s.z.Fork(ctx, roleClient)
	if err != nil {
		return exec.Finished{}, err
	}
	defer p.Close()
	r, err := p.Call(ctx, finishFrame{Op: "save", Partials: append([]string{}, partials...), Path: outPath})
	if err != nil {
		p.RemoveTemp(outPath)
		return exec.Finished{}, err
	}
	return finishedAs(r, outPath)
}

// Output is what Begin and Terminate printed: the first and last 64 KiB of it.
func (c *Client) Output() string { return c.p.Output() }

// Close ends the client's process.
func (c *Client) Close() {
	c.p.Close()
	c.wg.Wait()
}
