package plan

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/tasks"

	"github.com/dtpnode/dtpnode/node/api"
)

// alone is a cluster of one member.
type alone struct{}

func (alone) ID() tasks.PeerID           { return "self" }
func (alone) Names() Names               { return nil }
func (alone) Planners([]string) []Member { return nil }
func (alone) PlansFor(tasks.PeerID) bool { return true }
func (alone) Request(context.Context, tasks.PeerID, string, []byte) ([]byte, error) {
	return nil, errors.New("nobody is there")
}

// silentServer plans files at once, but for those that never open.
type silentServer struct {
	exec.Runtime
	waits chan string
}

func (silentServer) Info() exec.Info { return exec.Info{Kind: "ROOT", Version: "6.40.00"} }

func (s silentServer) Plan(ctx context.Context, file, _ string, _ time.Duration) (exec.Plan, error) {
	if file != "root://alive//x" {
		s.waits <- file
		<-ctx.Done()
		return exec.Plan{}, ctx.Err()
	}
	return exec.Plan{File: file, Part: "T", Entries: 10, Clusters: []int64{10}}, nil
}

// A member that asks for files which do not open takes its own share of the planners, for as long as it waits itself:
// those of others are planned meanwhile, and what it did not wait for is not called broken.
func TestPlanningForOneMemberHoldsUpNobodyElse(t *testing.T) {
	d := New(Config{Members: alone{}, Log: slog.New(slog.DiscardHandler)})
	exec := silentServer{waits: make(chan string, 16)}
	bad := make([]api.InputFile, planChunk)
	for i := range bad {
		bad[i].URL = "root://dead//x"
	}
	_, each := planShares()
	if all, _ := planShares(); each == all {
		d.places = make(chan struct{}, each+1) // on one core the second member would have to wait
	}
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan []Answer)
	go func() { answered <- d.planAsked(ctx, "hostile", exec, bad, time.Hour) }()
	for range each {
		<-exec.waits
	}
	got := d.planAsked(t.Context(), "other", exec, []api.InputFile{
		{URL: "root://alive//x"},
		{URL: "root://alive//x"},
	}, time.Minute)
	if len(got) != 2 || got[1].Entries != 10 || got[1].Kind != "" {
		t.Errorf("another member's files are planned as %+v", got)
	}
	if len(exec.waits) > 0 {
		t.Errorf("one member has more than %d files planned at once", each)
	}
	cancel()
	if got := <-answered; len(got) != 0 {
		text, _ := json.Marshal(got)
		t.Errorf("what was not waited for is answered: %s", text)
	}
}
