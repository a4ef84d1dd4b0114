package steal

import (
	"testing"
	"time"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestCredit has a thief ask all the time, with slots and a rate that nobody has, and take all that it is given.
func TestCredit(t *testing.T) {
	s := one(t, 1, 1000, 10_000_000)
	s.job(jobID).creditOf("v").size = firstCredit
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 10_000_000))})
	s.Step(0, PeerUp{ID: "v", Slots: 2})
	took := tasks.Cover{}
	now := time.Duration(0)
	ravage := func(d time.Duration) (units int64) {
		for end := now + d; now < end; now += 20 * time.Millisecond {
			for _, g := range ask(s, now, 9e11, 1<<16) {
				s.Step(now, Recv{From: "v", Msg: Message{Ack: &Ack{ID: g.ID, Job: jobID, OK: true}}})
				units += g.Ranges.Len()
				took = took.Union(g.Ranges)
			}
		}
		return units
	}
	if n := ravage(20 * time.Millisecond); n == 0 || n > 2*maxFaster*2*1000*5/4 {
		t.Errorf("a new thief of 2 slots is given %d units, where this node does 1,000 a second with one", n)
	}
	ravage(3 * time.Second)
	s.Step(now, Lost{Job: jobID, Cover: took})
	if b := s.Blames(jobID); len(b) != 1 || b[0].ID != "v" || b[0].Units == 0 || b[0].Units > took.Len() {
		t.Errorf("of %d units that were taken these are told as lost: %v", took.Len(), b)
	}
	if n := ravage(time.Second); n > 0 {
		t.Errorf("%d units were given to who has just lost all", n)
	}
	s.Step(now, Losers{Job: jobID, All: []Loser{{"v", 5}}})
	if n := ravage(5 * time.Minute); n > 1000 {
		t.Errorf("who loses what it takes was given %d more units", n)
	}
	s.Step(now, Losers{Job: jobID, All: []Loser{{"v", 5005}}})
	if n := ravage(5 * time.Minute); n < 9000 || n > 12_000 {
		t.Errorf("having delivered 5,000 units it was given %d more, want twice as many", n)
	}
	s.Step(now, Losers{Job: jobID})
	if n := ravage(time.Second); n < 10_000 {
		t.Errorf("once it has made up for what it lost it was given %d units", n)
	}
}

// TestLongUnits has units that take longer than a new thief's credit: it gets one for each slot, and the next when it
// should have done these; one that loses what it takes gets one at a time.
func TestLongUnits(t *testing.T) {
	for _, loser := range []bool{false, true} {
		s := one(t, 1, 0.025, 1000) // 40 s each
		s.job(jobID).creditOf("v").size = firstCredit
		s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1000))})
		s.Step(0, PeerUp{ID: "v", Slots: 4})
		first, later := int64(4), int64(8)
		if loser {
			s.Step(0, Losers{Job: jobID, All: []Loser{{"v", 0}}})
			first, later = 1, 4 // as four slots do one in 10 s
		}
		given := int64(0)
		for now := time.Duration(0); now < 41*time.Second; now += 200 * time.Millisecond {
			for _, g := range ask(s, now, 0.1, 4) {
				s.Step(now, Recv{From: "v", Msg: Message{Ack: &Ack{ID: g.ID, Job: jobID, OK: true}}})
				given += g.Ranges.Len()
			}
			if now == 9*time.Second && given != first {
				t.Errorf("loser %v: given %d units of 40 s at first, want %d", loser, given, first)
			}
		}
		if given < later || given > later+4 {
			t.Errorf("loser %v: given %d units in 40 s, want some %d", loser, given, later)
		}
	}
}

// TestHomeSetAsideGivesAll: a home from which the job is taken, since all of it fails there, gives the least bit of
// what waits to others, and what it was to try by itself: nobody else has it.
func TestHomeSetAsideGivesAll(t *testing.T) {
	s := one(t, 1, 1000, 10_000)
	s.Step(0, PeerUp{ID: "v", Slots: 1})
	s.Step(0, Shun{Job: jobID})
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(0, 1))})
	s.Step(0, Work{Job: jobID, Ranges: tasks.CoverOf(tasks.R(5, 9)), Solo: true})
	got := tasks.Cover{}
	for now := time.Duration(0); now < time.Second; now += 20 * time.Millisecond {
		for _, g := range ask(s, now, 1000, 1) {
			s.Step(now, Recv{From: "v", Msg: Message{Ack: &Ack{ID: g.ID, Job: jobID, OK: true}}})
			got = got.Union(g.Ranges)
		}
	}
	if want := tasks.CoverOf(tasks.R(0, 1), tasks.R(5, 9)); !got.Equal(want) {
		t.Errorf("given %v, want %v", got, want)
	}
}
