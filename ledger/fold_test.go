package ledger

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// outputs says how large a merge is: as the largest of its inputs, as histograms are, or as all of them, as trees.
type outputs func(in []merge.Partial) int64

func histograms(in []merge.Partial) (n int64) {
	for _, p := range in {
		n = max(n, p.Size)
	}
	return n
}

func trees(in []merge.Partial) (n int64) {
	for _, p := range in {
		n += p.Size
	}
	return n
}

// carryOut does what the home asks for, at once: blobs come here, merges of committed partials are made.
func (d *desk) carryOut(size outputs) {
	for again := true; again; {
		again = false
		d.now += planEvery
		for _, e := range all[Fetch](d) {
			again = true
			d.step(Stored{Partial: e.Partial, Units: e.Partial.Units, Canary: e.Partial.Canary})
		}
		for _, e := range all[Reduce](d) { // nobody merges before
			again = true
			no := NotReduced{From: e.To}
			for _, p := range e.Inputs {
				no.Inputs = append(no.Inputs, p.ID)
			}
			d.step(no)
		}
		for _, e := range all[Fold](d) {
			again = true
			d.seq++
			p := merge.Sum(merge.ID{Node: "h", Seq: 1<<20 + d.seq}, e.Inputs)
			p.Cover, p.Size = nil, size(e.Inputs)
			d.step(Folded{Partial: p})
		}
	}
}

// kept is what a replica has of committed blobs.
func (d *desk) kept() (n int, bytes int64) {
	for _, p := range d.home.Record().Done.Parts() {
		n, bytes = n+1, bytes+p.Size
	}
	return n, bytes
}

// TestCommittedIsBounded offers partials of all sizes, of outputs whose sizes add up or do not, in any order: number
// and bytes of what is committed stay within the bounds, nothing waits for ever, and each unit is there once.
func TestCommittedIsBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const floor = 1 << 20
		d := newDesk(t, Config{FoldFloor: floor}, "h")
		size := rapid.SampledFrom([]outputs{histograms, trees}).Draw(rt, "outputs")
		base := rapid.SampledFrom([]int64{1 << 10, 1 << 18, 1 << 24}).Draw(rt, "size")
		var total int64
		for i := range int64(units / 10) {
			p := part("h", uint64(i+1), i*10, i*10+10)
			p.Size = base + rapid.Int64Range(0, base).Draw(rt, "extra")
			total += p.Size
			d.step(Offered{Partial: p})
			if rapid.Bool().Draw(rt, "now") {
				d.now += 10 * time.Millisecond
				d.step(Tick{})
				d.carryOut(size)
			}
			n, bytes := d.kept()
			if n > MaxBlobs {
				rt.Fatalf("%d partials are committed", n)
			}
			var largest int64
			for _, k := range d.home.kept.all {
				largest = max(largest, k.Size)
			}
			if bytes > max(2*largest, floor) {
				rt.Fatalf("%d bytes of %d partials, the largest of %d", bytes, n, largest)
			}
		}
		for range 100 {
			d.audit()
			d.carryOut(size)
		}
		rec := d.home.Record()
		if rec.Done.Cover().Len() != units || !rec.Ended {
			rt.Fatalf("%d units are committed, ended: %v", rec.Done.Cover().Len(), rec.Ended)
		}
		checkParts(rt, rec)
	})
}

// checkParts holds the committed parts against their cover and canary.
func checkParts(rt *rapid.T, rec *Record) {
	var n int64
	var canary uint64
	var cover tasks.Cover
	for _, p := range rec.Done.Parts() {
		if cover.Intersects(p.Cover) {
			rt.Fatalf("%v is committed twice", cover.Intersect(p.Cover))
		}
		n, canary, cover = n+p.Units, canary+p.Canary, cover.Union(p.Cover)
	}
	if n != rec.Done.Cover().Len() || canary != rec.Done.Canary() || !cover.Equal(rec.Done.Cover()) {
		rt.Fatalf("the parts have %d units, the cover %d", n, rec.Done.Cover().Len())
	}
}

// many commits n small partials of the home's own, without folds.
func many(t *testing.T, cfg Config, n int64) *desk {
	d := newDesk(t, cfg, "h")
	for i := range n {
		d.commit(part("h", uint64(i+1), i, i+1))
	}
	return d
}

