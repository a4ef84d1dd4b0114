package node

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/internal/durable"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/jobs"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/p2p"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// describedAs has a member submit a job of a name, as far as that its description can be fetched from it.
func describedAs(t *testing.T, by *Daemon, nonce []byte) tasks.JobID {
	t.Helper()
	data, err := tasks.NewDataset([]tasks.File{{URL: "f", Part: "T", Entries: 100, Clusters: []int64{0}}})
	if err != nil {
		t.Fatal(err)
	}
	desc := &tasks.Job{
		Protocol:  tasks.Protocol,
		Submitter: by.net.ID(),
		Nonce:     nonce,
		Work:      tasks.Work{Kind: "ROOT"},
		Data:      *data,
		Want:      tasks.R(0, 100),
	}
	body, err := wire.Marshal(desc)
	if err != nil {
		t.Fatal(err)
	}
	j := by.handsOut(t, desc.Nonce, body)
	j.With(func(s *jobs.State) { s.Desc = desc })
	return stateOf(j).ID
}

// handsOut makes a job that a daemon leads whose description others can fetch from it.
func (d *Daemon) handsOut(t *testing.T, nonce, body []byte) *jobs.Job {
	t.Helper()
	j := d.jobs.Book().New(hex.EncodeToString(nonce))
	j.With(func(s *jobs.State) { s.ID, s.SubmittedHere, s.Led = tasks.NameOf(body), true, true })
	if _, err := d.blobs.Put(d.blobs.JobDir(stateOf(j).ID), body); err != nil {
		t.Fatal(err)
	}
	d.jobs.Book().Identify(stateOf(j).ID, j)
	d.jobs.Book().Add(j)
	return j
}

// TestNobodySubmitsByAnothersName: a member that has read the description of another's job submits one of its own by
// that name. No node has part in it, whether it knows the other job or has yet to hear of it, and who has submitted it
// is named.
func TestNobodySubmitsByAnothersName(t *testing.T) {
	d := openWithout(t, "node")
	defer d.Close()
	owner := admit(t, d, "owner", p2p.Submitter)
	defer owner.Close()
	own := func(at *Daemon, salt byte) []byte { return tasks.NonceOf(at.net.ID(), tasks.NonceSalt{salt}) }
	older := func(c string) []byte { return []byte(strings.Repeat(c, tasks.NonceSize)) }
	like := func(nonce []byte) []byte { // the beginning of it is what lists show
		out := bytes.Clone(nonce)
		out[tasks.NonceSize-1] ^= 1
		return out
	}
	ended := func(nonce []byte, id tasks.JobID, submitter tasks.PeerID) { // and told of here
		j := d.jobs.Book().New(hex.EncodeToString(nonce))
		j.With(func(s *jobs.State) { s.ID = id })
		j.Adopt(api.JobStatus{ID: j.Name, State: api.Done, Submitter: submitter}, false)
		d.jobs.Book().Add(j)
	}
	ended(own(owner, 1), "", owner.net.ID())
	refused := func(err error) bool { return errors.Is(err, jobs.ErrTaken) || errors.Is(err, jobs.ErrNotNamed) }
	for name, tc := range map[string]struct {
		nonce  func(liar *Daemon) []byte
		ok     bool
		named  bool
		ledger bool // it is to be kept, too
		owner  bool // it is the owner who submits it
	}{
		"its own name": {nonce: func(liar *Daemon) []byte { return own(liar, 1) }, ok: true},
		"another's, who has a result here": {
			nonce:  func(*Daemon) []byte { return own(owner, 1) },
			named:  true,
			ledger: true,
		},
		"another's, of which nothing is known": {nonce: func(*Daemon) []byte { return own(owner, 2) }, named: true},
		"this node's":                          {nonce: func(*Daemon) []byte { return own(d, 1) }, named: true},
		"one that begins like another's":       {nonce: func(*Daemon) []byte { return like(own(owner, 2)) }, named: true},
		"one that begins like its own": {
			nonce: func(liar *Daemon) []byte { return like(own(liar, 1)) },
			named: true,
		},
		"one that nobody gives": {nonce: func(*Daemon) []byte { return older("c") }, named: true},
		"the owner's own, which is not described": {
			nonce: func(*Daemon) []byte { return own(owner, 1) },
			ok:    true,
			owner: true,
		},
	} {
		// Who breaks rules too often has its link closed, so that each case has a liar of its own.
		liar := admit(t, d, "liar", p2p.Submitter)
		by := liar
		if tc.owner {
			by = owner // whose link a busy host may have closed meanwhile
		}
		until(t, "they are up", func() bool {
			up := d.cluster.Up()
			return slices.Contains(up, liar.net.ID()) && slices.Contains(up, by.net.ID())
		})
		nonce := tc.nonce(liar)
		count := func() int { return wrongsOf(d)[liar.net.ID()][string(jobs.TakesName)] }
		id := describedAs(t, by, nonce)
		d.hearsOf(by, id)
		_, err := d.jobs.Description(t.Context(), id, by.net.ID())
		if (err == nil) != tc.ok || err != nil && !refused(err) {
			t.Errorf("%s, to work for it: %v", name, err)
		}
		c := &store.Copy{ID: id, Dir: d.ledgers.FolderOf(id)}
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if !tc.named || tc.ledger {
			err = d.jobs.FillCopy(c, by.net.ID())
			if refused(err) == tc.ok {
				t.Errorf("%s, to keep its ledger: %v", name, err)
			}
		}
		if got := count(); (got > 0) != tc.named {
			t.Errorf("%s: %d times named", name, got)
		}
		by.jobs.Book().Forget(hex.EncodeToString(nonce))
		if err := liar.Close(); err != nil {
			t.Error(err)
		}
	}
}

