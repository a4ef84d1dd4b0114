package node

import (
	"fmt"
	"os"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
)

// TestPartialJobOutlivesNewerOnes: a loop over many files does not take from its user what a retry of one needs.
func TestPartialJobOutlivesNewerOnes(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	partial := d.ended(t, "a", "", "some histograms")
	partial.With(func(s *jobs.State) { s.Status.State = api.Partial })
	parts := d.results.PartPath(partial.Name, "part")
	if err := durable.Write(parts, []byte("some")); err != nil {
		t.Fatal(err)
	}
	d.results.NoteFetched(partial.Name)
	for i := range d.cfg.KeepJobs + 10 {
		j := d.ended(t, fmt.Sprintf("%032x", i), "", "histograms")
		d.results.NoteFetched(j.Name)
		d.jobs.Sweep()
	}
	if found := d.jobs.Book().Find(partial.Name); len(found) != 1 || !d.results.Has(partial.Name) ||
		store.SizeOf(parts) < 0 {
		entries, _ := os.ReadDir(d.results.Dir)
		t.Errorf("a partial job is gone after newer ones, %d are left", len(entries))
	}
}
