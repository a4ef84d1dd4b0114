package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// Committed partials are merged further while a job runs, so that what a replica keeps is bounded by the size of the
// result and not by the time that the job takes. Such a merge is a fold: it is made of blobs that are kept here, is
// kept by a quorum like the blob of a commit, and takes the place of its inputs by one entry of the log (Entry.Fold).
// They are freed on each replica when that is applied there.
//
// What holds, with B the size of the largest blob that is committed, or FoldFloor where that is more:
//
//   - at most MaxBlobs partials are committed, and
//   - those that are committed, or on their way to it, have at most 2 B bytes. One fold may be kept beside them, which
//     is no larger than they are together. So a replica keeps at most 3 B where all outputs have the same size, as
//     histograms do, and at most twice the size of the result where sizes add up, as those of trees do.
//
// Commits wait where these bounds are reached, and their partials are merged by their holders. There are two
// exceptions. Partials whose covers are in very many pieces (merge.MaxFragments) cannot be folded, so one blob more is
// allowed for each MaxFragments/2 pieces. And where maxFoldFails folds in a row have failed commits go on, so that a
// job does not hang because it cannot merge.
//
// folding is the fold that is under way, if there is one.
type folding struct {
	fold      *fold         // nil for none
	failures  int           // how many folds in a row have failed
	notBefore time.Duration // when the next fold may be ordered
	wanted    bool          // commits wait for a fold
}

// made reports whether the fold under way is made, and is being kept and proposed.
func (f *folding) made() bool { return f.fold != nil && f.fold.keeping != nil }

// fold is a merge of committed partials.
type fold struct {
	*keeping // the merge; nil until it is made
	inputs   []merge.Partial
	since    time.Duration // when it was ordered or, once it is, last proposed
	proposed bool
}

const (
	// foldMargin is how many of the MaxBlobs places commits leave free, for entries that an earlier home has left in the
	// log.
	foldMargin   = 2
	maxFoldFails = 8
	foldPause    = 250 * time.Millisecond // after a fold has failed; it doubles with each further failure in a row
	foldPauseMax = 30 * time.Second
)

// foldSteps orders a fold if one is due, and sees to it that the one under way comes to an end.
func (h *Home) foldSteps() {
	f := h.folding.fold
	switch {
	case f == nil:
		h.orderFold()
	case f.keeping == nil && h.now-f.since > h.cfg.FoldWait:
		h.foldFailed()
	case f.keeping == nil:
	case f.proposed && (h.now-f.since > h.cfg.Propose || mutant.On(mutant.FoldAbsent)):
		// The log may have lost the proposal. The mutant proposes more often, to be seen sooner.
		h.proposeFold()
	case !f.proposed:
		h.repeatKeep(f.keeping)
		h.settleFold()
	}
}

// orderFold has committed partials merged here.
func (h *Home) orderFold() {
	if mutant.On(mutant.NeverFold) || h.now < h.folding.notBefore || !h.foldDue() || !h.nodes.canMerge() {
		return
	}
	inputs := h.foldInputs()
	if len(inputs) < 2 {
		h.folding.notBefore = h.now + planEvery
		return
	}
	h.folding.fold = &fold{inputs: inputs, since: h.now}
	h.counts.Folds++
	if mutant.On(mutant.FoldDropsInput) && len(inputs) > 2 {
		inputs = inputs[1:]
	}
	h.emit(Fold{Inputs: inputs})
}

// foldDue reports whether a fold is due, since there are many committed partials, or many bytes of them, or commits
// wait.
func (h *Home) foldDue() bool {
	return len(h.kept.all) > h.cfg.FoldAbove || h.folding.wanted || h.kept.bulky(h.cfg.FoldFloor)
}

// bulky reports whether what is committed has so many bytes more than its largest part that it is folded for that.
func (ks *kept) bulky(floor int64) bool {
	return ks.bytes > max(floor, ks.largest()*3/2)
}