// TestShortJobNeverFolds: up to 32 small partials stay as they are.
func TestShortJobNeverFolds(t *testing.T) {
	d := many(t, Config{}, 32)
	for range 20 {
		d.audit()
	}
	if f := all[Fold](d); len(f) > 0 {
		t.Errorf("%d folds of 32 partials", len(f))
	}
	d.commit(part("h", 33, 32, 33))
	if f := all[Fold](d); len(f) != 1 || len(f[0].Inputs) != merge.FanIn {
		t.Errorf("33 partials: %v", f)
	}
}

// TestHomeThatCanDoNothingFolds: one on whose host all entries fail, for want of a file, can merge nevertheless;
// otherwise commits would wait for ever.
func TestHomeThatCanDoNothingFolds(t *testing.T) {
	d := newDesk(t, Config{}, "h", "a")
	d.step(Reported{From: "h", Report: Report{Seq: 1000, Ready: true, Aside: true}})
	d.step(Reported{From: "h", Report: Report{Seq: 1001, Leaving: true}}) // and to whom nobody is left to hand the lead to
	for i := range int64(33) {
		d.commit(part("a", uint64(i+1), i, i+1))
	}
	if f := all[Fold](d); len(f) != 1 {
		t.Errorf("%d folds of 33 partials", len(f))
	}
}

// TestReducedAgain has large partials of many nodes, of which commits take one at a time, merged in more than one
// level.
func TestReducedAgain(t *testing.T) {
	workers := []tasks.PeerID{"h"}
	for i := range merge.FanIn * merge.FanIn {
		workers = append(workers, fmt.Sprint("w", i))
	}
	d := newDesk(t, Config{FoldFloor: 1}, workers...)
	d.home.Start(0, nil)
	d.step(Replicas{Ready: false}) // nothing is committed yet
	for i, w := range workers[1:] {
		p := part(w, 1, int64(i), int64(i)+1)
		p.Size = 10 << 20
		d.step(Offered{Partial: p})
	}
	var last merge.Partial
	for level := 0; last.Cover.Len() <= merge.FanIn; level++ {
		d.now += time.Second
		d.reports()
		orders := all[Reduce](d)
		if level > 10 || len(orders) == 0 && level > 5 {
			t.Fatalf("level %d: nothing more is merged; the last merge has %d units", level, last.Cover.Len())
		}
		for i, e := range orders {
			last = merge.Sum(merge.ID{Node: e.To, Seq: uint64(100*level + i + 2)}, e.Inputs)
			last.Holder, last.Size = e.To, 10<<20
			d.step(Offered{Partial: last})
		}
		d.step(Tick{})
	}
}

// TestFoldThatFails is tried again, later each time; nothing is lost, and commits wait only so long.
func TestFoldThatFails(t *testing.T) {
	d := many(t, Config{}, 33)
	var at []time.Duration
	for len(at) < maxFoldFails {
		for _, f := range all[Fold](d) {
			at = append(at, d.now)
			no := NotFolded{}
			for _, p := range f.Inputs {
				no.Inputs = append(no.Inputs, p.ID)
			}
			d.step(no)
		}
		d.audit()
		if d.now > 10*time.Minute {
			t.Fatalf("tried %d times in %v", len(at), d.now)
		}
	}
	if first, last := at[1]-at[0], at[maxFoldFails-1]-at[maxFoldFails-2]; last < 10*first {
		t.Errorf("tried again after %v, at last after %v", first, last)
	}
	for i := int64(33); i < 100; i++ {
		d.commit(part("h", uint64(i+1), i, i+1))
	}
	if n, _ := d.kept(); n != 100 {
		t.Errorf("%d partials are committed: a job must go on though merges fail", n)
	}
	d.now += time.Minute
	d.step(Tick{})
	for range 20 {
		d.audit()
		d.carryOut(histograms)
	}
	if n, _ := d.kept(); n > 33 || d.home.Record().Done.Cover().Len() != 100 {
		t.Errorf("%d partials are committed once merges go well again, %d units", n, d.home.Record().Done.Cover().Len())
	}
}

