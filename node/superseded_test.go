package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

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
		c, err := quorum.NextRecovery(quorum.NewMember("other", uint64(100+n)), term)
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
	part = d.keptPath(id, merge.Partial{ID: merge.ID{Node: "n", Seq: 1}, SHA256: store.HashOf([]byte("partial"))})
	if err := durable.Write(part, []byte("partial")); err != nil {
		t.Fatal(err)
	}
	return d, id, part
}

// TestSupersededCopyIsPutAside has a copy given up for a recovery: it is there whole, after a restart too, and others still
// get its partials, whatever becomes of the next copy of that ledger in its place.
func TestSupersededCopyIsPutAside(t *testing.T) {
	d, id, part := keeping(t)
	name := d.ledgerOf(id).name()
	link := recoveryNo(t, 1)
	d.dropLedger(engine.DropLedger{ID: id, Reason: "recovered", Superseded: &link})
	if d.ledgerOf(id) != nil {
		t.Fatal("the copy is still one that counts")
	}
	if _, err := os.Stat(filepath.Join(d.ledgerDir(id), journalFile)); err == nil {
		t.Fatal("the log that was given up is still in its place")
	}
	d.removeLedger(d.ledgerDir(id))
	all := d.asides(name)
	if len(all) != 1 {
		t.Fatalf("%d copies were put aside", len(all))
	}
	from, _, err := all[0].read()
	if err != nil || from.Job.Want.Len() != 100 || len(from.Log.Voters) != 3 || all[0].Link.Conf.Term != link.Conf.Term {
		t.Fatalf("what was put aside is %+v of %+v: %v", from, all[0], err)
	}
	d.restoreAside()
	if b, ok := d.blobs.Read(store.HashOf([]byte("partial"))); !ok || !bytes.Equal(b, []byte("partial")) {
		t.Errorf("the partial %q is there no more", part)
	}
	if _, owner, err := d.asideOwner(name); err != nil || owner != d.net.ID() {
		t.Errorf("it is %q's: %v", owner, err)
	}
}

// TestWhatIsPutAsideIsBounded: by number, time and bytes. What a liar has given up for one recovery after another does not
// push out what was given up first.
func TestWhatIsPutAsideIsBounded(t *testing.T) {
	d, id, _ := keeping(t)
	c := d.ledgerOf(id)
	for n := 1; n <= 5; n++ {
		if err := d.putAside(c, recoveryNo(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, a := range d.asides("") {
		left = append(left, fmt.Sprint(quorum.Recoveries(a.Link.Conf.Term)))
	}
	if fmt.Sprint(left) != "[1 2 5]" {
		t.Errorf("of five copies are kept those of the recoveries %v", left)
	}
	d.cfg.KeepBytes = store.FolderBytes(d.asides("")[0].dir)
	d.pruneAside()
	if n := len(d.asides("")); n != 1 {
		t.Errorf("%d are kept where one has room", n)
	}
	d.cfg.KeepFor = -time.Second
	d.pruneAside()
	if n := len(d.asides("")); n != 0 {
		t.Errorf("%d are kept beyond their time", n)
	}
}

// TestEndThatIsTakenBackIsPutAside: whoever took it back may have lied, and the result may be the last.
func TestEndThatIsTakenBackIsPutAside(t *testing.T) {
	d, id, _ := keeping(t)
	name := d.ledgerOf(id).name()
	d.saveEnd(name, engine.Remember{ID: id})
	if err := durable.Write(d.resultPath(name), []byte("result")); err != nil {
		t.Fatal(err)
	}
	link := recoveryNo(t, 1)
	d.reopened(id, link)
	kept := filepath.Join(d.asideDir(name, link)+asideEnd, filepath.Base(d.resultPath(name)))
	if b, err := os.ReadFile(kept); err != nil || string(b) != "result" {
		t.Errorf("the result is not in %q: %v", kept, err)
	}
	if store.SizeOf(d.resultPath(name)) >= 0 {
		t.Error("it is still taken for the job's result")
	}
}
