package merge

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

const space = 64

func part1(node tasks.PeerID, seq uint64, rs ...tasks.Range) Partial {
	c := tasks.CoverOf(rs...)
	p := Partial{ID: ID{Node: node, Seq: seq}, Job: "j", Cover: c, Units: c.Len(), Holder: node}
	for _, r := range c {
		p.Canary += tasks.Canary(1, r)
	}
	return p
}

func TestJudge(t *testing.T) {
	var c Committed
	c.Commit(part1("a", 1, tasks.R(10, 20)))
	wrong := part1("a", 2, tasks.R(30, 40))
	wrong.Units++
	for _, tc := range []struct {
		name string
		p    Partial
		want Verdict
	}{
		{"disjoint", part1("b", 1, tasks.R(0, 10), tasks.R(20, 30)), Fresh},
		{"inside", part1("b", 1, tasks.R(12, 15)), Duplicate},
		{"equal", part1("b", 1, tasks.R(10, 20)), Duplicate},
		{"overlaps the front", part1("b", 1, tasks.R(5, 11)), Overlap},
		{"overlaps with one of two ranges", part1("b", 1, tasks.R(0, 5), tasks.R(19, 21)), Overlap},
		{"empty", part1("b", 1), Wrong},
		{"outside", part1("b", 1, tasks.R(60, 70)), Wrong},
		{"miscounted", wrong, Wrong},
		{"not canonical", Partial{Cover: tasks.Cover{tasks.R(40, 30)}, Units: 0}, Wrong},
	} {
		if got := c.Judge(tc.p, tasks.R(0, space)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func genRanges(t *rapid.T) (rs []tasks.Range) {
	for range rapid.IntRange(1, 3).Draw(t, "ranges") {
		a := rapid.Int64Range(0, space-1).Draw(t, "first")
		rs = append(rs, tasks.R(a, rapid.Int64Range(a+1, space).Draw(t, "last")))
	}
	return rs
}

// TestCommittedAgainstCounts commits what is judged fresh and counts units one by one.
func TestCommittedAgainstCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Committed
		var count [space]int
		for seq := range uint64(rapid.IntRange(1, 30).Draw(t, "partials")) {
			p := part1("a", seq, genRanges(t)...)
			have, total := 0, 0
			for _, r := range p.Cover {
				for u := r.First; u < r.Last; u++ {
					total++
					have += count[u]
				}
			}
			want := map[bool]Verdict{true: Fresh, false: Overlap}[have == 0]
			if have == total {
				want = Duplicate
			}
			v := c.Judge(p, tasks.R(0, space))
			if v != want {
				t.Fatalf("%v: %v, want %v", p.Cover, v, want)
			}
			if v == Fresh {
				c.Commit(p)
				for _, r := range p.Cover {
					for u := r.First; u < r.Last; u++ {
						count[u]++
					}
				}
			}
		}
		var n, canary = int64(0), uint64(0)
		for _, p := range c.Parts() {
			n, canary = n+p.Units, canary+p.Canary
		}
		if n != c.Cover().Len() || canary != c.Canary() {
			t.Fatalf("parts hold %d units, the cover %d", n, c.Cover().Len())
		}
	})
}

func TestRemoveTakesOneOut(t *testing.T) {
	var c Committed
	ps := []Partial{part1("a", 1, tasks.R(0, 5)), part1("b", 1, tasks.R(5, 9)), part1("a", 2, tasks.R(20, 30))}
	for _, p := range ps {
		c.Commit(p)
	}
	if !c.Remove(ps[1].ID) || c.Remove(ps[1].ID) {
		t.Error("want one removal")
	}
	if want := tasks.CoverOf(tasks.R(0, 5), tasks.R(20, 30)); !c.Cover().Equal(want) ||
		c.Canary() != ps[0].Canary+ps[2].Canary {
		t.Errorf("left %v", c.Cover())
	}
	if v := c.Judge(ps[1], tasks.R(0, space)); v != Fresh {
		t.Errorf("what was taken out is %v, want fresh", v)
	}
	if _, ok := c.Find(ps[1].ID); ok {
		t.Error("what was taken out is found")
	}
}

func TestDisjoint(t *testing.T) {
	a, b := part1("a", 1, tasks.R(0, 5)), part1("b", 1, tasks.R(4, 9))
	if err := Disjoint([]Partial{a, b}); err == nil || !strings.Contains(err.Error(), "[4,5)") {
		t.Errorf("overlap: %v", err)
	}
	b = part1("b", 1, tasks.R(5, 9))
	if err := Disjoint([]Partial{a, b}); err != nil {
		t.Error(err)
	}
	b.Job = "other"
	if err := Disjoint([]Partial{a, b}); err == nil {
		t.Error("partials of two jobs were taken for disjoint")
	}
}

