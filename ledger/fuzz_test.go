package ledger

import (
	"testing"

	"github.com/dtpnode/dtpnode/tasks"
	"github.com/dtpnode/dtpnode/wire"
)

// FuzzEntry applies whatever a log may hold to a record: nothing panics, and what is committed and set aside
// stays disjoint and within what is wanted.
func FuzzEntry(f *testing.F) {
	p := part("a", 1, 10, 20)
	p.Job = "j"
	id := p.ID
	grows := appendOf(1, 50, true)
	for _, e := range []Entry{
		{Commit: &p},
		{Uncommit: &id},
		{Append: &grows},
		{Lost: &Lost{Range: tasks.R(5, 15)}},
		{Stop: &Stop{Reason: "why"}},
		{End: &End{}},
		{Result: &Result{SHA256: "x", Status: []byte("{}")}},
	} {
		b, err := wire.Marshal(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		r := NewRecord(&tasks.Job{Want: tasks.R(0, 100), Open: true}, nil)
		first := part("a", 9, 0, 7)
		r.Apply(Entry{Commit: &first})
		for _, raw := range [][]byte{a, b, a} {
			var e Entry
			if wire.Unmarshal(raw, &e) == nil {
				r.Apply(e)
			}
		}
		if !r.Done.Cover().Valid(r.Want) || r.lostCover().Intersects(r.Done.Cover()) {
			t.Fatalf("committed %v, set aside %v", r.Done.Cover(), r.lostCover())
		}
		var n int64
		for _, p := range r.Done.Parts() {
			n += p.Cover.Len()
		}
		if n != r.Done.Cover().Len() {
			t.Fatalf("%d units in parts that cover %d", n, r.Done.Cover().Len())
		}
	})
}
