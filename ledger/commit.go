package ledger

import (
	"slices"

	"github.com/dtpnode/dtpnode/internal/mutant"
	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// stored takes the word that a blob was fetched, and is here durably.
func (h *Home) stored(ev Stored) {
	if k := h.kept.find(ev.Partial.ID); k != nil {
		if k.answers(ev.Seq) {
			h.storedAgain(k, ev)
		}
		return
	}
	o := h.offers.find(ev.Partial.ID)
	if o == nil {
		h.emit(Release{To: h.cfg.Self, Partial: ev.Partial, Seq: h.kept.requests})
		return
	}
	if o.state != fetching || !o.answers(ev.Seq) {
		return
	}
	h.offers.changed, h.kept.failures, h.kept.failedFor = true, 0, ""
	delete(h.offers.unstored, o.ID)
	if ev.Units != o.Units || ev.Canary != o.Canary {
		h.vain(o, maxShady)
		h.emit(False{By: o.Holder})
		h.offers.drop(o.ID)
		h.reject(o.Partial)
		return
	}
	o.counted = true
	h.standings.of(o.Holder).cameAt = h.now
	if mutant.On(mutant.ForgetEarly) {
		h.emit(Accept{To: o.Holder, ID: o.ID})
	}
	o.by[h.cfg.Self] = true
	h.settle(o)
}

// settle proposes a commit when a quorum of the replicas keeps the blob.
func (h *Home) settle(o *offer) {
	kept := h.replicas.quorate(o.keeping) || mutant.On(mutant.KeepNothing)
	if o.state != fetching || !o.counted || !h.replicas.complete || !kept {
		return
	}
	if h.judge(o.Partial) != merge.Fresh {
		h.offers.drop(o.ID)
		h.offers.changed = true
		return
	}
	o.state, o.since = proposed, h.now
	h.propose(o)
}

// propose has an offer committed, once that is in the log.
func (h *Home) propose(o *offer) {
	p := o.Partial
	h.emit(Propose{Entry{Commit: &p}})
}

// committed follows the log, which has a commit: the record has admitted it, or has not, as v says.
func (h *Home) committed(p merge.Partial, v merge.Verdict, changed bool) {
	h.offers.commits++
	h.offers.changed = true
	o := h.offers.find(p.ID)
	h.offers.drop(p.ID)
	if !changed {
		if o != nil {
			h.answer(p, v)
		}
		return
	}
	k := newKeeping(p)
	if o != nil {
		k = o.keeping
		s := h.standings.of(p.Holder)
		s.shady, s.tardy = max(s.shady-1, 0), max(s.tardy-1, 0)
	}
	h.kept.add(k)
	h.standings.delivers(p, h.now)
	h.sample(p)
	if !h.rest.stale {
		h.rest.cover = h.rest.cover.Minus(p.Cover)
	}
	h.after(p)
	h.emit(Accept{To: p.Holder, ID: p.ID})
	h.acceptKids(p)
	h.overtake(p)
	h.blame.drop(func(s *suspect) bool {
		well := h.record.Done.Cover().Covers(tasks.CoverOf(s.Range))
		if well {
			h.standings.refute(s)
		}
		return well
	})
}

// overtake drops and answers the offers on their way to a commit that another commit has made void. Replicas free the
// blobs by themselves, since the record would not admit them.
func (h *Home) overtake(p merge.Partial) {
	for _, o := range slices.Clone(h.offers.all) {
		switch {
		case !o.Cover.Intersects(p.Cover):
		case o.state == fetching && h.judge(o.Partial) != merge.Fresh:
			h.offers.drop(o.ID)
		case o.state == reducing && h.record.Done.Cover().Covers(o.Cover): // it is committed by a merge already
			h.emit(Accept{To: o.Holder, ID: o.ID})
			h.offers.drop(o.ID)
		}
	}
}

// Needs reports whether the blob of a partial that this node has made must stay in its scratch folder, since it has yet
// to be copied from there to be kept for the ledger.
func (h *Home) Needs(id merge.ID) bool {
	o, k := h.offers.find(id), h.kept.find(id)
	coming := o != nil && (o.state == fetching || o.state == proposed)
	return coming || k != nil && !k.by[h.cfg.Self]
}

// acceptKids tells the holders of a committed merge's inputs to forget them.
func (h *Home) acceptKids(p merge.Partial) {
	for _, k := range p.Kids {
		if o := h.offers.find(k); o != nil && h.record.Done.Cover().Covers(o.Cover) {
			h.emit(Accept{To: o.Holder, ID: k})
			h.offers.drop(k)
			h.acceptKids(o.Partial)
		}
	}
}

// maxUnstored is how often a blob is fetched in vain before its partial is rejected, and how often in a row
// this node may fail to keep one before another leads; or the job is wound up, if there is none.
const maxUnstored = 5

// Full reports whether this node cannot keep blobs any more, so that another should lead.
func (h *Home) Full() bool { return h.kept.failures >= maxUnstored }

// FullReason tells why this node could not keep the last blobs; empty if it could.
func (h *Home) FullReason() string { return h.kept.failedFor }

// notStored takes the word that a fetch has failed.
func (h *Home) notStored(ev NotStored) {
	if k := h.kept.find(ev.Partial.ID); k != nil {
		switch {
		case !k.answers(ev.Seq):
		case ev.Flaw != "":
			h.unusable(Unusable{ID: k.ID, Reason: ev.Flaw})
		default:
			h.gone(k, ev.Here)
		}
		return
	}
	o := h.offers.find(ev.Partial.ID)
	switch {
	case o == nil || o.state != fetching || !o.answers(ev.Seq):
	case ev.Flaw != "":
		h.flawed(o, ev.Flaw)
	default:
		h.giveUp(o, ev.Here, ev.Slow)
	}
}

// flawed rejects an offer whose blob is none that could be committed. Whoever made it is not asked for more, if that is
// its holder: who has it from another may have been given it so.
func (h *Home) flawed(o *offer, reason string) {
	h.offers.changed = true
	h.offers.drop(o.ID)
	h.releaseAll(o.keeping)
	if o.ID.Node == o.Holder {
		h.spoilt(o.ID.Node, reason)
	}
	h.reject(o.Partial)
}

// giveUp ends the attempt to commit an offer whose blob could not be had. here is the reason if this node's own disk is
// to blame, and otherwise empty. Its holder may offer the partial again, but if that goes on the partial is rejected.
func (h *Home) giveUp(o *offer, here string, slow bool) {
	h.offers.changed = true
	h.offers.drop(o.ID)
	h.releaseAll(o.keeping)
	h.emit(Note{To: o.Holder, ID: o.ID})
	switch {
	case here != "":
		h.kept.failedFor = here
		h.kept.failures++
		nobodyElse := len(h.replicas.ids) == 0 || h.kept.failures >= 10*maxUnstored
		if h.kept.failures >= maxUnstored && nobodyElse && !h.record.Growth.grown() { // an open job waits for room

			h.stop("given up: the job's home could not keep results: " + here)
		}
	case !h.nodes.stale(o.Holder, h.now):
		h.vain(o, 1)
		if slow {
			h.tooSlowFrom(o.Holder, o.since)
		}
		if h.offers.neverStored(o.ID) {
			h.reject(o.Partial)
		}
	}
}
