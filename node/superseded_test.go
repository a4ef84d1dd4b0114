package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// recoveryNo is the n-th recovery of a job's ledger, from the copy of another member.
func recoveryNo(t *testing.T, n int) (l quorum.Link) {
	t.Helper()
	var term uint64
	for range n {
		c, err := quorum.NextRecovery(quorum.NewVoter("other", uint64(100+n)), term)
		if err != nil {
			t.Fatal(err)
		}
		l, term = quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: "admin"}}}, c.Term
	}
	return l
}

// keeping is a daemon with a copy of a job's ledger, and a partial that is kept for it.
func keeping(t *testing.T) (d *Daemon, id tasks.JobID, part string) {
	t.Helper()
	d = openWithout(t, "replica")
	t.Cleanup(func() { _ = d.Close() })
	source, err := d.blobs.Ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	id = keepLedger(t, d, 1, source)
	part = d.ledgers.KeptPath(id, merge.Partial{ID: merge.ID{Node: "n", Seq: 1}, SHA256: store.HashOf([]byte("partial"))})
	if err := durable.Write(part, []byte("partial")); err != nil {
		t.Fatal(err)
	}
	return d, id, part
}

// TestEndThatIsTakenBackIsPutAside: whoever took it back may have lied, and the result may be the last.
func TestEndThatIsTakenBackIsPutAside(t *testing.T) {
	d, id, _ := keeping(t)
	name := d.ledgers.Of(id).Name()
	d.results.SaveEnd(name, engine.Remember{ID: id})
	if err := durable.Write(d.results.Path(name), []byte("result")); err != nil {
		t.Fatal(err)
	}
	link := recoveryNo(t, 1)
	d.jobs.Reopened(id, link)
	kept := filepath.Join(d.asides.FolderOf(name, link)+".ends", filepath.Base(d.results.Path(name)))
	if b, err := os.ReadFile(kept); err != nil || string(b) != "result" {
		t.Errorf("the result is not in %q: %v", kept, err)
	}
	if d.results.Has(name) {
		t.Error("it is still taken for the job's result")
	}
}
