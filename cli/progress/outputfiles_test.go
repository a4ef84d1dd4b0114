package progress

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestLeftFilesAreNamed: the first few files that are not kept are named, and it is said that there are others, also
// where none has a name.
func TestLeftFilesAreNamed(t *testing.T) {
	var many []api.LeftFile
	for i := range mostLeft + 2 {
		many = append(many, api.LeftFile{Name: fmt.Sprint("log", i), Times: int64(i + 1)})
	}
	const others = "others that are not named"
	for _, c := range []struct {
		left []api.LeftFile
		says string
	}{
		{nil, ""},
		{many[:2], ": log0, log1 (in 2 processes), which"},
		{many[:mostLeft], fmt.Sprintf("log%d (in %d processes), which", mostLeft-1, mostLeft)},
		{many, fmt.Sprintf("log%d (in %d processes), %s, which", mostLeft-1, mostLeft, others)},
		{append([]api.LeftFile{{Times: 3}}, many[0]), ": log0, " + others + ", which"},
		{[]api.LeftFile{{Times: 7}}, ": " + others + ", which"},
	} {
		var b strings.Builder
		left(&b, api.JobStatus{Left: c.left})
		if got := b.String(); !strings.Contains(got, c.says) || (c.says == "") != (got == "") ||
			strings.Contains(got, fmt.Sprint("log", mostLeft)) {
			t.Errorf("%v: %q does not say %q", c.left, got, c.says)
		}
	}
}
