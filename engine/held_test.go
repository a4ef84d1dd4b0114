package engine

import (
	"testing"

	"github.com/dtpnode/dtpnode/internal/modelkeys"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/steal"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestWhatACopyMayFree holds a copy that kept a blob for the home of term 1 to the rule that held gives.
func TestWhatACopyMayFree(t *testing.T) {
	b := merge.Partial{ID: merge.ID{Node: "w", Seq: 1}, Job: "j", Cover: tasks.CoverOf(tasks.R(0, 10)), Units: 10, SHA256: "b"}
	other := merge.Partial{ID: merge.ID{Node: "w", Seq: 2}, Job: "j", Cover: tasks.CoverOf(tasks.R(5, 20)), Units: 15, SHA256: "o"}
	type step struct {
		entry ledger.Entry
		term  uint64
	}
	nothing := ledger.Entry{}
	for _, tc := range []struct {
		name  string
		at    uint64 // the home had followed the log as far when it asked
		late  bool   // the present home has asked too, from ahead of this copy
		steps []step // entries that come at once, from index 1 on
		frees bool
	}{
		{"an entry of the same term", 0, false, []step{{nothing, 1}}, false},
		{"an entry of a later term", 0, false, []step{{nothing, 2}}, true},
		{"an entry of a later term, and the commit with it", 0, false, []step{{nothing, 2}, {ledger.Entry{Commit: &b}, 2}}, false},
		{"an entry of a later term, while the home asks again", 0, true, []step{{nothing, 2}}, false},
		{"the commit", 0, false, []step{{ledger.Entry{Commit: &b}, 1}, {nothing, 2}}, false},
		{"what overlaps is committed", 0, false, []step{{ledger.Entry{Commit: &other}, 1}}, true},
		{"what overlaps is committed, as the home knew when it asked", 9, false, []step{{ledger.Entry{Commit: &other}, 1}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := New(Config{Boot: 1, Keys: modelkeys.Keys("f"), Replicas: 3, Steal: steal.Config{Self: "f", Slots: 1}})
			if err != nil {
				t.Fatal(err)
			}
			j := p.addJob("j", "h")
			j.record = &ledger.Record{Want: tasks.R(0, 100)}
			j.term = 1
			j.hold(b, tc.at)
			j.term = 2
			if tc.late {
				j.late = []Keep{{Partial: &b, At: 99}}
			}
			for i, s := range tc.steps {
				_, changed := j.record.Apply(s.entry)
				j.follow(s.entry, uint64(i+1), s.term, changed)
			}
			p.out = nil
			p.tidy(j)
			freed := false
			for _, e := range p.out {
				if f, ok := e.(FreeBlob); ok && f.Partial.ID == b.ID {
					freed = true
				}
			}
			if freed != tc.frees {
				t.Errorf("freed: %v", freed)
			}
		})
	}
}
