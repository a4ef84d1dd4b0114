package backlog

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Span is the numbers of calls from First on, up to the one before Last.
type Span struct {
	First uint64 `msgpack:"f"`
	Last  uint64 `msgpack:"l"`
}

func (s Span) empty() bool { return s.Last <= s.First }

// Send is an append of which the ledger may come to have the items, or have them already.
type Send struct {
	Seq   uint64 `msgpack:"q"`           // its number
	Items string `msgpack:"i"`           // the hash of its items
	Upto  uint64 `msgpack:"u"`           // calls with lower numbers are in it, or in earlier ones, or were cancelled
	Own   bool   `msgpack:"o,omitempty"` // made of what is kept, and not by the program
}

// Machine decides what is done with the calls that are kept for one job. It has no clock and no input or output: what
// has happened comes as events, in the order in which it is on disk, and what is to be done are effects. Its zero value
// keeps nothing. What it knows from before a restart it is told again as Loaded, Kept, Cancelled and Send.
type Machine struct {
	kept      []Span // in order, apart from each other
	cancelled []Span // likewise
	sends     []Send // that are not known to be in the ledger, by number
	upto      uint64 // calls below are in the ledger, or were cancelled
	most      int64  // calls that the program would have on their way at a time; 0 for any number
	through   uint64 // up to this number of an append, upto says what the ledger has; if based
	based     bool

	present  bool      // the program may come to append
	dead     bool      // it was there, and has ended
	alone    time.Time // since when it has not been there; zero while nobody has looked
	patience time.Duration
	making   bool   // an append is being made
	own      uint64 // appends that were made of what is kept
}

// An Event is what has happened.
type Event interface{ isEvent() }

// Events.
type (
	// Loaded is the first: a file says what was so when it was written.
	Loaded struct {
		Upto      uint64
		Most      int64
		Cancelled []Span
		Sends     []Send
		Through   uint64 // as Machine.through
		Based     bool
	}
	// Kept says that calls are on file.
	Kept struct {
		Calls Span
		Most  int64 // as Machine.most; -1: as before
	}
	// Cancelled says that calls are never to run, which is on file.
	Cancelled struct {
		Calls []Span `msgpack:"c"`
	}
	// Sends says that an append is about to be given to the engine, which is on file.
	Sends struct{ Send }
	// Counted says that the ledger has an append with a number, of items with a hash.
	Counted struct {
		Seq   uint64
		Items string
	}
	// Came says that the program is there.
	Came struct{}
	// Left says that it is not there. Dead says that it has ended, and cannot come back.
	Left struct{ Dead bool }
	// Look says that it may be time to do something. Unfinished is how many units of the job have not run.
	Look struct {
		Patience   time.Duration // how long a program may be away of which nobody knows whether it has ended
		Unfinished int64
	}
	// Tried says that the append that was to be made is in the ledger, as Counted has told before, or that it was not
	// given to the engine, or that its answer was not heard.
	Tried struct{}
)

func (Loaded) isEvent()    {}
func (Kept) isEvent()      {}
func (Cancelled) isEvent() {}
func (Sends) isEvent()     {}
func (Counted) isEvent()   {}
func (Came) isEvent()      {}
func (Left) isEvent()      {}
func (Look) isEvent()      {}
func (Tried) isEvent()     {}

// An Effect is what is to be done.
type Effect interface{ isEffect() }

// Effects.
type (
	// Append asks for an append of the first of the calls, at most so many: make items of them, put what they are on
	// file, tell it as Sends, give it to the engine, tell Counted if the ledger has it, and then Tried.
	Append struct {
		Calls []Span
		Most  int64 // 0 for any number
	}
	// Clear says that nothing is needed of what is on file: all of it is in the ledger, or was cancelled.
	Clear struct{}
)

func (Append) isEffect() {}
func (Clear) isEffect()  {}

// maxPaced bounds the appends that are made of few calls each, since the program would have had few on their way at a
// time. A job takes a bounded number; what is left then is appended at once.
const maxPaced = 4000

// Step takes an event.
func (m *Machine) Step(now time.Time, e Event) []Effect {
	switch e := e.(type) {
	case Loaded:
		m.upto, m.most = max(m.upto, e.Upto), e.Most
		m.cancel(e.Cancelled)
		m.through, m.based = e.Through, e.Based
		for _, s := range e.Sends {
			m.send(s)
		}
	case Kept:
		if e.Most >= 0 {
			m.most = e.Most
		}
		m.keep(e.Calls)
	case Cancelled:
		m.cancel(e.Calls)
		return m.cleared()
	case Sends:
		m.send(e.Send)
	case Counted:
		return m.counted(e)
	case Came:
		m.present, m.dead, m.alone = true, false, time.Time{}
	case Left:
		if m.present || m.alone.IsZero() {
			m.alone = now
		}
		m.present, m.dead = false, m.dead || e.Dead
	case Look:
		m.patience = e.Patience
		return m.look(now, e.Unfinished)
	case Tried:
		m.making = false
	}
	return nil
}

