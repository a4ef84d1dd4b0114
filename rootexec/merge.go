package rootexec

import (
	"context"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// Merge merges output lists of generations, or of other merges, into one at out. The inputs stay. It
// runs in a process of its own; a failure is a *Failure.
func (s *Selector) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	p, err := s.z.Fork(ctx, roleMerger)
	if err != nil {
		return exec.Partial{}, err
	}
	defer p.Close()
	r, err := p.Call(ctx, mergeFrame{Op: "merge", Inputs: append([]string{}, inputs...), Path: out})
	if err != nil {
		p.RemoveTemp(out)
		return exec.Partial{}, err
	}
	return child.ReadPartial(out, r)
}