// bench is one node's Local, with the blobs it should have.
type bench struct {
	*rapid.T
	l       *Local
	now     time.Duration
	seq     uint64
	blobs   map[ID]Partial // made here and not forgotten
	running []Merge
	offers  []Partial
}

func (b *bench) next() ID {
	b.seq++
	return ID{Node: "n", Seq: b.seq}
}

func (b *bench) obey(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Offer:
			if _, ok := b.blobs[e.Partial.ID]; !ok {
				b.Fatalf("offers %v, whose blob is forgotten", e.Partial.ID)
			}
			b.offers = append(b.offers, e.Partial)
		case Merge:
			if err := Disjoint(e.Inputs); err != nil {
				b.Fatalf("%v", err)
			}
			for _, p := range e.Inputs {
				if _, ok := b.blobs[p.ID]; p.Holder == "n" && !ok {
					b.Fatalf("merges %v, whose blob is forgotten", p.ID)
				}
			}
			b.running = append(b.running, e)
		case Forget:
			delete(b.blobs, e.ID)
		}
	}
}

// finish ends a running merge: well, badly, or with a unit lost on the way.
func (b *bench) finish(how int) {
	if len(b.running) == 0 {
		return
	}
	m := b.running[0]
	b.running = b.running[1:]
	sum := Sum(m.ID, m.Inputs)
	if how == 0 {
		b.obey(b.l.MergeFailed(b.now, sum.Kids, ""))
		return
	}
	if how == 1 {
		sum.Units--
	}
	sum.Cover = nil
	b.blobs[m.ID] = sum
	effects, err := b.l.Merged(b.now, sum)
	if (err != nil) != (how == 1) {
		b.Fatalf("merge of %d units: %v", sum.Units, err)
	}
	b.obey(effects)
}

// TestLocalLosesNothing drives a Local at random and holds it against the units that were added and not
// yet answered for: they must stay in partials that it holds, and come to be offered.
func TestLocalLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &bench{T: t, l: NewLocal("j", "n", "h"), blobs: map[ID]Partial{}}
		owed := tasks.Cover{}
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			b.now += time.Duration(rapid.IntRange(0, 800).Draw(t, "ms")) * time.Millisecond
			switch rapid.IntRange(0, 7).Draw(t, fmt.Sprint("step", step)) {
			case 0, 1:
				p := part1("n", 0, genRanges(t)...)
				if p.Cover.Intersects(owed) { // one scheduler runs no unit twice
					continue
				}
				p.ID = b.next()
				b.blobs[p.ID] = p
				b.l.Add(0, p)
				owed = owed.Union(p.Cover)
			case 2:
				b.obey(b.l.Flush(b.now, b.next))
			case 3:
				b.finish(rapid.IntRange(0, 4).Draw(t, "how"))
			case 4:
				b.obey(b.l.Tick(b.now))
			case 5, 6:
				if len(b.offers) > 0 {
					p := rapid.SampledFrom(b.offers).Draw(t, "answered")
					owed = b.answer(p, rapid.Bool().Draw(t, "accept"), owed)
				}
			case 7:
				b.reduce(rapid.IntRange(0, 2).Draw(t, "foreign"))
			}
			if !b.l.Held().Equal(owed) {
				t.Fatalf("holds %v, owes %v", b.l.Held(), owed)
			}
		}
		b.drain(owed)
	})
}

// answer accepts or rejects an offer, perhaps a second time, and returns what is owed then.
func (b *bench) answer(p Partial, accept bool, owed tasks.Cover) tasks.Cover {
	kept := b.l.find(p.ID)
	if accept {
		// An input accepted by itself stays in the cover of its merge until that is answered.
		if kept != nil && kept.state != merging && kept.state != hidden {
			owed = owed.Minus(kept.Cover)
		}
		b.obey(b.l.Accepted(p.ID))
		return owed
	}
	if kept != nil && kept.state == offered {
		kids := tasks.Cover{}
		for _, k := range kept.Kids {
			if kid := b.l.find(k); kid != nil && !kid.copy {
				kids = kids.Union(kid.Cover)
			}
		}
		owed = owed.Minus(kept.Cover).Union(kids)
	}
	b.obey(b.l.Rejected(b.now, p.ID))
	return owed
}

// reduce orders a merge of what is offered here with partials of another node.
func (b *bench) reduce(foreign int) {
	var in []Partial
	for _, p := range b.l.parts {
		if p.state == offered && len(in) < 3 {
			in = append(in, p.Partial)
		}
	}
	if len(in) == 0 {
		return
	}
	for i := range foreign {
		u := int64(space + i)
		in = append(in, part1("f", b.seq<<8+uint64(i), tasks.R(u, u+1)))
	}
	before := len(b.running)
	id := b.next()
	b.obey(b.l.Reduce(b.now, id, in))
	if started := len(b.running) > before; started != (len(in) > 1) {
		b.Fatalf("order to merge %d partials: begun %v", len(in), started)
	}
	n := len(b.running)
	if b.obey(b.l.Reduce(b.now, b.next(), in)); len(b.running) != n {
		b.Fatalf("a repeated order was carried out twice")
	}
	b.giveUp(foreign > 0 && len(in) > 1)
}