// TestFoldThatMiscounts is not taken: R1.
func TestFoldThatMiscounts(t *testing.T) {
	d := many(t, Config{}, 33)
	f := all[Fold](d)[0]
	p := merge.Sum(merge.ID{Node: "h", Seq: 1 << 20}, f.Inputs)
	p.Canary++
	d.step(Folded{Partial: p})
	if n, _ := d.kept(); n != 33 {
		t.Errorf("%d partials", n)
	}
	if r := all[Release](d); len(r) != 1 || r[0].Partial.ID != p.ID {
		t.Errorf("its blob is not let go: %v", r)
	}
}

// TestFoldIsKeptByAQuorum before it takes its inputs' place.
func TestFoldIsKeptByAQuorum(t *testing.T) {
	d := many(t, Config{}, 33)
	d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
	f := all[Fold](d)[0]
	p := merge.Sum(merge.ID{Node: "h", Seq: 1 << 20}, f.Inputs)
	d.step(Folded{Partial: p})
	if n, _ := d.kept(); n != 33 {
		t.Fatal("it is folded before another replica keeps it")
	}
	var asked Keep
	for _, k := range all[Keep](d) {
		if k.Partial.ID == p.ID && k.To == "b" {
			asked = k
		}
	}
	d.step(Kept{From: "b", ID: p.ID, OK: true, Seq: asked.Seq})
	if n, _ := d.kept(); n != 26 {
		t.Errorf("%d partials", n)
	}
}

// TestFoldThatNobodyGets is given up, and made anew: its blob may have been damaged here since it was made.
func TestFoldThatNobodyGets(t *testing.T) {
	d := many(t, Config{}, 33)
	d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
	p := merge.Sum(merge.ID{Node: "h", Seq: 1 << 20}, all[Fold](d)[0].Inputs)
	d.step(Folded{Partial: p})
	for i := range maxMissed {
		if n := len(all[Release](d)); n > 0 {
			t.Fatalf("given up after %d words that it could not be had", i)
		}
		d.step(Kept{From: "b", ID: p.ID})
	}
	if r := all[Release](d); len(r) != 1 || r[0].Partial.ID != p.ID {
		t.Errorf("its blob is not let go: %v", r)
	}
	for range 20 {
		d.audit()
	}
	if f := all[Fold](d); len(f) == 0 {
		t.Error("no other fold is ordered")
	}
	if n, _ := d.kept(); n != 33 {
		t.Errorf("%d partials are committed", n)
	}
}

// TestStaleStoredDoesNotCount: a home that stood still gives a fetch up that has ended meanwhile, frees the blob, and
// fetches it anew. The end of the first fetch, of which it hears only then, says nothing of the second.
func TestStaleStoredDoesNotCount(t *testing.T) {
	d := newDesk(t, Config{}, "a", "h")
	p := part("a", 1, 0, 10)
	d.step(Offered{Partial: p})
	old := all[Fetch](d)[0].Seq
	d.now += time.Hour
	d.step(Tick{})
	if len(all[Release](d)) == 0 {
		t.Fatal("the fetch is not given up")
	}
	d.step(Offered{Partial: p})
	if n := len(all[Fetch](d)); n != 1 {
		t.Fatalf("the blob is fetched %d times anew", n)
	}
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary, Seq: old})
	if n, _ := d.kept(); n > 0 {
		t.Error("it is committed though it was freed")
	}
	d.step(NotStored{Partial: p, Seq: old})
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
	if n, _ := d.kept(); n != 1 {
		t.Error("it is not committed though it is here")
	}
}

// TestStaleKeptDoesNotCount: the word that a blob is kept, of a request before the one after which it was let go.
func TestStaleKeptDoesNotCount(t *testing.T) {
	d := newDesk(t, Config{}, "a", "h")
	d.step(Replicas{IDs: []tasks.PeerID{"b", "c"}, Voters: []uint64{2, 3}, Ready: true})
	p := part("a", 1, 0, 10)
	d.step(Offered{Partial: p})
	old := all[Keep](d)[0]
	d.step(NotStored{Partial: p}) // the home gives the offer up
	d.step(Offered{Partial: p})
	d.step(Stored{Partial: p, Units: p.Units, Canary: p.Canary})
	d.step(Kept{From: old.To, ID: p.ID, OK: true, Seq: old.Seq})
	if n, _ := d.kept(); n > 0 {
		t.Error("it is committed by a word of before")
	}
	for _, k := range all[Keep](d) {
		d.step(Kept{From: k.To, ID: p.ID, OK: true, Seq: k.Seq})
	}
	if n, _ := d.kept(); n != 1 {
		t.Error("it is not committed")
	}
}

