package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// keeping tells which replicas keep a blob durably.
type keeping struct {
	merge.Partial
	by     map[tasks.PeerID]bool // this node among them
	asked  time.Duration         // when the others were last asked
	missed int                   // times that a replica could not get it though it is here
	first  uint64                // number of the first time; an answer to an earlier one is of a blob that was let go since
	fails  int                   // attempts in vain to have it here
	since  time.Duration         // when the first of them was, 0 for none
	here   bool                  // an attempt is under way
}

func newKeeping(p merge.Partial) *keeping {
	return &keeping{Partial: p, by: map[tasks.PeerID]bool{}}
}

// quorate reports whether a majority of the replicas keeps k, this node among them.
func (h *Home) quorate(k *keeping) bool {
	n := 0
	for _, id := range h.replicas {
		if k.by[id] {
			n++
		}
	}
	return k.by[h.cfg.Self] && n+1 > (len(h.replicas)+1)/2
}

// askToKeep asks those replicas for whom it is not known that they keep k.
func (h *Home) askToKeep(k *keeping) {
	k.asked = h.now
	h.asks++
	if k.first == 0 {
		k.first = h.asks
	}
	for _, id := range h.replicas {
		if !k.by[id] {
			h.emit(Keep{To: id, Partial: k.Partial, Sources: h.sources(k), Seq: h.asks})
		}
	}
}

func (h *Home) repeatKeep(k *keeping) {
	if h.now-k.asked >= h.cfg.Repeat {
		h.askToKeep(k)
	}
}

