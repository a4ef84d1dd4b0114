package ledger

import (
	"cmp"
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

type offerState int

const (
	waiting  offerState = iota
	fetching            // its blob is on the way here
	reducing            // input of a merge on node at
)

// offer is a partial that a node holds and wants committed.
type offer struct {
	merge.Partial
	state offerState
	at    tasks.PeerID
	since time.Duration
}

func (h *Home) findOffer(id merge.ID) *offer {
	for _, o := range h.offers {
		if o.ID == id {
			return o
		}
	}
	return nil
}

func (h *Home) dropOffer(id merge.ID) {
	h.offers = slices.DeleteFunc(h.offers, func(o *offer) bool { return o.ID == id })
}

func (h *Home) offered(p merge.Partial) {
	if h.findOffer(p.ID) != nil {
		return
	}
	if h.judge(p) == merge.Fresh {
		h.offers = append(h.offers, &offer{Partial: p, since: h.now})
	}
}

// judge applies R3 and answers all offers but fresh ones.
func (h *Home) judge(p merge.Partial) merge.Verdict {
	v := h.record.Done.Judge(p, h.want)
	if v == merge.Fresh && h.lostCover().Intersects(p.Cover) {
		// Set aside by three failures, and yet somebody did it: the result counts.
		h.reclaim(p.Cover)
	}
	switch v {
	case merge.Duplicate:
		h.emit(Accept{To: p.Holder, ID: p.ID})
	case merge.Overlap, merge.Wrong:
		h.freeKids(p)
		h.emit(Reject{To: p.Holder, ID: p.ID})
	}
	return v
}

// freeKids lets the inputs of a rejected merge go their own ways.
func (h *Home) freeKids(p merge.Partial) {
	for _, k := range p.Kids {
		if o := h.findOffer(k); o != nil && o.state == reducing {
			o.state = waiting
		}
	}
}

// reclaim takes units off the list of lost ones.
func (h *Home) reclaim(c tasks.Cover) {
	var keep []Lost
	for _, l := range h.record.Lost {
		for _, r := range tasks.CoverOf(l.Range).Minus(c) {
			l.Range = r
			keep = append(keep, l)
		}
	}
	h.record.Lost, h.restOld = keep, true
}

// plan fetches waiting offers, or has them merged on the nodes first where there are many: the
// smallest first, on the node that holds the largest of them.
func (h *Home) plan() {
	h.expireReductions()
	var ready []*offer
	busy := 0
	for _, o := range h.offers {
		switch o.state {
		case waiting:
			ready = append(ready, o)
		case fetching:
			busy++
		}
	}
	slices.SortStableFunc(ready, func(a, b *offer) int { return cmp.Compare(a.Size, b.Size) })
	for len(ready) > merge.FanIn {
		h.reduce(ready[:merge.FanIn])
		ready = ready[merge.FanIn:]
	}
	for _, o := range ready {
		if o.state == waiting && busy < h.cfg.Fetches {
			o.state = fetching
			busy++
			h.emit(Fetch{Partial: o.Partial})
		}
	}
}

func (h *Home) reduce(group []*offer) {
	in := make([]merge.Partial, len(group))
	for i, o := range group {
		in[i] = o.Partial
	}
	if merge.Disjoint(in) != nil {
		return // they go one by one, and the commit decides
	}
	at := group[len(group)-1].Holder
	for _, o := range group {
		o.state, o.at, o.since = reducing, at, h.now
	}
	h.emit(Reduce{To: at, Inputs: in})
}

func (h *Home) expireReductions() {
	for _, o := range h.offers {
		if o.state == reducing && h.now-o.since > h.cfg.ReduceWait {
			o.state = waiting
		}
	}
}

// stored commits, or finds that another partial was faster.
func (h *Home) stored(ev Stored) {
	o := h.findOffer(ev.ID)
	if o == nil || o.state != fetching {
		return
	}
	h.dropOffer(o.ID)
	if ev.Units != o.Units || ev.Canary != o.Canary {
		h.emit(Reject{To: o.Holder, ID: o.ID})
		return
	}
	if h.judge(o.Partial) != merge.Fresh {
		return
	}
	h.record.Done.Commit(o.Partial)
	h.restOld = true
	h.emit(Accept{To: o.Holder, ID: o.ID})
	h.acceptKids(o.Partial)
	h.suspects = slices.DeleteFunc(h.suspects, func(s *suspect) bool {
		return h.record.Done.Cover().Covers(tasks.CoverOf(s.Range))
	})
}

// acceptKids tells the holders of a committed merge's inputs to forget them.
func (h *Home) acceptKids(p merge.Partial) {
	for _, k := range p.Kids {
		if o := h.findOffer(k); o != nil {
			h.emit(Accept{To: o.Holder, ID: k})
			h.dropOffer(k)
		}
	}
}

func (h *Home) notStored(id merge.ID) {
	if o := h.findOffer(id); o != nil {
		h.dropOffer(id) // the holder offers it again, if it lives
	}
}
