package backlog

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// at is a moment so many seconds after another one that does not matter.
func at(s int) time.Time { return time.Unix(int64(1e9+s), 0) }

const patience = time.Minute

// TestMachine follows tables of events.
func TestMachine(t *testing.T) {
	look, send := Look{Patience: patience}, func(seq uint64, items string, upto uint64, own bool) Sends {
		return Sends{Send{Seq: seq, Items: items, Upto: upto, Own: own}}
	}
	type step struct {
		at    int
		event Event
		want  []Effect
	}
	from := func(spans ...Span) []Effect { return []Effect{Append{Calls: spans}} }
	for name, steps := range map[string][]step{
		"a program that lives appends itself": {
			{0, Came{}, nil}, {1, Kept{Calls: Span{0, 9}}, nil}, {100, look, nil},
			{101, send(1, "a", 4, false), nil}, {102, Counted{1, "a"}, nil},
			{103, send(2, "b", 9, false), nil}, {104, Counted{2, "b"}, []Effect{Clear{}}},
		},
		"one that is dead does not, and the rest is appended once": {
			{0, Came{}, nil}, {1, Kept{Calls: Span{0, 9}}, nil}, {2, send(1, "a", 4, false), nil}, {3, Counted{1, "a"}, nil},
			{4, Left{Dead: true}, nil}, {4, look, from(Span{4, 9})}, {5, look, nil}, {5, send(2, "b", 9, true), nil},
			{6, Counted{2, "b"}, []Effect{Clear{}}}, {6, Tried{}, nil}, {7, look, nil},
		},
		"where that fails it is tried again": {
			{0, Kept{Calls: Span{0, 9}}, nil}, {1, Left{Dead: true}, nil}, {1, look, from(Span{0, 9})}, {2, Tried{}, nil},
			{3, look, from(Span{0, 9})},
		},
		"one of which nothing is known may come back for a while": {
			{0, Kept{Calls: Span{0, 9}}, nil}, {0, look, nil}, {60, look, nil}, {61, look, from(Span{0, 9})},
		},
		"and that begins anew when it has been there": {
			{0, Kept{Calls: Span{0, 9}}, nil}, {0, look, nil}, {50, Came{}, nil}, {90, Left{}, nil}, {150, look, nil},
			{151, look, from(Span{0, 9})},
		},
		"what is cancelled is left out, whether it was kept before or not": {
			{0, Cancelled{[]Span{{7, 8}}}, []Effect{Clear{}}}, {0, Kept{Calls: Span{0, 9}}, nil},
			{0, Cancelled{[]Span{{2, 4}, {3, 5}}}, nil},
			{1, Left{Dead: true}, nil}, {1, look, from(Span{0, 2}, Span{5, 7}, Span{8, 9})},
		},
		"nothing is left if all is cancelled": {
			{0, Kept{Calls: Span{3, 5}}, nil}, {0, Cancelled{[]Span{{3, 5}}}, []Effect{Clear{}}}, {1, Left{Dead: true}, nil},
			{1, look, nil},
		},
		"of two appends with one number the ledger's counts": {
			{0, Kept{Calls: Span{0, 9}}, nil}, {0, send(1, "a", 4, false), nil}, {1, Left{Dead: true}, nil},
			{1, look, from(Span{0, 9})}, {1, send(1, "b", 9, true), nil}, {2, Tried{}, nil}, {2, Counted{1, "a"}, nil},
			{3, look, from(Span{4, 9})},
		},
		"calls that are kept again count once": {
			{0, Kept{Calls: Span{0, 5}}, nil}, {0, Kept{Calls: Span{3, 9}}, nil}, {1, Left{Dead: true}, nil},
			{1, look, from(Span{0, 9})},
		},
		"few are on their way at a time if the program would have it so": {
			{0, Kept{Calls: Span{0, 9}, Most: 2}, nil}, {1, Left{Dead: true}, nil},
			{1, Look{patience, 2}, nil}, {1, Look{patience, 1}, []Effect{Append{Calls: []Span{{0, 9}}, Most: 1}}},
		},
		"a restart knows what was on file": {
			{0, Loaded{Upto: 2, Cancelled: []Span{{5, 6}}, Sends: []Send{{Seq: 3, Items: "c", Upto: 4}}}, nil},
			{0, Kept{Calls: Span{0, 9}, Most: -1}, nil}, {0, Counted{3, "c"}, nil}, {0, Left{Dead: true}, nil},
			{0, look, from(Span{4, 5}, Span{6, 9})},
		},
	} {
		var m Machine
		for i, s := range steps {
			if got := m.Step(at(s.at), s.event); !reflect.DeepEqual(got, s.want) {
				t.Errorf("%s: step %d, %T: %+v, want %+v", name, i, s.event, got, s.want)
			}
		}
	}
}

