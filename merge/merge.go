// Package merge says how results become one: what a partial is, which partials may be merged (R2),
// which may be committed (R3), and which of a node's partials are merged before they are offered to the
// job's home. It is pure: no blob is touched here.
//
//	R1  A partial is sealed: its cover, units and canary never change.
//	R2  Only partials of one job with disjoint covers are merged; the inputs are kept until the result
//	    is committed.
//	R3  Only the home commits, one partial at a time: a cover disjoint from what is committed is taken,
//	    one that is committed already is dropped, and one that overlaps explodes into its kept inputs.
//	    Nothing is ever subtracted, for a ROOT merge cannot be undone.
package merge

import (
	"fmt"
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/tasks"
)

// FanIn is the largest number of partials merged in one go.
const FanIn = 8

// MaxSize bounds a partial's blob, in bytes. Partials hold the files that user code writes, such as skimmed trees.
const MaxSize = 1 << 40

// MaxFragments bounds the ranges in the cover of a merge: it must fit into a message, and an entry of the ledger. Each
// steal may cut a range in two, so the cover of very many nodes' work can have very many.
const MaxFragments = 16 << 10

// Fitting is how many of ps, from the first on, can be merged into one: at least one.
func Fitting(ps []Partial) int {
	fragments := 0
	for i, p := range ps {
		if fragments += len(p.Cover); i == FanIn || (i > 0 && fragments > MaxFragments) {
			return i
		}
	}
	return len(ps)
}

// Large reports whether a merge of p with others would hardly fit: it goes to the home as it is.
func (p *Partial) Large() bool { return len(p.Cover) > MaxFragments/2 }

// ID names a partial: the node that made it and that node's count.
type ID struct {
	_msgpack struct{} `msgpack:",as_array"`

	Node tasks.PeerID
	Seq  uint64
}

// String is the id as node/seq, the node shortened to its tail, where libp2p ids differ.
func (id ID) String() string {
	n := id.Node
	if len(n) > 8 {
		n = n[len(n)-8:]
	}
	return fmt.Sprintf("%s/%d", n, id.Seq)
}

// Partial is the immutable output of one or more generations. The blob it describes lies with Holder.
type Partial struct {
	ID     ID           `msgpack:"i"`
	Job    tasks.JobID  `msgpack:"j"`
	Cover  tasks.Cover  `msgpack:"c"` // which units it accounts for
	Units  int64        `msgpack:"u"` // counted in the blob; equals Cover.Len()
	Canary uint64       `msgpack:"y"` // summed in the blob over its packets
	SHA256 string       `msgpack:"s"` // of the blob, hex
	Size   int64        `msgpack:"z"` // of the blob, bytes
	Kids   []ID         `msgpack:"k"` // what it was merged from; none for a generation's output
	Holder tasks.PeerID `msgpack:"h"`
	Climb  int          `msgpack:"m,omitempty"` // how many nodes have merged it with others' on its way to the home
}

// IDs are the names of partials, in their order; nil for none.
func IDs(ps []Partial) (ids []ID) {
	for _, p := range ps {
		ids = append(ids, p.ID)
	}
	return ids
}

// Verdict is what the commit rules say of a partial.
type Verdict int

// Verdicts.
const (
	Fresh     Verdict = iota // commit it
	Duplicate                // all of it is committed already: drop it
	Overlap                  // some of it is committed already: explode it
	Wrong                    // units or canary disagree with the cover: explode it
)

// String is the word for v in logs.
func (v Verdict) String() string {
	return [...]string{"fresh", "duplicate", "overlap", "wrong"}[v]
}

// Committed is the set of partials that a job's home has committed.
type Committed struct {
	cover  tasks.Cover
	parts  []Partial
	canary uint64
}

// Added reports whether one of the partials is of several units, whose results were added to one another.
func (c *Committed) Added() bool {
	return slices.ContainsFunc(c.parts, func(p Partial) bool { return p.Units > 1 })
}

// Judge applies R3 to p, whose units must lie in want.
func (c *Committed) Judge(p Partial, want tasks.Range) Verdict {
	switch {
	case p.Cover.Empty() || !p.Cover.Valid(want):
		return Wrong
	case p.Units != p.Cover.Len() && !mutant.On(mutant.MergeOverlap): // some input of a merge overlapped another
		return Wrong
	case !p.Cover.Intersects(c.cover):
		return Fresh
	case c.cover.Covers(p.Cover):
		if mutant.On(mutant.CommitDuplicate) {
			return Fresh
		}
		return Duplicate
	case mutant.On(mutant.CommitOverlap) || mutant.On(mutant.SubtractCover):
		return Fresh
	}
	return Overlap
}

// Commit adds a Fresh partial.
func (c *Committed) Commit(p Partial) {
	if mutant.On(mutant.SubtractCover) {
		p.Cover = p.Cover.Minus(c.cover)
	}
	c.cover = c.cover.Union(p.Cover)
	c.parts = append(c.parts, p)
	c.canary += p.Canary
}

