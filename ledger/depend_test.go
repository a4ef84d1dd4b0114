package ledger

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// graph is a job whose units depend on others, and a home that leads it.
type graph struct {
	desk
	deps  [][]int64 // of each unit
	links []Links   // by append
	seq   uint64    // of the last partial
	parts []merge.Partial
}

// newGraph returns a job of appends of so many units each, with an empty record otherwise.
func newGraph(t *testing.T, deps [][]int64, sizes ...int) *graph {
	g := &graph{deps: deps, desk: desk{T: t, fetch: map[merge.ID]uint64{}, held: map[tasks.PeerID]tasks.Cover{}}}
	g.lead(&Record{Growth: Growth{Open: true}})
	g.take(g.home.Start(0, nil))
	first := 0
	for i, n := range sizes {
		l := Links{Seq: uint64(i + 1), First: []uint32{0}}
		for _, on := range deps[first : first+n] {
			l.On = append(l.On, on...)
			l.First = append(l.First, uint32(len(l.On)))
		}
		g.links = append(g.links, l)
		hash := strings.Repeat("0", 63) + string(rune('1'+i))
		file := tasks.File{Items: hash, Bytes: 8, Entries: int64(n), Depends: true}
		g.apply(Entry{Append: &tasks.Append{Seq: uint64(i + 1), Files: []tasks.File{file}, Close: i == len(sizes)-1}})
		first += n
	}
	return g
}

// lead has a home lead from a record as it stands.
func (g *graph) lead(r *Record) {
	g.home = New(Config{Self: "h", MaxLost: 1000}, r, &tasks.Dataset{}, false)
	g.out = nil
	g.take(g.home.Step(g.now, Replicas{Ready: true}))
}

func (g *graph) apply(e Entry) {
	v, changed := g.home.Record().Apply(e)
	g.step(Applied{Entry: e, Verdict: v, Changed: changed})
}

// answer answers all ReadLinks.
func (g *graph) answer() {
	for _, e := range all[ReadLinks](&g.desk) {
		g.step(g.links[e.Append.Seq-1])
	}
}

// ready is what can be run, by looking at each unit.
func (g *graph) ready() (out tasks.Cover) {
	r := g.home.Record()
	for u := range int64(len(g.deps)) {
		if !slices.ContainsFunc(g.deps[u], func(on int64) bool { return !r.Done.Cover().Has(on) }) {
			out = out.Add(tasks.R(u, u+1))
		}
	}
	return out.Intersect(r.Open())
}

func (g *graph) commit(c tasks.Cover) { g.commitBy("a", c) }

func (g *graph) commitBy(node tasks.PeerID, c tasks.Cover) {
	g.seq++
	p := merge.Partial{ID: merge.ID{Node: node, Seq: g.seq}, Cover: c, Units: c.Len(), Holder: node}
	g.parts = append(g.parts, p)
	g.apply(Entry{Commit: &p})
}

// TestUnitsWaitForOthers commits units of random graphs in random order, takes some out of the record again, and has
// others lead: what is put to work, and what an audit would look for, is always what can be run.
func TestUnitsWaitForOthers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 20), 1, 3).Draw(rt, "sizes")
		deps := [][]int64{}
		for _, n := range sizes {
			for range n {
				u := int64(len(deps))
				on := []int64{}
				if u > 0 {
					on = rapid.SliceOfN(rapid.Int64Range(0, u-1), 0, 3).Draw(rt, "on")
				}
				deps = append(deps, on)
			}
		}
		g := newGraph(t, deps, sizes...)
		if c := g.home.open(); !c.Empty() {
			rt.Fatalf("%v can be run before it is known what they depend on", c)
		}
		g.answer()
		worked := g.worked(nil)
		for range 200 {
			ready := g.ready()
			if !g.home.open().Equal(ready) {
				rt.Fatalf("the home takes %v to be open, want %v", g.home.open(), ready)
			}
			if !worked.Covers(ready) {
				rt.Fatalf("%v were put to work, want %v", worked, ready)
			}
			if ready.Empty() {
				break
			}
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				if n := len(g.parts); n > 0 {
					i := rapid.IntRange(0, n-1).Draw(rt, "part")
					id := g.parts[i].ID
					worked = worked.Minus(g.parts[i].Cover) // an audit finds what can be run again of it
					g.parts = slices.Delete(g.parts, i, i+1)
					g.apply(Entry{Uncommit: &id})
					worked = g.worked(worked).Union(g.ready())
				}
			case 1:
				g.lead(g.home.Record())
				g.take(g.home.Resume(g.now))
				g.answer()
				worked = g.worked(worked).Union(g.ready()) // an audit finds what nobody holds
			default:
				r := rapid.SampledFrom(ready).Draw(rt, "range")
				n := rapid.Int64Range(1, r.Len()).Draw(rt, "units")
				g.commit(tasks.CoverOf(tasks.R(r.First, r.First+n)))
				worked = g.worked(worked)
			}
		}
		if left := g.home.unaccounted(); !left.Empty() && g.ready().Empty() {
			rt.Fatalf("%v can never be run", left)
		}
	})
}

// worked adds what was put to work.
func (g *graph) worked(c tasks.Cover) tasks.Cover {
	for _, e := range all[Ready](&g.desk) {
		c = c.Union(e.Ranges)
	}
	return c
}

