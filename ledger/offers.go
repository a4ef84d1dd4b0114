package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// offers are the partials that nodes hold and want committed, from the time when they come in until they are committed,
// rejected, withdrawn or given up. byID has exactly the offers of all, and load counts those of each holder.
type offers struct {
	all      []*offer // in the order in which they came
	byID     map[merge.ID]*offer
	load     map[tasks.PeerID]load
	rejected map[merge.ID]bool // partials that were rejected; at most maxRejected
	unstored map[merge.ID]int  // how often a blob could not be had although its holder was there
	orders   []*order          // orders to reduce that are not known to be carried out

	changed  bool          // something has changed since plan last ran
	commits  int64         // how many commits of the log were applied: an offer is judged anew if there were some since
	planned  time.Duration // when plan last ran
	repeated time.Duration // when orders were last looked after
}

// offer is a partial that a node holds and wants committed.
type offer struct {
	*keeping
	state   offerState
	at      tasks.PeerID  // the node that is to merge it, if it is reducing
	since   time.Duration // when that state began; or when it was last proposed, or found in a merge that waits
	counted bool          // its blob is here, and counts what was offered
	vain    int           // how many merges of it were ordered and have failed
	apart   time.Duration // until when it is left out of merges for that
	judged  int64         // the number of commits that were applied when it was last judged
}

type offerState int

const (
	waiting  offerState = iota
	fetching            // its blob is on the way here, and to the other replicas
	reducing            // it is the input of a merge that a node was ordered to make
	proposed            // its commit is on its way through the log
)

// order is an order to reduce. It is repeated until its inputs are committed, or the order is given up.
type order struct {
	to     tasks.PeerID
	inputs []merge.Partial
	asked  time.Duration
}

// load is how many offers of a node are open, and how many ranges their covers have.
type load struct{ offers, ranges int }

func newOffers() offers {
	return offers{
		byID:     map[merge.ID]*offer{},
		load:     map[tasks.PeerID]load{},
		rejected: map[merge.ID]bool{},
		unstored: map[merge.ID]int{},
	}
}

// find is the open offer of a partial, nil for none.
func (os *offers) find(id merge.ID) *offer { return os.byID[id] }

func (os *offers) add(o *offer) {
	os.all, os.byID[o.ID] = append(os.all, o), o
	l := os.load[o.Holder]
	os.load[o.Holder] = load{l.offers + 1, l.ranges + len(o.Cover)}
	os.changed = true
}

func (os *offers) drop(id merge.ID) {
	if os.byID[id] != nil {
		os.dropAll(func(o *offer) bool { return o.ID == id })
	}
}

func (os *offers) dropAll(which func(*offer) bool) {
	os.all = slices.DeleteFunc(os.all, func(o *offer) bool {
		gone := which(o)
		if gone {
			l := os.load[o.Holder]
			os.load[o.Holder] = load{l.offers - 1, l.ranges - len(o.Cover)}
			delete(os.byID, o.ID)
		}
		return gone
	})
}

// full reports whether p's holder has as many open offers as it may.
func (os *offers) full(p merge.Partial) bool {
	l := os.load[p.Holder]
	return l.offers >= maxOffers || l.ranges+len(p.Cover) > maxOffered
}

// merged are the offers whose merge is offered, too, by the node that was ordered to make it. Merges of shady nodes do
// not count.
func (os *offers) merged(by standings) map[merge.ID]bool {
	ids := map[merge.ID]bool{}
	for _, m := range os.all {
		if by.shady(m.Holder) {
			continue
		}
		for _, k := range m.Kids {
			if o := os.find(k); o != nil && o.state == reducing && o.at == m.Holder {
				ids[k] = true
			}
		}
	}
	return ids
}

// neverStored notes that a blob could not be had, and reports whether that has happened so often that its offer is to
// be rejected.
func (os *offers) neverStored(id merge.ID) bool {
	if len(os.unstored) >= maxRejected { // most are of offers that were withdrawn
		clear(os.unstored)
	}
	if os.unstored[id]++; os.unstored[id] < maxUnstored {
		return false
	}
	delete(os.unstored, id)
	return true
}

