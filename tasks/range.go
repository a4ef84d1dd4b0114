// Package tasks says what work is: ranges of units, covers, datasets, jobs and packets.
//
// A unit is the smallest countable piece of a job: one entry of a file, or one item. The units of a dataset are
// numbered 0..N-1 over all its files in order. The package is pure: it knows no clock, goroutine,
// socket or file.
package tasks

import "fmt"

// Range is the half-open interval [First, Last) of units. It is empty if First >= Last.
type Range struct {
	_msgpack struct{} `msgpack:",as_array"`

	First, Last int64
}

// R is short for Range{First: first, Last: last}.
func R(first, last int64) Range { return Range{First: first, Last: last} }

// Len is the number of units in r.
func (r Range) Len() int64 {
	if r.Last <= r.First {
		return 0
	}
	return r.Last - r.First
}

// Empty reports whether r has no unit.
func (r Range) Empty() bool { return r.Last <= r.First }

// Intersect is the part that r and o share, empty if there is none.
func (r Range) Intersect(o Range) Range {
	out := R(max(r.First, o.First), min(r.Last, o.Last))
	if out.Empty() {
		return Range{}
	}
	return out
}

// Contains reports whether unit u lies in r.
func (r Range) Contains(u int64) bool { return r.First <= u && u < r.Last }

// String prints r as [first,last).
func (r Range) String() string { return fmt.Sprintf("[%d,%d)", r.First, r.Last) }
