package node

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/tasks"
)

// A user is told within one answer why nothing is committed while the home's disk is full.
func TestFullDiskOfAHomeIsTold(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	j := d.jobs.Book().New(strings.Repeat("ab", 16))
	j.With(func(s *jobs.State) {
		s.Desc, s.Led = &tasks.Job{}, true
		s.Status.State, s.Status.HomeName = api.Running, "home"
		s.View.Cramped = "write x: no space left on device"
	})
	if st := d.jobs.FullStatus(j); st.State != api.Running || !strings.Contains(st.Phase, "home") ||
		!strings.Contains(st.Phase, "no space left on device") {
		t.Errorf("it is %s: %q", st.State, st.Phase)
	}
}
