package jobs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
)

// A list has room for what runs before what has ended, and then for the newest.
func TestAListOfJobsHasABound(t *testing.T) {
	long := strings.Repeat("x", 1000)
	var all []api.JobStatus
	for i := range 100 {
		st := api.JobStatus{
			ID:        fmt.Sprint(i),
			State:     api.Done,
			Submitted: time.Unix(int64(i), 0),
			Stdout:    long,
			Nodes:     make([]api.NodeWork, 10),
			Error:     long,
		}
		if i < 3 {
			st.State = api.Running
		}
		all = append(all, st)
	}
	const room = 20_000
	got := Listed(all, room)
	size := 0
	for i, st := range got {
		size += jsonSize(st)
		switch {
		case st.Stdout != "" || (st.State.Final() && st.Nodes != nil):
			t.Errorf("too much is told of %s", st.ID)
		case i < 3 && st.State != api.Running, i >= 3 && st.ID != fmt.Sprint(99-(i-3)):
			t.Errorf("place %d has %s, %s", i, st.ID, st.State)
		}
	}
	if size > room || len(got) < 8 || len(got) == len(all) || got[0].Nodes == nil || all[0].Stdout == "" {
		t.Errorf("%d jobs of %d bytes", len(got), size)
	}
	if n := len(Listed(all[:3], 7000)); n != 3 {
		t.Errorf("%d of 3 running jobs", n)
	}
}
