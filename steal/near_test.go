package steal

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// cost is what a unit takes longer where no cache has it, in the tests of this file.
const cost = 500 * time.Millisecond

// near is a scheduler of the home with slots, whose job has units that one node is near. v has one slot.
func near(t *testing.T, slots int, to tasks.PeerID, units int64) *Scheduler {
	s := one(t, slots, 0, units)
	s.peerUp(PeerUp{ID: "v", Slots: 1})
	all := tasks.CoverOf(s.job(jobID).want)
	s.Step(0, Work{Job: jobID, Ranges: all, Near: []Near{{To: to, Ranges: all, Cost: cost}}})
	return s
}

func askAs(s *Scheduler, from tasks.PeerID, now time.Duration) []Grant {
	req := &Request{ID: 5, Slots: 1, Jobs: []tasks.JobID{jobID}, Rates: []float64{0}}
	return grants(s.Step(now, Recv{From: from, Msg: Message{Request: req}}))
}

// TestWorkWaitsForTheNodeNearIt: nobody else is given it, nor does it run here; the node near it gets all of it, and is
// told what it costs elsewhere.
func TestWorkWaitsForTheNodeNearIt(t *testing.T) {
	s := near(t, 1, "v", 10)
	if s.Busy() != 0 {
		t.Error("it runs here")
	}
	if g := askAs(s, "w", time.Second); len(g) != 0 {
		t.Errorf("another node is given %v", g)
	}
	if g := askAs(s, "v", 2*time.Second); len(g) != 1 || g[0].Ranges.Len() != 10 || g[0].Near != cost {
		t.Errorf("the node near it is given %v", g)
	}
}

// TestWorkWaitsNoLongerThanItSaves: ten units of half a second each, for a node of one slot, are everybody's after five
// seconds; and at once if the node near them goes.
func TestWorkWaitsNoLongerThanItSaves(t *testing.T) {
	s := near(t, 1, "v", 10)
	if wake := s.Wake(); wake > 10*cost {
		t.Errorf("it is looked at no sooner than after %v", wake)
	}
	if s.Step(10*cost-1, Tick{}); s.Busy() != 0 {
		t.Error("it runs here before its time")
	}
	if s.Step(10*cost, Tick{}); s.Busy() != 1 {
		t.Error("it does not run here after its time")
	}
	s = near(t, 1, "v", 10)
	if s.Step(1, PeerDown{ID: "v"}); s.Busy() != 1 {
		t.Error("it does not run here though the node near it is gone")
	}
	if s = near(t, 1, "x", 10); s.Busy() != 1 {
		t.Error("it waits for a node that is not there")
	}
}

// TestNearWorkIsStolenWhenItsQueueIsLong gives thieves units that this node is near if its queue outlasts what one of
// them costs there, and then so many that both end at one time.
func TestNearWorkIsStolenWhenItsQueueIsLong(t *testing.T) {
	for _, c := range []struct {
		name  string
		units int64
		took  time.Duration // of the first unit here
		want  int64         // units that a thief gets
	}{
		{"a short queue of warm units", 40, 10 * time.Millisecond, 0},
		{"a long queue of warm units", 512, 10 * time.Millisecond, 9},
		{"units that are not much faster here", 41, cost, 13},
	} {
		s := near(t, 1, "s", c.units)
		p := s.gens[1].leases[0]
		s.Step(c.took, PacketDone{Gen: 1, Packet: p, Last: p.First + 1, Elapsed: c.took})
		got := int64(0)
		for _, g := range askAs(s, "v", c.took) {
			got += g.Ranges.Len()
			if g.Near != 0 {
				t.Errorf("%s: a thief is told that it is near what it has stolen", c.name)
			}
		}
		if got < c.want-1 || got > c.want+1 {
			t.Errorf("%s: %d are given to a thief, want %d", c.name, got, c.want)
		}
	}
}

// TestNearWorkOfAStuckNode: nothing was measured, and a thief is given nothing before the first unit has run for longer
// than it would take the thief.
func TestNearWorkOfAStuckNode(t *testing.T) {
	s := near(t, 1, "s", 40)
	if g := askAs(s, "v", cost/2); len(g) != 0 {
		t.Errorf("a thief is given %v", g)
	}
	if g := askAs(s, "v", cost+1); len(g) != 1 {
		t.Error("a thief is given nothing though the first unit lasts")
	}
}

