package node

import (
	"encoding/hex"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/p2p"
)

// TestWhatWaitsElsewhereIsKnown: dtpnode ps lists jobs that wait on members with copies of their ledgers, and so status tells of them
// on any member, and cancel remembers them, though nobody leads them and nothing is known of them here.
func TestWhatWaitsElsewhereIsKnown(t *testing.T) {
	d := openWithout(t, "asks")
	defer d.Close()
	o := admit(t, d, "keeps", p2p.Submitter, p2p.Worker)
	source, err := o.blobs.ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	id := keepLedger(t, o, 1, source)
	name := hex.EncodeToString(o.ledgerOf(id).desc.Nonce)
	cfg := o.cfg
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if o, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	until(t, "list the job that waits on another member", func() bool {
		all := d.allJobs(t.Context())
		return len(all) == 1 && all[0].ID == name && all[0].State == api.Waiting
	})
	st, err := d.jobStatus(t.Context(), name[:8])
	if err != nil || st.ID != name || st.State != api.Waiting || st.Phase == "" {
		t.Errorf("status: %+v, %v", st, err)
	}
	c, err := d.cancelFor(t.Context(), name[:8])
	if err != nil || c.ID != name || c.Pending == "" {
		t.Errorf("cancel: %+v, %v", c, err)
	}
	if _, err := d.jobStatus(t.Context(), "ffffffff"); err == nil {
		t.Error("there is a job that nobody knows of")
	}
}
