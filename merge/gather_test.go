package merge

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// mail is a message of the model below: an offer, a node's word or the home's verdict.
type mail struct {
	from, to tasks.PeerID // "h" is the home
	offer    *Partial
	id       ID
	word     Word
	verdict  Verdict // of the home
}

// grove is a tree of nodes n0..n5 below a home, joined by a lossy network: n1 and n2 are below n0, n3 and n4
// below n1, n5 offers to the home.
type grove struct {
	*rapid.T
	now    time.Duration
	nodes  []*Local
	seq    uint64
	mails  []mail
	merges []Merge
	done   Committed
	made   []Partial // by generations
	lossy  bool

	refused map[ID]bool
}

var groveAbove = []tasks.PeerID{"", "n0", "n0", "n1", "n1", ""}

func newGrove(t *rapid.T) *grove {
	g := &grove{T: t, lossy: true, refused: map[ID]bool{}}
	for i, above := range groveAbove {
		l := NewLocal("j", name(i), "h")
		l.SetAbove(above)
		g.nodes = append(g.nodes, l)
	}
	return g
}

func name(i int) tasks.PeerID { return fmt.Sprint("n", i) }

func (g *grove) next(i int) func() ID {
	return func() ID {
		g.seq++
		return ID{Node: name(i), Seq: g.seq}
	}
}

func (g *grove) obey(i int, effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Offer:
			to := e.To
			if to == "" {
				to = "h"
			}
			p := e.Partial
			g.post(mail{from: name(i), to: to, offer: &p})
		case Tell:
			g.post(mail{from: name(i), to: e.To, id: e.ID, word: e.Word})
		case Merge:
			if err := Disjoint(e.Inputs); err != nil {
				g.Fatal(err)
			}
			g.merges = append(g.merges, e)
		}
	}
}

func (g *grove) post(m mail) {
	if g.lossy && rapid.IntRange(0, 3).Draw(g.T, "lost") == 0 {
		return
	}
	g.mails = append(g.mails, m)
	if g.lossy && rapid.IntRange(0, 5).Draw(g.T, "twice") == 0 {
		g.mails = append(g.mails, m)
	}
}

// deliver brings message k to where it goes.
func (g *grove) deliver(k int) {
	m := g.mails[k]
	g.mails = append(g.mails[:k:k], g.mails[k+1:]...)
	if m.to == "h" {
		v := g.done.Judge(*m.offer, tasks.R(0, space))
		if v == Fresh {
			g.done.Commit(*m.offer)
		}
		g.refused[m.offer.ID] = v == Overlap
		g.post(mail{from: "h", to: m.from, id: m.offer.ID, verdict: v})
		return
	}
	i := int(m.to[1] - '0')
	l := g.nodes[i]
	switch {
	case m.offer != nil:
		g.obey(i, l.Gather(g.now, *m.offer))
	case m.from != "h":
		g.obey(i, l.Answered(g.now, m.from, m.id, m.word))
	case m.verdict == Fresh || m.verdict == Duplicate:
		g.obey(i, l.Accepted(m.id))
	default:
		g.obey(i, l.Rejected(g.now, m.id))
	}
}

// merge ends the first running merge, well or badly.
func (g *grove) merge(well bool) {
	m := g.merges[0]
	g.merges = g.merges[1:]
	i := int(m.ID.Node[1] - '0')
	sum := Sum(m.ID, m.Inputs)
	if !well {
		g.obey(i, g.nodes[i].MergeFailed(g.now, sum.Kids, ""))
		return
	}
	effects, err := g.nodes[i].Merged(g.now, sum)
	if err != nil {
		g.Fatal(err)
	}
	g.obey(i, effects)
}

func (g *grove) tick() {
	for i, l := range g.nodes {
		g.obey(i, l.Tick(g.now))
		if due := l.Due(g.now, true); due >= 0 && g.now >= due {
			g.obey(i, l.Flush(g.now, g.next(i)))
		}
	}
}

// TestGatheredIsCommittedOnce drives the tree at random, with a network that loses and repeats, nodes taken for
// gone and merges that fail; when that stops all must be committed, and nothing kept any more.
func TestGatheredIsCommittedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGrove(t)
		for step := range rapid.IntRange(1, 80).Draw(t, "steps") {
			g.now += time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond
			i := rapid.IntRange(0, len(g.nodes)-1).Draw(t, "node")
			switch rapid.IntRange(0, 6).Draw(t, fmt.Sprint("step", step)) {
			case 0, 1:
				p := part1(name(i), 0, genRanges(t)...)
				p.ID = g.next(i)() // it may overlap what others made: not both are committed whole
				g.made = append(g.made, p)
				g.nodes[i].Add(g.now, p)
			case 2, 3:
				if len(g.mails) > 0 {
					g.deliver(rapid.IntRange(0, len(g.mails)-1).Draw(t, "mail"))
				}
			case 4:
				if len(g.merges) > 0 {
					g.merge(rapid.IntRange(0, 3).Draw(t, "well") > 0)
				}
			case 5:
				g.tick()
			case 6:
				g.obey(i, g.nodes[i].Down(g.now, rapid.SampledFrom([]tasks.PeerID{"n0", "n1", "n5"}).Draw(t, "down")))
			}
			g.check()
		}
		g.settle()
	})
}

