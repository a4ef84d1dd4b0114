package tasks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Cover is a set of units, kept as disjoint, non-empty, non-touching ranges in ascending order. The
// zero value is the empty set. A Cover is a value: no method changes its receiver's ranges in place.
//
// On the wire it is an array of [first,last) pairs; Valid must be checked after decoding.
type Cover []Range

// CoverOf is the union of rs, which may overlap and come in any order.
func CoverOf(rs ...Range) Cover {
	sorted := make([]Range, 0, len(rs))
	for _, r := range rs {
		if !r.Empty() {
			sorted = append(sorted, r)
		}
	}
	if len(sorted) == 0 {
		return nil
	}
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	c := Cover(sorted[:1]) // in place: c never grows past what has been read
	for _, r := range sorted[1:] {
		c = c.push(r)
	}
	return c
}

// push appends r, which must not begin before c's last range, joining it where they touch.
func (c Cover) push(r Range) Cover {
	if n := len(c); n > 0 && r.First <= c[n-1].Last {
		c[n-1].Last = max(c[n-1].Last, r.Last)
		return c
	}
	return append(c, r)
}

// Valid reports whether c is in canonical form with all units in space.
func (c Cover) Valid(space Range) bool {
	prev := space.First - 1
	for _, r := range c {
		if r.Empty() || r.First <= prev || r.Last > space.Last {
			return false
		}
		prev = r.Last
	}
	return true
}

// Len is the number of units in c.
func (c Cover) Len() int64 {
	var n int64
	for _, r := range c {
		n += r.Len()
	}
	return n
}

// Empty reports whether c has no unit.
func (c Cover) Empty() bool { return len(c) == 0 }

// Union is the set of units in c or o.
func (c Cover) Union(o Cover) Cover {
	out := make(Cover, 0, len(c)+len(o))
	for len(c) > 0 || len(o) > 0 {
		if len(o) == 0 || (len(c) > 0 && c[0].First <= o[0].First) {
			out, c = out.push(c[0]), c[1:]
		} else {
			out, o = out.push(o[0]), o[1:]
		}
	}
	return out
}

// Add is c with r.
func (c Cover) Add(r Range) Cover {
	if r.Empty() {
		return c
	}
	if n := len(c); n == 0 || r.First > c[n-1].Last { // the common case: growing at the end
		return append(c[:n:n], r)
	}
	return c.Union(Cover{r})
}

// Minus is the set of units in c and not in o. It finds what is missing; it is never applied to results.
func (c Cover) Minus(o Cover) Cover {
	var out Cover
	for _, r := range c {
		for len(o) > 0 && o[0].Last <= r.First {
			o = o[1:]
		}
		for i := 0; i < len(o) && o[i].First < r.Last; i++ {
			if o[i].First > r.First {
				out = append(out, R(r.First, o[i].First))
			}
			r.First = max(r.First, o[i].Last)
		}
		if !r.Empty() {
			out = append(out, r)
		}
	}
	return out
}

// Intersect is the set of units in both c and o.
func (c Cover) Intersect(o Cover) Cover {
	var out Cover
	for len(c) > 0 && len(o) > 0 {
		if r := c[0].Intersect(o[0]); !r.Empty() {
			out = out.push(r)
		}
		if c[0].Last < o[0].Last {
			c = c[1:]
		} else {
			o = o[1:]
		}
	}
	return out
}

// from is the index of the first range of c that ends after unit u.
func (c Cover) from(u int64) int {
	lo, hi := 0, len(c)
	for lo < hi {
		if mid := (lo + hi) / 2; c[mid].Last <= u {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Has reports whether a unit is in c.
func (c Cover) Has(u int64) bool {
	i := c.from(u)
	return i < len(c) && c[i].First <= u
}

// Intersects reports whether c and o share a unit.
func (c Cover) Intersects(o Cover) bool {
	if len(c) < len(o) {
		c, o = o, c
	}
	for _, r := range o { // few ranges against many, as a rule
		if i := c.from(r.First); i < len(c) && c[i].First < r.Last {
			return true
		}
	}
	return false
}

// Covers reports whether every unit of o is in c.
func (c Cover) Covers(o Cover) bool {
	for _, r := range o {
		if i := c.from(r.First); i == len(c) || c[i].First > r.First || c[i].Last < r.Last {
			return false
		}
	}
	return true
}

// Equal reports whether c and o are the same set.
func (c Cover) Equal(o Cover) bool {
	if len(c) != len(o) {
		return false
	}
	for i := range c {
		if c[i].First != o[i].First || c[i].Last != o[i].Last {
			return false
		}
	}
	return true
}

// String lists the ranges, shortened after eight.
func (c Cover) String() string {
	var b strings.Builder
	for i, r := range c {
		if i == 8 {
			fmt.Fprintf(&b, " … (%d ranges, %d units)", len(c), c.Len())
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(r.String())
	}
	return b.String()
}
