package steal

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtpnode/dtpnode/tasks"
)

// mill is one node whose children take as long as its jobs' units do, in virtual time.
type mill struct {
	*rapid.T
	s     *Scheduler
	queue []happening
	jobs  map[GenID]tasks.JobID
	free  map[GenID]time.Duration             // when the last packet of a generation ends
	ran   map[tasks.JobID]int64               // units
	first map[tasks.JobID]time.Duration       // packet, begun
	units map[tasks.JobID]time.Duration       // how long a unit takes, where not as long as those of others
	asked func(at time.Duration, req Request) // of another node; nil if there is none
}

func newMill(t *rapid.T, s *Scheduler) *mill {
	return &mill{
		T:     t,
		s:     s,
		jobs:  map[GenID]tasks.JobID{},
		free:  map[GenID]time.Duration{},
		ran:   map[tasks.JobID]int64{},
		first: map[tasks.JobID]time.Duration{},
		units: map[tasks.JobID]time.Duration{},
	}
}

type happening struct {
	at time.Duration
	ev Event
}

func (m *mill) at(at time.Duration, ev Event) {
	i, _ := slices.BinarySearchFunc(m.queue, at, func(h happening, at time.Duration) int {
		if h.at <= at {
			return -1
		}
		return 1
	})
	m.queue = slices.Insert(m.queue, i, happening{at, ev})
}

func (m *mill) run(until time.Duration, unit time.Duration) {
	for len(m.queue) > 0 && m.queue[0].at < until {
		h := m.queue[0]
		m.queue = m.queue[1:]
		for _, e := range m.s.Step(h.at, h.ev) {
			switch e := e.(type) {
			case Start:
				m.jobs[e.Gen] = e.Job
				if _, ever := m.first[e.Job]; !ever {
					m.first[e.Job] = h.at
				}
			case Lease:
				took := time.Duration(e.Packet.Len()) * cmp.Or(m.units[m.jobs[e.Gen]], unit)
				m.free[e.Gen] = max(m.free[e.Gen], h.at) + took
				m.ran[m.jobs[e.Gen]] += e.Packet.Len()
				m.at(m.free[e.Gen], PacketDone{Gen: e.Gen, Packet: e.Packet, Last: e.Packet.Last, Elapsed: took})
			case Seal:
				m.at(h.at+10*time.Millisecond, GenSealed{Gen: e.Gen})
			case Send:
				if req := e.Msg.Request; req != nil && m.asked != nil {
					m.asked(h.at, *req)
				}
			}
		}
		if wake := m.s.Wake(); wake >= 0 && wake < until &&
			!slices.Contains(m.queue, happening{wake, Tick{}}) {
			m.at(max(wake, h.at), Tick{})
		}
	}
}

// TestJobsOfAllAgesProgress opens jobs one after the other on one node, each with more work than can be done: none
// waits for long for its first generation, and in the end each has about as much of the slots as any other.
func TestJobsOfAllAgesProgress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots, jobs := rapid.IntRange(1, 6).Draw(t, "slots"), rapid.IntRange(2, 5).Draw(t, "jobs")
		s, err := New(Config{Self: "s", Slots: slots, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		m := newMill(t, s)
		const units = 1_000_000_000
		opened := map[tasks.JobID]time.Duration{}
		at := time.Duration(0)
		for i := range jobs {
			id := tasks.JobID(fmt.Sprint("job", i))
			opened[id] = at
			m.at(at, Open{Job: id, Home: "s", Data: dataset(t, units), Rate: 1000})
			m.at(at, Work{Job: id, Ranges: tasks.CoverOf(tasks.R(0, units))})
			at += time.Duration(rapid.IntRange(0, 60_000).Draw(t, "apart")) * time.Millisecond
		}
		m.run(at, time.Millisecond)
		before := map[tasks.JobID]int64{}
		for id, n := range m.ran {
			before[id] = n
		}
		const later = 10 * time.Minute
		m.run(at+later, time.Millisecond)
		turn := s.turn(s.jobs[0])
		for id, since := range opened {
			first, ever := m.first[id]
			if wait := first - since; !ever || wait > time.Duration(jobs)*(turn+time.Second) {
				t.Fatalf("%s waits %v for its first generation of %d slots", id, wait, slots)
			}
			fair := later.Seconds() * 1000 * float64(slots) / float64(jobs)
			if got := float64(m.ran[id] - before[id]); got < fair/2 || got > 2*fair {
				t.Fatalf("%s ran %.0f units of %d jobs on %d slots, where %.0f are fair", id, got, jobs, slots, fair)
			}
		}
	})
}