// check sees to it that every output is committed, or kept by who made it, unless the home has refused it.
func (g *grove) check() {
	for _, p := range g.made {
		i := int(p.Holder[1] - '0')
		if g.nodes[i].find(p.ID) == nil && !g.refused[p.ID] && !g.done.Cover().Covers(p.Cover) {
			g.Fatalf("%v, which covers %v, is neither committed nor kept", p.ID, p.Cover)
		}
	}
}

// settle lets the network carry everything and all merges go well.
func (g *grove) settle() {
	g.lossy = false
	for range 60 {
		g.now += 3 * time.Second
		g.tick()
		for len(g.mails) > 0 || len(g.merges) > 0 {
			if len(g.mails) > 0 {
				g.deliver(0)
			} else {
				g.merge(true)
			}
		}
	}
	for i, l := range g.nodes {
		if !l.Empty() {
			g.Fatalf("n%d still keeps %v and %v", i, l.Own(), l.InMerges())
		}
	}
	g.check()
}

// TestCoversOfMergesAreBounded: where steals have cut the work of many nodes into very many pieces, what is merged of
// it still fits into a message and the ledger; what would not goes to the home as it is.
func TestCoversOfMergesAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewLocal("j", "n", "h")
		l.SetAbove("a")
		var at int64
		var seq uint64
		next := func() ID { seq++; return ID{Node: "n", Seq: seq} }
		covers := map[ID]tasks.Cover{}
		for range rapid.IntRange(2, 30).Draw(t, "partials") {
			p := Partial{ID: next(), Job: "j", Holder: "n"}
			for range rapid.SampledFrom([]int{1, 10, MaxFragments / 16, MaxFragments / 3, MaxFragments}).Draw(t, "fragments") {
				p.Cover, at = append(p.Cover, tasks.R(at, at+1)), at+2
			}
			covers[p.ID] = p.Cover
			l.Add(0, p)
		}
		for _, e := range l.Flush(0, next) {
			switch e := e.(type) {
			case Merge:
				n := 0
				for _, in := range e.Inputs {
					n += len(in.Cover)
					delete(covers, in.ID)
				}
				if n > MaxFragments || len(e.Inputs) > FanIn {
					t.Fatalf("%d partials with %d ranges are merged", len(e.Inputs), n)
				}
			case Offer:
				if e.Partial.Large() && e.To != "" {
					t.Fatalf("%d ranges are to be merged on %s", len(e.Partial.Cover), e.To)
				}
				delete(covers, e.Partial.ID)
			}
		}
		if len(covers) > 0 {
			t.Fatalf("%d partials are neither merged nor offered", len(covers))
		}
	})
}

// TestWhoNotesAndDoesNothingIsPassedBy: a node above that says that it has noted a partial, for ever, holds it up for a
// bounded time; then the home gets that one and the next ones, for a while.
func TestWhoNotesAndDoesNothingIsPassedBy(t *testing.T) {
	l := NewLocal("j", "n", "h")
	l.SetAbove("a")
	var seq uint64
	next := func() ID { seq++; return ID{Node: "n", Seq: seq} }
	offers := func(effects []Effect) (to []tasks.PeerID) {
		for _, e := range effects {
			if o, ok := e.(Offer); ok {
				to = append(to, o.To)
				l.Answered(0, o.To, o.Partial.ID, Noted)
			}
		}
		return to
	}
	seal := func(now time.Duration) []tasks.PeerID {
		l.Add(
			now,
			Partial{ID: next(), Job: "j", Holder: "n", Cover: tasks.CoverOf(tasks.R(int64(seq), int64(seq)+1)), Units: 1},
		)
		return offers(l.Flush(now, next))
	}
	if to := seal(0); !slices.Equal(to, []tasks.PeerID{"a"}) {
		t.Fatalf("the first is offered to %q", to)
	}
	var now time.Duration
	for last := []tasks.PeerID{"a"}; len(last) == 0 || last[0] == "a"; last = offers(l.Tick(now)) {
		if now += time.Second; now > time.Minute {
			t.Fatal("after a minute the home has not been offered what the node above does nothing about")
		}
	}
	if now < passAfter {
		t.Errorf("the node above had %v alone", now)
	}
	if to := seal(now); !slices.Equal(to, []tasks.PeerID{""}) {
		t.Errorf("the next is offered to %q", to)
	}
	if to := seal(now + passFor); !slices.Equal(to, []tasks.PeerID{"a"}) {
		t.Errorf("after a while one is offered to %q", to)
	}
}

// TestPassed names what the node above is to merge, until the home gets it.
func TestPassed(t *testing.T) {
	l := NewLocal("j", "n1", "h")
	l.SetAbove("n0")
	p := part1("n1", 1, tasks.R(0, 5))
	l.Add(0, p)
	if got := l.Passed(); len(got) > 0 {
		t.Errorf("before it is offered: %+v", got)
	}
	l.Flush(0, nil)
	if got := l.Passed(); len(got) != 1 || got[0].To != "n0" || got[0].Partial.ID != p.ID {
		t.Errorf("above: %+v", got)
	}
	l.Answered(0, "n0", p.ID, Released)
	if got := l.Passed(); len(got) > 0 {
		t.Errorf("at home: %+v", got)
	}
}