// TestOnlyTheHomeSaysWhoIsNear: what a job's home grants as near is kept from thieves that would take longer for it,
// and what any other node says of that counts for nothing.
func TestOnlyTheHomeSaysWhoIsNear(t *testing.T) {
	for home, near := range map[tasks.PeerID]bool{"w": true, "v": false} {
		s, err := New(Config{Self: "s", Slots: 1, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		s.Step(0, PeerUp{ID: "v", Slots: 1})
		s.Step(0, PeerUp{ID: "w", Slots: 1})
		s.Step(0, Open{Job: jobID, Home: home, Data: dataset(t, 100)})
		all := tasks.CoverOf(tasks.R(0, 100))
		s.Step(0, Recv{From: "w", Msg: Message{Grant: &Grant{ID: 1, Job: jobID, Ranges: all, Near: cost}}})
		if got := !s.job(jobID).near.Empty(); got != near {
			t.Errorf("a grant of w, where %s leads the job, is near: %v", home, got)
		}
		if g := askAs(s, "v", time.Millisecond); len(g) > 0 == near {
			t.Errorf("where %s leads the job a thief is given %v", home, g)
		}
	}
}

// TestNearUnitsAreNeverLost: whatever happens, each unit is here or with whom it was given to, and in one place.
func TestNearUnitsAreNeverLost(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s, err := New(Config{Self: "s", Slots: 1, Seed: 1})
		if err != nil {
			r.Fatal(err)
		}
		peers := []tasks.PeerID{"v", "w", "x"}
		data := dataset(r, 60)
		all := tasks.CoverOf(data.Space())
		s.Step(0, PeerUp{ID: "v", Slots: 2})
		s.Step(0, PeerUp{ID: "w", Slots: 1})
		s.Step(0, Open{Job: jobID, Home: "s", Data: data})
		var hints []Near
		for range rapid.IntRange(0, 4).Draw(r, "hints") {
			first := rapid.Int64Range(-5, 65).Draw(r, "first")
			hints = append(hints, Near{
				To:     rapid.SampledFrom(append(peers, "s")).Draw(r, "near"),
				Ranges: tasks.CoverOf(tasks.R(max(first, 0), max(first, 0)+rapid.Int64Range(0, 40).Draw(r, "n"))),
				Cost:   time.Duration(rapid.Int64Range(-1, int64(2*time.Minute)).Draw(r, "cost")),
			})
		}
		s.Step(0, Work{Job: jobID, Ranges: all, Near: hints})
		var given tasks.Cover
		now := time.Duration(0)
		for range 20 {
			now += time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(r, "later"))
			from := rapid.SampledFrom(peers).Draw(r, "who")
			var out []Effect
			switch rapid.IntRange(0, 4).Draw(r, "what") {
			case 0:
				out = s.Step(now, PeerDown{ID: from})
			case 1:
				out = s.Step(now, PeerUp{ID: from, Slots: 1})
			case 2:
				out = s.Step(now, Tick{})
			default:
				req := &Request{ID: 5, Slots: 1, Jobs: []tasks.JobID{jobID}, Wait: rapid.Bool().Draw(r, "wait")}
				out = s.Step(now, Recv{From: from, Msg: Message{Request: req}})
			}
			for _, e := range out {
				m, ok := e.(Send)
				if !ok || m.Msg.Grant == nil || given.Covers(m.Msg.Grant.Ranges) {
					continue
				}
				g := m.Msg.Grant
				if g.Ranges.Intersects(given) {
					r.Fatalf("%v is given twice", g.Ranges)
				}
				yes := rapid.Bool().Draw(r, "taken")
				if yes {
					given = given.Union(g.Ranges)
				}
				s.Step(now, Recv{From: m.To, Msg: Message{Ack: &Ack{ID: g.ID, Job: jobID, OK: yes}}})
			}
			if here := s.Held(jobID); here.Intersects(given) || !here.Union(given).Equal(all) {
				r.Fatalf("%v is here and %v given away, of %v", here, given, all)
			}
		}
		for _, g := range s.job(jobID).gens {
			s.Step(now, GenFailed{Gen: g.id})
		}
		if s.Step(now, Rest{Job: jobID}); !s.Held(jobID).Empty() || s.Left(jobID) != 0 {
			r.Fatalf("%v is left", s.Held(jobID))
		}
	})
}
