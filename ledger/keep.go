package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// kept are the blobs of what is committed, which this node and all replicas are to keep durably. all and byID hold
// exactly the parts of the record, and bytes is the sum of their sizes.
type kept struct {
	all      []*keeping
	byID     map[merge.ID]*keeping
	bytes    int64
	requests uint64       // number of the last request to bring, keep or release a blob
	checked  tasks.Moment // when spread last looked for blobs that somebody lacks

	failures  int    // how often in a row this node could not keep a blob
	failedFor string // why it could not, the last time
}

// keeping tells which replicas keep a blob durably.
type keeping struct {
	merge.Partial
	by     map[tasks.PeerID]bool // the replicas that do, this node among them
	asked  time.Duration         // when the other replicas were last asked to
	first  uint64                // the first request to keep it; an older one was for a blob that has been released since
	missed int                   // how often a replica could not get the blob although it is here

	fetch   uint64       // the request that brings the blob to this node now; 0 for none
	fails   int          // how many such requests in a row have failed
	lacking tasks.Moment // when the first of these failed

	unusable bool // it cannot be merged, and is committed no more as soon as the log has that
}

func newKeeping(p merge.Partial) *keeping {
	return &keeping{Partial: p, by: map[tasks.PeerID]bool{}}
}

func newKept() kept { return kept{byID: map[merge.ID]*keeping{}} }

// find is what is known of a committed blob, nil for none.
func (ks *kept) find(id merge.ID) *keeping { return ks.byID[id] }

func (ks *kept) add(k *keeping) {
	ks.all, ks.byID[k.ID] = append(ks.all, k), k
	ks.bytes += k.Size
}

// remove forgets blobs that are committed no more.
func (ks *kept) remove(ids []merge.ID) {
	ks.all = slices.DeleteFunc(ks.all, func(k *keeping) bool {
		gone := slices.Contains(ids, k.ID)
		if gone {
			delete(ks.byID, k.ID)
			ks.bytes -= k.Size
		}
		return gone
	})
}

// largest is the size of the largest committed blob: the best that is known of the result's.
func (ks *kept) largest() (n int64) {
	for _, k := range ks.all {
		n = max(n, k.Size)
	}
	return n
}

// foldable reports whether any two committed partials could be folded, now or when they are here.
func (ks *kept) foldable() bool {
	all := make([]merge.Partial, len(ks.all))
	for i, k := range ks.all {
		all[i] = k.Partial
	}
	slices.SortFunc(all, func(a, b merge.Partial) int { return cmp.Compare(len(a.Cover), len(b.Cover)) })
	return len(fitFold(all)) >= 2
}

// every reports whether something holds for all blobs.
func (ks *kept) every(is func(k *keeping) bool) bool {
	return !slices.ContainsFunc(ks.all, func(k *keeping) bool { return !is(k) })
}

// fetch brings a blob here, from its holder or one of the sources.
func (h *Home) fetch(k *keeping, sources []tasks.PeerID) {
	h.kept.requests++
	k.fetch = h.kept.requests
	h.emit(Fetch{Partial: k.Partial, Sources: sources, Seq: k.fetch})
}

// answers notes that a fetch has ended, and reports whether it is the one that is under way. An earlier one counts for
// nothing: if it has brought the blob, the blob was freed when that attempt was given up.
func (k *keeping) answers(fetch uint64) bool {
	if (fetch == 0 || fetch != k.fetch) && !mutant.On(mutant.AnyFetch) {
		return false
	}
	k.fetch = 0
	return true
}

// askToKeep asks those replicas to keep k that are not known to.
func (h *Home) askToKeep(k *keeping) {
	k.asked = h.now
	h.kept.requests++
	if k.first == 0 {
		k.first = h.kept.requests
	}
	for _, id := range h.replicas.ids {
		if !k.by[id] {
			h.emit(Keep{To: id, Partial: k.Partial, Sources: h.replicas.sources(k), Seq: h.kept.requests})
		}
	}
}

func (h *Home) repeatKeep(k *keeping) {
	if h.now-k.asked >= h.cfg.Repeat {
		h.askToKeep(k)
	}
}