// wrongsOf are what d has counted that members sent against the rules.
func wrongsOf(d *Daemon) map[tasks.PeerID]map[string]int {
	out := map[tasks.PeerID]map[string]int{}
	for _, w := range d.cluster.Wrongs() {
		out[w.ID] = w.Counts
	}
	return out
}

// TestNobodyTellsOfAnothersName: what a member tells of a job of its own by another's name is not taken for that of the
// other, by nodes either that have no part in it.
func TestNobodyTellsOfAnothersName(t *testing.T) {
	d := openWithout(t, "asker")
	defer d.Close()
	owner, liar := admit(t, d, "owner", p2p.Submitter, p2p.Read), admit(t, d, "liar", p2p.Submitter)
	defer owner.Close()
	defer liar.Close()
	until(t, "both are up", func() bool { return len(d.cluster.Up()) == 2 })
	name := hex.EncodeToString(tasks.NonceOf(owner.net.ID(), tasks.NonceSalt{1}))
	for at, want := range map[*Daemon]bool{owner: true, liar: false} {
		j := at.jobs.Book().New(name)
		j.With(func(s *jobs.State) { s.SubmittedHere = true })
		j.Adopt(api.JobStatus{ID: name, State: api.Done, Submitter: at.net.ID()}, true)
		at.jobs.Book().Add(j)
		if st, err := d.jobs.RemoteStatus(t.Context(), at.net.ID(), name); (err == nil) != want ||
			err != nil && !errors.Is(err, jobs.ErrTaken) {
			t.Errorf("told by %s: %+v, %v", at.net.Name(), st.Submitter, err)
		}
	}
	if tell, err := d.jobs.AskMembers(t.Context(), d.cluster.Up(), name); err != nil ||
		tell.St.Submitter != owner.net.ID() {
		t.Errorf("of both %+v is believed, %v", tell.St.Submitter, err)
	}
}

// TestResultsAreKeptByNobodyElse: neither the home of another job by the same name, as a node may know it from a time
// before names were bound to who gives them, nor the job's own home takes a result away whose end is proven.
func TestResultsAreKeptByNobodyElse(t *testing.T) {
	d := openWithout(t, "keeper")
	defer d.Close()
	name, id, other := strings.Repeat("ab", 16), tasks.NameOf([]byte("job")), tasks.NameOf([]byte("other"))
	result := ledger.Result{SHA256: store.HashOf([]byte("result")), Status: []byte(`{"state":"done"}`)}
	truth := d.jobs.Book().New(name)
	truth.With(func(s *jobs.State) { s.ID, s.Desc = id, &tasks.Job{Submitter: "owner"} })
	truth.Adopt(api.JobStatus{ID: name, State: api.Done, SHA256: result.SHA256}, false)
	lie := d.jobs.Book().New(name)
	lie.With(func(s *jobs.State) { s.ID, s.Desc = other, &tasks.Job{Submitter: "liar"} })
	d.jobs.Book().Add(truth)
	d.jobs.Book().Identify(id, truth)
	d.jobs.Book().Identify(other, lie)
	if err := durable.Write(d.results.Path(name), []byte("result")); err != nil {
		t.Fatal(err)
	}
	d.results.SaveEnd(name, engine.Remember{
		ID:        id,
		Submitter: "owner",
		Ended:     engine.Ended{Seal: &quorum.Seal{}, Result: &result},
	})
	keep := func(id tasks.JobID, sha string) error {
		return d.jobs.BringResult(engine.KeepResult{ID: id, To: "home", Result: ledger.Result{SHA256: sha, Size: 1}})
	}
	if err := keep(other, result.SHA256); !errors.Is(err, jobs.ErrTaken) {
		t.Errorf("of another job: %v", err)
	}
	d.jobs.RemoveResult(lie)
	d.loop.Ask(func(*engine.Peer) {
		d.jobs.EndSealed(engine.EndSealed{
			ID:        other,
			Submitter: "liar",
			Ended:     engine.Ended{Seal: &quorum.Seal{}, Result: &ledger.Result{}},
		})
		d.jobs.JobEnded(d.loop.peer, engine.JobEnded{
			ID:     other,
			Result: ledger.Result{Status: []byte(`{"state":"done","parts_sha256":"x"}`)},
		})
	})
	d.jobs.Book().Over(other)
	if err := keep(id, store.HashOf([]byte("forged"))); err == nil || !strings.Contains(err.Error(), "proven") {
		t.Errorf("another result than the proven one: %v", err)
	}
	if err := keep(id, result.SHA256); err != nil {
		t.Errorf("the proven one: %v", err)
	}
	end, err := d.results.End(name)
	if err != nil || end.ID != id || !slices.Equal(end.Ended.Result.Status, result.Status) ||
		!holds(d.results.Path(name), "result") || lie.Final() {
		t.Errorf("the end is that of %s, %v; the result is there: %v", end.ID.Short(), err,
			holds(d.results.Path(name), "result"))
	}
}