// TestJobsOfLongUnitsHaveNoMoreThanTheirShare has jobs share slots whose units take from a millisecond to a minute:
// each gets about as much time. A turn ends only with a unit, so that in as many turns the job of the longest ones
// would get nearly all.
func TestJobsOfLongUnitsHaveNoMoreThanTheirShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots, jobs := rapid.IntRange(1, 6).Draw(t, "slots"), rapid.IntRange(2, 5).Draw(t, "jobs")
		s, err := New(Config{Self: "s", Slots: slots, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		m := newMill(t, s)
		const units = 1_000_000_000
		for i := range jobs {
			id := tasks.JobID(fmt.Sprint("job", i))
			lengths := []time.Duration{time.Millisecond, time.Second, 10 * time.Second, time.Minute}
			m.units[id] = rapid.SampledFrom(lengths).Draw(t, "unit")
			m.at(0, Open{Job: id, Home: "s", Data: dataset(t, units), Rate: 1 / m.units[id].Seconds()})
			m.at(0, Work{Job: id, Ranges: tasks.CoverOf(tasks.R(0, units))})
		}
		const long = time.Hour
		m.run(long, 0)
		fair := long.Seconds() * float64(slots) / float64(jobs)
		for id, unit := range m.units {
			if got := float64(m.ran[id]) * unit.Seconds(); got < fair/2 || got > 2*fair {
				t.Fatalf("%s with units of %v had %.0f s of %d slots, where %.0f are fair: %v, %v", id, unit, got, slots, fair,
					m.ran, m.units)
			}
		}
	})
}

// TestJobThatIsElsewhereHasItsShare has all slots of a node taken by a job with more work than can be done, while all
// work of another is with its home, which gives a little at a time, some of it only after a while, as if it had been
// appended. The node asks for it, and for nothing of what it has itself, and gives it about as much of its slots.
func TestJobThatIsElsewhereHasItsShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 6).Draw(t, "slots")
		unit := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second}).Draw(t, "unit")
		empty := time.Duration(rapid.IntRange(0, 60).Draw(t, "empty")) * time.Second
		piece := int64(slots) * rapid.Int64Range(int64(time.Second/unit), int64(20*time.Second/unit)).Draw(t, "piece")
		s, err := New(Config{Self: "s", Slots: slots, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		m := newMill(t, s)
		const units = 1_000_000_000
		given := int64(0)
		m.asked = func(at time.Duration, req Request) {
			if m.ran["here"] > 0 && len(s.gens) == slots && slices.Contains(req.Jobs, "here") &&
				!slices.ContainsFunc(s.job("elsewhere").gens, s.isIdle) {
				t.Fatalf("it asks for %v, though it has enough", req.Jobs)
			}
			if at < empty || !slices.Contains(req.Jobs, "elsewhere") || req.Wait {
				if !req.Wait {
					m.at(at+time.Millisecond, Recv{From: "h", Msg: Message{Refuse: &Refuse{Request: req.ID}}})
				}
				return
			}
			work := tasks.CoverOf(tasks.R(given, given+piece))
			given += piece
			m.at(at+time.Millisecond, Recv{From: "h", Msg: Message{Grant: &Grant{
				ID: uint64(given), Job: "elsewhere", Request: req.ID, Ranges: work,
			}}})
		}
		rate := float64(time.Second) / float64(unit)
		m.at(0, PeerUp{ID: "h", Slots: 1})
		m.at(0, Open{Job: "here", Home: "s", Data: dataset(t, units), Rate: rate})
		m.at(0, Work{Job: "here", Ranges: tasks.CoverOf(tasks.R(0, units))})
		m.at(0, Open{Job: "elsewhere", Home: "h", Data: dataset(t, units), Rate: rate})
		m.run(empty, unit)
		before := m.ran["elsewhere"]
		const later = 10 * time.Minute
		m.run(empty+later, unit)
		fair := later.Seconds() * rate * float64(slots) / 2
		if got := float64(m.ran["elsewhere"] - before); got < fair/4 || got > 2*fair {
			t.Fatalf("%.0f units of it ran on %d slots, where %.0f are fair", got, slots, fair)
		}
	})
}