// keptBy takes a replica's word that it keeps something.
func (h *Home) keptBy(ev Kept) {
	if !ev.OK {
		switch {
		case !slices.Contains(h.replicas.ids, ev.From):
		case ev.Full:
			h.replicas.unwritable[ev.From]++
		default:
			h.notHad(ev.ID)
		}
		return
	}
	delete(h.replicas.unwritable, ev.From)
	if ev.ID == (merge.ID{}) {
		h.resultKept(ev)
		return
	}
	if !slices.Contains(h.replicas.ids, ev.From) {
		return
	}
	switch k := h.keepingOf(ev.ID); {
	case k == nil || k.first == 0 && h.kept.find(ev.ID) == nil:
		// Its commit was given up meanwhile. Should the partial be offered again, its blob is asked for again.
		h.kept.requests++
		h.emit(Release{To: ev.From, Partial: merge.Partial{ID: ev.ID}, Seq: h.kept.requests})
	case ev.Seq >= k.first && k.first > 0:
		k.by[ev.From] = true
		if o := h.offers.find(ev.ID); o != nil {
			h.settle(o)
		}
		h.settleFold()
	}
}

// maxMissed is how often replicas may fail to get a blob that this node has, before it is brought here anew.
const maxMissed = 10

// notHad takes note that a replica could not get the blob of an offer or a fold from here. If that happens often, the
// blob may have been damaged on this node, so the attempt to commit is given up. The holder of an offer offers it
// again if it still has it, and otherwise its units run again. The inputs of a fold are still committed, and are
// folded later.
func (h *Home) notHad(id merge.ID) {
	if f := h.folding.fold; f != nil && f.keeping != nil && f.ID == id && !f.proposed {
		if f.missed++; f.missed >= maxMissed {
			h.releaseAll(f.keeping)
			h.foldFailed()
		}
		return
	}
	o := h.offers.find(id)
	if o == nil || o.state != fetching || !o.counted {
		return
	}
	if o.missed++; o.missed >= maxMissed {
		h.offers.changed = true
		h.offers.drop(id)
		h.releaseAll(o.keeping)
		h.emit(Note{To: o.Holder, ID: id})
	}
}

// keepingOf finds what is known of a blob that is committed or on its way to it, nil for none.
func (h *Home) keepingOf(id merge.ID) *keeping {
	if k := h.kept.find(id); k != nil {
		return k
	}
	if o := h.offers.find(id); o != nil {
		return o.keeping
	}
	if f := h.folding.fold; f != nil && f.keeping != nil && f.ID == id {
		return f.keeping
	}
	return nil
}

// releaseAll has all who keep a blob for a commit free it, this node among them: the commit is given up.
func (h *Home) releaseAll(k *keeping) {
	h.kept.requests++
	h.emit(Release{To: h.cfg.Self, Partial: k.Partial, Seq: h.kept.requests})
	for _, id := range h.replicas.ids {
		if k.by[id] {
			h.emit(Release{To: id, Partial: k.Partial, Seq: h.kept.requests})
		}
	}
}

// maxSpread is how many committed blobs are brought here at once, and how many are asked for of the replicas.
const maxSpread = 32

// spread sees to it that this node and the other replicas keep all that is committed, which a new home or a new replica
// may not do yet.
func (h *Home) spread() {
	if h.kept.checked.Within(h.cfg.Audit, h.now) {
		return
	}
	h.kept.checked = tasks.At(h.now)
	fetches, asks := 0, 0
	for _, k := range h.kept.all {
		switch {
		case k.unusable: // the log may have lost the proposal
			id := k.ID
			h.emit(Propose{Entry{Uncommit: &id}})
		case !k.by[h.cfg.Self]:
			if fetches++; k.fetch == 0 && fetches <= maxSpread {
				h.fetch(k, h.whoever(k))
			}
		case asks < maxSpread && h.now-k.asked >= h.cfg.Repeat && h.lacking(k):
			asks++
			h.askToKeep(k)
		}
	}
	if h.ending.result != nil && h.now-h.ending.result.asked >= h.cfg.Repeat {
		h.askForResult()
	}
}

// lacking reports whether some replica that is there is not known to keep k.
func (h *Home) lacking(k *keeping) bool {
	return slices.ContainsFunc(h.replicas.ids, func(id tasks.PeerID) bool {
		return !k.by[id] && !h.nodes.stale(id, h.now)
	})
}