// offered takes a partial that a node wants committed.
func (h *Home) offered(p merge.Partial) {
	if n := h.nodes.byID[p.Holder]; n != nil {
		n.last = h.now
	}
	if h.offers.find(p.ID) != nil {
		h.emit(Note{To: p.Holder, ID: p.ID, Known: true})
		return
	}
	if h.offers.rejected[p.ID] { // the answer was lost; what was to be run again for that is at work already
		h.emit(Reject{To: p.Holder, ID: p.ID})
		return
	}
	if n := h.nodes.byID[p.ID.Node]; n != nil && n.spoilt {
		h.reject(p)
		return
	}
	fitsNoEntry := len(p.Kids) > 0 && len(p.Cover) > merge.MaxFragments
	if p.Size < 0 || p.Size > merge.MaxSize || fitsNoEntry {
		h.reject(p)
		return
	}
	if p.Holder != h.cfg.Self && h.offers.full(p) {
		return // its holder repeats the offer
	}
	if h.judge(p) == merge.Fresh && h.explained(p) {
		h.admit(p)
	}
}

// admit takes an offer that may be committed.
func (h *Home) admit(p merge.Partial) {
	if p.Holder == h.cfg.Self { // other nodes may be given it to merge from now on
		h.Granted(p.Cover)
	}
	h.offers.add(&offer{keeping: newKeeping(p), since: h.now, judged: h.offers.commits})
	h.emit(Note{To: p.Holder, ID: p.ID, Known: true})
}

// judge applies R3 to an offer. It answers the offer unless that is fresh.
func (h *Home) judge(p merge.Partial) merge.Verdict {
	v := h.record.Done.Judge(p, h.record.Want)
	h.answer(p, v)
	return v
}

// answer tells a holder what has become of its partial, unless that has yet to be decided.
func (h *Home) answer(p merge.Partial, v merge.Verdict) {
	switch v {
	case merge.Duplicate:
		h.compare(p)
		h.counts.Duplicates++
		h.emit(Accept{To: p.Holder, ID: p.ID})
	case merge.Overlap, merge.Wrong:
		h.reject(p)
	}
}

// maxRejected bounds how many rejections, and blobs that could not be had, are remembered.
const maxRejected = 1 << 16

// reject rejects a partial. The inputs of a merge are offers of their own again; units of a partial without inputs that
// nobody else has are put to work again.
func (h *Home) reject(p merge.Partial) {
	h.noteRejected(p)
	if len(p.Kids) > 0 {
		h.counts.Exploded++
		h.offers.freeKids(p, h.now)
	} else if p.Cover.Valid(h.record.Want) {
		h.rerun(p)
	}
}

func (h *Home) noteRejected(p merge.Partial) {
	if len(h.offers.rejected) >= maxRejected {
		clear(h.offers.rejected)
	}
	h.offers.rejected[p.ID] = true
	h.counts.Rejected++
	h.emit(Reject{To: p.Holder, ID: p.ID})
}

// rerun puts those units of p to work again that are neither committed nor held by others.
func (h *Home) rerun(p merge.Partial) {
	rest := p.Cover.Intersect(h.open())
	for id, n := range h.nodes.byID {
		if id != p.Holder {
			rest = rest.Minus(h.has(id, n)) // only what is believed: a liar may claim units to keep them from being run
		}
	}
	for _, o := range h.offers.all {
		if o.ID != p.ID { // p may still be among the offers
			rest = rest.Minus(o.Cover)
		}
	}
	for _, s := range h.blame.suspects {
		rest = rest.Minus(tasks.Cover{s.Range})
	}
	h.reissue(rest)
}

// freeKids makes the inputs of a rejected merge offers of their own again.
func (os *offers) freeKids(p merge.Partial, now time.Duration) {
	for _, k := range p.Kids {
		if o := os.find(k); o != nil && o.state == reducing {
			os.setApart(o, now)
		}
	}
}