// world is a program, its daemon, and a ledger elsewhere. Each of them may be slow, and the first two may die.
type world struct {
	*testing.T
	rnd *rand.Rand

	// The program. Its calls are numbered, and are what they are numbered by.
	alive    bool
	waiting  []uint64 // in order
	next     uint64
	appends  uint64   // that it has made
	open     *sent    // that is not answered
	promised []uint64 // kept, as it was told, or appended with an answer
	never    []uint64 // that were cancelled, as it was told
	unsure   []uint64 // that were cancelled, whatever it was told
	toDaemon []func() // what it has sent, in order

	// The daemon.
	m    Machine
	file []Event // what it has written
	ours *sent   // an append that it makes

	// The ledger, and appends on the way to it.
	log []sent
	way []sent
}

type sent struct {
	Send
	calls []uint64
}

// TestExactlyOnce plays many lives: each call that the program was told to be kept is in the ledger once at the end,
// and none that it was told to be cancelled.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(4000) {
		w := &world{T: t, rnd: rand.New(rand.NewPCG(seed, 7)), alive: true}
		w.step(Came{})
		deaths := 5 + w.rnd.IntN(300)
		for i := range deaths {
			if w.play(); w.rnd.IntN(40) == 0 && i > 3 {
				w.restart()
			}
		}
		if w.rnd.IntN(3) > 0 {
			w.deliver() // else what it has sent last is lost with its daemon
		}
		w.alive, w.toDaemon, w.open = false, nil, nil
		if w.rnd.IntN(2) == 0 {
			w.restart()
		}
		w.step(Left{Dead: true})
		for range 300 {
			if w.drain(); w.rnd.IntN(20) == 0 {
				w.restart()
				w.step(Left{Dead: true})
			}
		}
		for len(w.way) > 0 || w.m.Waiting() > 0 {
			w.drain()
			w.arrive()
		}
		w.check(seed)
		if t.Failed() {
			return
		}
	}
}

func (w *world) check(seed uint64) {
	count := map[uint64]int{}
	for _, a := range w.log {
		for _, c := range a.calls {
			if count[c]++; count[c] > 1 {
				w.Errorf("seed %d: call %d is in the ledger twice", seed, c)
			}
		}
	}
	for _, c := range w.promised {
		if count[c] == 0 && !slices.Contains(w.unsure, c) {
			w.Errorf("seed %d: call %d is lost", seed, c)
		}
	}
	for _, c := range w.never {
		if count[c] > 0 {
			w.Errorf("seed %d: call %d was cancelled, and is in the ledger", seed, c)
		}
	}
}

// step tells the machine of an event, which is written first if it is to outlive the daemon.
func (w *world) step(e Event) []Effect {
	switch e.(type) {
	case Kept, Cancelled, Sends:
		w.file = append(w.file, e)
	}
	effects := w.m.Step(at(0), e)
	for _, e := range effects {
		if _, ok := e.(Clear); ok {
			w.file = []Event{w.m.state()}
		}
	}
	return effects
}

// restart kills the daemon. A program that lives connects again, and hands over again what was not kept.
func (w *world) restart() {
	w.m, w.ours, w.toDaemon = Machine{}, nil, nil
	for _, e := range w.file {
		w.m.Step(at(0), e)
	}
	if w.alive {
		w.step(Came{})
		if w.open != nil {
			w.sendOpen()
		}
	}
}

