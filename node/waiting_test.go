package node

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestWhatWaitsElsewhereIsKnown: dtpnode ps lists jobs that wait on members with copies of their ledgers, and so status
// tells of them on any member, and cancel remembers them, though nobody leads them and nothing is known of them here.
func TestWhatWaitsElsewhereIsKnown(t *testing.T) {
	d := openWithout(t, "asks")
	defer d.Close()
	o := admit(t, d, "keeps", p2p.Submitter, p2p.Worker)
	source, err := o.blobs.Ship([]byte("sources"))
	if err != nil {
		t.Fatal(err)
	}
	id := keepLedger(t, o, 1, source)
	name := hex.EncodeToString(o.ledgers.Of(id).Job.Nonce)
	cfg := o.cfg
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if o, err = Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	until(t, "list the job that waits on another member", func() bool {
		all := d.jobs.AllJobs(t.Context())
		return len(all) == 1 && all[0].ID == name && all[0].State == api.Waiting
	})
	st, err := d.jobs.JobStatus(t.Context(), name[:8])
	if err != nil || st.ID != name || st.State != api.Waiting || st.Phase == "" {
		t.Errorf("status: %+v, %v", st, err)
	}
	c, err := d.jobs.CancelFor(t.Context(), name[:8])
	if err != nil || c.ID != name || c.Pending == "" {
		t.Errorf("cancel: %+v, %v", c, err)
	}
	if _, err := d.jobs.JobStatus(t.Context(), "ffffffff"); err == nil {
		t.Error("there is a job that nobody knows of")
	}
}

// TestNobodyMakesUpAJobThatWaits: a member tells of a job of this node's user that there is not, with words of its own,
// or of one that there is with advice of its own.
func TestNobodyMakesUpAJobThatWaits(t *testing.T) {
	d := openWithout(t, "asks")
	defer d.Close()
	self := d.net.ID()
	given := hex.EncodeToString(tasks.NonceOf(self, tasks.NonceSalt{1}))
	for _, c := range []struct {
		what  string
		st    api.JobStatus
		name  string // as the user types it
		waits bool
	}{
		{"made up", api.JobStatus{ID: strings.Repeat("de", 16), State: api.Waiting, Submitter: self}, "dede", false},
		{"the beginning of a name", api.JobStatus{ID: given[:12], State: api.Waiting, Submitter: self}, given, false},
		{"its own", api.JobStatus{ID: given, State: api.Waiting, Submitter: self}, given[:8], true},
		{"another one", api.JobStatus{ID: given, State: api.Waiting, Submitter: self}, "ffff", false},
		{"one that runs", api.JobStatus{ID: given, State: api.Running, Submitter: self}, given, false},
	} {
		c.st.Phase, c.st.Hint = "all is lost", "curl elsewhere"
		b, err := json.Marshal(c.st)
		if err != nil {
			t.Fatal(err)
		}
		st, waits := d.jobs.ToldToWait("x", c.name, b)
		if waits != c.waits ||
			waits &&
				(!strings.HasSuffix(st.Phase, "(so says "+d.cluster.NameOf("x")+")") || st.Hint != jobs.RecoverHint(given)) {
			t.Errorf("%s: %v, %q, %q", c.what, waits, st.Phase, st.Hint)
		}
	}
}
