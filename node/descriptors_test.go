package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestCheckDescriptors wants 256 open files to be enough for a usual host, and the numbers in the refusal of more
// slots.
func TestCheckDescriptors(t *testing.T) {
	for _, tc := range []struct {
		limit   uint64
		slots   int
		members int
		says    string // in the hint of a refusal
	}{
		{256, 16, 32, ""},
		{256, 1, 182, ""},
		{256, 20, 0, "--slots 19"},
		{1024, 64, 320, ""},
		{64, 1, 0, "ulimit -n 4096"},
		{20_000, 100_000, 0, "ulimit -n 1001088"}, // never lower than what it is
		{1 << 63, 64, 1<<20 - 704, ""},
	} {
		members, err := checkDescriptors(tc.limit, tc.slots)
		var e *api.Error
		switch {
		case tc.says == "":
			if err != nil || members != tc.members {
				t.Errorf("%d files, %d slots: room for %d, %v; want %d", tc.limit, tc.slots, members, err, tc.members)
			}
		case !errors.As(err, &e) || !strings.Contains(e.Hint, tc.says):
			t.Errorf("%d files, %d slots: %v, want advice with %q", tc.limit, tc.slots, err, tc.says)
		}
	}
}