// giveUp fails the newest merge if it has inputs of other nodes: their units are not this node's.
func (b *bench) giveUp(yes bool) {
	if yes {
		last := len(b.running) - 1
		m := b.running[last]
		b.running = b.running[:last]
		b.obey(b.l.MergeFailed(b.now, Sum(m.ID, m.Inputs).Kids, ""))
	}
}

// drain ends all merges and accepts all offers: nothing may be left.
func (b *bench) drain(owed tasks.Cover) {
	for range 10 {
		b.now += 2 * time.Second
		b.obey(b.l.Flush(b.now, b.next))
		for len(b.running) > 0 {
			b.finish(2)
		}
		b.offers = nil
		b.obey(b.l.Tick(b.now))
	}
	var got tasks.Cover
	for _, p := range slices.Clone(b.offers) {
		if got.Intersects(p.Cover) {
			b.Fatalf("%v is offered twice", got.Intersect(p.Cover))
		}
		got = got.Union(p.Cover)
		b.obey(b.l.Accepted(p.ID))
	}
	if !got.Equal(owed) {
		b.Fatalf("offered %v, owed %v", got, owed)
	}
	if !b.l.Empty() || len(b.blobs) > 0 {
		b.Fatalf("left over: %d partials, %d blobs", len(b.l.parts), len(b.blobs))
	}
}

func TestReduceOfUnknownIsRefused(t *testing.T) {
	l := NewLocal("j", "n", "h")
	in := []Partial{part1("n", 1, tasks.R(0, 1)), part1("f", 1, tasks.R(1, 2))}
	got := l.Reduce(0, ID{Node: "n", Seq: 9}, in)
	if len(got) != 1 {
		t.Fatalf("%v", got)
	}
	if r, ok := got[0].(Refuse); !ok || len(r.Inputs) != 2 {
		t.Fatalf("%v", got)
	}
}

// TestWhatTheHomeOrderedGoesToTheHome, past the node above: the home waits for it.
func TestWhatTheHomeOrderedGoesToTheHome(t *testing.T) {
	l := NewLocal("j", "n", "h")
	l.SetAbove("a")
	var in []Partial
	for i := range int64(2) {
		in = append(in, part1("n", uint64(i+1), tasks.R(5*i, 5*i+5)))
		l.Add(0, in[i])
		l.Flush(0, func() ID { return ID{} })
	}
	l.Reduce(0, ID{Node: "n", Seq: 9}, in)
	effects, err := l.Merged(0, Sum(ID{Node: "n", Seq: 9}, in))
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := effects[len(effects)-1].(Offer); !ok || o.To != "" {
		t.Errorf("%+v", effects)
	}
}

// TestMergesNeedRoom merges nothing whose output might not fit, and offers it apart.
func TestMergesNeedRoom(t *testing.T) {
	next := uint64(100)
	name := func() ID { next++; return ID{Node: "n", Seq: next} }
	for _, tc := range []struct {
		room int64
		fits bool
	}{{40, true}, {39, false}, {0, false}} {
		l := NewLocal("j", "n", "h")
		l.SetRoom(tc.room)
		for i := range int64(2) {
			p := part1("n", uint64(i+1), tasks.R(5*i, 5*i+5))
			p.Size = 20
			l.Add(0, p)
		}
		merges, offers := 0, 0
		for _, e := range l.Flush(0, name) {
			switch e.(type) {
			case Merge:
				merges++
			case Offer:
				offers++
			}
		}
		if (merges == 1) != tc.fits || (offers == 2) == tc.fits {
			t.Errorf("with room for %d: %d merges and %d offers", tc.room, merges, offers)
		}
	}
}

// TestOrdersNeedRoom refuses to merge what there is no room for, with what has to be fetched.
func TestOrdersNeedRoom(t *testing.T) {
	own, his := part1("n", 1, tasks.R(0, 5)), part1("m", 1, tasks.R(5, 10))
	own.Size, his.Size = 20, 30
	for room, fits := range map[int64]bool{80: true, 79: false} {
		l := NewLocal("j", "n", "h")
		l.Add(0, own)
		l.Flush(0, nil)
		l.SetRoom(room)
		got := l.Reduce(0, ID{Node: "n", Seq: 9}, []Partial{own, his})
		if _, ok := got[0].(Merge); ok != fits || len(got) != 1 {
			t.Errorf("with room for %d: %v", room, got)
		}
	}
}
