package child

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"

	"github.com/dtpnode/dtpnode/exec"
)

// ReadPartial describes the file at path that a process has written and told of in a reply "sealed".
func ReadPartial(path string, r *Reply) (exec.Partial, error) {
	out := r.Partial
	out.Path = path
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
