package progress

import (
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// TestMeterShowsTheLastState also where no time has passed since the one before.
func TestMeterShowsTheLastState(t *testing.T) {
	var m meter
	m.add(api.JobStatus{State: api.Merging, Seconds: 2})
	m.add(api.JobStatus{State: api.Done, Seconds: 2})
	if m.last.State != api.Done {
		t.Errorf("it shows %s", m.last.State)
	}
}