// play has the program, its daemon or the ledger do something.
func (w *world) play() {
	switch w.rnd.IntN(7) {
	case 0:
		for range 1 + w.rnd.IntN(5) {
			w.waiting = append(w.waiting, w.next)
			w.next++
		}
	case 1: // some that wait are handed over
		n := w.rnd.IntN(len(w.waiting) + 1)
		if n == 0 || w.open != nil {
			return // calls of an append that is on its way would be handed over first
		}
		for _, c := range w.waiting[:n] { // numbers without those that are cancelled, in frames
			w.toDaemon = append(w.toDaemon, func() {
				w.step(Kept{Calls: Span{c, c + 1}})
				w.promised = append(w.promised, c)
			})
		}
	case 2: // an append
		if n := min(1+w.rnd.IntN(4), len(w.waiting)); n > 0 && w.open == nil {
			calls := slices.Clone(w.waiting[:n])
			w.waiting = w.waiting[n:]
			w.appends++
			upto := w.next
			if len(w.waiting) > 0 {
				upto = w.waiting[0]
			}
			w.open = &sent{Send{Seq: w.appends, Items: fmt.Sprint(calls), Upto: upto}, calls}
			w.sendOpen()
		}
	case 3: // a call that waits is cancelled
		if len(w.waiting) > 0 {
			i := w.rnd.IntN(len(w.waiting))
			c := w.waiting[i]
			w.waiting = slices.Delete(w.waiting, i, i+1)
			if w.unsure = append(w.unsure, c); w.rnd.IntN(4) > 0 { // else it goes on before it has heard of it
				w.step(Cancelled{[]Span{{c, c + 1}}})
				w.never = append(w.never, c)
			}
		}
	case 4:
		w.deliver()
	default:
		w.arrive()
	}
}

// sendOpen sends the append that is not answered.
func (w *world) sendOpen() {
	a := *w.open
	w.toDaemon = append(w.toDaemon, func() {
		w.step(Sends{a.Send})
		w.way = append(w.way, a)
	})
}

// deliver has the daemon read what the program has sent.
func (w *world) deliver() {
	for _, f := range w.toDaemon {
		f()
	}
	w.toDaemon = nil
}

// arrive has one append arrive at the ledger, in any order, and the daemon hear of all that are there.
func (w *world) arrive() {
	if len(w.way) > 0 {
		i := w.rnd.IntN(len(w.way))
		a := w.way[i]
		if a.Seq == uint64(len(w.log))+1 {
			w.log = append(w.log, a)
		}
		if a.Seq <= uint64(len(w.log)) || w.rnd.IntN(3) == 0 {
			w.way = slices.Delete(w.way, i, i+1)
		}
	}
	if w.open != nil && uint64(len(w.log)) >= w.open.Seq {
		if w.log[w.open.Seq-1].Items != w.open.Items {
			w.Fatal("another append has the number of one of the program's")
		}
		w.step(Counted{w.open.Seq, w.open.Items})
		w.promised = append(w.promised, w.open.calls...)
		w.open = nil
	} else if w.open != nil && !slices.ContainsFunc(w.way, func(a sent) bool { return a.Seq == w.open.Seq }) {
		w.sendOpen()
	}
}

// drain has the daemon of a program that is gone append what is kept.
func (w *world) drain() {
	for i, a := range w.log {
		if w.rnd.IntN(3) > 0 { // it may hear of them late, but in order
			break
		}
		w.step(Counted{uint64(i) + 1, a.Items})
	}
	if w.ours != nil {
		if uint64(len(w.log)) >= w.ours.Seq {
			if got := w.log[w.ours.Seq-1]; got.Items == w.ours.Items {
				w.step(Counted{got.Seq, got.Items})
			}
			w.step(Tried{})
			w.ours = nil
		} else if !slices.ContainsFunc(w.way, func(a sent) bool { return a.Items == w.ours.Items }) {
			w.step(Tried{}) // it was lost on its way
			w.ours = nil
		}
		w.arrive()
		return
	}
	for _, s := range w.m.state().Sends { // as far as it has heard of the ledger
		if s.Seq <= uint64(len(w.log)) {
			w.step(Counted{s.Seq, w.log[s.Seq-1].Items})
		}
	}
	if w.m.unexplained(uint64(len(w.log))) && len(w.m.sends) == 0 {
		w.Fatalf("nothing tells of an append that was on file: %d, known up to %d", len(w.log), w.m.through)
	}
	for _, e := range w.step(Look{Patience: patience}) {
		a, ok := e.(Append)
		if !ok {
			continue
		}
		var calls []uint64
		most := 1 + w.rnd.IntN(6)
		for _, s := range a.Calls {
			for c := s.First; c < s.Last && len(calls) < most; c++ {
				calls = append(calls, c)
			}
		}
		w.ours = &sent{Send{
			Seq: uint64(len(w.log)) + 1, Items: fmt.Sprint(calls), Upto: calls[len(calls)-1] + 1, Own: true,
		}, calls}
		w.step(Sends{w.ours.Send})
		w.way = append(w.way, *w.ours)
	}
	w.arrive()
}