// tier is the level of a blob of some size in the tree of folds. Where sizes add up, FanIn blobs of one level make one
// of the next.
func tier(size int64) (n int) {
	for size >= merge.FanIn {
		size /= merge.FanIn
		n++
	}
	return n
}

// foldInputs chooses what is folded next: FanIn partials of the lowest tier that has as many, so that each byte is
// merged once in each tier. If there is no such tier, and commits wait or soon would, it is the smallest ones.
func (h *Home) foldInputs() []merge.Partial {
	all := make([]merge.Partial, 0, len(h.kept.all))
	for _, k := range h.kept.all {
		if k.by[h.cfg.Self] && !k.unusable {
			all = append(all, k.Partial)
		}
	}
	slices.SortStableFunc(all, func(a, b merge.Partial) int {
		return cmp.Or(cmp.Compare(tier(a.Size), tier(b.Size)), cmp.Compare(a.Units, b.Units), cmp.Compare(a.Size, b.Size))
	})
	for i, j := 0, 0; i < len(all); i = j {
		for j = i; j < len(all) && tier(all[j].Size) == tier(all[i].Size); j++ {
		}
		if j-i >= merge.FanIn {
			return fitFold(all[i:j])
		}
	}
	if !h.folding.wanted && !h.kept.bulky(h.cfg.FoldFloor) && len(all) <= (h.cfg.FoldAbove+h.cfg.MaxBlobs)/2 {
		return nil
	}
	return fitFold(all)
}

// fitFold takes the first few whose cover together fits into an entry of the log.
func fitFold(ps []merge.Partial) []merge.Partial {
	var best []merge.Partial
	for i := range ps { // a cover in very many pieces may fit with no other
		var in []merge.Partial
		var all tasks.Cover
		for _, p := range ps[i:] {
			if u := all.Union(p.Cover); len(u) <= merge.MaxFragments && len(in) < merge.FanIn {
				in, all = append(in, p), u
			}
		}
		if len(in) > len(best) {
			best = in
		}
		if len(best) == min(len(ps), merge.FanIn) || i >= merge.FanIn || len(best) >= 2 {
			break
		}
	}
	return best
}

// room is how much commits may add to what is committed.
type room struct {
	n, max       int // partials
	bytes, floor int64
	largest      int64
	free         bool // there are no bounds
}

// roomLeft is the room that is left beside what is committed or on its way to it.
func (h *Home) roomLeft() room {
	r := room{
		max:   h.cfg.MaxBlobs - foldMargin,
		floor: h.cfg.FoldFloor,
		free:  h.folding.failures >= maxFoldFails || mutant.On(mutant.NeverFold),
	}
	for _, k := range h.kept.all {
		r.take(k.Partial)
	}
	for _, o := range h.offers.all {
		if o.state == fetching || o.state == proposed {
			r.take(o.Partial)
		}
	}
	if len(h.kept.all) >= r.max && h.folding.fold == nil && !h.kept.foldable() {
		r.max = math.MaxInt
	}
	return r
}

func (r *room) take(p merge.Partial) {
	r.n, r.bytes, r.largest = r.n+1, r.bytes+p.Size, max(r.largest, p.Size)
}

// fits reports whether a partial may be committed now.
func (r *room) fits(p merge.Partial) bool {
	return r.free || r.n < r.max && r.bytes+p.Size <= max(r.floor, 2*max(r.largest, p.Size))
}

