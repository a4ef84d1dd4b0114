package rootexec

import (
	"strings"
	"testing"
)

// TestAboutNamed tells of what goes along unasked, and of what does not.
func TestAboutNamed(t *testing.T) {
	t.Parallel()
	got := aboutNamed(Spec{
		Named: []string{"cal.root"}, Unshipped: []string{"big.root"},
		Env: map[string]string{"MY_CALIB": "v2"},
	})
	if len(got) != 3 || !strings.HasPrefix(got[0], "cal.root: ") || !strings.HasPrefix(got[1], "big.root: ") ||
		!strings.Contains(got[2], "MY_CALIB") {
		t.Errorf("%q", got)
	}
}
