package node

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// A user is told within one answer why nothing is committed while the home's disk is full.
func TestFullDiskOfAHomeIsTold(t *testing.T) {
	d := openWithout(t, "home")
	defer d.Close()
	j := d.book.New(strings.Repeat("ab", 16))
	j.desc, j.led = &tasks.Job{}, true
	j.status.State, j.status.HomeName = api.Running, "home"
	j.view.Cramped = "write x: no space left on device"
	if st := d.fullStatus(j); st.State != api.Running || !strings.Contains(st.Phase, "home") ||
		!strings.Contains(st.Phase, "no space left on device") {
		t.Errorf("it is %s: %q", st.State, st.Phase)
	}
}