// folded takes a fold that was made, and is kept here now.
func (h *Home) folded(ev Folded) {
	f := h.folding.fold
	if f == nil || f.keeping != nil {
		h.emit(Release{To: h.cfg.Self, Partial: ev.Partial, Seq: h.kept.requests})
		return
	}
	p := ev.Partial
	p.Cover = merge.Sum(p.ID, f.inputs).Cover
	if mutant.On(mutant.FoldDropsInput) {
		p = merge.Sum(p.ID, f.inputs)
		p.SHA256, p.Size = ev.Partial.SHA256, ev.Partial.Size
	}
	if !slices.Equal(p.Kids, merge.Sum(p.ID, f.inputs).Kids) {
		h.emit(Release{To: h.cfg.Self, Partial: ev.Partial, Seq: h.kept.requests}) // its order was given up
		return
	}
	if merge.Check(p, f.inputs) != nil { // R1: it does not count what its inputs do
		h.emit(Release{To: h.cfg.Self, Partial: ev.Partial, Seq: h.kept.requests})
		h.foldFailed()
		return
	}
	f.keeping = newKeeping(p)
	f.by[h.cfg.Self] = true
	h.askToKeep(f.keeping)
	h.settleFold()
}

// settleFold proposes a fold when a quorum of the replicas keeps it.
func (h *Home) settleFold() {
	f := h.folding.fold
	if h.folding.made() && !f.proposed && h.replicas.complete && h.replicas.quorate(f.keeping) {
		h.proposeFold()
	}
}

func (h *Home) proposeFold() {
	h.folding.fold.proposed, h.folding.fold.since = true, h.now
	p := h.folding.fold.Partial
	h.emit(Propose{Entry{Fold: &p}})
}

// notFolded takes the word that a fold could not be made or kept.
func (h *Home) notFolded(ev NotFolded) {
	isInput := func(id merge.ID, p merge.Partial) bool { return id == p.ID }
	if f := h.folding.fold; f != nil && f.keeping == nil && slices.EqualFunc(ev.Inputs, f.inputs, isInput) {
		if ev.Here != "" {
			h.kept.failures, h.kept.failedFor = h.kept.failures+1, ev.Here
		}
		h.foldFailed()
		if ev.Failure != nil {
			h.failed(h.cfg.Self, *ev.Failure)
		}
	}
}

// foldFailed gives the fold under way up. Its inputs are as they were, and are folded later.
func (h *Home) foldFailed() {
	h.folding.fold = nil
	h.folding.notBefore = h.now + min(foldPause<<min(h.folding.failures, 16), foldPauseMax)
	h.folding.failures++
	h.counts.Unfolded++
	h.offers.changed = true
}

// foldApplied follows the log, which has a fold: the record has put it in the place of its inputs, or has not admitted
// it.
func (h *Home) foldApplied(p merge.Partial, changed bool) {
	f := h.folding.fold
	own := f != nil && f.keeping != nil && f.ID == p.ID
	if !changed {
		if own && f.proposed {
			h.foldFailed()
		}
		return
	}
	k := newKeeping(p)
	if own {
		k = f.keeping
	}
	h.kept.remove(p.Kids)
	h.kept.add(k)
	if own {
		h.folding.fold, h.folding.failures = nil, 0
	} else {
		h.checkFold()
	}
	h.folding.wanted, h.offers.changed = false, true
}

// checkFold gives the fold under way up if some of its inputs are committed no more.
func (h *Home) checkFold() {
	gone := func(p merge.Partial) bool { return h.kept.find(p.ID) == nil }
	if h.folding.fold != nil && slices.ContainsFunc(h.folding.fold.inputs, gone) {
		h.foldFailed()
	}
}

// reduceBlocked has each holder of partials that wait for room merge its own.
func (h *Home) reduceBlocked(blocked []*offer) {
	all := h.offers.inMotion(h.standings)
	groups := map[tasks.PeerID][]*offer{}
	for _, o := range blocked {
		if g := groups[o.Holder]; h.mergeable(o) && len(g) < merge.FanIn && merge.Fits(all, o.Partial) {
			groups[o.Holder], all = append(g, o), all.Union(o.Cover)
		}
	}
	for _, id := range h.nodes.order {
		if g := groups[id]; len(g) > 1 {
			h.reduce(g)
		}
	}
}
