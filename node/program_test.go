package node

import (
	"context"
	"errors"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

var errUnprepared = errors.New("its sources cannot be fetched")

// unprepared is a runtime that can prepare nothing.
type unprepared struct{ exec.Runtime }

func (unprepared) Prepare(context.Context, exec.Order) (exec.Program, error) {
	return nil, errUnprepared
}
func (unprepared) Close() error { return nil }

// onlyUnprepared finds it.
type onlyUnprepared struct{ foundHere }

func (onlyUnprepared) Open(context.Context, exec.Info, exec.Config) (exec.Runtime, error) {
	return unprepared{}, nil
}

// TestNothingIsLeftOfAJobThatCannotBePrepared: the folder of a job goes when the job is over, and one that could not be
// prepared is not known here.
func TestNothingIsLeftOfAJobThatCannotBePrepared(t *testing.T) {
	infos := foundHere{{Kind: "ROOT", Version: "6.40.00"}}
	d := openAs(t, Config{Name: "worker", Slots: 1, Runtimes: []exec.Finder{onlyUnprepared{infos}}})
	defer d.Close()
	j := d.jobs.Book().New("job")
	defer j.Release()
	j.With(func(s *jobs.State) { s.ID = tasks.NameOf([]byte("job")) })
	if err := d.jobs.Load(t.Context(), j, d.net.ID(), workOf(store.HashOf([]byte("sources")))); !errors.Is(err,
		errUnprepared) {
		t.Errorf("preparing it ends with %v", err)
	}
	if size := store.SizeOf(d.blobs.JobDir(stateOf(j).ID)); size >= 0 {
		t.Errorf("its folder is left")
	}
}
