package node

import (
	"context"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// workOf is the work of a job that ships a blob which copies of its ledger keep.
func workOf(sources string) tasks.Work {
	return tasks.Work{
		Kind:  "ROOT",
		Needs: []string{"ROOT=6.40.00"},
		Ships: []tasks.Ship{{Name: "sources", SHA256: sources, Size: 1 << 10, Keep: true}},
	}
}

// publishing makes a job that is about to be given to the engine.
func publishing(t *testing.T, d *Daemon) (*jobs.Job, *tasks.Job) {
	t.Helper()
	source, err := d.blobs.Ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := tasks.NewDataset([]tasks.File{{URL: "f", Part: "T", Entries: 100, Clusters: []int64{0}}})
	if err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: d.net.ID(),
		Nonce:     tasks.NonceOf(d.net.ID(), tasks.NonceSalt{1}),
		Work:      workOf(source),
		Data:      *data,
		Want:      tasks.R(0, 100),
	}
	j := d.jobs.Book().New(store.NameOf(desc))
	j.With(func(s *jobs.State) {
		s.Home, s.Led, s.SubmittedHere = d.net.ID(), true, true
		s.Status = api.JobStatus{ID: j.Name, State: api.Preparing, Submitted: time.Now()}
	})
	d.jobs.Book().Add(j)
	return j, desc
}

// TestCancelWhileAJobIsHandedOver: a cancel that comes after a job has got its name, and before the engine has the job,
// ends it. What it had posted was lost, and no later cancel posted it again.
func TestCancelWhileAJobIsHandedOver(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	j, desc := publishing(t, d)
	cancelled := false
	j.Tell = func(string) { // publish says that the job runs, just before it gives it to the engine
		if !cancelled && j.ID() != "" {
			cancelled = true
			d.jobs.CancelJob(j)
		}
	}
	if err := d.jobs.Publish(j, desc, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "cancel a job that is being handed over", j.Final)
	if st := d.jobs.StatusOf(j); !cancelled || st.State != api.Cancelled {
		t.Errorf("the job is %s", st.State)
	}
}

// TestStopBeforeTheBeginningCancels: there is nothing to keep of a job that has not begun, so that to stop it is to
// cancel it, and its user is told so.
func TestStopBeforeTheBeginningCancels(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	j, desc := publishing(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.jobs.Steer(ctx, j, "stop"); err != nil {
		t.Fatal(err)
	}
	if err := d.jobs.Publish(j, desc, nil); err == nil {
		t.Error("a job that was stopped before it had begun is given to the engine")
	}
	if st := d.jobs.StatusOf(j); st.State != api.Cancelled || st.Hint != jobs.StoppedEarly {
		t.Errorf("%+v", st)
	}
}
