package pyexec

import (
	"context"
	"os"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/exec/child"
	"github.com/dtpnode/dtpnode/tasks"
)

// taker is a generation whose output is values. It is an exec.Taker.
type taker struct{ *child.Generation }

// SealWithout leaves values out: what the process has written of them is given up, mostly before any disk has it.
func (t taker) SealWithout(ctx context.Context, path string, taken tasks.Cover) (exec.Partial, error) {
	if taken.Empty() {
		return t.Seal(ctx, path)
	}
	whole := path + ".whole"
	defer os.Remove(whole)
	return t.SealThrough(ctx, whole, func(from string, _ *child.Reply) (exec.Partial, error) {
		return mergeValues(ctx, []string{from}, path, taken)
	})
}
