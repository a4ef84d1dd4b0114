package node

import (
	"fmt"
	"os"
	"testing"

	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// TestPartialJobOutlivesNewerOnes: a loop over many files does not take from its user what a retry of one needs.
func TestPartialJobOutlivesNewerOnes(t *testing.T) {
	d := openWithout(t, "submitter")
	defer d.Close()
	partial := d.ended(t, "a", "", "some histograms")
	partial.status.State = api.Partial
	parts := d.results.PartPath(partial.name, "part")
	if err := durable.Write(parts, []byte("some")); err != nil {
		t.Fatal(err)
	}
	d.results.NoteFetched(partial.name)
	for i := range d.cfg.KeepJobs + 10 {
		j := d.ended(t, fmt.Sprintf("%02d", i)[:1], "", "histograms")
		j.name = fmt.Sprintf("%032x", i)
		d.mu.Lock()
		d.byName[j.name] = j
		d.mu.Unlock()
		if err := durable.Write(d.results.Path(j.name), []byte("histograms")); err != nil {
			t.Fatal(err)
		}
		d.results.NoteFetched(j.name)
		d.sweep()
	}
	if found := d.find(partial.name); len(found) != 1 || !d.results.Has(partial.name) || store.SizeOf(parts) < 0 {
		entries, _ := os.ReadDir(d.results.Dir)
		t.Errorf("a partial job is gone after newer ones, %d are left", len(entries))
	}
}
