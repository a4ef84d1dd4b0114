package steal

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestDealtWorkIsPassedOnByShares hands the work of 100 nodes to one of them: it keeps its own share and passes
// on the rest in a few parcels.
func TestDealtWorkIsPassedOnByShares(t *testing.T) {
	s := one(t, 2, 0, 100_000)
	g := Grant{ID: 5, Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 100_000)), Dealt: true}
	slots := 2
	for i := range 99 {
		g.Others = append(g.Others, Share{ID: fmt.Sprint("o", i), Slots: 1 + i%3})
		slots += 1 + i%3
	}
	effects := s.Step(0, Recv{From: "v", Msg: Message{Grant: &g}})
	seen := map[tasks.PeerID]bool{}
	var away tasks.Cover
	for _, p := range grants(effects) {
		n := slotsOf(p.Others)
		for _, o := range p.Others {
			seen[o.ID] = true
		}
		away = away.Union(p.Ranges)
		if !p.Dealt {
			t.Errorf("passed on as no deal: %v", p)
		}
		per := float64(p.Ranges.Len()) / float64(n+2)
		if fair := 100_000 / float64(slots); per < fair*0.7 || per > fair*1.3 {
			t.Errorf("%d slots get %d units, fair is %.0f a slot", n, p.Ranges.Len(), fair)
		}
	}
	if n := len(grants(effects)); n != tasks.DealFan || len(seen)+n != 99 {
		t.Errorf("passed on to %d peers, who pass on to %d", n, len(seen))
	}
	here := s.Here(jobID)
	if fair := int64(2 * 100_000 / slots); here.Len() < fair/2 || here.Len() > 2*fair {
		t.Errorf("keeps %d, its share is %d", here.Len(), fair)
	}
	if here.Intersects(away) || here.Union(away).Len() != 100_000 {
		t.Errorf("keeps %v and passes on %v", here, away)
	}
}

// work gives s 100,000 units.
func work(s *Scheduler) {
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 100_000))})
}

// TestDealingRefusesThieves keeps what is to be dealt from those that ask for it.
func TestDealingRefusesThieves(t *testing.T) {
	s := one(t, 1, 1000, 100_000)
	work(s)
	s.Step(time.Second, Deal{Job: jobID, To: "w", Units: 1000})
	if got := ask(s, time.Second+10*time.Millisecond, 1000, 1); len(got) > 0 {
		t.Errorf("gave %v to a thief while dealing", got)
	}
	if got := ask(s, 2*time.Second, 1000, 1); len(got) == 0 || got[0].Request != 5 {
		t.Errorf("a thief got %v after dealing", got)
	}
}

// TestGivenIsRemembered tells what was given away until it is forgotten, and never as held.
func TestGivenIsRemembered(t *testing.T) {
	s := one(t, 1, 1000, 100_000)
	work(s)
	g := ask(s, 0, 1000, 1)
	if len(g) != 1 || !s.Given(jobID, 0).Equal(g[0].Ranges) || s.Here(jobID).Intersects(g[0].Ranges) {
		t.Fatalf("given %v, holds %v of %v", s.Given(jobID, 0), s.Here(jobID), g)
	}
	if gifts := s.Gifts(jobID, 0); len(gifts) != 1 || gifts[0].To != "v" || gifts[0].Taken ||
		!gifts[0].Ranges.Equal(g[0].Ranges) {
		t.Errorf("before it is taken: %+v", gifts)
	}
	s.Step(0, Recv{From: "v", Msg: Message{Ack: &Ack{ID: g[0].ID, Job: jobID, OK: true}}})
	if gifts := s.Gifts(jobID, 0); len(gifts) != 1 || gifts[0].To != "v" || !gifts[0].Taken {
		t.Errorf("once it is taken: %+v", gifts)
	}
	if !s.Given(jobID, 0).Equal(g[0].Ranges) {
		t.Error("forgot what was taken just now")
	}
	if got := s.Given(jobID, time.Hour); !got.Empty() {
		t.Errorf("remembers %v for too long", got)
	}
}

// TestDealIsProven follows work that a submitter deals down the tree: each node in it is shown that the submitter has
// put the giver above it, and nothing else passes for that.
func TestDealIsProven(t *testing.T) {
	var others []Share
	for i := range 700 {
		others = append(others, Share{ID: fmt.Sprint("o", i), Slots: 1})
	}
	signed := DealText(jobID, "top", others)
	reached, deepest := 0, 0
	var follow func(p *DealProof, node tasks.PeerID, below []Share)
	follow = func(p *DealProof, node tasks.PeerID, below []Share) {
		for _, group := range tasks.Fan(below, tasks.DealFan) {
			q := p.below(node, below)
			reached, deepest = reached+1, max(deepest, len(q.Levels))
			to, rest := group[0].ID, group[1:]
			if !bytes.Equal(q.Signed(jobID, node, to, rest), signed) {
				t.Fatalf("%s does not prove to %s that it may deal", node, to)
			}
			short := &DealProof{Levels: q.Levels[1:], Sig: q.Sig}
			long := &DealProof{
				Levels: append(slices.Clone(q.Levels), DealLevel{By: "x", Sums: [][]byte{branch(to, rest)}}),
				Sig:    q.Sig,
			}
			for what, got := range map[string][]byte{
				"another giver":      q.Signed(jobID, "x", to, rest),
				"another taker":      q.Signed(jobID, node, "x", rest),
				"more to pass on":    q.Signed(jobID, node, to, append(slices.Clone(rest), Share{ID: "x"})),
				"another job":        q.Signed(tasks.NameOf([]byte("another")), node, to, rest),
				"levels left out":    short.Signed(jobID, node, to, rest),
				"a level of its own": long.Signed(jobID, "x", to, rest),
				"nothing":            (*DealProof)(nil).Signed(jobID, node, to, rest),
			} {
				if bytes.Equal(got, signed) {
					t.Errorf("%s passes for a deal of %s to %s", what, node, to)
				}
			}
			follow(q, to, rest)
		}
	}
	follow(&DealProof{Sig: []byte("sig")}, "top", others)
	if reached != len(others) || deepest < 3 || deepest > maxLevels {
		t.Errorf("%d of %d nodes were reached, over %d levels", reached, len(others), deepest)
	}
}
