package rootexec

import (
	"context"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
)

// Merge merges output lists of generations, or of other merges, into one at out. The inputs stay. It
// runs in a process of its own; a failure is a *Failure.
func (s *Selector) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	return s.merge(ctx, inputs, out, hintsFrame{})
}

// MergeForeseen is Merge of partials whose generations were all told these hints (exec.Foreseer). Strict fails where
// histograms have other limits than the hints announce.
func (s *Selector) MergeForeseen(
	ctx context.Context, inputs []string, out string, hints []byte, strict bool,
) (exec.Partial, error) {
	p, err := s.merge(ctx, inputs, out, hintsFrame{Hints: told(hints), Strict: strict})
	if err == nil && strict && len(p.Odd) > 0 {
		return p, &exec.Failure{
			Kind: exec.KindInternal, Op: "merge", Entry: -1,
			Msg: "its " + p.Odd[0] + " has not the limits that were announced to all",
		}
	}
	return p, err
}

func (s *Selector) merge(ctx context.Context, inputs []string, out string, hints hintsFrame) (exec.Partial, error) {
	p, err := s.z.Fork(ctx, roleMerger)
	if err != nil {
		return exec.Partial{}, err
	}
	defer p.Close()
	r, err := p.Call(ctx, mergeFrame{Op: "merge", Inputs: append([]string{}, inputs...), Path: out, hintsFrame: hints})
	if err != nil {
		p.RemoveTemp(out)
		return exec.Partial{}, err
	}
	return child.ReadPartial(out, r)
}
