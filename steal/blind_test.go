package steal

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

func leases(effects []Effect) (out []tasks.Range) {
	for _, e := range effects {
		if l, ok := e.(Lease); ok {
			out = append(out, l.Packet)
		}
	}
	return out
}

func askBlind(s *Scheduler, now time.Duration, blind tasks.Cover) []Grant {
	return grants(
		s.Step(
			now,
			Recv{
				From: "v",
				Msg: Message{
					Request: &Request{
						ID:    5,
						Slots: 1,
						Jobs:  []tasks.JobID{jobID},
						Rates: []float64{1000},
						Blind: []tasks.Cover{blind},
					},
				},
			},
		),
	)
}

// TestUnreadIsForOthers has a generation fail at a file that this host cannot read: it is not tried again, goes to the
// first thief that can read it, and not to one that cannot; and runs here when the host can read it after all.
func TestUnreadIsForOthers(t *testing.T) {
	file := tasks.CoverOf(tasks.R(0, 1000))
	s := one(t, 1, 1000, 1000)
	first := leases(s.Step(0, Work{Job: jobID, Ranges: file}))
	if len(first) == 0 {
		t.Fatal("nothing is leased")
	}
	if again := leases(s.Step(1, GenFailed{Gen: 1, Blind: file})); len(again) > 0 {
		t.Fatalf("what cannot be read is tried again: %v", again)
	}
	if held := s.Held(jobID); !held.Equal(file) || s.Left(jobID) == 0 {
		t.Errorf("%v is held, and %v to do", held, s.Left(jobID))
	}
	if g := askBlind(s, 2, tasks.CoverOf(tasks.R(0, 1000))); len(g) > 0 {
		t.Errorf("a thief that cannot read it is given %v", g)
	}
	g := askBlind(s, 3, tasks.CoverOf(tasks.R(0, 400)))
	if len(g) != 1 || !g[0].Ranges.Equal(tasks.CoverOf(tasks.R(400, 1000))) {
		t.Errorf("a thief that can read the rest is given %v", g)
	}
	if back := leases(s.Step(4, Blind{Job: jobID})); len(back) == 0 {
		t.Error("nothing is run though the mount is back")
	}
}

// TestBlindThiefSaysSo has requests tell what the thief cannot read; and none is made by one that can read nothing.
func TestBlindThiefSaysSo(t *testing.T) {
	s := one(t, 1, 1000, 500, 500)
	var asked []Request
	ask := func(effects []Effect) {
		for _, e := range effects {
			if m, ok := e.(Send); ok && m.Msg.Request != nil {
				asked = append(asked, *m.Msg.Request)
			}
		}
	}
	half := tasks.CoverOf(tasks.R(0, 500))
	ask(s.Step(time.Second, Blind{Job: jobID, Cover: half}))
	for now := 2 * time.Second; now < 10*time.Second; now += time.Second {
		ask(s.Step(now, Tick{}))
	}
	if len(asked) == 0 ||
		!slices.ContainsFunc(asked, func(r Request) bool { return len(r.Blind) == 1 && r.Blind[0].Equal(half) }) {
		t.Fatalf("requests: %+v", asked)
	}
	s.Step(10*time.Second, Blind{Job: jobID, Cover: tasks.CoverOf(tasks.R(0, 1000))})
	asked = nil
	for now := 11 * time.Second; now < 30*time.Second; now += time.Second {
		ask(s.Step(now, Tick{}))
	}
	if len(asked) > 0 {
		t.Errorf("a node that can read nothing asks: %+v", asked)
	}
}

// TestGrantsLeaveOutWhatIsBlind gives thieves nothing of what they, and leases nothing of what this host, cannot read,
// and loses nothing of the work.
func TestGrantsLeaveOutWhatIsBlind(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s, err := New(Config{Self: "s", Slots: 2, Seed: 1})
		if err != nil {
			r.Fatal(err)
		}
		s.Step(0, PeerUp{ID: "v", Slots: 64})
		s.Step(0, Open{Job: jobID, Home: "s", Data: dataset(r, 100, 200, 300, 400), Rate: 1000})
		all := tasks.CoverOf(tasks.R(0, 1000))
		s.Step(0, Work{Job: jobID, Ranges: all})
		cover := func(name string) (c tasks.Cover) {
			at := []int64{0, 100, 300, 600, 1000}
			for i := range 4 {
				if rapid.Bool().Draw(r, name) {
					c = c.Add(tasks.R(at[i], at[i+1]))
				}
			}
			return c
		}
		var mine tasks.Cover
		var given tasks.Cover
		for now := time.Duration(1); now < 20; now++ {
			if rapid.IntRange(0, 3).Draw(r, "sight") == 0 {
				mine = cover("mine")
				for _, l := range leases(s.Step(now*time.Millisecond, Blind{Job: jobID, Cover: mine})) {
					if mine.Intersects(tasks.CoverOf(l)) {
						r.Fatalf("%v is leased, and %v cannot be read", l, mine)
					}
				}
			}
			theirs := cover("theirs")
			for _, g := range askBlind(s, now*time.Millisecond, theirs) {
				if g.Ranges.Intersects(theirs) || g.Ranges.Intersects(given) {
					r.Fatalf("%v is given to one that cannot read %v", g.Ranges, theirs)
				}
				given = given.Union(g.Ranges)
				s.Step(now*time.Millisecond, Recv{From: "v", Msg: Message{Ack: &Ack{ID: g.ID, Job: jobID, OK: true}}})
			}
			if here := s.Here(jobID); here.Intersects(given) || !here.Union(given).Equal(all) {
				r.Fatalf("%v is here and %v given away", here, given)
			}
		}
	})
}
