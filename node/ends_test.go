package node

import (
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestProofsOfEndsOutliveTheirJobs: a member that was away comes back with a copy of the ledger of a job of which
// nothing else is kept any more, and is told that it is over, through restarts of this node.
func TestProofsOfEndsOutliveTheirJobs(t *testing.T) {
	d := openWithout(t, "submitter")
	j := d.ended(t, "a", "", "histograms")
	id := tasks.NameOf([]byte("job"))
	d.results.SaveEnd(j.Name, engine.Remember{
		ID:        id,
		Term:      3,
		Submitter: d.net.ID(),
		Ended:     engine.Ended{Sum: "sum", Seal: &quorum.Seal{}, Result: &ledger.Result{Status: []byte("secret")}},
	})
	d.jobs.ForgetJob(j.Name)
	if d.results.Has(j.Name) || len(d.jobs.Book().Find(j.Name)) > 0 {
		t.Error("the job is kept")
	}
	cfg := d.cfg
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	ends := again.results.Ends()
	if len(ends) != 1 || ends[0].ID != id || ends[0].Term != 3 || ends[0].Ended.Seal == nil ||
		ends[0].Ended.Sum != "sum" || ends[0].Ended.Result != nil {
		t.Errorf("what is known of the end is %+v", ends)
	}
}