// TestCoversInManyPieces cannot be folded; commits go on, for there is nothing to wait for.
func TestCoversInManyPieces(t *testing.T) {
	const pieces, n = merge.MaxFragments*3/4 + 1, 70
	data, err := tasks.NewDataset([]tasks.File{{URL: "a", Entries: 2 * n * pieces}})
	if err != nil {
		t.Fatal(err)
	}
	rec := &Record{Want: data.Space()}
	for i := range int64(n) {
		p := merge.Partial{ID: merge.ID{Node: "h", Seq: uint64(i)}, Units: pieces}
		for k := range int64(pieces) {
			p.Cover = append(p.Cover, tasks.R((k*n+i)*2, (k*n+i)*2+1))
		}
		rec.Done.Commit(p)
	}
	h := New(Config{Self: "h"}, rec, data, false)
	if h.kept.foldable() {
		t.Fatal("covers that fit into no entry are to be folded")
	}
	if room := h.roomLeft(); !room.fits(part("h", 1<<20, 1, 2)) {
		t.Error("commits wait for what will never be")
	}
}

// TestRecordFolds: what the record admits.
func TestRecordFolds(t *testing.T) {
	a, b, c := part("a", 1, 0, 5), part("a", 2, 5, 9), part("b", 1, 20, 30)
	good := merge.Sum(merge.ID{Node: "h", Seq: 1}, []merge.Partial{a, b})
	for _, tc := range []struct {
		name string
		edit func(p *merge.Partial)
		want bool
	}{
		{"as it should be", func(*merge.Partial) {}, true},
		{"a kid is not committed", func(p *merge.Partial) { p.Kids = append(p.Kids, merge.ID{Node: "x", Seq: 1}) }, false},
		{"a kid twice", func(p *merge.Partial) { p.Kids = []merge.ID{a.ID, a.ID} }, false},
		{"one kid", func(p *merge.Partial) { p.Kids = p.Kids[:1] }, false},
		{"less than its kids have", func(p *merge.Partial) { p.Cover, p.Units = tasks.CoverOf(tasks.R(0, 8)), 8 }, false},
		{"more than its kids have", func(p *merge.Partial) { p.Cover = tasks.CoverOf(tasks.R(0, 10)) }, false},
		{"another canary", func(p *merge.Partial) { p.Canary++ }, false},
		{"a name that is committed", func(p *merge.Partial) { p.ID = c.ID }, false},
	} {
		rec := &Record{Want: tasks.R(0, units)}
		for _, p := range []merge.Partial{a, b, c} {
			rec.Apply(Entry{Commit: &p})
		}
		p := good
		p.Kids = append([]merge.ID{}, good.Kids...)
		tc.edit(&p)
		_, changed := rec.Apply(Entry{Fold: &p})
		if changed != tc.want || rec.Done.Cover().Len() != 19 || rec.Done.Canary() != a.Canary+b.Canary+c.Canary {
			t.Errorf("%s: folded %v", tc.name, changed)
		}
		if _, again := rec.Apply(Entry{Fold: &p}); again {
			t.Errorf("%s: folded twice", tc.name)
		}
		if rec.Commits != 3 || (rec.Folds == 1) != tc.want {
			t.Errorf("%s: %d commits and %d folds are counted", tc.name, rec.Commits, rec.Folds)
		}
		if changed {
			rec.Apply(Entry{Uncommit: &p.ID}) // lost everywhere: all that was in it is
			if rec.Done.Cover().Len() != 10 || rec.Undone.Len() != 9 {
				t.Errorf("left %v", rec.Done.Cover())
			}
		}
	}
	ended := &Record{Want: tasks.R(0, 9)}
	ended.Apply(Entry{Commit: &a})
	ended.Apply(Entry{Commit: &b})
	ended.Apply(Entry{End: &End{}})
	if _, changed := ended.Apply(Entry{Fold: &good}); changed {
		t.Error("folded while the result is made of the parts")
	}
}
