package jobs

import (
	"slices"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestOutputsSpareWhatIsRead: names of output files come from whoever worked, so that none may be that of anything that
// the job reads: its files, their friends, lists of entries, and what the command names, such as code.
func TestOutputsSpareWhatIsRead(t *testing.T) {
	j := &Job{}
	j.s.Req = api.JobRequest{
		Spares:     []string{"/w/S.C", "/w/cal.root"},
		Friends:    []api.FriendRef{{Files: []api.InputFile{{URL: "/w/fr.root"}}}},
		EntryLists: []api.ObjectRef{{URL: "/w/list.root", Object: "l"}},
	}
	want := []string{"/w/S.C", "/w/cal.root", "/w/fr.root", "/w/list.root"}
	if got := j.inputs(); !slices.Equal(got, want) {
		t.Errorf("before the job is planned: %q", got)
	}
	j.s.Desc = &tasks.Job{Data: tasks.Dataset{Files: []tasks.File{{URL: "/w/data.root"}}}}
	for _, path := range append(want, "/w/data.root") {
		if !isInput(path, j.inputs()) {
			t.Errorf("%s may be replaced", path)
		}
	}
	if isInput("/w/out.root", j.inputs()) {
		t.Error("/w/out.root is no input")
	}
}
