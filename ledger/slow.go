package ledger

import (
	"time"

	"github.com/dtpnode/dtpnode/merge"
	"github.com/dtpnode/dtpnode/tasks"
)

// A node may hand out the blobs that it offers so slowly that the home gives the fetch up. Whether it lies or has a
// bad link, the job waits for that once. From then on the node is tardy:
//
//   - it is shady, so that its offers are fetched last and one at a time;
//   - others run what it holds as soon as they have nothing else to do;
//   - it is given hardly any work of others.
//
// It goes on with its own work, and what it delivers before others have done it counts. So a node with a bad link
// costs the job no more than what that node would have done. It is trusted again once it has delivered; each time
// that it becomes tardy again it must deliver twice as often for that.
//
// If nothing has come from any other node meanwhile, the home's own link may be the slow one, and nobody becomes tardy.

// maxTardy bounds how often a tardy node must deliver, as a power of two.
const maxTardy = 6

// tooSlowFrom notes that a blob whose fetch began at a time came too slowly from a node.
func (h *Home) tooSlowFrom(id tasks.PeerID, since time.Duration) {
	if id == h.cfg.Self || !h.standings.cameFromOthers(id, h.cfg.Self, since) {
		return
	}
	before, s := h.standings.shady(id), h.standings.of(id)
	s.slow++
	s.tardy = max(s.tardy, 1<<min(s.slow-1, maxTardy))
	if !before {
		h.offers.becameShady(id, h.now)
	}
}

// cameFromOthers reports whether a blob has come here since a time from any node but the given one and this one.
func (ss standings) cameFromOthers(id, self tasks.PeerID, since time.Duration) bool {
	for o, s := range ss {
		if o != id && o != self && s.cameAt > since {
			return true
		}
	}
	return false
}

// Slow tells from which nodes blobs came too slowly, and how often.
func (h *Home) Slow() map[tasks.PeerID]int {
	out := map[tasks.PeerID]int{}
	for id, s := range h.standings {
		if s.slow > 0 {
			out[id] = s.slow
		}
	}
	return out
}

// Tardy are the nodes that have to deliver before they are given more work, in order, and what each has delivered so
// far.
func (h *Home) Tardy() (out []Loser) {
	for _, id := range h.nodes.order {
		if h.standings.tardy(id) {
			out = append(out, Loser{ID: id, Delivered: h.standings.of(id).delivered})
		}
	}
	return out
}

// How long a fetch may take depends on the blob's size, which is only its holder's word. It is believed up to a few
// times what the job's committed blobs suggest, by their sizes or by their bytes for each unit, and the wait is
// bounded for any size. A blob that is offered again gets twice as long each time, since it may be large after all,
// or the link slow.
const (
	likeOthers = 4           // how many times as large as the committed blobs one may be to be believed
	smallBlob  = 1 << 20     // bytes that are believed in any case once something is committed
	firstBlob  = 64          // how many times FoldFloor is believed before anything is committed
	leastMost  = time.Minute // how much longer than leastWait any blob is waited for, besides its time at fairPace
)

// tooLong reports whether a blob has been on its way here for so long that its fetch is given up.
func (h *Home) tooLong(o *offer) bool {
	if o.state != fetching || o.counted || h.now-o.since <= leastWait {
		return false
	}
	size := float64(min(max(o.Size, 0), h.record.likely(o.Partial, h.cfg.FoldFloor)))
	more := min(size/leastPace, leastMost.Seconds()+size/fairPace) // seconds
	times := float64(int64(1) << h.offers.unstored[o.ID])
	return h.now-o.since > leastWait+time.Duration(times*more*float64(time.Second))
}

// likely is the size up to which an offer's size is believed: by what is committed or, before anything is, by floor.
func (r *Record) likely(p merge.Partial, floor int64) int64 {
	parts := r.Done.Parts()
	if len(parts) == 0 {
		return firstBlob * floor
	}
	most := float64(smallBlob)
	for _, b := range parts {
		size := likeOthers * float64(b.Size)
		most = max(most, size, size/float64(max(b.Units, 1))*float64(p.Units))
	}
	return int64(min(most, merge.MaxSize))
}