// TestUnitsOfLostOnesAreLost: what depends on a unit that is set aside is set aside with its reason, and all else runs.
func TestUnitsOfLostOnesAreLost(t *testing.T) {
	g := newGraph(t, [][]int64{{}, {}, {0}, {0, 1}, {1}, {2, 4}, {4}}, 3, 4)
	g.answer()
	why := Failed{Failure: Failure{Blame: tasks.R(0, 1), Kind: "signal", Reason: "boom"}}
	g.apply(Entry{Lost: &Lost{Range: tasks.R(0, 1), Failed: why}})
	got := g.home.Record().lostCover()
	if want := tasks.CoverOf(tasks.R(0, 1), tasks.R(2, 4), tasks.R(5, 6)); !got.Equal(want) {
		t.Fatalf("%v are set aside, want %v", got, want)
	}
	for _, l := range g.home.Record().Lost[1:] {
		if l.Reason != "it takes a result of [0,1), which is left out: boom" || l.Kind != "input" || !l.Data {
			t.Errorf("%v is set aside as %+v", l.Range, l.Failed)
		}
	}
	for _, u := range []int64{1, 4, 6} {
		g.commit(tasks.CoverOf(tasks.R(u, u+1)))
	}
	if !g.home.Record().Ended {
		t.Errorf("the job goes on for %v", g.home.unaccounted())
	}
}

// TestBadLinks: a job whose items name what there is not ends with the reason.
func TestBadLinks(t *testing.T) {
	for name, c := range map[string]struct {
		bad  Links
		want string
	}{
		"a later unit":  {Links{Seq: 1, First: []uint32{0, 0, 1}, On: []int64{1}}, "the item 1 names the item 1"},
		"a negative":    {Links{Seq: 1, First: []uint32{0, 0, 1}, On: []int64{-1}}, "the item 1 names the item -1"},
		"too few items": {Links{Seq: 1, First: []uint32{0, 1}, On: []int64{0}}, "what they name is told of 1"},
		"unordered":     {Links{Seq: 1, First: []uint32{0, 3, 1}, On: []int64{0}}, "it has 2 items"},
		"nothing":       {Links{Seq: 1}, "it has 2 items"},
		"a flaw":        {Links{Seq: 1, Flaw: "it is cut off"}, "it is cut off"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGraph(t, [][]int64{{}, {0}}, 2)
			g.step(c.bad)
			if s := g.home.Record().Stop; s == nil || !strings.Contains(s.Reason, c.want) {
				t.Errorf("the job's stop is %+v, want %q", s, c.want)
			}
		})
	}
}

func TestUnitsAreNearMostOfWhatTheyTake(t *testing.T) {
	deps := [][]int64{{}, {}, {}, {}, {0, 1, 2}, {2, 3}, {0, 3}, {}}
	g := newGraph(t, deps, len(deps))
	g.answer()
	one := func(units ...int64) (c tasks.Cover) {
		for _, u := range units {
			c = c.Add(tasks.R(u, u+1))
		}
		return c
	}
	near := map[tasks.PeerID]tasks.Cover{}
	for _, by := range []struct {
		node tasks.PeerID
		made tasks.Cover
	}{{"a", one(0, 1)}, {"b", one(2, 3, 7)}} {
		g.out = nil
		g.commitBy(by.node, by.made)
		for _, e := range all[Ready](&g.desk) {
			for _, n := range e.Near {
				near[n.Node] = near[n.Node].Union(n.Units)
			}
		}
	}
	// The unit 6 takes as much of one node as of the other.
	if !near["a"].Equal(one(4)) || !near["b"].Equal(one(5)) || len(near) != 2 {
		t.Errorf("near: %v", near)
	}
}

func TestMakersAreThoseWhoWereGivenUnitsOrHaveCommittedThem(t *testing.T) {
	deps := [][]int64{{}, {}, {}, {0, 1, 2}}
	g := newGraph(t, deps, len(deps))
	g.answer()
	all := tasks.CoverOf(tasks.R(0, 4))
	g.home.custody.began = false
	if of, known := g.home.Makers(all); known != nil { // this home has not begun the job
		t.Errorf("known: %v, %v", of, known)
	}
	g.home.custody.began, g.home.custody.self = true, "h"
	g.home.Lent("a", tasks.CoverOf(tasks.R(0, 2)))
	g.home.custody.gave("b", tasks.CoverOf(tasks.R(1, 2)))
	g.commitBy("c", tasks.CoverOf(tasks.R(2, 3)))
	of, known := g.home.Makers(all)
	want := map[tasks.PeerID]tasks.Cover{
		"h": all, "a": tasks.CoverOf(tasks.R(0, 2)), "b": tasks.CoverOf(tasks.R(1, 2)), "c": tasks.CoverOf(tasks.R(2, 3)),
	}
	if !known.Equal(all) || !maps.EqualFunc(of, want, tasks.Cover.Equal) {
		t.Errorf("%v, %v", of, known)
	}
	sum := merge.Partial{ID: merge.ID{Node: "c", Seq: 9}, Cover: tasks.CoverOf(tasks.R(0, 2)), Units: 2, Holder: "c",
		Kids: []merge.ID{{Node: "a", Seq: 1}, {Node: "b", Seq: 1}}}
	g.apply(Entry{Commit: &sum})
	if of, known := g.home.Makers(all); !known.Equal(tasks.CoverOf(tasks.R(2, 4))) || len(of["c"]) != 1 {
		t.Errorf("%v, %v", of, known)
	}
}
