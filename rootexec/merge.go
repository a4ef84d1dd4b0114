package rootexec

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/exec"
)

// Merge merges output lists of generations, or of other merges, into one at out. The inputs stay. It
// runs in a process of its own; a failure is a *Failure.
func (s *Selector) Merge(ctx context.Context, inputs []string, out string) (exec.Partial, error) {
	p, err := s.z.fork(ctx, "merger")
	if err != nil {
		return exec.Partial{}, err
	}
	defer p.close()
	r, err := p.call(ctx, mergeFrame{Op: "merge", Inputs: append([]string{}, inputs...), Path: out})
	if err != nil {
		p.removeTemp(out)
		return exec.Partial{}, err
	}
	return sealedFile(out, r)
}

// sealedFile describes the blob at path.
func sealedFile(path string, r *reply) (exec.Partial, error) {
	out := exec.Partial{Path: path, Units: r.Units, Canary: r.Canary, Apart: r.Apart, Mixed: r.Mixed}
	f, err := os.Open(path)
	if err != nil {
		return exec.Partial{}, fmt.Errorf("could not read a partial: %w", err)
	}
	h := sha256.New()
	out.Size, err = io.Copy(h, f)
	if err := closing(f, err); err != nil {
		return exec.Partial{}, fmt.Errorf("could not read partial %q: %w", path, err)
	}
	h.Sum(out.SHA256[:0])
	return out, nil
}
