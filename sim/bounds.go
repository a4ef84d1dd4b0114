package sim

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/engine"
	"github.com/dtpnode/dtpnode/ledger"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/wire"
)

// foldProposed checks a proposed entry that replaces committed parts by their merge.
func (w *world) foldProposed(n *node, p merge.Partial, quorum int) {
	if w.asked[p.ID] {
		return
	}
	w.asked[p.ID] = true
	w.noteFold(p)
	have := w.count(func(d *disk) bool { return d.kept[p.ID].sha == p.SHA256 })
	if have < quorum && !w.harmed[p.ID] {
		w.fail("%s proposes to fold into %v, which %d replicas keep", n.id, p.ID, have)
	}
	w.res.Folds++
}

// noteFold notes which parts a fold replaces.
func (w *world) noteFold(p merge.Partial) {
	for _, k := range p.Kids {
		if !slices.Contains(w.into[k], p.ID) {
			w.into[k] = append(w.into[k], p.ID)
		}
	}
}

// noteFolds notes the folds in entries that are written to a log.
func (w *world) noteFolds(e engine.WriteLedger) {
	for _, raw := range e.Entries {
		var entry ledger.Entry
		if len(raw.Data) > 0 && raw.Kind == 0 && wire.Unmarshal(raw.Data, &entry) == nil && entry.Fold != nil {
			w.noteFold(*entry.Fold)
		}
	}
}

// inResult reports whether a part is in the result, itself or in a fold, or was given up.
func (w *world) inResult(id merge.ID, parts []merge.ID) bool {
	return w.leadsTo(id, parts, map[merge.ID]bool{})
}

// leadsTo is inResult but for the ids that were looked at already: where a planted bug gives an id twice, folds may
// lead in a circle.
func (w *world) leadsTo(id merge.ID, parts []merge.ID, looked map[merge.ID]bool) bool {
	if looked[id] {
		return false
	}
	looked[id] = true
	return w.given[id] || slices.Contains(parts, id) || slices.ContainsFunc(w.into[id], func(f merge.ID) bool {
		return w.leadsTo(f, parts, looked)
	})
}

// freed removes a blob from a node's disk.
func (w *world) freed(n *node, e engine.FreeBlob) {
	w.mayFree(n, e.Partial.ID)
	n.disk.drop(w, e.Partial.ID)
}

// mayFree checks the rule that package engine gives (held) when a node frees a blob: the node's own record must not
// have the blob. If the newest record has it, a quorum of the replicas must still keep it, and the node must not have
// promised it to the home of this term, which counts on that. An outdated copy may free what it kept for an earlier
// home, even if that is committed.
func (w *world) mayFree(n *node, id merge.ID) {
	b, kept := n.disk.kept[id]
	if !kept || !w.hostile() || w.ended || !n.honest || !w.honestHome() {
		return
	}
	in := func(v engine.LedgerView) bool {
		return slices.ContainsFunc(v.Parts, func(p merge.Partial) bool { return p.ID == id && p.SHA256 == b.sha })
	}
	if own, ok := n.peer.Ledger(w.id); ok && in(own) {
		w.fail("%s frees %v, which is in its record", n.id, id)
	}
	v := w.newest()
	if !in(v) {
		return
	}
	if n.disk.word[id] >= v.Term {
		w.fail("%s frees %v, which is committed, and on which the home of term %d has its word", n.id, id, v.Term)
	}
	keep, voter := 0, false
	for _, m := range v.Voters {
		o := w.nodes[w.index[m.Peer]]
		if o != n && (o.disk.kept[id].sha == b.sha || o.twin != nil && o.twin != n && o.twin.disk.kept[id].sha == b.sha) {
			keep++
		}
		voter = voter || o == n
	}
	if voter && keep < len(v.Voters)/2+1 && !w.harmed[id] {
		w.fail("%s frees %v, which is committed, and %d of %d replicas keep it then", n.id, id, keep, len(v.Voters))
	}
	w.res.Refetch++
}

// newest is the copy of the ledger that has applied the most entries.
func (w *world) newest() (newest engine.LedgerView) {
	for _, n := range w.nodes {
		for _, p := range []*node{n, n.twin} {
			if p == nil || !p.up || !p.honest {
				continue
			}
			if v, ok := p.peer.Ledger(w.id); ok && w.counts(v) && v.Applied >= newest.Applied {
				newest = v
			}
		}
	}
	return newest
}

// spareBlobs is how many blobs a disk may have beside those of committed parts: those that are about to be committed,
// and those of earlier homes that never were.
const spareBlobs = 40

// heavyWithin is how long a disk may have more than three times the result's bytes in a run with faults: blobs that
// homes asked to keep in vain are freed at the next commit, and an outdated copy of the ledger has to catch up. Time
// without a majority does not count, since a copy cannot catch up then, nor does time in which the node stands still.
const heavyWithin = 30 * time.Second

// mendWithin is heavyWithin in a run with faults, else 0.
func (w *world) mendWithin() time.Duration {
	if !w.cfg.gentle() || w.cfg.Drop+w.cfg.Delay+w.cfg.Repeat > 0 {
		return heavyWithin
	}
	return 0
}

// lookAtDisks does watch's checks of the disks in a run without faults.
func (w *world) lookAtDisks() {
	w.bounded()
	if !w.ended {
		w.after(w.cfg.Watch, w.lookAtDisks)
	}
}

// bounded checks what each replica keeps against the bounds that package ledger promises.
func (w *world) bounded() {
	most, floor := w.cfg.Folding.MaxBlobs, w.cfg.Folding.FoldFloor
	if most == 0 {
		most = 64
	}
	if floor == 0 {
		floor = 16 << 20
	}
	for _, n := range w.nodes {
		if n.disk.log == nil || !n.up || w.ended {
			continue
		}
		v, ok := n.peer.Ledger(w.id)
		if !ok {
			continue
		}
		w.res.MostParts = max(w.res.MostParts, len(v.Parts))
		w.res.MostBytes = max(w.res.MostBytes, n.disk.bytes)
		if len(v.Parts) > most {
			w.fail("%s has %d committed parts, more than %d", n.id, len(v.Parts), most)
		}
		if len(n.disk.kept) > most+spareBlobs {
			w.fail("%s keeps %d blobs of %d committed parts", n.id, len(n.disk.kept), len(v.Parts))
		}
		result := w.cfg.Flat + w.cfg.PerUnit*v.Committed.Len()
		still := n.paused > w.now
		if w.cfg.Flat+w.cfg.PerUnit == 0 || n.disk.bytes <= 3*max(result, floor) || !v.Majority || still {
			delete(w.heavy, n)
			continue
		}
		if _, known := w.heavy[n]; !known {
			w.heavy[n] = w.now
		}
		if w.now-w.heavy[n] >= w.mendWithin() {
			w.fail("%s keeps %d bytes of %d blobs, of a result of %d so far, since %v", n.id, n.disk.bytes, len(n.disk.kept),
				result, w.heavy[n])
		}
	}
}
