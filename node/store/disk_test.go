package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/dtpnode/dtpnode/p2p"
)

// What the disk here refuses is told from what others lack, also where several sources of a file were tried and the
// first had nothing: else a full disk is held against who offers the file.
func TestDiskErrors(t *testing.T) {
	missing := &fs.PathError{Op: "open", Path: "scratch/p", Err: syscall.ENOENT}
	full := &fs.PathError{Op: "write", Path: "ledgers/p", Err: syscall.ENOSPC}
	moved := &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.EDQUOT}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"none", nil, nil},
		{"not here", fmt.Errorf("from self: %w", missing), nil},
		{"of the net", fmt.Errorf("from x: %w", p2p.ErrSlow), nil},
		{"full", fmt.Errorf("from x: %w", full), full},
		{"quota", moved, moved},
		{"not here, then full",
			fmt.Errorf("could not keep: %w",
				errors.Join(errors.Join(fmt.Errorf("from self: %w", missing)), fmt.Errorf("from x: %w", full))), full},
		{"full, and it may not be read", errors.Join(full, moved), full},
		{"two lack it", errors.Join(missing, p2p.ErrSlow, missing), nil},
	} {
		if got := DiskError(c.err); fmt.Sprint(got) != fmt.Sprint(c.want) || (got != nil) != (c.want != nil) {
			t.Errorf("%s: the disk said %v, want %v", c.name, got, c.want)
		}
	}
}
