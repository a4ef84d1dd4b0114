package exec

import (
	"fmt"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCauseOf(t *testing.T) {
	for err, want := range map[error]Cause{
		unix.ENOENT:    CauseMissing,
		unix.ENOTDIR:   CauseMissing,
		unix.EACCES:    CauseDenied,
		unix.ESTALE:    CauseUnreachable,
		unix.EIO:       "",
		unix.Errno(0):  "",
		fs.ErrNotExist: "", // no errno, so nobody knows whose it is
		nil:            "",
	} {
		if got := CauseOf(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	_, err := os.Stat("/no/such/file")
	if got := CauseOf(fmt.Errorf("told: %w", err)); got != CauseMissing {
		t.Errorf("%v: %q", err, got)
	}
}
