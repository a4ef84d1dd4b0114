package members

import (
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestWrongMessagesCloseTheLink counts what a member sends against the rules: its link is closed after a few, later for
// want of a right, and who it was is remembered.
func TestWrongMessagesCloseTheLink(t *testing.T) {
	v := violations{of: map[tasks.PeerID]*wrongs{}}
	for what, most := range map[engine.Wrong]int{engine.OutsideJob: maxWrongs, Rightless: maxRightless} {
		from := tasks.PeerID("peer " + what)
		for i := 1; i <= most; i++ {
			if enough, _ := v.count(from, what); enough != (i == most) {
				t.Errorf("after %d messages (%s) the link is closed: %v", i, what, enough)
			}
		}
		if note := v.notes()[from]; !strings.Contains(note, string(what)) {
			t.Errorf("the member's note is %q", note)
		}
		i := slices.IndexFunc(v.all(nil), func(w api.Wrongs) bool { return w.ID == from })
		if i < 0 || v.all(nil)[i].Counts[string(what)] != most {
			t.Errorf("status counts %+v", v.all(nil))
		}
	}
}