// TestWorkIsForThoseThatCanRunIt has a thief ask only peers that can run its job, and a victim give to no others.
func TestWorkIsForThoseThatCanRunIt(t *testing.T) {
	offer := func(words ...string) []tasks.Offer { return []tasks.Offer{words} }
	rig := func() *Scheduler {
		s, err := New(Config{Self: "s", Slots: 2, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		s.Step(0, PeerUp{ID: "a", Slots: 4, Offers: offer("root", "root=1")})
		s.Step(0, PeerUp{ID: "b", Slots: 4, Offers: offer("root", "root=2")})
		s.Step(0, PeerUp{ID: "c", Slots: 4, Offers: append(offer("root", "root=2"), offer("test")...)})
		s.Step(0, PeerUp{ID: "d", Slots: 4})
		return s
	}
	asked := func(s *Scheduler) map[tasks.PeerID][]tasks.JobID {
		out := map[tasks.PeerID][]tasks.JobID{}
		for now := time.Duration(0); now < 20*time.Second; now += 100 * time.Millisecond {
			for _, e := range s.Step(now, Tick{}) {
				if m, ok := e.(Send); ok && m.Msg.Request != nil {
					out[m.To] = slices.Compact(slices.Sorted(slices.Values(append(out[m.To], m.Msg.Request.Jobs...))))
				}
			}
		}
		return out
	}
	s := rig()
	s.Step(0, Open{Job: "two", Home: "d", Data: dataset(t, 1000), Needs: []string{"root=2"}})
	s.Step(0, Open{Job: "test", Home: "d", Data: dataset(t, 1000), Needs: []string{"test"}})
	// Their home may have work of jobs that it cannot run.
	want := map[tasks.PeerID][]tasks.JobID{"b": {"two"}, "c": {"test", "two"}, "d": {"test", "two"}}
	if got := asked(s); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("asked %v, want %v", got, want)
	}
	s = rig()
	s.Step(0, Open{Job: "two", Home: "s", Data: dataset(t, 1_000_000), Needs: []string{"root=2"}, Rate: 1000})
	s.Step(0, Work{Job: "two", Ranges: tasks.CoverOf(tasks.R(0, 1_000_000))})
	for id, may := range map[tasks.PeerID]bool{"a": false, "b": true, "c": true, "d": false, "stranger": false} {
		got := grants(s.Step(time.Second, Recv{From: id, Msg: Message{
			Request: &Request{ID: 1, Slots: 4, Jobs: []tasks.JobID{"two"}, Rates: []float64{4000}},
		}}))
		if len(got) > 0 != may {
			t.Errorf("%s is given %v", id, got)
		}
	}
	s.Step(time.Second, PeerUp{ID: "a", Slots: 4, Offers: offer("root", "root=2")}) // it has another version now
	if !s.job("two").isAble("a") {
		t.Error("a has got what the job needs, and is not known for it")
	}
	s.Step(time.Second, PeerDown{ID: "b"})
	if s.job("two").isAble("b") {
		t.Error("b is gone")
	}
}

// TestAnOpenJobKeepsItsGeneration: what is appended to an open job within IdleSeal is run by the generation that ran
// what came before, although this node is alone and has nothing else to do. A job that does not grow hands in at once.
func TestAnOpenJobKeepsItsGeneration(t *testing.T) {
	for _, open := range []bool{true, false} {
		s, err := New(Config{Self: "a", Slots: 1})
		if err != nil {
			t.Fatal(err)
		}
		step := func(at time.Duration, ev Event) (out []string) {
			for _, e := range s.Step(at, ev) {
				out = append(out, fmt.Sprintf("%T", e))
			}
			return out
		}
		step(0, Open{Job: "j", Data: dataset(t, 1), Want: tasks.R(0, 1), Open: open})
		step(0, Work{Job: "j", Ranges: tasks.CoverOf(tasks.R(0, 1))})
		sealed := slices.Contains(step(time.Millisecond, PacketDone{Gen: 1, Packet: tasks.R(0, 1), Last: 1}), "steal.Seal")
		if sealed == open {
			t.Errorf("open %v: sealed at once: %v", open, sealed)
		}
		idle := time.Millisecond + s.cfg.IdleSeal
		if wake := s.Wake(); open && (wake < 0 || wake > idle) {
			t.Errorf("it wakes at %s", wake)
		}
		if open && slices.Contains(step(idle-time.Nanosecond, Tick{}), "steal.Seal") {
			t.Error("it is sealed before it has been idle for long")
		}
		if open && !slices.Contains(step(idle, Tick{}), "steal.Seal") {
			t.Error("it is never sealed")
		}
	}
}