// sources are the replicas that keep k, this node first.
func (h *Home) sources(k *keeping) (ids []tasks.PeerID) {
	if k.by[h.cfg.Self] {
		ids = append(ids, h.cfg.Self)
	}
	for _, id := range h.replicas {
		if k.by[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *Home) findKeep(id merge.ID) *keeping {
	return h.keptAs[id]
}

func (h *Home) addKeep(k *keeping) {
	h.keeps, h.keptAs[k.ID] = append(h.keeps, k), k
	h.keptBytes += k.Size
}

// keptBy takes a replica's word that it keeps something.
func (h *Home) keptBy(ev Kept) {
	if !ev.OK {
		switch {
		case !slices.Contains(h.replicas, ev.From):
		case ev.Full:
			h.crammed[ev.From]++
		default:
			h.notHad(ev.ID)
		}
		return
	}
	delete(h.crammed, ev.From)
	if ev.ID == (merge.ID{}) {
		if h.result != nil && ev.SHA256 == h.final.SHA256 {
			h.result.by[ev.From] = true
			h.settleResult()
		}
		return
	}
	if !slices.Contains(h.replicas, ev.From) {
		return
	}
	switch k := h.keepingOf(ev.ID); {
	case k == nil || k.first == 0 && h.findKeep(ev.ID) == nil: // given up since; should it be offered again, it is asked for again
		h.asks++
		h.emit(Release{To: ev.From, Partial: merge.Partial{ID: ev.ID}, Seq: h.asks})
	case ev.Seq >= k.first && k.first > 0:
		k.by[ev.From] = true
		if o := h.findOffer(ev.ID); o != nil {
			h.settle(o)
		}
		h.settleFold()
	}
}

// maxMissed is how often replicas may fail to get a blob that this node has, before it is brought here anew.
const maxMissed = 10

// notHad takes note that a replica could not get the blob of an offer or a fold, though it is here: it may have been damaged
// here since. An offer is given up then; if its holder still has it, it is offered again, and else its units run again. So is
// a fold, whose inputs are as they were.
func (h *Home) notHad(id merge.ID) {
	if f := h.fold; f != nil && f.keeping != nil && f.ID == id && !f.proposed {
		if f.missed++; f.missed >= maxMissed {
			h.letGo(f.keeping)
			h.foldFailed()
		}
		return
	}
	o := h.findOffer(id)
	if o == nil || o.state != fetching || !o.counted {
		return
	}
	if o.missed++; o.missed >= maxMissed {
		h.dirty = true
		h.dropOffer(id)
		h.letGo(o.keeping)
		h.emit(Note{To: o.Holder, ID: id})
	}
}

// keepingOf finds what is known of a blob that is committed or on its way to it, nil for none.
func (h *Home) keepingOf(id merge.ID) *keeping {
	if k := h.findKeep(id); k != nil {
		return k
	}
	if o := h.findOffer(id); o != nil {
		return o.keeping
	}
	if f := h.fold; f != nil && f.keeping != nil && f.ID == id {
		return f.keeping
	}
	return nil
}

// letGo has the replicas that keep a blob for a commit free it: the commit is given up.
func (h *Home) letGo(k *keeping) {
	h.asks++
	h.emit(Release{To: h.cfg.Self, Partial: k.Partial, Seq: h.asks})
	for _, id := range h.replicas {
		if k.by[id] {
			h.emit(Release{To: id, Partial: k.Partial, Seq: h.asks})
		}
	}
}

// replicasAre follows the replica set. One that leaves it deletes what it keeps, and is asked anew when it is back,
// be it at once: one that lost its disk is there again as another member.
func (h *Home) replicasAre(ev Replicas) {
	now := map[tasks.PeerID]uint64{}
	for i, id := range ev.IDs {
		now[id] = ev.Members[i]
	}
	for _, id := range ev.IDs {
		if h.resumed {
			h.missed(id)
		}
	}
	h.resumed = false
	was := h.memberAs
	h.memberAs = now
	for _, id := range h.replicas {
		if member, stays := now[id]; stays && member == was[id] {
			continue
		}
		for _, k := range h.keeps {
			delete(k.by, id)
		}
		for _, o := range h.offers {
			delete(o.by, id)
		}
		if h.fold != nil && h.fold.keeping != nil {
			delete(h.fold.by, id)
		}
		if h.result != nil {
			delete(h.result.by, id)
		}
		delete(h.crammed, id)
	}
	h.replicas, h.staffed = ev.IDs, ev.Ready
	h.settleAll()
}

// maxCrammed is how often in a row a replica fails to write a blob before another takes its place.
const maxCrammed = 3

// Crammed reports whether a replica's disk takes no blobs any more, though it may still take the log.
func (h *Home) Crammed(id tasks.PeerID) bool { return h.crammed[id] >= maxCrammed }

// settleAll looks again at what waits for replicas, as these have changed.
func (h *Home) settleAll() {
	for _, o := range slices.Clone(h.offers) {
		if o.state == fetching {
			h.askToKeep(o.keeping)
		}
		h.settle(o)
	}
	if h.fold != nil && h.fold.keeping != nil {
		h.askToKeep(h.fold.keeping)
	}
	h.settleFold()
	h.spreadAt = 0
	h.settleResult()
}

// maxSpread is how many committed blobs are brought here at once, and how many are asked for of the replicas.
const maxSpread = 32

// spread sees to it that this node and the others keep all that is committed: the home may be new, or a
// replica.
func (h *Home) spread() {
	if h.spreadAt > 0 && h.now-h.spreadAt < h.cfg.Audit {
		return
	}
	h.spreadAt = max(h.now, 1)
	fetches, asks := 0, 0
	for _, k := range h.keeps {
		switch {
		case !k.by[h.cfg.Self]:
			if fetches++; !k.here && fetches <= maxSpread {
				k.here = true
				h.emit(Fetch{Partial: k.Partial, Sources: h.whoever(k)})
			}
		case asks < maxSpread && h.now-k.asked >= h.cfg.Repeat && h.lacking(k):
			asks++
			h.askToKeep(k)
		}
	}
	if h.result != nil && h.now-h.result.asked >= h.cfg.Repeat {
		h.askForResult()
	}
}

// lacking reports whether some replica that is there is not known to keep k.
func (h *Home) lacking(k *keeping) bool {
	return slices.ContainsFunc(h.replicas, func(id tasks.PeerID) bool { return !k.by[id] && !h.silent(id) })
}

// others are all replicas beside this node: after a change of homes nobody knows who keeps what.
func (h *Home) others() []tasks.PeerID { return slices.Clone(h.replicas) }

// storedAgain takes note that a committed blob is here, as it must be; or is not what was committed.
func (h *Home) storedAgain(k *keeping, ev Stored) {
	k.here = false
	if ev.Units != k.Units || ev.Canary != k.Canary {
		h.gone(k, "")
		return
	}
	k.by[h.cfg.Self], k.fails, k.since = true, 0, 0
}

// maxGone is how often in a row no replica had a committed blob, though all were there, before it is given up.
const maxGone = 10

// awayWait is how long a replica that is away is waited for where it alone may have a blob.
const awayWait = time.Minute

// gone gives a committed blob up that no replica has whole any more: its units run again. A replica that is away may
// have it, and comes back perhaps; but a home that dies just after others became its replicas may have been the only
// one that had it, and the job must not wait for that one for ever. Here says that this node is the one to blame.
func (h *Home) gone(k *keeping, here string) {
	k.here = false
	if here != "" {
		k.fails, k.since = 0, 0
		return
	}
	if k.fails++; k.since == 0 {
		k.since = max(h.now, 1)
	}
	away := slices.ContainsFunc(h.replicas, func(id tasks.PeerID) bool { return h.silent(id) })
	if away { // those that are there are asked anew when it is back
		k.fails = 0
	}
	if k.fails >= maxGone || away && h.now-k.since >= awayWait {
		k.fails, k.since = 0, 0
		id := k.ID
		h.emit(Propose{Entry{Uncommit: &id}})
	}
}

// damaged has a committed blob brought here again before the result is made.
func (h *Home) damaged(id merge.ID) {
	if k := h.findKeep(id); k != nil {
		delete(k.by, h.cfg.Self)
		h.told, h.spreadAt = false, 0
	}
}

// applied follows the log.
func (h *Home) applied(ev Applied) {
	e := ev.Entry
	switch {
	case e.Commit != nil:
		h.committed(*e.Commit, ev.Verdict, ev.Changed)
	case e.Fold != nil:
		h.foldApplied(*e.Fold, ev.Changed)
	case e.Uncommit != nil && ev.Changed:
		h.dropKeeps([]merge.ID{*e.Uncommit})
		h.checkFold()
		h.restOld, h.told, h.endAt = true, false, 0
	case e.Lost != nil:
		h.asideNow(*e.Lost)
	case e.Stop != nil && ev.Changed:
		h.windUp()
	case e.End != nil && ev.Changed:
		h.endAt = 0
	case (e.Attempt != nil || e.Retry != nil) && ev.Changed:
		h.told = false
	case e.Result != nil && ev.Changed:
		h.emit(Over{Spares: h.spares()})
	}
}

// KeepsAll reports whether all that is committed is kept here.
func (h *Home) KeepsAll() bool {
	return !slices.ContainsFunc(h.keeps, func(k *keeping) bool { return !k.by[h.cfg.Self] })
}

// Copied reports whether another replica keeps all that is committed: the job loses none of it with this node.
func (h *Home) Copied() bool {
	return !slices.ContainsFunc(h.keeps, func(k *keeping) bool {
		return !slices.ContainsFunc(h.replicas, func(id tasks.PeerID) bool { return k.by[id] })
	})
}

// SafeWithout reports whether a majority of the replicas that stay keeps all that is committed, this node among
// them: the others may go with what they keep.
func (h *Home) SafeWithout(gone []tasks.PeerID) bool {
	stay := slices.DeleteFunc(slices.Clone(h.replicas), func(id tasks.PeerID) bool { return slices.Contains(gone, id) })
	return !slices.ContainsFunc(h.keeps, func(k *keeping) bool {
		n := 0
		for _, id := range stay {
			if k.by[id] {
				n++
			}
		}
		return !k.by[h.cfg.Self] || n+1 <= (len(stay)+1)/2
	})
}

// finish has the result made once all that is committed is here.
func (h *Home) finish() {
	if h.told || !h.KeepsAll() || !h.MayTry(h.cfg.Self) {
		return
	}
	h.told = true
	h.emit(Finish{Lost: h.record.Lost})
}

// finished has the result kept by a quorum, and then written to the log.
func (h *Home) finished(r Result) {
	h.final, h.finalAt = r, h.now
	h.result = newKeeping(merge.Partial{})
	h.result.by[h.cfg.Self] = true
	h.askForResult()
}

// spareWait is how long the end of a job waits for a second copy of its result, where no quorum asks for one.
const spareWait = 5 * time.Second

// holders are the nodes beside this one that shall keep the result: the replicas, and where there are none any
// node that works, so that the result survives the loss of one holder.
func (h *Home) holders() []tasks.PeerID {
	ids := slices.Clone(h.replicas)
	for _, id := range h.order {
		if n := h.nodes[id]; len(h.replicas) == 0 && len(ids) < 2 && id != h.cfg.Self && n.heard && n.report.Ready && !n.report.Leaving {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *Home) askForResult() {
	h.result.asked = h.now
	if h.final.SHA256 != "" {
		for _, id := range h.holders() {
			if !h.result.by[id] {
				h.emit(KeepResult{To: id, Result: h.final})
			}
		}
	}
	h.settleResult()
}

// spared reports whether the result has a second copy, or none can be had.
func (h *Home) spared() bool {
	return len(h.result.by) > 1 || len(h.holders()) == 0 || h.now-h.finalAt >= spareWait
}

func (h *Home) settleResult() {
	if h.result != nil && h.record.Result == nil && (h.final.SHA256 == "" || h.quorate(h.result) && h.spared()) {
		r := h.final
		h.emit(Propose{Entry{Result: &r}})
	}
}

// spares are the nodes that keep the result and no copy of the ledger: they hear of the end from the home alone.
func (h *Home) spares() (ids []tasks.PeerID) {
	for _, id := range h.order {
		if h.result != nil && h.result.by[id] && id != h.cfg.Self && !slices.Contains(h.replicas, id) {
			ids = append(ids, id)
		}
	}
	return ids
}
