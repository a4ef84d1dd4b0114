package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
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
		{"not here, then full", fmt.Errorf("could not keep: %w", errors.Join(errors.Join(fmt.Errorf("from self: %w", missing)), fmt.Errorf("from x: %w", full))), full},
		{"full, and it may not be read", errors.Join(full, moved), full},
		{"two lack it", errors.Join(missing, p2p.ErrSlow, missing), nil},
	} {
		if got := diskError(c.err); fmt.Sprint(got) != fmt.Sprint(c.want) || ofDisk(c.err) != (c.want != nil) {
			t.Errorf("%s: the disk said %v, want %v", c.name, got, c.want)
		}
	}
}

// A user is told within one answer why nothing is committed while the home's disk is full.
func TestFullDiskOfAHomeIsTold(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	j := newJob(d.ctx, strings.Repeat("ab", 16))
	j.desc, j.led = &tasks.Job{}, true
	j.status.State, j.status.HomeName = api.Running, "home"
	j.view.Cramped = "write x: no space left on device"
	if st := d.describe(j); st.State != api.Running || !strings.Contains(st.Phase, "home") || !strings.Contains(st.Phase, "no space left on device") {
		t.Errorf("it is %s: %q", st.State, st.Phase)
	}
}
