package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
)

// A job's end is believed from more than half of those that tell of it.
func TestAgreedEnd(t *testing.T) {
	runs := api.JobStatus{State: api.Running}
	done, other := api.JobStatus{State: api.Done, SHA256: "aa"}, api.JobStatus{State: api.Done, SHA256: "bb"}
	failed := api.JobStatus{State: api.Failed}
	for name, c := range map[string]struct {
		told []api.JobStatus
		want api.JobStatus
		ok   bool
	}{
		"nobody tells":                  {},
		"it runs":                       {told: []api.JobStatus{runs}},
		"one tells":                     {told: []api.JobStatus{done}, want: done, ok: true},
		"one says that it has ended":    {told: []api.JobStatus{done, runs}},
		"one says that it has failed":   {told: []api.JobStatus{failed, runs}},
		"two results":                   {told: []api.JobStatus{done, other}},
		"most say the same":             {told: []api.JobStatus{other, done, done}, want: done, ok: true},
		"most say so, but not the same": {told: []api.JobStatus{other, done, runs}},
	} {
		if st, ok := agreedEnd(c.told); ok != c.ok || st.State != c.want.State || st.SHA256 != c.want.SHA256 {
			t.Errorf("%s: %+v, %v", name, st, ok)
		}
	}
}