// storedAgain notes that a committed blob was brought here. One that does not count what was committed is as good as
// none.
func (h *Home) storedAgain(k *keeping, ev Stored) {
	if ev.Units != k.Units || ev.Canary != k.Canary {
		h.gone(k, "")
		return
	}
	k.by[h.cfg.Self], k.fails, k.lacking = true, 0, tasks.Moment{}
}

// maxGone is how often in a row no replica had a committed blob, though all were there, before it is given up.
const maxGone = 10

// awayWait is how long a replica that is away is waited for where it alone may have a blob.
const awayWait = time.Minute

// gone takes note that no replica could supply a committed blob. After maxGone attempts the blob is given up, and its
// units run again. A replica that is away may have it, so the home waits for awayWait then, but no longer: a home
// that died just after others became its replicas may have been the only one with the blob, and may never come back.
// Here says that the attempt failed for this node's own disk.
func (h *Home) gone(k *keeping, here string) {
	if here != "" {
		k.fails, k.lacking = 0, tasks.Moment{}
		return
	}
	if k.fails++; k.lacking.Never() {
		k.lacking = tasks.At(h.now)
	}
	away := slices.ContainsFunc(h.replicas.ids, func(id tasks.PeerID) bool { return h.nodes.stale(id, h.now) })
	if away { // as long as one is away it is no matter how often the others have failed
		k.fails = 0
	}
	if k.fails >= maxGone || away && k.lacking.Past(awayWait, h.now) {
		k.fails, k.lacking = 0, tasks.Moment{}
		id := k.ID
		h.emit(Propose{Entry{Uncommit: &id}})
	}
}

// damaged has a committed blob brought here again before the result is made.
func (h *Home) damaged(id merge.ID) {
	if k := h.kept.find(id); k != nil {
		delete(k.by, h.cfg.Self)
		h.ending.ordered, h.kept.checked = false, tasks.Moment{}
	}
}

// isBad takes note of what is wrong with the blob of a committed partial.
func (h *Home) isBad(ev Event) {
	switch ev := ev.(type) {
	case Damaged:
		h.damaged(ev.ID)
	case Unusable:
		h.unusable(ev)
	}
}

// unusable takes a committed partial out of the record which cannot be merged, so that its units run again. What made
// it may be a node that lies, or whose memory is bad, and so the job is taken from that node if others are there; or it
// is the user's code, which nobody can tell from that by one partial.
func (h *Home) unusable(ev Unusable) {
	k := h.kept.find(ev.ID)
	if k == nil || k.unusable {
		return
	}
	k.unusable = true
	h.emit(Propose{Entry{Uncommit: &ev.ID}})
	h.spoilt(ev.ID.Node, ev.Reason)
}

// spoilt takes the job from a node that has handed in what cannot be merged, if others are there.
func (h *Home) spoilt(id tasks.PeerID, reason string) {
	n := h.nodes.byID[id]
	if n != nil && id != h.cfg.Self && n.shunned == "" && h.hopes(id) > 0 {
		n.spoilt = true
		h.shun(id, "what it handed in cannot be merged: "+reason)
	}
}

// KeepsAll reports whether this node keeps the blobs of all that is committed.
func (h *Home) KeepsAll() bool {
	return h.kept.every(func(k *keeping) bool { return k.by[h.cfg.Self] })
}

// Copied reports whether each committed blob is kept by another replica, too, so that the loss of this node loses none.
func (h *Home) Copied() bool {
	return h.kept.every(func(k *keeping) bool {
		return slices.ContainsFunc(h.replicas.ids, func(id tasks.PeerID) bool { return k.by[id] })
	})
}

// SafeWithout reports whether some replicas may go: this node keeps each committed blob, and with it a majority of the
// replicas that stay.
func (h *Home) SafeWithout(gone []tasks.PeerID) bool {
	stay := slices.DeleteFunc(slices.Clone(h.replicas.ids), func(id tasks.PeerID) bool {
		return slices.Contains(gone, id)
	})
	return h.kept.every(func(k *keeping) bool { return keptByMost(k, h.cfg.Self, stay) })
}