// keep adds calls; those below what is kept already are repeats.
func (m *Machine) keep(calls Span) {
	calls.First = max(calls.First, m.After())
	if calls.empty() {
		return
	}
	if n := len(m.kept); n > 0 && m.kept[n-1].Last == calls.First {
		m.kept[n-1].Last = calls.Last
		return
	}
	m.kept = append(m.kept, calls)
}

// After is the number behind the last call that is kept, or 0.
func (m *Machine) After() uint64 {
	if n := len(m.kept); n > 0 {
		return m.kept[n-1].Last
	}
	return 0
}

// cancel adds calls that were cancelled.
func (m *Machine) cancel(calls []Span) {
	for _, c := range calls {
		if c.First = max(c.First, m.upto); c.empty() {
			continue
		}
		first, _ := slices.BinarySearchFunc(m.cancelled, c.First, func(s Span, number uint64) int {
			return cmp.Compare(s.Last, number)
		})
		last := first // the spans from first until before last touch c
		for ; last < len(m.cancelled) && m.cancelled[last].First <= c.Last; last++ {
			c.First, c.Last = min(c.First, m.cancelled[last].First), max(c.Last, m.cancelled[last].Last)
		}
		m.cancelled = slices.Replace(m.cancelled, first, last, c)
	}
}

// send adds an append. One with a lower number than those that are known to be in the ledger is a repeat.
func (m *Machine) send(s Send) {
	if s.Own {
		m.own++
	}
	if !m.based { // all earlier ones are in the ledger, and have none of the calls that wait
		m.through, m.based = s.Seq-1, true
	}
	if !slices.Contains(m.sends, s) {
		m.sends = append(m.sends, s)
	}
}

// counted takes the word that an append is in the ledger.
func (m *Machine) counted(e Counted) []Effect {
	for _, s := range m.sends {
		if s.Seq == e.Seq && s.Items == e.Items {
			m.upto, m.through = max(m.upto, s.Upto), max(m.through, s.Seq)
		}
	}
	m.sends = slices.DeleteFunc(m.sends, func(s Send) bool { return s.Seq <= e.Seq })
	m.kept = from(m.kept, m.upto)
	m.cancelled = from(m.cancelled, m.upto)
	return m.cleared()
}

// from is what there is of spans from a number on.
func from(spans []Span, number uint64) []Span {
	spans = slices.DeleteFunc(spans, func(s Span) bool { return s.Last <= number })
	if len(spans) > 0 {
		spans[0].First = max(spans[0].First, number)
	}
	return spans
}

// unexplained reports whether a ledger with so many appends has one of which nothing says which calls are in it. Any
// that wait may be.
func (m *Machine) unexplained(appends uint64) bool { return m.based && appends > m.through }

// cleared has the file go if nothing in it is needed.
func (m *Machine) cleared() []Effect {
	for range m.wait() {
		return nil
	}
	return []Effect{Clear{}}
}

// Waiting is how many calls are kept that are neither known to be in the ledger nor cancelled.
func (m *Machine) Waiting() (n int64) {
	for s := range m.wait() {
		n += int64(s.Last - s.First)
	}
	return n
}

// wait are these calls.
func (m *Machine) wait() iter.Seq[Span] {
	return func(yield func(Span) bool) {
		cancelled := m.cancelled
		for _, s := range m.kept {
			s.First = max(s.First, m.upto)
			for len(cancelled) > 0 && cancelled[0].Last <= s.First {
				cancelled = cancelled[1:]
			}
			for i := 0; i < len(cancelled) && cancelled[i].First < s.Last && !s.empty(); i++ {
				if before := (Span{s.First, cancelled[i].First}); !before.empty() && !yield(before) {
					return
				}
				s.First = max(s.First, cancelled[i].Last)
			}
			if !s.empty() && !yield(s) {
				return
			}
		}
	}
}

// Gone reports whether the program has ended, or has been away for so long that it may not append any more.
func (m *Machine) Gone(now time.Time) bool {
	return !m.present && (m.dead || !m.alone.IsZero() && now.Sub(m.alone) > m.patience)
}

// look has the next append made if that is nobody else's to do.
func (m *Machine) look(now time.Time, unfinished int64) []Effect {
	if !m.present && m.alone.IsZero() {
		m.alone = now
	}
	if m.making || !m.Gone(now) {
		return nil
	}
	calls := slices.Collect(m.wait())
	if len(calls) == 0 {
		return nil
	}
	most := int64(0)
	if m.most > 0 && m.own < maxPaced {
		if most = m.most - unfinished; most <= 0 {
			return nil
		}
	}
	m.making = true
	return []Effect{Append{Calls: calls, Most: most}}
}

// state is what a file begins with that is written now.
func (m *Machine) state() Loaded {
	return Loaded{
		Upto: m.upto, Most: m.most, Cancelled: slices.Clone(m.cancelled), Sends: slices.Clone(m.sends), Through: m.through,
		Based: m.based,
	}
}
