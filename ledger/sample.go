package ledger

import (
	"slices"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Sampling is the place for a check of what workers compute, which is not built: units and canary prove which entries a
// partial accounts for, not that its histograms are right. A home would have a sample of what is committed run by a
// second node, and compare. Its calls are where that has all it needs; nothing of the protocol rests on them, and
// without a Sampling none is made.
//
// To build it, the home hands what Choose returns to a node other than the first one's Holder by the effect Try,
// which runs a range in a generation of its own; before, it tells that node by Undone that the range is to be run
// though it is committed. The second partial comes in as any offer. Its cover is committed, so that R3 drops it, as
// it should, and Compare sees it before. Until then the first one must not be folded (fold.go), for it can be
// compared as long as it is one partial of the record, and the node must keep the second one's blob until the two
// have been looked at.
type Sampling interface {
	// Choose is called at the home for each partial that has just come to the record: made by the node in its ID, or
	// merged by it of what its Kids name, from which whoever ran which units is known no more. It returns the units that a
	// second node is to run too, within the partial's cover; empty for none.
	Choose(first merge.Partial) tasks.Cover
	// Compare is called for an offer whose cover is exactly that of a partial of the record, made by another node. Units
	// and canary of both are as their cover says. Where the hashes are equal, so are the outputs; where they are not, sums
	// of floating-point numbers may have been added in another order: the blobs, with each one's Holder or kept by the
	// replicas, are then to be compared bin by bin within a bound.
	Compare(first, second merge.Partial)
}

// sample offers a partial that has just been committed for a second run.
func (h *Home) sample(p merge.Partial) {
	if h.cfg.Sampling != nil {
		h.cfg.Sampling.Choose(p)
	}
}

// compare shows an offer that is committed already to who compares, beside what it repeats.
func (h *Home) compare(second merge.Partial) {
	if h.cfg.Sampling == nil {
		return
	}
	for _, first := range h.record.Done.Parts() {
		if first.ID.Node != second.ID.Node && slices.Equal(first.Cover, second.Cover) {
			h.cfg.Sampling.Compare(first, second)
		}
	}
}
