package ledger

import (
	"testing"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/quorum"
	"github.com/dtpnode/dtpnode/tasks"
)

func recovery(t *testing.T) quorum.Link {
	c, err := quorum.NextRecovery(quorum.NewVoter("a", 1))
	if err != nil {
		t.Fatal(err)
	}
	return quorum.Link{Conf: c, Sigs: []quorum.Signature{{By: "a", Sig: []byte("s")}}}
}

// TestRecoveredRecord goes on with what is committed, tells what may have been, and keeps a result only where it is.
func TestRecoveredRecord(t *testing.T) {
	for _, kept := range []bool{false, true} {
		r := Record{Want: tasks.R(0, 100), Attempts: []Attempt{{Node: "b"}}}
		r.Apply(Entry{Commit: new(part("a", 1, 0, 40))})
		r.Apply(Entry{Result: &Result{SHA256: "h", Size: 1}})
		r.Recover(recovery(t), kept)
		if (r.Result != nil) != kept {
			t.Errorf("kept %v, and the result is %v", kept, r.Result)
		}
		if r.Done.Cover().Len() != 40 || r.Undone.Len() != 60 || len(r.Attempts) > 0 || r.Epoch() == 0 {
			t.Errorf("%+v", r)
		}
		b, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeRecord(b, &Record{Want: r.Want}); err != nil || got.Epoch() != r.Epoch() {
			t.Errorf("read back: %+v, %v", got, err)
		}
	}
	r := Record{Want: tasks.R(0, 100), Recovery: new(quorum.Link)}
	b, _ := r.Encode()
	if _, err := DecodeRecord(b, &Record{Want: r.Want}); err == nil {
		t.Error("a recovery without a member is read")
	}
}

// TestRecoveredHomeLooksEverywhere asks nodes that are no replicas for a blob that this one lacks, and has its units
// run again once nobody has it.
func TestRecoveredHomeLooksEverywhere(t *testing.T) {
	r := &Record{Want: tasks.R(0, 100)}
	r.Apply(Entry{Commit: new(part("gone", 1, 0, 40))})
	r.Recover(recovery(t), false)
	h := New(Config{Self: "a"}, r, nil, false)
	h.Resume(0)
	tries := 0
	var obey func([]Effect)
	obey = func(effects []Effect) {
		for _, e := range effects {
			switch e := e.(type) {
			case Fetch:
				tries++
				if len(e.Sources) != 1 || e.Sources[0] != "b" {
					t.Error("it is asked of", e.Sources)
				}
				obey(h.Step(h.now, NotStored{Partial: e.Partial, Seq: e.Seq}))
			case Propose:
				_, changed := r.Apply(e.Entry)
				obey(h.Step(h.now, Applied{Entry: e.Entry, Verdict: merge.Fresh, Changed: changed}))
			}
		}
	}
	h.nodes.up("b", 1, 0)
	for range 100 {
		obey(h.Step(h.now+h.cfg.Audit, NodeUp{ID: "a", Slots: 1}))
	}
	if tries == 0 || r.Open().Len() != 100 || r.Undone.Len() != 100 {
		t.Errorf("after %d tries: %+v", tries, r)
	}
}
