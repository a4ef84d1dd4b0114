package node

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/tasks"
)

// claimed makes a job that a node says it leads, whoever submitted it.
func (d *Daemon) claimed(salt tasks.NonceSalt, submitter tasks.PeerID, state api.JobState) *jobs.Job {
	j := d.jobs.Book().New(hex.EncodeToString(tasks.NonceOf(submitter, salt)))
	j.With(func(s *jobs.State) {
		s.Led, s.Desc = true, &tasks.Job{Submitter: submitter}
		s.Status = api.JobStatus{
			ID:        j.Name,
			Home:      d.net.ID(),
			Submitter: submitter,
			State:     state,
			Submitted: time.Now(),
			SHA256:    store.HashOf(nil),
		}
	})
	d.jobs.Book().Add(j)
	return j
}

// A member is believed about a job that it may have submitted, and about one that it proves to lead; where two tell of
// jobs of one name that differ in who submitted them, neither is taken for the other.
func TestWhoTellsOfAJobIsAskedForProof(t *testing.T) {
	asker := openWithout(t, "asker")
	defer asker.Close()
	reader, submitter := admit(t, asker, "reader", p2p.Read), admit(t, asker, "submitter", p2p.Submitter)
	other := admit(t, asker, "other", p2p.Submitter)
	for _, d := range []*Daemon{reader, submitter, other} {
		defer d.Close()
	}
	until(t, "the members see each other", func() bool { return len(asker.cluster.Up()) == 3 })
	for name, tc := range map[string]struct {
		teller    *Daemon
		submitter tasks.PeerID
		state     api.JobState
		believed  bool
	}{
		"a": {reader, submitter.net.ID(), api.Running, false},
		"b": {reader, reader.net.ID(), api.Running, false},
		"c": {reader, reader.net.ID(), api.Done, false},
		"d": {reader, submitter.net.ID(), api.Done, false},
		"e": {other, submitter.net.ID(), api.Running, false},
		"f": {submitter, submitter.net.ID(), api.Running, true},
	} {
		j := tc.teller.claimed(tasks.NonceSalt{name[0]}, tc.submitter, tc.state)
		_, at, st, err := asker.jobs.Lookup(t.Context(), j.Name)
		if (err == nil) != tc.believed || tc.believed && (at != tc.teller.net.ID() || st.ID != j.Name) {
			t.Errorf("%s: %q tells %+v, %v", name, at, st.State, err)
		}
	}
	first := submitter.claimed(tasks.NonceSalt{1}, submitter.net.ID(), api.Running).Name[:4]
	salt := uint64(0)
	like := func() tasks.NonceSalt { return tasks.NonceSalt(binary.BigEndian.AppendUint64(nil, salt)) }
	for !strings.HasPrefix(hex.EncodeToString(tasks.NonceOf(other.net.ID(), like())), first) {
		salt++
	}
	other.claimed(like(), other.net.ID(), api.Running)
	_, _, _, err := asker.jobs.Lookup(t.Context(), first)
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusConflict || !strings.Contains(e.Message, "submitter") ||
		!strings.Contains(e.Message, "other") {
		t.Errorf("two of one name: %v", err)
	}
}