// Remove takes a partial out again whose blob is lost; its units are then not committed.
func (c *Committed) Remove(id ID) bool {
	i := slices.IndexFunc(c.parts, func(p Partial) bool { return p.ID == id })
	if i < 0 {
		return false
	}
	p := c.parts[i]
	c.parts = slices.Delete(slices.Clone(c.parts), i, i+1)
	c.cover = c.cover.Minus(p.Cover)
	c.canary -= p.Canary
	return true
}

// Fold puts the merge of committed partials, its kids, in their place, and says whether it may: all of them must be
// committed, and cover, units and canary be theirs together. What is committed stays the same.
func (c *Committed) Fold(m Partial) bool {
	if mutant.On(mutant.FoldAbsent) {
		return c.foldBlindly(m)
	}
	kids := make([]Partial, 0, len(m.Kids))
	for _, id := range m.Kids {
		p, ok := c.Find(id)
		if !ok {
			return false
		}
		kids = append(kids, p)
	}
	if _, known := c.Find(m.ID); known || len(kids) < 2 || Disjoint(kids) != nil || Check(m, kids) != nil ||
		!m.Cover.Equal(Sum(m.ID, kids).Cover) {
		return false
	}
	c.parts = append(c.without(m.Kids), m)
	return true
}

// without are the committed partials but those of these names.
func (c *Committed) without(ids []ID) []Partial {
	return slices.DeleteFunc(slices.Clone(c.parts), func(p Partial) bool { return slices.Contains(ids, p.ID) })
}

// Foldable reports whether partials are all committed, and more than one.
func (c *Committed) Foldable(kids []ID) bool {
	return len(kids) > 1 && !slices.ContainsFunc(kids, func(id ID) bool {
		_, ok := c.Find(id)
		return !ok
	})
}

// foldBlindly is Fold with a planted bug: whatever the kids are.
func (c *Committed) foldBlindly(m Partial) bool {
	c.parts = append(c.without(m.Kids), m)
	c.cover = c.cover.Union(m.Cover)
	return true
}

// Find returns the committed partial of that name.
func (c *Committed) Find(id ID) (Partial, bool) {
	i := slices.IndexFunc(c.parts, func(p Partial) bool { return p.ID == id })
	if i < 0 {
		return Partial{}, false
	}
	return c.parts[i], true
}

// Cover is what is committed.
func (c *Committed) Cover() tasks.Cover { return c.cover }

// Parts are the committed partials.
func (c *Committed) Parts() []Partial { return c.parts }

// Canary is the sum over the committed partials; the final output must show it.
func (c *Committed) Canary() uint64 { return c.canary }

// Fits applies R2 to p as a further input of a merge whose inputs so far cover all.
func Fits(all tasks.Cover, p Partial) bool {
	return !all.Intersects(p.Cover) || mutant.On(mutant.MergeOverlap)
}

// Disjoint applies R2 to the inputs of a merge.
func Disjoint(ps []Partial) error {
	var all tasks.Cover
	for _, p := range ps {
		if p.Job != ps[0].Job {
			return fmt.Errorf("could not merge partial %v: it belongs to job %s, not %s", p.ID, p.Job.Short(), ps[0].Job.Short())
		}
		if !Fits(all, p) {
			return fmt.Errorf("could not merge partial %v: units %v are in another input", p.ID, all.Intersect(p.Cover))
		}
		all = all.Union(p.Cover)
	}
	return nil
}

// Sum is the partial that a merge of ps should give, as far as the inputs tell.
func Sum(id ID, ps []Partial) Partial {
	out := Partial{ID: id, Job: ps[0].Job, Holder: id.Node}
	for _, p := range ps {
		out.Cover = out.Cover.Union(p.Cover)
		out.Units += p.Units
		out.Canary += p.Canary
		out.Kids = append(out.Kids, p.ID)
	}
	if mutant.On(mutant.SkipCanary) && len(ps) > 1 {
		out.Canary -= ps[0].Canary
	}
	return out
}

// Check compares a merge's outcome m, as counted in its blob, with its inputs: a merge that drops or
// doubles an input shows here (R1).
func Check(m Partial, inputs []Partial) error {
	if len(inputs) == 0 || len(inputs) != len(m.Kids) {
		return fmt.Errorf("could not accept merge %v: %d of its %d inputs are known", m.ID, len(inputs), len(m.Kids))
	}
	want := Sum(m.ID, inputs)
	if m.Units != want.Units || m.Canary != want.Canary {
		return fmt.Errorf("could not accept merge %v: it holds %d units (canary %x), its inputs %d (%x)",
			m.ID, m.Units, m.Canary, want.Units, want.Canary)
	}
	return nil
}
