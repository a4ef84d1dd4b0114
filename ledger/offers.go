package ledger

import (
	"slices"
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// offers are the partials that nodes hold and want committed, from the time when they come in until they are committed,
// rejected, withdrawn or given up. byID holds exactly those of all, and load what each holder has of them.
type offers struct {
	all      []*offer // in the order in which they came
	byID     map[merge.ID]*offer
	load     map[tasks.PeerID]load
	rejected map[merge.ID]bool // partials that were rejected before; bounded by maxRejected
	unstored map[merge.ID]int  // how often a blob could not be had, though its holder was there
	orders   []*order          // to reduce, not seen carried out

	changed  bool          // since they were last planned for
	commits  int64         // entries that were applied: an offer was judged before or after some
	planned  time.Duration // when they were last planned for
	repeated time.Duration // when orders were last looked after
}

// offer is a partial that a node holds and wants committed.
type offer struct {
	*keeping
	state   offerState
	at      tasks.PeerID  // which node is to merge it, where it is reducing
	since   time.Duration // in that state; or when it was last proposed or found in a merge that waits
	counted bool          // its blob is here and counts what it should
	vain    int           // merges of it that were ordered and failed
	apart   time.Duration // until when it goes by itself for that
	judged  int64         // when so many commits were applied
}

type offerState int

const (
	waiting  offerState = iota
	fetching            // its blob is on the way here, and to the other replicas
	reducing            // input of a merge on node at
	proposed            // the commit is on its way through the log
)

// order is an order to reduce, repeated until its inputs are committed or free again.
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

// full reports whether a node has as many offers open as it may, with another.
func (os *offers) full(p merge.Partial) bool {
	l := os.load[p.Holder]
	return l.offers >= maxOffers || l.ranges+len(p.Cover) > maxOffered
}

// merged are the offers of which a merge, made by who was ordered to, is offered too; not by nodes that are shady.
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

// neverStored notes that a blob could not be had, and reports whether that was so often that it is waited for no more.
func (os *offers) neverStored(id merge.ID) bool {
	if len(os.unstored) >= maxRejected { // of offers that were withdrawn, mostly
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
	if h.offers.rejected[p.ID] { // its answer was lost; what it lacks is at work again already
		h.emit(Reject{To: p.Holder, ID: p.ID})
		return
	}
	fitsNoEntry := len(p.Kids) > 0 && len(p.Cover) > merge.MaxFragments
	if p.Size < 0 || p.Size > merge.MaxSize || fitsNoEntry {
		h.reject(p)
		return
	}
	if p.Holder != h.cfg.Self && h.offers.full(p) {
		return // it is offered again
	}
	if h.judge(p) == merge.Fresh && h.explained(p) {
		h.admit(p)
	}
}

// admit takes an offer that may be committed.
func (h *Home) admit(p merge.Partial) {
	if p.Holder == h.cfg.Self { // others may merge it from now on
		h.Granted(p.Cover)
	}
	h.offers.add(&offer{keeping: newKeeping(p), since: h.now, judged: h.offers.commits})
	h.emit(Note{To: p.Holder, ID: p.ID, Known: true})
}

// judge applies R3 and answers all offers but fresh ones.
func (h *Home) judge(p merge.Partial) merge.Verdict {
	v := h.record.Done.Judge(p, h.record.Want)
	h.answer(p, v)
	return v
}

// answer tells a holder what became of its partial, unless that is open.
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

// maxRejected bounds the memory of rejections, and of blobs that could not be had.
const maxRejected = 1 << 16

// reject lets a partial's inputs go their own ways, and puts to work again what is lost with one that
// has none.
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

// rerun reissues what of p is neither committed nor held by others.
func (h *Home) rerun(p merge.Partial) {
	rest := p.Cover.Intersect(h.open())
	for id, n := range h.nodes.byID {
		if id != p.Holder {
			rest = rest.Minus(h.has(id, n)) // not all that a liar claims: it would be told as its own next
		}
	}
	for _, o := range h.offers.all {
		if o.ID != p.ID { // which is among them yet if it was fresh once
			rest = rest.Minus(o.Cover)
		}
	}
	for _, s := range h.blame.suspects {
		rest = rest.Minus(tasks.Cover{s.Range})
	}
	h.reissue(rest)
}

// freeKids lets the inputs of a rejected merge go their own ways.
func (os *offers) freeKids(p merge.Partial, now time.Duration) {
	for _, k := range p.Kids {
		if o := os.find(k); o != nil && o.state == reducing {
			os.setApart(o, now)
		}
	}
}
