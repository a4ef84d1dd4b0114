package jobs

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

// fakeKeys sign with the peer's name.
type fakeKeys tasks.PeerID

func (k fakeKeys) Sign(text []byte) []byte {
	return []byte(string(k) + ":" + string(text[len(text)-8:]))
}

func (fakeKeys) Verify(by tasks.PeerID, text, sig []byte) bool {
	return string(fakeKeys(by).Sign(text)) == string(sig)
}

// TestEndMustBeProven: what a member tells of a job's end is believed as far as the voters of the job's ledger have
// signed it, and no further.
func TestEndMustBeProven(t *testing.T) {
	id, name := tasks.NameOf([]byte("job")), strings.Repeat("ab", 16)
	mine := jobIdentity{name: name, id: id, submitter: "me"}
	told := api.JobStatus{ID: name, State: api.Done, Submitter: "me", SHA256: "aa", Output: "/home/me/out.root"}
	prove := func(id tasks.JobID, st api.JobStatus, by ...tasks.PeerID) EndProof {
		status, err := json.Marshal(st)
		if err != nil {
			t.Fatal(err)
		}
		r := ledger.Result{SHA256: st.SHA256, Size: 3, Status: status}
		e := engine.Ended{Sum: r.Sum(), Units: 5, Result: &r}
		e.Seal = &quorum.Seal{Chain: quorum.Chain{Founders: []quorum.Voter{quorum.NewVoter("me", 1)}}}
		for _, p := range by {
			e.Seal.Sigs = append(e.Seal.Sigs, quorum.Signature{
				By:  p,
				Sig: fakeKeys(p).Sign(quorum.SealText("job "+string(id), e.Text())),
			})
		}
		return EndProof{End: engine.Remember{ID: id, Ended: e}, Submitter: "me"}
	}
	got, err := mine.check(trustIn(prove(id, told, "me")), api.JobStatus{
		State:  api.Failed,
		Output: told.Output,
	}, prove(id, told, "me"))
	if err != nil || got.State != api.Done || got.SHA256 != "aa" || got.Output != told.Output {
		t.Errorf("proven is %+v: %v", got, err)
	}
	other := told
	other.ID = strings.Repeat("cd", 16)
	changed := prove(id, told, "me")
	changed.End.Ended.Result = &ledger.Result{SHA256: "bb", Status: changed.End.Ended.Result.Status}
	whose := prove(id, told, "me")
	whose.Submitter = "liar"
	bare := prove(id, told, "me")
	bare.End.Ended.Result = nil
	for what, p := range map[string]EndProof{
		"nobody signed":            prove(id, told),
		"another signed":           prove(id, told, "liar"),
		"another job of this node": prove(id, other, "me"),
		"another job of that name": prove(tasks.NameOf([]byte("other")), told, "me"),
		"another's job":            whose,
		"another result":           changed,
		"no result, though it may": bare,
		"nothing":                  {Submitter: "me"},
	} {
		if _, err := mine.check(trustIn(p), told, p); !errors.Is(err, errUnproven) {
			t.Errorf("%s, and it is believed: %v", what, err)
		}
	}
	private := api.JobStatus{State: api.Done, Private: "the rest is for its submitter"}
	private.SHA256 = "bb"
	if st, err := mine.check(trustIn(bare), private, bare); err != nil || st.State != api.Done || st.SHA256 != "" {
		t.Errorf("that a job of another is over is not believed, or more than that: %+v, %v", st, err)
	}
	mine.whole = true
	if _, err := mine.check(trustIn(bare), private, bare); !errors.Is(err, errUnproven) {
		t.Error("who may see all of it believes one who shows less:", err)
	}
}

// trustIn is what a proof is checked with.
func trustIn(p EndProof) quorum.Trust {
	return engine.TrustOf(fakeKeys("me"), p.End.ID, func(by tasks.PeerID) bool { return by == p.Submitter }, p.Submitter)
}
