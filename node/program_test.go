package node

import (
	"context"
	"errors"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/runtimes"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// unprepared is a runtime that can prepare nothing.
type unprepared struct{ exec.Runtime }

func (unprepared) Prepare(context.Context, exec.Order) (exec.Program, error) {
	return nil, errors.New("its sources cannot be fetched")
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
	d := openWithout(t, "worker")
	defer d.Close()
	infos := foundHere{{Kind: "ROOT", Version: "6.40.00"}}
	d.runtimes = runtimes.Find(t.Context(), []exec.Finder{onlyUnprepared{infos}}, exec.Config{})
	j := d.book.New("job")
	defer j.release()
	j.id = tasks.NameOf([]byte("job"))
	if err := d.load(t.Context(), j, d.net.ID(), workOf(store.HashOf([]byte("sources")))); err == nil {
		t.Error("it is prepared")
	}
	if size := store.SizeOf(d.blobs.JobDir(j.id)); size >= 0 {
		t.Errorf("its folder is left")
	}
}
