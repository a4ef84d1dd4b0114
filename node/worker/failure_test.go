package worker

import (
	"testing"

	"github.com/dtpnode/dtpnode/exec"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestAbortBeforeAnyEntryIsOfTheHost: at its start a generation may miss what others have; later it gives the job up.
func TestAbortBeforeAnyEntryIsOfTheHost(t *testing.T) {
	for stage, fatal := range map[exec.Stage]bool{exec.StageStart: false, exec.StageInput: true, "": true} {
		f := &exec.Failure{Kind: exec.KindAbort, Stage: stage, Entry: -1, Msg: "the selector called Abort(kAbortProcess)"}
		if out := failureOf(nil, f, exec.Packet{}); out.Fatal != fatal || !out.Blame.Empty() {
			t.Errorf("an abort at stage %q is told as %+v", stage, out)
		}
	}
}

func TestBlame(t *testing.T) {
	data, err := tasks.NewDataset([]tasks.File{
		{URL: "a", Entries: 100, Clusters: []int64{0, 50}},
		{URL: "b", Entries: 100, Clusters: []int64{0, 30, 60}},
	})
	if err != nil {
		t.Fatal(err)
	}
	job := &tasks.Job{Data: *data, Want: tasks.R(10, 190)}
	running := tasks.R(120, 140)
	for _, c := range []struct {
		f    exec.Failure
		want tasks.Range
	}{
		{exec.Failure{Kind: exec.KindSignal, Entry: 25}, tasks.R(125, 126)},
		{exec.Failure{Kind: exec.KindSignal, Entry: -1}, tasks.Range{}},
		{exec.Failure{Kind: exec.KindData, Entry: 35, Blame: tasks.R(30, 60)}, tasks.R(130, 160)},
		{exec.Failure{Kind: exec.KindData, Entry: 35}, tasks.R(130, 160)},
		{exec.Failure{Kind: exec.KindData, Entry: 1 << 40}, tasks.R(130, 160)}, // a child can write anything
		{exec.Failure{Kind: exec.KindOpen, Entry: -1}, tasks.R(100, 190)},      // as far as it is wanted
		{exec.Failure{Kind: exec.KindCode, Entry: 25}, tasks.Range{}},
		{exec.Failure{Kind: exec.KindStall, Entry: 99}, tasks.Range{}}, // not wanted: cannot be
	} {
		if got := blame(job, &c.f, running, 100); got != c.want {
			t.Errorf("%s at entry %d: blamed %v, want %v", c.f.Kind, c.f.Entry, got, c.want)
		}
	}
	whole := *job
	whole.Data.Whole = true
	for _, c := range []struct {
		f    exec.Failure
		want tasks.Range
	}{
		{exec.Failure{Kind: exec.KindSignal, Entry: 25}, tasks.R(125, 190)},
		{exec.Failure{Kind: exec.KindData, Entry: 35, Blame: tasks.R(30, 60)}, tasks.R(130, 190)},
		{exec.Failure{Kind: exec.KindOpen, Entry: -1}, tasks.R(100, 190)},
	} {
		if got := blame(&whole, &c.f, running, 100); got != c.want {
			t.Errorf("%s at entry %d of a file that is not divided: blamed %v, want %v", c.f.Kind, c.f.Entry, got, c.want)
		}
	}
	if got := blame(job, &exec.Failure{Kind: exec.KindSignal, Entry: 3}, tasks.Range{}, 0); !got.Empty() {
		t.Errorf("blamed %v with no packet out", got)
	}
}
